"""How the routers of a mixture learn: on unlabelled inputs, by the loop of adaptive methods."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mergelib import methods
from mergelib.adaptation.bench import AnyBench, Asked, prepared, run_recipe
from mergelib.adaptation.learning import Learning, Watching
from mergelib.adaptation.loop import Adapted, Learner, adapt
from mergelib.adaptation.streams import Stream
from mergelib.evaluation import encode
from mergelib.mixtures.mixture import Mixture, Plan
from mergelib.mixtures.model import Start, upscale
from mergelib.models.inputs import Inputs, joined
from mergelib.models.sites import Site
from mergelib.vectors.task_vectors import TaskVectors

STANDARDISED_ON = 32  # inputs a task


@dataclass(frozen=True)
class Mixing:
    """Which parts are mixed, what their routers are, and what becomes of the rest.

    `parts`: "mlp", "attention" or "both", in all `blocks` or some (negative ones count from the
    last). `depth`, `init`, `noise`, `average`: see Router. `standardise`: routers see token means
    of mean 0 and deviation 1 over unlabelled inputs. `routing`: "sample", or "batch" (see Gate).
    `rest`: a static method of the registry, with `rest_numbers`, or weights (P,).
    """

    parts: str = "mlp"
    blocks: tuple[int, ...] | None = None
    depth: int = 1
    init: float = 0.3
    noise: float = 0.0
    average: str = "outputs"
    standardise: bool = True
    routing: str = "sample"
    rest: str | Tensor = "task_arithmetic"
    rest_numbers: Mapping[str, object] | None = None

    def plan(self) -> dict[str, object]:
        """The fields that a Plan has, too."""
        names = ("depth", "average", "standardise", "routing")
        return {name: getattr(self, name) for name in names}

    def recipe(self) -> dict[str, object]:
        """What a checkpoint notes of the rest."""
        name = self.rest if isinstance(self.rest, str) else "weights"
        return {"rest": name, "rest_numbers": dict(self.rest_numbers or {})}


@dataclass(frozen=True)
class MixtureAdapted(Adapted):
    """The record of a run, and the `model`, which takes the model's place that it was made of."""

    model: Mixture


def rest_weights(tv: TaskVectors, mixing: Mixing) -> Tensor:
    """(P,): `mixing.rest` itself, or the static method of that name, with its numbers.

    Task arithmetic has λ = `init` unless the numbers say otherwise, so that the model begins as
    task arithmetic. Raises KeyError for a name the registry does not have, ValueError for a method
    that is not static or weights of another length.
    """
    rest = mixing.rest
    if isinstance(rest, str):
        entry = methods.entries[rest]
        if entry.family != "static":
            raise ValueError(f"the rest must be merged by a static method, not by {rest!r}")
        default = {"scale": mixing.init} if rest == "task_arithmetic" else {}
        rest = entry.function(tv, **{**default, **(mixing.rest_numbers or {})})
    if not isinstance(rest, Tensor) or rest.shape != tv.base.shape:
        raise ValueError(f"the rest must be weights of shape {tuple(tv.base.shape)}, not {rest!r}")
    return rest


@dataclass(frozen=True)
class Routers:
    """A mixture whose routers are to learn: `vectors` are mixed in `sites` (None: those that
    `mixing` names), the rest has the weights `rest` (P,); `shared`, `sparse`: see Plan."""

    name: str
    vectors: TaskVectors
    rest: Tensor
    mixing: Mixing
    sites: list[Site] | None = None
    shared: bool = False
    sparse: bool = False


def learn_routers(
    bench: AnyBench,
    routers: Routers,
    learning: Learning,
    watching: Watching,
    recipe: Mapping[str, object],
) -> MixtureAdapted:
    """Upscale the bench's model and adapt the routers: what all learnt mixtures do.

    Routers' inputs, if they are standardised, are so over the first inputs of each task's stream.
    Raises what `upscale` and `adapt` raise, and ValueError for routing by batch with batches of
    all tasks in one pass.
    """
    mixing, tv = routers.mixing, routers.vectors
    if mixing.routing == "batch" and learning.together:
        raise ValueError("batches of all tasks in one pass cannot be routed batch by batch")
    bench, streams, watching = prepared(bench, tv, learning, watching)
    start = Start(mixing.init, mixing.noise, learning.seed)
    plan = {**mixing.plan(), "shared": routers.shared, "sparse": routers.sparse}
    where = (mixing.parts, mixing.blocks) if routers.sites is None else (routers.sites, None)
    model = upscale(bench.model, tv, routers.rest, *where, start, **plan)
    if model.plan.standardise:
        standardise(model, bench, streams)
    learner = Learner(
        torch.nn.ModuleList(model.routers),
        lambda task, batch: bench.answer(model, task, batch),
        lambda batches: bench.answers(model, batches),
    )
    evaluate = watching.evaluate
    watching = replace(
        watching,
        evaluate=None if evaluate is None else lambda: evaluate(model),
        title=watching.title or routers.name,
    )
    noted = {**recipe, **mixing.recipe(), **plain(model.plan)}
    noted |= {"init": mixing.init, "noise": mixing.noise, **run_recipe(tv, learning, watching)}
    record = adapt(learner, streams, learning=learning, watching=watching, recipe=noted)
    return MixtureAdapted(**vars(record), model=model.eval())


@torch.no_grad()
def standardise(model: Mixture, bench: Asked, streams: Mapping[str, Stream]) -> None:
    """Let the routers see token means of mean 0 and deviation 1 over the streams' first inputs."""
    counts = {task: min(STANDARDISED_ON, len(s.inputs)) for task, s in streams.items()}
    batches = {task: stream.take(0, counts[task]) for task, stream in streams.items()}
    if all(isinstance(batch, Inputs) for batch in batches.values()):
        everything = joined(list(batches.values()))
        model.fit_standardisation(lambda: encode(model, everything, precision=bench.precision))
    else:
        model.fit_standardisation(
            lambda: [bench.answer(model, task, batch) for task, batch in batches.items()]
        )


def plain(plan: Plan) -> dict[str, object]:
    """The fields of a plan as a checkpoint can hold and compare them."""
    fields = vars(plan).items()
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields}
