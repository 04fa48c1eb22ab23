"""Mixtures as safetensors files; what they are is JSON in the file's header, and beside it."""

import dataclasses
import os

import torch
from torch import Tensor

from mergelib.mixtures.headed import read_header, save_headed
from mergelib.mixtures.mixture import Mixture, Plan
from mergelib.mixtures.model import assemble
from mergelib.mixtures.sparse_file import decode, encode
from mergelib.vectors.checkpoint import CheckpointError, open_checkpoint

KIND = "mixture"


def save_mixture(
    model: Mixture, path: str | os.PathLike, precision: torch.dtype = torch.float32
) -> None:
    """Write a mixture to `path`, a safetensors file that is complete or not there at all.

    Sparse dictionaries take five bytes a kept number, or three with precision=torch.float16,
    which rounds them (a 2,000th of each number). What the mixture is stands in the file's header;
    a copy for people is the .json beside it.
    """
    tensors = {f"rest/{name}": t for name, t in model.encoder_state().items()}
    for weight, bias, layer in model.named_layers():
        parts = [(weight, layer.weight, layer.dictionary.dense())]
        parts += [] if bias is None else [(bias, layer.bias, layer.bias_deltas)]
        for name, base, deltas in parts:
            tensors[f"base/{name}"] = base
            if model.plan.sparse:
                gaps, values = encode(deltas)
                tensors[f"gaps/{name}"], tensors[f"values/{name}"] = gaps, values.to(precision)
            else:
                tensors[f"deltas/{name}"] = deltas
    for number, router in enumerate(model.routers):
        for name, tensor in router.named_parameters():
            tensors[f"router/{number}/{name}"] = tensor
    for part in model.parts:
        if part.gate.mean is not None:
            tensors[f"mean/{part.site.name}"] = part.gate.mean
            tensors[f"deviation/{part.site.name}"] = part.gate.deviation
    save_headed(path, tensors, KIND, dataclasses.asdict(model.plan))


def load_mixture(
    path: str | os.PathLike, encoder: torch.nn.Module, device: str | torch.device = "cpu"
) -> Mixture:
    """The mixture that save_mixture wrote; `encoder` gives the architecture, not the weights.

    Raises FileNotFoundError, or CheckpointError naming the file if it holds no mixture or one
    of another architecture.
    """
    with open_checkpoint(path) as checkpoint:  # its errors name the file
        tensors = {n: checkpoint.tensor(n).clone().to(device) for n in checkpoint.shapes}
    fields = read_header(path, KIND, "mixture")
    plan = Plan(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        groups.setdefault(kind, {})[rest] = tensor
    base, deltas = groups["base"], groups.get("deltas", {})
    for name, gaps in groups.get("gaps", {}).items():
        shape = (len(plan.tasks), *base[name].shape)
        deltas[name] = decode(gaps, groups["values"][name].to(base[name].dtype), shape)
    try:
        model = assemble(encoder, plan, groups["rest"], base, deltas)
    except KeyError as error:
        raise CheckpointError(
            f"the mixture in {path} is of another architecture than the encoder: {error} is in "
            "one of them only"
        ) from error
    with torch.no_grad():
        for number, router in enumerate(model.routers):
            for name, parameter in router.named_parameters():
                parameter.copy_(tensors[f"router/{number}/{name}"])
        for part in model.parts:
            if part.gate.mean is not None:
                part.gate.mean.copy_(groups["mean"][part.site.name])
                part.gate.deviation.copy_(groups["deviation"][part.site.name])
    return model
