"""Twin models as safetensors files; what they are is JSON in the header, and beside it."""

import os

import torch
from torch import Tensor

from mergelib.mixtures.headed import read_header, save_headed
from mergelib.mixtures.twin.making import twin_of
from mergelib.mixtures.twin.model import TwinModel
from mergelib.vectors.checkpoint import CheckpointError, open_checkpoint

KIND = "twin"


def save_twin(model: TwinModel, path: str | os.PathLike) -> None:
    """Write the model to `path`, a safetensors file that is complete or not there at all."""
    tensors = {f"shared/{name}": t for name, t in model.shared_state().items()}
    tensors |= model.exclusive.tensors()
    tensors |= {f"router/{name}": t for name, t in model.router.state_dict().items()}
    about = {"tasks": model.tasks, "left_shared": model.left_shared}
    save_headed(path, tensors, KIND, about)


def load_twin(
    path: str | os.PathLike, encoder: torch.nn.Module, device: str | torch.device = "cpu"
) -> TwinModel:
    """The model that save_twin wrote; `encoder` gives the architecture, not the weights.

    Raises FileNotFoundError, or CheckpointError naming the file if it holds no Twin model or one
    of another architecture.
    """
    groups: dict[str, dict[str, Tensor]] = {k: {} for k in ("shared", "left", "right", "vectors")}
    with open_checkpoint(path) as checkpoint:
        for name in checkpoint.shapes:
            kind, _, rest = name.partition("/")
            groups.setdefault(kind, {})[rest] = checkpoint.tensor(name).clone().to(device)
    about = read_header(path, KIND, "Twin model")
    tasks, left_shared = tuple(about["tasks"]), tuple(about.get("left_shared", ()))
    router = groups.pop("router")
    try:
        model = twin_of(encoder, tasks, **groups, left_shared=left_shared)
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"the Twin model in {path} is of another architecture than the encoder: {error}"
        ) from error
    model.router.load_state_dict(router)
    return model.eval()
