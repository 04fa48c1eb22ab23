"""How the routers of a mixture learn: on unlabelled inputs, by the loop of adaptive methods."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from mergelib import methods
from mergelib.adaptation.bench import Bench, fingerprint, parts_of
from mergelib.adaptation.loop import Adapted, Learner, adapt
from mergelib.adaptation.streams import unlabelled
from mergelib.adaptation.weights import ImageClassifier
from mergelib.mixtures.model import Mixture, Plan, Start, upscale
from mergelib.vectors.task_vectors import TaskVectors

STANDARDISED_ON = 128  # images a task


@dataclass(frozen=True)
class MixtureAdapted(Adapted):
    """The record of a run, and the `model`, which takes the encoder's place."""

    model: Mixture


def rest_weights(
    tv: TaskVectors, rest: str | Tensor, numbers: Mapping[str, object] | None, scale: float
) -> Tensor:
    """(P,): `rest` itself, or the static method of that name in the registry, with `numbers`.

    Task arithmetic has λ = `scale` unless the numbers say otherwise. Raises KeyError for a name
    the registry does not have, ValueError for a method that is not static or weights of another
    length.
    """
    if isinstance(rest, str):
        entry = methods.entries[rest]
        if entry.family != "static":
            raise ValueError(f"the rest must be merged by a static method, not by {rest!r}")
        default = {"scale": scale} if rest == "task_arithmetic" else {}
        rest = entry.function(tv, **{**default, **(numbers or {})})
    if not isinstance(rest, Tensor) or rest.shape != tv.base.shape:
        raise ValueError(f"the rest must be weights of shape {tuple(tv.base.shape)}, not {rest!r}")
    return rest


def learn_routers(
    bench: Bench,
    tv: TaskVectors,
    rest: Tensor,
    parts: str,
    blocks: tuple[int, ...] | None,
    start: Start,
    plan: Mapping[str, object],
    title: str,
    recipe: Mapping[str, object],
    steps: int,
    lr: float,
    batch: int,
    split: str,
    seed: int,
    cosine: bool,
    options: dict,
) -> MixtureAdapted:
    """Upscale the bench's encoder and adapt the routers: what all learnt mixtures do.

    The routers' inputs, if they are standardised, are so over the first images of each task's
    stream. Raises what `upscale` and `adapt` raise, and ValueError for routing by batch with the
    option `together`, where a batch holds all tasks.
    """
    if plan["routing"] == "batch" and options.get("together"):
        raise ValueError("batches of all tasks in one pass cannot be routed batch by batch")
    encoder, heads, suite = parts_of(bench)
    streams = unlabelled(suite, split, seed, tv.tasks)
    classify_by = suite.subset(tv.tasks)
    model = upscale(encoder, tv, rest, parts, blocks, start, **plan)
    if model.plan.standardise:
        counts = {name: min(STANDARDISED_ON, len(s.images)) for name, s in streams.items()}
        images = [stream.take(0, counts[name]) for name, stream in streams.items()]
        model.fit_standardisation(torch.cat(images))
    classify = ImageClassifier(model, heads, classify_by)
    routers = torch.nn.ModuleList(model.routers)
    learner = Learner(
        routers,
        lambda task, images: classify({}, task, images),
        lambda batches: classify.together({}, batches),
    )
    evaluate: Callable[[Mixture], pd.DataFrame] | None = options.pop("evaluate", None)
    recipe = {
        **recipe,
        **plain(model.plan),
        "init": start.init,
        "noise": start.noise,
        "split": split,
        "seed": seed,
        **fingerprint(tv, options),
    }
    record = adapt(
        learner,
        streams,
        steps,
        lr=lr,
        batch=batch,
        evaluate=None if evaluate is None else lambda: evaluate(model),
        title=options.pop("title", title),
        recipe=recipe,
        cosine=cosine,
        **options,
    )
    return MixtureAdapted(**vars(record), model=model.eval())


def plain(plan: Plan) -> dict[str, object]:
    """The fields of a plan as a checkpoint can hold and compare them."""
    fields = vars(plan).items()
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields}
