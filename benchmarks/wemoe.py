"""Time of one MLP whose weights are mixed for every image, at CLIP's sizes.

    python benchmarks/wemoe.py                        # all shapes
    python benchmarks/wemoe.py --small                # ViT-B/32's shape, B = 16, T = 50 only
    python benchmarks/wemoe.py --fusion-bench PYTHON  # beside fusion-bench, see below

The MLPs of ViT-B/32 and ViT-L/14 (768 and 1024 wide), K = 8 task vectors, B images of T tokens, a
router of depth 1. "both ways" is forward and backward to the router and the input; "forward" is
without gradients.

    mergelib      its layers
    plain         an MLP with one set of weights: the floor
    batched       the plain batched form: one product mixes B whole weights, one applies them
    loop          one sample's weights merged and applied at a time
    fusion-bench  its module, which routes each image by itself, with a router of the same kind, on
                  the same weights; `--fusion-bench` names a Python that has fusion-bench 0.2.33

All outputs are compared. Milliseconds: the median of all calls, and the range of them. A case is
called `--repeats` times, after a first call that does not count, in each of `--processes`
processes, and the cases take turns: where a case asks the system for memory at every call, as those
do that keep B merged weights, its time depends on the process as much as on the call. A case that
asks for more memory than is free is shown as such. With `--processor` it is the processor's time,
of all threads together, which other programs disturb less. `--bfloat16` uses autocast; `--no-loop`
leaves the loop out.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from harness import (
    in_a_process,
    limit_memory,
    machine,
    made_files,
    parser,
    show,
    spread,
    timed,
    turns,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import linear

WIDTHS = {"ViT-B/32": 768, "ViT-L/14": 1024}
TASKS = 8


class MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


def make_files(folder: Path, widths: Iterable[int]) -> None:
    """A file a width (`file_of`): base/…, deltas/… (K, …), router/weight, router/bias."""
    for width in widths:
        save_file(tensors_of(width), file_of(folder, width))


def file_of(folder: Path, width: int) -> Path:
    return folder / f"{width}.safetensors"


def tensors_of(width: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    base = {name: t.detach() for name, t in MLP(width).state_dict().items()}
    tensors = {f"base/{name}": t for name, t in base.items()}
    tensors |= {f"deltas/{n}": 2e-3 * torch.randn(TASKS, *t.shape) for n, t in base.items()}
    tensors["router/weight"] = 0.01 * torch.randn(TASKS, width)
    tensors["router/bias"] = torch.full((TASKS,), 0.3)
    return tensors


def ours(tensors: dict[str, Tensor]) -> tuple[Callable, list[Tensor]]:
    import mergelib as ml

    def layer(name: str):
        names = (f"{name}.weight", f"{name}.bias")
        parts = [[tensors[f"{kind}/{n}"] for n in names] for kind in ("base", "deltas")]
        return ml.mixtures.WeightEnsemblingLinear(*parts[0], *parts[1])

    mlp = ml.mixtures.WeightEnsemblingMLP(layer("fc1"), nn.GELU(), layer("fc2"))
    weight, bias = router_of(tensors)
    return lambda x: mlp(x, linear(x.mean(1), weight, bias).float()), [weight, bias]


def batched(tensors: dict[str, Tensor]) -> tuple[Callable, list[Tensor]]:
    weight, bias = router_of(tensors)

    def layer(x: Tensor, mix: Tensor, name: str) -> Tensor:
        base, deltas = tensors[f"base/{name}.weight"], tensors[f"deltas/{name}.weight"]
        merged = torch.addmm(base.flatten(), mix, deltas.flatten(1)).view(len(mix), *base.shape)
        bias, shifts = tensors[f"base/{name}.bias"], tensors[f"deltas/{name}.bias"]
        return torch.baddbmm(torch.addmm(bias, mix, shifts).unsqueeze(1), x, merged.mT)

    def run(x: Tensor) -> Tensor:
        mix = linear(x.mean(1), weight, bias)
        return layer(nn.functional.gelu(layer(x, mix, "fc1")), mix, "fc2")

    return run, [weight, bias]


def naive(tensors: dict[str, Tensor]) -> tuple[Callable, list[Tensor]]:
    weight, bias = router_of(tensors)
    names = [f"{layer}.{kind}" for layer in ("fc1", "fc2") for kind in ("weight", "bias")]

    def run(x: Tensor) -> Tensor:
        rows = []
        for sample, mix in zip(x, linear(x.mean(1), weight, bias), strict=True):
            state = {}
            for name in names:
                merged = tensors[f"base/{name}"]
                for share, delta in zip(mix, tensors[f"deltas/{name}"], strict=True):
                    merged = merged + share * delta
                state[name] = merged
            hidden = nn.functional.gelu(linear(sample, state["fc1.weight"], state["fc1.bias"]))
            rows.append(linear(hidden, state["fc2.weight"], state["fc2.bias"]))
        return torch.stack(rows)

    return run, [weight, bias]


def dense(tensors: dict[str, Tensor]) -> tuple[Callable, list[Tensor]]:
    mlp = MLP(tensors["base/fc1.weight"].shape[1]).requires_grad_(False)
    mlp.load_state_dict({name: tensors[f"base/{name}"] for name in mlp.state_dict()})
    return mlp, []


def fusion_bench(tensors: dict[str, Tensor]) -> tuple[Callable, list[Tensor]]:
    from fusion_bench.models.we_moe import WeightEnsemblingMoE

    def expert(shift: int | None) -> MLP:
        mlp = MLP(tensors["base/fc1.weight"].shape[1])
        add = (lambda n: 0) if shift is None else (lambda n: tensors[f"deltas/{n}"][shift])
        mlp.load_state_dict({n: tensors[f"base/{n}"] + add(n) for n in mlp.state_dict()})
        return mlp

    width = tensors["base/fc1.weight"].shape[1]
    module = WeightEnsemblingMoE(
        hidden_size=width,
        base_model=expert(None),
        expert_models=[expert(k) for k in range(TASKS)],
        init_lambda=0.3,
        batch_first=True,
        router_hidden_layers=1,
        batch_reduce=False,
    )
    parameters = dict(module.gate.named_parameters())
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.copy_(tensors["router/weight" if parameter.dim() == 2 else "router/bias"])
    return module, list(parameters.values())


def router_of(tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    parts = (tensors["router/weight"], tensors["router/bias"])
    return tuple(t.clone().requires_grad_() for t in parts)


CASES = {
    "mergelib": ours,
    "plain": dense,
    "batched": batched,
    "loop": naive,
    "fusion-bench": fusion_bench,
}
WAYS = ("forward", "both ways")


def run_case(name: str, file: Path, batch: int, tokens: int, options: argparse.Namespace) -> dict:
    """Milliseconds of each call, and some numbers of the output."""
    tensors = load_file(file)
    torch.manual_seed(1)
    x = torch.randn(batch, tokens, tensors["base/fc1.weight"].shape[1])
    run, parameters = CASES[name](tensors)
    low_precision = contextlib.nullcontext
    if options.bfloat16:
        low_precision = partial(torch.autocast, "cpu", dtype=torch.bfloat16)

    def forward() -> Tensor:
        with torch.no_grad(), low_precision():
            return run(x)

    def both_ways(leaf: Tensor) -> None:
        with low_precision():
            y = run(leaf)
        torch.autograd.grad(y.float().square().sum(), [leaf, *parameters])

    def called(way: str) -> tuple[float, list[float]]:
        leaf = x.clone().requires_grad_()
        call = timed(forward if way == "forward" else partial(both_ways, leaf))
        spent = 1e3 * (call.cpu if options.processor else call.seconds)
        if way != "forward":
            return spent, []
        y = call.value
        return spent, y.float().flatten()[:: max(1, y.numel() // 500)].tolist()

    calls = turns({way: partial(called, way) for way in WAYS}, options.repeats, first=1)
    output = calls["forward"][-1][1]
    return {way: [spent for spent, _ in calls[way]] for way in WAYS} | {"output": output}


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--small", action="store_true", help="one shape")
    asked.add_argument("--repeats", type=int, default=5, help="timed calls in a process")
    asked.add_argument("--processes", type=int, default=3, help="processes of each case")
    asked.add_argument("--processor", action="store_true", help="processor time")
    asked.add_argument("--no-loop", action="store_true", help="without the naive loop")
    asked.add_argument("--bfloat16", action="store_true", help="under autocast")
    asked.add_argument("--fusion-bench", metavar="PYTHON", help="a Python with fusion-bench")
    asked.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.case:
        name, file, batch, tokens = options.case
        limit_memory()
        print(json.dumps(run_case(name, Path(file), int(batch), int(tokens), options)))
        return

    print(f"K = {TASKS}, {machine()}")
    print("milliseconds: median (fastest to slowest); medians and fastest calls as ratios")
    print(f"{'':27}{'':23}{'to mergelib':>16}{'to plain':>16}")
    names = [n for n in CASES if n != "loop" or not options.no_loop]
    names = [n for n in names if n != "fusion-bench" or options.fusion_bench]
    widths = {"ViT-B/32": 768} if options.small else WIDTHS
    shapes = [(16, 50)] if options.small else [(b, t) for b in (1, 16, 64) for t in (50, 257)]
    with made_files(make_files, tuple(widths.values())) as folder:
        for title, width in widths.items():
            for batch, tokens in shapes:
                where = (file_of(folder, width), batch, tokens)
                cases = {name: partial(measure, name, where, options) for name in names}
                runs = turns(cases, options.processes)
                found = {name: pooled(each) for name, each in runs.items()}
                report(f"{title}  B = {batch}  T = {tokens}", found, options.bfloat16)


def measure(name: str, where: tuple, options: argparse.Namespace) -> dict | None:
    """What `run_case` returns in a process of its own, or None if memory was not enough."""
    python = options.fusion_bench if name == "fusion-bench" else sys.executable
    arguments = ["--repeats", options.repeats, "--case", name, *where]
    arguments += ["--bfloat16"] * options.bfloat16 + ["--processor"] * options.processor
    return in_a_process(arguments, python)


def pooled(runs: list[dict | None]) -> dict | None:
    """The calls of all processes of a case together; None if one of them had too little memory."""
    if None in runs:
        return None
    calls = {way: [ms for run in runs for ms in run[way]] for way in WAYS}
    return {**calls, "output": runs[-1]["output"]}


def report(title: str, found: dict[str, dict | None], low: bool) -> None:
    expected = torch.tensor(found["mergelib"]["output"])
    for name in ("batched", "loop", "fusion-bench"):
        if found.get(name):
            apart = (torch.tensor(found[name]["output"]) - expected).abs().max().item()
            if apart > (2e-2 if low else 1e-4):
                sys.exit(f"{title}: {name} differs from mergelib by {apart:.1e}")
    for way in WAYS:
        print(f"\n{title}, {way}")
        rows = {
            f"    {name}": cells(case[way], found, way) if case else ["out of memory"]
            for name, case in found.items()
        }
        forms = ["<27", *("9.2f", "7.2f") * 2]
        show(rows, [("", form) for form in forms], first=27, head=False)


def cells(calls: list[float], found: dict[str, dict | None], way: str) -> list:
    """The times of a case; its median and its fastest call as multiples of the two others'."""
    shown = [spread(calls)]
    for other in ("mergelib", "plain"):
        against = found[other][way]
        shown += [median(calls) / median(against), min(calls) / min(against)]
    return shown


if __name__ == "__main__":
    main()
