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

Shown are the fastest of `--repeats` steps after a first one, the time outside the model's own
forward and backward passes, and the highest resident size of the process less what it was after
its imports, in P floats, with and without what the model alone takes (activations above all).
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from multiprocessing import Process
from pathlib import Path
from unittest import mock

import torch
from clip_tower import Tower
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.func import functional_call

SCALE, RATE, TEMPERATURE, CLASSES = 0.3, 1e-3, 0.5, 10
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


class Setting:
    """What a case works on: the folder's files, and a tower without weights of its own."""

    def __init__(self, folder: Path, shape: dict, same_noise: bool) -> None:
        self.base_file = folder / "base.safetensors"
        self.expert_files = {path.stem: path for path in sorted(folder.glob("task*.safetensors"))}
        self.inputs = load_file(folder / "inputs.safetensors")
        self.shape, self.same_noise, self.draws = shape, same_noise, 0
        with torch.device("meta"):
            self.tower = Tower(**shape)

    def logits(self, call: Callable[[Tensor], Tensor], task: int) -> Tensor:
        return call(self.inputs[f"images{task}"]) @ self.inputs[f"head{task}"].T

    def loss(self, call: Callable[[Tensor], Tensor], task: int) -> Tensor:
        log_p = nn.functional.log_softmax(self.logits(call, task), -1)
        return -(log_p.exp() * log_p).sum(-1).mean()

    def noise(self, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The next step's draws if all cases have the same, by name and inside (0, 1)."""
        if not self.same_noise:
            return {}
        generator, edge = torch.Generator().manual_seed(self.draws), torch.finfo(torch.float32).eps
        self.draws += 1
        return {
            name: torch.rand(like[name].shape, generator=generator).clamp_(edge, 1 - edge)
            for name in sorted(like)
        }

    def model(self, state: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: functional_call(self.tower, state, (x,))


def copied(path: Path) -> dict[str, Tensor]:
    """A file's tensors in memory of their own; load_file maps the file."""
    return {name: tensor.clone() for name, tensor in load_file(path).items()}


def model_alone(setting: Setting) -> Callable[[], float]:
    state = {name: t.requires_grad_() for name, t in copied(setting.base_file).items()}

    def step() -> float:
        losses = []
        for task in range(len(setting.expert_files)):
            loss = setting.loss(setting.model(state), task)
            loss.backward()
            losses.append(loss.item())
        return sum(losses)

    return step


def with_mergelib(method: str) -> Callable[[Setting], Callable[[], float]]:
    def case(setting: Setting) -> Callable[[], float]:
        import mergelib as ml
        from mergelib.adaptation.loop import Run

        tv = ml.TaskVectors.from_files(setting.base_file, setting.expert_files)
        streams = {
            task: ml.adaptation.Stream(task, setting.inputs[f"images{i}"])
            for i, task in enumerate(setting.expert_files)
        }

        def classify(state: dict, task: str, images: Tensor) -> Tensor:
            head = setting.inputs[f"head{task.removeprefix('task')}"]
            return setting.model(state)(images) @ head.T

        if method == "adamerging":
            learner = ml.adaptation.AdaMergingLearner(tv, classify, "tensor", SCALE)
        else:
            tv = ml.TaskVectors(("sum",), tv.base, tv.sum().unsqueeze(0), tv.layout)
            learner = ml.adaptation.MaskLearner(tv, classify, "task", SCALE, TEMPERATURE)
        run = Run(learner, streams, RATE, len(setting.inputs["images0"]))
        if not setting.same_noise:
            return run.step

        def step() -> float:
            from mergelib.adaptation import mask

            drawn = tv.layout.flatten(setting.noise(tv.layout.unflatten(tv.base)))
            places = mask.pieces(tv.layout, tv.device, "tensor")
            mask._uniform = lambda out, _, number: out.copy_(drawn[places[number][1]])
            return run.step()

        return step

    return case


def loop(method: str) -> Callable[[Setting], Callable[[], float]]:
    """Plain autograd: one graph from coefficients or logits through all tensors of all models."""

    def case(setting: Setting) -> Callable[[], float]:
        base = copied(setting.base_file)
        vectors = [copied(path) for path in setting.expert_files.values()]
        for vector in vectors:
            for name, tensor in vector.items():
                tensor -= base[name]
        scales = torch.full((len(vectors), len(base)), SCALE)
        masks = {}
        if method == "adamerging":
            learnt = [scales.requires_grad_()]
        else:
            masks = {name: torch.zeros_like(t).requires_grad_() for name, t in base.items()}
            learnt = list(masks.values())
        adam = torch.optim.Adam(learnt, lr=RATE)

        def merged() -> dict[str, Tensor]:
            state, drawn, same = {}, {}, setting.noise(masks)
            for name, logits in masks.items():
                u = same[name] if same else torch.rand_like(logits).clamp(1e-7, 1 - 1e-7)
                m = torch.sigmoid((logits + u.log() - (-u).log1p()) / TEMPERATURE)
                drawn[name] = m / m.mean()
            for i, (name, start) in enumerate(base.items()):
                state[name] = start
                for k, vector in enumerate(vectors):
                    part = vector[name] * (drawn[name] if masks else 1.0)
                    state[name] = state[name] + scales[k, i] * part
            return state

        def step() -> float:
            adam.zero_grad()
            state = merged()
            tasks = range(len(vectors))
            losses = torch.stack([setting.loss(setting.model(state), task) for task in tasks])
            losses.sum().backward()
            adam.step()
            return losses.sum().item()

        return step

    return case


def fusion_bench(method: str) -> Callable[[Setting], Callable[[], float]]:
    """The modules of fusion-bench, driven as its own algorithms drive them."""

    def case(setting: Setting) -> Callable[[], float]:
        from fusion_bench.models.masks import MaskModel
        from fusion_bench.models.wrappers.layer_wise_fusion import LayerWiseMergedModel
        from fusion_bench.models.wrappers.task_wise_fusion import TaskWiseMergedModel

        def tower(path: Path) -> nn.Module:
            model = Tower(**setting.shape)
            model.load_state_dict(load_file(path))
            return model

        base, experts = tower(setting.base_file), map(tower, setting.expert_files.values())
        experts, tasks = list(experts), range(len(setting.expert_files))
        if method == "adamerging":
            scales = torch.full((len(tasks), len(list(base.parameters()))), SCALE)
            merged = LayerWiseMergedModel(scales, base, experts, clamp_weights=False)
            adam = torch.optim.Adam([merged.merge_weight], lr=RATE)
            merged.merge_weights()

            def step() -> float:
                losses = []
                for task in tasks:
                    loss = setting.loss(merged, task)
                    loss.backward(retain_graph=True)
                    losses.append(loss.item())
                adam.step()
                adam.zero_grad()
                merged.merge_weights()
                return sum(losses)

            return step

        masks = MaskModel(base, ignore_untrained_params=True, parameter_type="logits")
        masks.fill_(0.0)
        parameters = dict(masks.named_parameters())
        scales = torch.full((len(tasks),), SCALE)
        merged = TaskWiseMergedModel(scales, base, experts, clamp_weights=False)
        merged.requires_grad_(False)
        adam = torch.optim.Adam(masks.parameters(), lr=RATE)

        def masked_step() -> float:
            same = setting.noise(parameters)
            uniform = [same[name] for name in parameters] if same else torch.rand
            with mock.patch("torch.rand", side_effect=uniform):
                mask = masks.sample_mask(mask_type="continuous", temperature=TEMPERATURE)
            mask = {name: m / m.mean() for name, m in mask.items()}
            merged.merge_weights(task_vector_mask=mask)
            total = sum(setting.loss(merged, task) for task in tasks)
            total.backward()
            adam.step()
            adam.zero_grad()
            return total.item()

        return masked_step

    return case


CASES = {
    "model": model_alone,
    "AdaMerging": with_mergelib("adamerging"),
    "AdaMerging, loop": loop("adamerging"),
    "AdaMerging, fusion-bench": fusion_bench("adamerging"),
    "Concrete": with_mergelib("concrete"),
    "Concrete, loop": loop("concrete"),
    "Concrete, fusion-bench": fusion_bench("concrete"),
}


def run_case(name: str, folder: Path, shape: dict, repeats: int, same_noise: bool) -> dict:
    """Losses, the fastest step in seconds and of processor time, and peak memory in bytes."""
    if "fusion" in name:
        import fusion_bench.models.wrappers.layer_wise_fusion  # noqa: F401
    elif name in ("AdaMerging", "Concrete"):
        import mergelib.adaptation  # noqa: F401
    at_start = peak_memory()
    step = CASES[name](Setting(folder, shape, same_noise))
    losses, clocks = [], []
    for _ in range(1 + repeats):
        clock, cpu = time.perf_counter(), time.process_time()
        losses.append(step())
        clocks.append((time.perf_counter() - clock, time.process_time() - cpu))
    seconds, cpu = (min(column) for column in zip(*clocks[1:], strict=True))
    return {"losses": losses, "seconds": seconds, "cpu": cpu, "peak": peak_memory() - at_start}


def peak_memory() -> int:
    """Highest resident size of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(name: str, python: str, options: argparse.Namespace, folder: Path) -> dict:
    command = [python, __file__, "--case", name, "--folder", os.fspath(folder)]
    command += ["--repeats", str(options.repeats)] + ["--small"] * options.small
    command += ["--same-noise"] * options.same_noise
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a tower of 2 million weights")
    parser.add_argument("--tasks", type=int, default=8, help="number of experts")
    parser.add_argument("--batch", type=int, default=16, help="images a task")
    parser.add_argument("--folder", type=Path, help="where to put the files (default: temporary)")
    parser.add_argument("--repeats", type=int, default=2, help="timed steps of each case")
    parser.add_argument("--fusion-bench", metavar="PYTHON", help="a Python with fusion-bench")
    parser.add_argument("--no-loop", action="store_true", help="without the plain autograd")
    parser.add_argument("--same-noise", action="store_true", help="one noise for all masks")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    shape = SMALL if options.small else FULL
    if options.case:
        case = (options.case, options.folder, shape, options.repeats, options.same_noise)
        print(json.dumps(run_case(*case)))
        return

    with torch.device("meta"):
        size = sum(p.numel() for p in Tower(**shape).parameters())
    print(f"K = {options.tasks}, P = {size:,}, {options.batch} images a task")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    results = {}
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="adaptation_") as folder:
        # In a process of its own: the peak of a parent is inherited by its children.
        arguments = (Path(folder), shape, options.tasks, options.batch)
        make = Process(target=make_files, args=arguments)
        make.start()
        make.join()
        for name in CASES:
            python = options.fusion_bench if "fusion" in name else sys.executable
            if python and not (options.no_loop and "loop" in name):
                try:
                    results[name] = measure(name, python, options, Path(folder))
                except subprocess.CalledProcessError as error:  # out of memory, say
                    print(f"{name}: {error}", file=sys.stderr)
    report(results, size, options.tasks)


def report(results: dict[str, dict], size: int, tasks: int) -> None:
    """A line a case; ratios are to mergelib's case of the same method, if that ended."""
    if "model" not in results:
        sys.exit("the model alone did not end, so that there is nothing to compare with")
    model = results["model"]
    titles = ("step", "outside", "ratio", "cpu", "outside", "ratio", "peak", "own")
    print(f"\n{'':29}loss 1    loss 2" + "".join(f"{title:>9}" for title in titles))
    for name, found in results.items():
        cells = []
        for clock in ("seconds", "cpu"):
            outside = found[clock] - model[clock]
            ours = results.get(name.partition(",")[0], model)[clock] - model[clock]
            cells += [found[clock], outside, outside / ours if ours > 0 else math.nan]
        peaks = [case["peak"] / (4 * size) for case in (found, model)]
        cells += [peaks[0], peaks[0] - (peaks[1] - 2)]
        losses = "".join(f"{loss:10.5f}" for loss in found["losses"][:2])
        print(f"{name:26}{losses}" + "".join(f"{cell:9.3f}" for cell in cells))
    print(
        "\nstep, outside: seconds on the clock, and less those of the model alone; cpu: the same "
        "in\nprocessor time, which other programs disturb less; ratio: to mergelib's; peak: in P "
        f"floats\n(K + 4 is {tasks + 4}); own: less what the model alone takes beside its weights "
        "and gradient"
    )


if __name__ == "__main__":
    main()
