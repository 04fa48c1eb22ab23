"""Images a second of the study's encoder with torch's attention module and with mergelib's.

    python benchmarks/encoder.py              # one thread and all, a minute
    python benchmarks/encoder.py --images 512

The same weights, the same images, in the number format that mergelib chooses on this machine;
"encode" is inference, "train" forward and backward to all weights. The fastest of `--repeats`
calls after a first one, both modules in turn. The last column is how far the features are apart,
beside the largest of them.
"""

import copy
from functools import partial

import torch
from harness import machine, parser, show, timed, turns
from torch.nn import MultiheadAttention

from mergelib.evaluation import encode
from mergelib.models.attention import SelfAttention
from mergelib.models.compute import mixed_precision, number_format
from mergelib.models.encoders import DEFAULT_ARCHITECTURE, build_encoder
from mergelib.models.inputs import Pixels
from mergelib.models.sites import replace


def train(encoder: torch.nn.Module, images: torch.Tensor) -> None:
    with mixed_precision(torch.device("cpu")):
        for _, part in Pixels(images).batches(64):
            encoder(*part.prepare("cpu")).float().square().mean().backward()
    encoder.zero_grad()


def with_torchs_attention(encoder: torch.nn.Module) -> torch.nn.Module:
    """The same encoder with torch's own module in every place of SelfAttention."""
    copied = copy.deepcopy(encoder)
    for name, module in list(copied.named_modules()):
        if isinstance(module, SelfAttention):
            plain = MultiheadAttention(module.embed_dim, module.num_heads, batch_first=True)
            plain.load_state_dict(module.state_dict())
            replace(copied, name, plain)
    return copied


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--images", type=int, default=512)
    asked.add_argument("--repeats", type=int, default=3, help="timed calls of each case")
    options = asked.parse_args()
    torch.manual_seed(0)
    ours = build_encoder(DEFAULT_ARCHITECTURE)
    encoders = {"torch": with_torchs_attention(ours), "mergelib": ours}
    images = torch.randint(256, (options.images, 3, 48, 48), dtype=torch.uint8)

    def case(encoder: torch.nn.Module, run):
        return timed(lambda: run(encoder, images))

    print(f"{DEFAULT_ARCHITECTURE}, {number_format(torch.device('cpu'))}, {machine()}")
    rows = {}
    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        for title, run in (("encode", encode), ("train", train)):
            cases = {name: partial(case, encoder, run) for name, encoder in encoders.items()}
            each = turns(cases, options.repeats, first=1)
            speeds = [options.images / min(r.seconds for r in runs) for runs in each.values()]
            features, apart = [runs[-1].value for runs in each.values()], None
            if title == "encode":
                apart = (features[0] - features[1]).abs().max() / features[0].abs().max()
            rows[f"{title}, {threads} thread{'s' * (threads > 1)}"] = [
                *speeds,
                speeds[1] / speeds[0],
                None if apart is None else float(apart),
            ]
    columns = [("torch", "10.0f"), ("mergelib", "10.0f"), ("ratio", "8.2f"), ("apart", "10.1e")]
    show(rows, columns, first=20)


if __name__ == "__main__":
    main()
