"""The cases that `adaptation.py` measures: a step of each method by each library.

A case is a function of a Setting to a step, a function without arguments to the step's loss. Every
one of them works on the same files: a base, its experts, images and heads.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

import torch
from clip_tower import Tower
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call

SCALE, RATE, TEMPERATURE = 0.3, 1e-3, 0.5


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
            _, pieces = mask._tensors(tv.layout, tv.device)
            mask._uniform = lambda out, _, number: out.copy_(drawn[pieces[number].columns])
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
