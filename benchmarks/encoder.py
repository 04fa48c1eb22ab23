"""Images a second of the study's encoder with torch's attention module and with mergelib's.

    python benchmarks/encoder.py              # one thread and all, a minute
    python benchmarks/encoder.py --images 512

The same weights, the same images, in the number format that mergelib chooses on this machine;
"encode" is inference, "train" forward and backward to all weights. The fastest of `--repeats`
calls after a first one, both modules in turn. The last column is how far the features are apart,
beside the largest of them.
"""

import argparse
import time

import torch
from torch.nn import MultiheadAttention

from mergelib.evaluation import encode
from mergelib.models.attention import SelfAttention
from mergelib.models.compute import bfloat16_is_fast, mixed_precision
from mergelib.models.encoders import DEFAULT_ARCHITECTURE, build_encoder, normalise_pixels


def train(encoder: torch.nn.Module, images: torch.Tensor) -> None:
    with mixed_precision(torch.device("cpu")):
        for part in images.split(64):
            encoder(normalise_pixels(part.float() / 255)).float().square().mean().backward()
    encoder.zero_grad()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3, help="timed calls of each case")
    options = parser.parse_args()
    torch.manual_seed(0)
    encoder = build_encoder(DEFAULT_ARCHITECTURE)
    modules = [m for m in encoder.modules() if isinstance(m, MultiheadAttention)]
    images = torch.randint(256, (options.images, 3, 48, 48), dtype=torch.uint8)
    low = "bfloat16" if bfloat16_is_fast(torch.device("cpu")) else "float32"
    print(f"{DEFAULT_ARCHITECTURE}, {low}, torch {torch.__version__}")
    print(f"{'':20}{'torch':>10}{'mergelib':>10}{'ratio':>8}")
    for threads in (1, torch.get_num_threads()):
        torch.set_num_threads(threads)
        for title, run in (("encode", encode), ("train", train)):
            times, features = {kind: [] for kind in (MultiheadAttention, SelfAttention)}, []
            for _ in range(1 + options.repeats):
                for kind, seen in times.items():
                    for module in modules:
                        module.__class__ = kind
                    clock = time.perf_counter()
                    features = [*features[-1:], run(encoder, images)]
                    seen.append(time.perf_counter() - clock)
            speeds = [options.images / min(seen[1:]) for seen in times.values()]
            cells = f"{speeds[0]:10.0f}{speeds[1]:10.0f}{speeds[1] / speeds[0]:8.2f}"
            apart = ""
            if title == "encode":
                largest = features[0].abs().max()
                apart = f"   {float((features[0] - features[1]).abs().max() / largest):.1e}"
            print(f"{title}, {threads} thread{'s' * (threads > 1):9}{cells}{apart}", flush=True)


if __name__ == "__main__":
    main()
