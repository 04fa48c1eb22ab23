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
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
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


def make_file(path: Path, width: int) -> None:
    """Base, deltas and router: base/…, deltas/… (K, …), router/weight, router/bias."""
    torch.manual_seed(0)
    base = {name: t.detach() for name, t in MLP(width).state_dict().items()}
    tensors = {f"base/{name}": t for name, t in base.items()}
    tensors |= {f"deltas/{n}": 2e-3 * torch.randn(TASKS, *t.shape) for n, t in base.items()}
    tensors["router/weight"] = 0.01 * torch.randn(TASKS, width)
    tensors["router/bias"] = torch.full((TASKS,), 0.3)
    save_file(tensors, path)


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
    now = time.process_time if options.processor else time.perf_counter
    torch.manual_seed(1)
    x = torch.randn(batch, tokens, tensors["base/fc1.weight"].shape[1])
    run, parameters = CASES[name](tensors)
    forward, both_ways = [], []
    low_precision = contextlib.nullcontext
    if options.bfloat16:
        low_precision = lambda: torch.autocast("cpu", dtype=torch.bfloat16)  # noqa: E731
    for _ in range(1 + options.repeats):
        clock = now()
        with torch.no_grad(), low_precision():
            y = run(x)
        forward.append(1e3 * (now() - clock))
        output = y.float().flatten()[:: max(1, y.numel() // 500)].tolist()
        leaf = x.clone().requires_grad_()
        clock = now()
        with low_precision():
            y = run(leaf)
        torch.autograd.grad(y.float().square().sum(), [leaf, *parameters])
        both_ways.append(1e3 * (now() - clock))
    return {"forward": forward[1:], "both ways": both_ways[1:], "output": output}


def in_a_process(
    name: str, file: Path, batch: int, tokens: int, options: argparse.Namespace
) -> dict | None:
    """What `run_case` returns, or None if memory was not enough."""
    python = options.fusion_bench if name == "fusion-bench" else sys.executable
    command = [python, __file__, "--repeats", str(options.repeats)]
    command += ["--bfloat16"] * options.bfloat16 + ["--processor"] * options.processor
    command += ["--case", name, os.fspath(file), str(batch), str(tokens)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode == 0:
        return json.loads(ended.stdout)
    if "allocate memory" in ended.stderr:
        return None
    sys.exit(f"{name}:\n{ended.stderr}")


def limit_memory() -> None:
    """Let this process have what is free now, and no more: its failure, not the machine's."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        import resource
    except (ImportError, ValueError, OSError):
        return
    resource.setrlimit(resource.RLIMIT_DATA, (free, resource.RLIM_INFINITY))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="one shape")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls in a process")
    parser.add_argument("--processes", type=int, default=3, help="processes of each case")
    parser.add_argument("--processor", action="store_true", help="processor time")
    parser.add_argument("--no-loop", action="store_true", help="without the naive loop")
    parser.add_argument("--bfloat16", action="store_true", help="under autocast")
    parser.add_argument("--fusion-bench", metavar="PYTHON", help="a Python with fusion-bench")
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        name, file, batch, tokens = options.case
        limit_memory()
        print(json.dumps(run_case(name, Path(file), int(batch), int(tokens), options)))
        return

    print(f"K = {TASKS}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("milliseconds: median (fastest to slowest); medians and fastest calls as ratios")
    print(f"{'':27}{'':23}{'to mergelib':>16}{'to plain':>16}")
    names = [n for n in CASES if n != "loop" or not options.no_loop]
    names = [n for n in names if n != "fusion-bench" or options.fusion_bench]
    widths = {"ViT-B/32": 768} if options.small else WIDTHS
    shapes = [(16, 50)] if options.small else [(b, t) for b in (1, 16, 64) for t in (50, 257)]
    with tempfile.TemporaryDirectory(prefix="wemoe_") as folder:
        for title, width in widths.items():
            file = Path(folder) / f"{width}.safetensors"
            make_file(file, width)
            for batch, tokens in shapes:
                report(
                    f"{title}  B = {batch}  T = {tokens}",
                    pooled(names, file, batch, tokens, options),
                    options.bfloat16,
                )


def pooled(
    names: list[str], file: Path, batch: int, tokens: int, options: argparse.Namespace
) -> dict[str, dict | None]:
    """For each case the calls of all its processes, which take turns; None without memory."""
    found: dict[str, dict | None] = {}
    for _ in range(options.processes):
        for name in names:
            if name in found and found[name] is None:
                continue
            case = in_a_process(name, file, batch, tokens, options)
            if case and found.get(name):
                case |= {way: found[name][way] + case[way] for way in WAYS}
            found[name] = case
    return found


def report(title: str, found: dict[str, dict | None], low: bool) -> None:
    expected = torch.tensor(found["mergelib"]["output"])
    for name in ("batched", "loop", "fusion-bench"):
        if found.get(name):
            apart = (torch.tensor(found[name]["output"]) - expected).abs().max().item()
            if apart > (2e-2 if low else 1e-4):
                sys.exit(f"{title}: {name} differs from mergelib by {apart:.1e}")
    for way in WAYS:
        print(f"\n{title}, {way}")
        for name, case in found.items():
            print(
                f"    {name:23}" + (row(case, found, way) if case else "out of memory"), flush=True
            )


def row(case: dict, found: dict[str, dict | None], way: str) -> str:
    calls = case[way]
    cells = f"{statistics.median(calls):7.1f} ({min(calls):.1f} to {max(calls):.1f})".ljust(27)
    for other in ("mergelib", "plain"):
        against = found[other][way]
        median = statistics.median(calls) / statistics.median(against)
        cells += f"{median:9.2f} {min(calls) / min(against):6.2f}"
    return cells


if __name__ == "__main__":
    main()
