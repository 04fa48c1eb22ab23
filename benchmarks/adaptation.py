"""Time and memory of one step of AdaMerging and of Concrete task arithmetic at CLIP's size.

    python benchmarks/adaptation.py                        # 8 × 87.8 M weights, minutes
    python benchmarks/adaptation.py --small                # a quick look
    python benchmarks/adaptation.py --fusion-bench PYTHON  # beside fusion-bench, see below

A vision tower of CLIP ViT-B/32's shape with random weights, 8 experts near it, 16 random images a
task. Each case runs in a process of its own: the model alone (forward and backward on fixed
weights, "model"), a step of tensor-wise AdaMerging and of Concrete task arithmetic with mergelib,
and both as plain autograd over dicts of tensors, K products a tensor, as published code has
them ("loop"; `--no-loop` leaves it out). `--fusion-bench` names a Python that has fusion-bench
0.2.33 installed, and adds its modules on the same weights and images. The losses before and after
a step are printed: they must agree between cases of one method, Concrete's as nearly as two random
masks allow. With `--same-noise` all masks are made of the same draws, and the losses of all cases
must agree; its times are not those of the libraries, which draw for themselves.

Shown are the fastest of `--repeats` steps after a first one; the time outside the model's own
forward and backward passes, which is the median difference between a step and the model alone, the
two in turn in one process; and the highest resident size of the process before the model alone is
made, less what it was after its imports, in P floats, with and without what the model takes
(activations above all). The time outside does not depend on the batch: `--batch 1` shows it with
less noise.
"""

import argparse
import json
import math
import sys
from functools import partial
from pathlib import Path
from statistics import median

import torch
from adaptation_cases import CASES, Setting
from clip_tower import Tower
from harness import in_a_process, machine, made_files, parser, peak_memory, show, timed, turns
from safetensors.torch import save_file

CLASSES = 10
FULL = {"width": 768, "layers": 12, "patch": 32, "image": 224}
SMALL = {"width": 192, "layers": 4, "patch": 16, "image": 64}


def make_files(folder: Path, shape: dict, tasks: int, batch: int) -> None:
    """base.safetensors, task0 … of random weights, and inputs: images and heads of each task."""
    torch.manual_seed(0)
    base = {name: t.detach() for name, t in Tower(**shape).state_dict().items()}
    save_file(base, folder / "base.safetensors")
    inputs = {}
    for task in range(tasks):
        expert = {name: w + torch.randn(w.shape) * 2e-3 for name, w in base.items()}
        save_file(expert, folder / f"task{task}.safetensors")
        inputs[f"images{task}"] = torch.randn(batch, 3, shape["image"], shape["image"])
        inputs[f"head{task}"] = torch.randn(CLASSES, shape["width"]) / 10
    save_file(inputs, folder / "inputs.safetensors")


def run_case(name: str, folder: Path, shape: dict, repeats: int, same_noise: bool) -> dict:
    """Losses, the fastest step in seconds and of processor time, and peak memory in bytes."""
    if "fusion" in name:
        import fusion_bench.models.wrappers.layer_wise_fusion  # noqa: F401
    elif name in ("AdaMerging", "Concrete"):
        import mergelib.adaptation  # noqa: F401
    at_start = peak_memory()
    step = CASES[name](Setting(folder, shape, same_noise))
    runs = [timed(step) for _ in range(1 + repeats)]
    found = {"losses": [run.value for run in runs], "peak": peak_memory() - at_start}
    found |= {"seconds": min(run.seconds for run in runs[1:]), "outside": 0.0}
    found |= {"cpu": min(run.cpu for run in runs[1:]), "cpu outside": 0.0}
    if name != "model":
        alone = CASES["model"](Setting(folder, shape, same_noise))
        alone()
        both = turns({"alone": partial(timed, alone), "step": partial(timed, step)}, repeats)
        pairs = list(zip(both["alone"], both["step"], strict=True))
        found["outside"] = median(b.seconds - a.seconds for a, b in pairs)
        found["cpu outside"] = median(b.cpu - a.cpu for a, b in pairs)
    return found


def measure(name: str, python: str, options: argparse.Namespace, folder: Path) -> dict | None:
    arguments = ["--case", name, "--folder", folder, "--repeats", options.repeats]
    arguments += ["--small"] * options.small + ["--same-noise"] * options.same_noise
    return in_a_process(arguments, python)


def main() -> None:
    asked = parser(__doc__, CASES)
    asked.add_argument("--small", action="store_true", help="a tower of 2 million weights")
    asked.add_argument("--tasks", type=int, default=8, help="number of experts")
    asked.add_argument("--batch", type=int, default=16, help="images a task")
    asked.add_argument("--folder", type=Path, help="where to put the files (default: temporary)")
    asked.add_argument("--repeats", type=int, default=2, help="timed steps of each case")
    asked.add_argument("--fusion-bench", metavar="PYTHON", help="a Python with fusion-bench")
    asked.add_argument("--no-loop", action="store_true", help="without the plain autograd")
    asked.add_argument("--same-noise", action="store_true", help="one noise for all masks")
    options = asked.parse_args()
    shape = SMALL if options.small else FULL
    if options.case:
        case = (options.case, options.folder, shape, options.repeats, options.same_noise)
        print(json.dumps(run_case(*case)))
        return

    with torch.device("meta"):
        size = sum(p.numel() for p in Tower(**shape).parameters())
    print(f"K = {options.tasks}, P = {size:,}, {options.batch} images a task")
    print(machine())
    results = {}
    files = made_files(make_files, shape, options.tasks, options.batch, folder=options.folder)
    with files as folder:
        for name in CASES:
            python = options.fusion_bench if "fusion" in name else sys.executable
            if python and not (options.no_loop and "loop" in name):
                results[name] = measure(name, python, options, folder)
    for name in [name for name, found in results.items() if found is None]:
        print(f"{name}: memory was not enough", file=sys.stderr)
        del results[name]
    report(results, size, options.tasks)


def report(results: dict[str, dict], size: int, tasks: int) -> None:
    """A line a case; ratios are to mergelib's case of the same method, if that ended."""
    if "model" not in results:
        sys.exit("the model alone did not end, so that there is nothing to compare with")
    model = results["model"]
    rows = {}
    for name, found in results.items():
        rows[name] = list(found["losses"][:2])
        for clock, outside in (("seconds", "outside"), ("cpu", "cpu outside")):
            ours = results.get(name.partition(",")[0], model)[outside]
            ratio = found[outside] / ours if ours > 0 else math.nan
            rows[name] += [found[clock], found[outside], ratio]
        peaks = [case["peak"] / (4 * size) for case in (found, model)]
        rows[name] += [peaks[0], peaks[0] - (peaks[1] - 2)]
    titles = ("step", "outside", "ratio", "cpu", "outside", "ratio", "peak", "own")
    losses = [("loss 1", "10.5f"), ("loss 2", "10.5f")]
    print()
    show(rows, losses + [(title, "9.3f") for title in titles], first=26)
    print(
        "\nstep, outside: seconds on the clock, and more than the model alone takes; cpu: the same "
        "in\nprocessor time, which other programs disturb less; ratio: to mergelib's; peak: in P "
        f"floats\n(K + 4 is {tasks + 4}); own: less what the model alone takes beside its weights "
        "and gradient"
    )


if __name__ == "__main__":
    main()
