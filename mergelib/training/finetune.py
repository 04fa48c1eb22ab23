"""Fine-tunes the base on one task: an expert.

The head is frozen, the encoder is trained with Adam at a low learning rate that is annealed to
zero (Ilharco et al. 2023, App. B, scaled to small models), and the epoch that is best on val
is kept. Weights decay towards the base, not towards zero (L2-SP, Li et al. 2018; decoupled as in
AdamW): what the task does not need goes back to θ0, so that the task vector is short.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F

from mergelib.cache import storage
from mergelib.evaluation import predict
from mergelib.models.compute import mixed_precision
from mergelib.models.heads import Head
from mergelib.models.inputs import Inputs
from mergelib.suites.recipe import FineTuning
from mergelib.suites.suite import Task
from mergelib.training.augment import random_colour, random_view


def augmented(images: torch.Tensor, recipe: FineTuning, generator: torch.Generator):
    """A random view of float images (B, 3, H, W): crop and turn, no mirror image, colours.

    Digits, letters and signs change their class in a mirror, so nothing is mirrored.
    """
    x = random_view(images, generator, area=(recipe.crop, 1.0), degrees=recipe.degrees, flip=False)
    return random_colour(x, generator, recipe.colour, grey=0.0, invert=0.0, permute=0.0)


def prepared(
    inputs: Inputs, recipe: FineTuning, generator: torch.Generator, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """The encoder's arguments for a batch: pixels augmented by the recipe, tokens as they are."""
    if inputs.augments:
        return inputs.prepare(device, change=lambda x: augmented(x, recipe, generator))
    return inputs.prepare(device)


def fine_tune(
    encoder: torch.nn.Module,
    head: Head,
    task: Task,
    recipe: FineTuning,
    checkpoint: Path | None = None,
    report: Callable[[dict], None] | None = None,
    frozen: Sequence[str] = (),
) -> tuple[dict[str, torch.Tensor], list[dict]]:
    """The weights that are best on val, and one record an epoch (loss, val accuracy, seconds).

    `encoder` gives the starting weights and is not changed. The tensors named in `frozen` stay as
    they are and are not among the weights returned. After each epoch everything needed to go on
    is written to `checkpoint`; a run that finds that file goes on from there, and ends with the
    same weights as an uninterrupted one.
    """
    device = next(encoder.parameters()).device
    head = head.to(device)
    start = {k: v.detach().clone() for k, v in encoder.state_dict().items()}
    params = {
        k: v.clone().requires_grad_()
        for k, v in start.items()
        if v.is_floating_point() and k not in frozen
    }
    kept = {k: v for k, v in start.items() if k not in params}
    # Buffers that no file holds, such as positions 0, 1, 2 …: a call is given them, too.
    unsaved = {k: b.detach().clone() for k, b in encoder.named_buffers() if k not in start}
    rest = kept | unsaved
    origin = [start[k] for k in params]
    optimiser = torch.optim.Adam(params.values(), lr=recipe.lr, fused=True)
    steps = math.ceil(len(task.train) / recipe.batch)
    total, history, best = steps * recipe.epochs, [], None
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        with torch.no_grad():
            for name, value in state["params"].items():
                params[name].copy_(value)
        optimiser.load_state_dict(state["optimiser"])
        history, best = state["history"], state["best"]
    for epoch in range(len(history), recipe.epochs):
        begun, losses = time.perf_counter(), []
        generator = torch.Generator().manual_seed(recipe.seed * 10_007 + epoch)
        encoder.train(recipe.dropout)
        for i, index in enumerate(task.train.inputs.shuffled(recipe.batch, generator)):
            set_rate(optimiser, recipe, epoch * steps + i, total)
            arguments = prepared(task.train.inputs[index], recipe, generator, device)
            with mixed_precision(device, recipe.precision):
                f = torch.func.functional_call(encoder, {**params, **rest}, arguments)
            y = task.train.labels[index].to(device)
            loss = F.cross_entropy(head(f), y, label_smoothing=recipe.label_smoothing)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params.values(), recipe.clip)
            optimiser.step()
            if recipe.l2sp:
                decay_towards(origin, list(params.values()), optimiser, recipe)
            losses.append(loss.detach())
        weights = {k: v.detach() for k, v in params.items()}
        found = predict(
            encoder, head, task.val.inputs, {**weights, **rest}, precision=recipe.precision
        )
        accuracy = float((found == task.val.labels).float().mean())
        history.append(
            {
                "epoch": epoch + 1,
                "loss": float(torch.stack(losses).mean()),
                "val_accuracy": accuracy,
                "seconds": time.perf_counter() - begun,
            }
        )
        if best is None or accuracy > max(h["val_accuracy"] for h in history[:-1]):
            best = {k: v.cpu().clone() for k, v in weights.items()}
        if report is not None:
            report(history[-1])
        if checkpoint is not None:
            with storage.atomic(checkpoint) as path:
                torch.save(
                    {
                        "params": weights,
                        "optimiser": optimiser.state_dict(),
                        "history": history,
                        "best": best,
                        "recipe": asdict(recipe),
                    },
                    path,
                )
    return {**best, **{k: v.cpu() for k, v in kept.items() if k not in frozen}}, history


@torch.no_grad()
def decay_towards(origin, params, optimiser, recipe: FineTuning) -> None:
    """θ ← θ − lr · l2sp · (θ − θ0), in place, at the optimiser's present rate."""
    torch._foreach_lerp_(params, origin, optimiser.param_groups[0]["lr"] * recipe.l2sp)


def set_rate(optimiser, recipe: FineTuning, step: int, total: int) -> None:
    """Linear warm-up, then half a cosine or a straight line to zero at `total` steps."""
    warm = max(1, round(recipe.warmup * total))
    if recipe.warmup_steps is not None:
        warm = recipe.warmup_steps
    if step < warm:
        share = (step + 1) / warm
    else:
        passed = (step - warm) / max(1, total - warm)
        falling = {"cosine": 0.5 * (1 + math.cos(math.pi * passed)), "linear": 1 - passed}
        share = falling[recipe.schedule]
    for group in optimiser.param_groups:
        group["lr"] = recipe.lr * share
