"""Writes a pre-training run as a checkpoint that open_clip loads, with its log beside it.

    python -m mergelib.training.export --run FOLDER [--to data/checkpoints]

The file holds a whole open_clip model in float16: the trained vision tower and, because the
format asks for one, an untrained text tower of a few thousand weights.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from mergelib.cache import storage
from mergelib.models.base import CHECKPOINTS
from mergelib.models.encoders import build_clip
from mergelib.models.tower import TOWER


def export(run: Path, to: Path) -> Path:
    """Write `to/<architecture>.safetensors` and `.log.jsonl`; returns the former's path."""
    state = torch.load(run / "state.pt", weights_only=True, map_location="cpu")
    architecture = state["recipe"]["architecture"]
    torch.manual_seed(state["recipe"]["seed"])
    model = build_clip(architecture)
    model.visual.load_state_dict(
        {k: v for k, v in state["encoder"].items() if not k.startswith("patch_dropout")}
    )
    tensors = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    facts = {
        "architecture": architecture,
        "samples": str(state["seen"]),
        "recipe": json.dumps(state["recipe"]),
        "trained": f"tensors named {TOWER}*; the others are initial values",
    }
    path = to / f"{architecture}.safetensors"
    with storage.atomic(path) as temporary:
        save_file(tensors, temporary, metadata=facts)
    with storage.atomic(to / f"{architecture}.log.jsonl") as temporary:
        temporary.write_text((run / "log.jsonl").read_text())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--to", type=Path, default=CHECKPOINTS)
    options = parser.parse_args()
    print(export(options.run, options.to))


if __name__ == "__main__":
    main()
