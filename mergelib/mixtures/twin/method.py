"""Twin-Merging: a shared expert, and of each expert a compressed rest that a router doses."""

from contextlib import suppress
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from mergelib.adaptation.bench import AnyBench, Asked, as_bench
from mergelib.adaptation.learning import settled
from mergelib.adaptation.streams import derived_seed
from mergelib.methods.entry import method
from mergelib.mixtures.twin.making import twin_model
from mergelib.mixtures.twin.model import TwinModel
from mergelib.vectors.task_vectors import TaskVectors


@dataclass(frozen=True)
class RouterTraining:
    """How the router learns to name tasks: AdamW at rate `lr`, `epochs` of batches of `batch`, on
    at most `limit` inputs of each task's train split (None: all), by `seed`; `progress`: a bar."""

    lr: float = 5e-4
    epochs: int = 50
    batch: int = 1024
    limit: int | None = 5500
    seed: int = 0
    progress: bool | None = None


@dataclass(frozen=True)
class TwinMerged:
    """A `model`, which takes the place of the one it was made of, and how its router was trained.

    `history`: one row an epoch: epoch (1 …), loss (nats, mean over train), accuracy (share of the
    inputs of val whose task is named), `kept` (the epoch whose router the model has).
    """

    model: TwinModel
    history: pd.DataFrame


@method(
    title="Twin-Merging",
    family="mixture",
    paper="lu2024twin",
    needs="unlabelled inputs, sorted by task",
    published={"scale": 0.29, "rank": 0.1, "lr": 5e-4, "epochs": 50, "batch": 1024, "limit": 5500},
)
def twin_merging(
    bench: AnyBench,
    tv: TaskVectors,
    scale: float = 0.29,
    rank: float = 0.1,
    training: RouterTraining = RouterTraining(),
    **settings: object,
) -> TwinMerged:
    """θ(x) = θ* + Σ_k softmax(g(x))_k v_k, θ* = θ0 + λ Σ_k τ_k, v_k ≈ θ_k − θ*.

    Lu et al. 2024, "Twin-Merging: Dynamic Integration of Modular Expertise in Model Merging",
    section 3. λ = `scale`. Matrices of the exclusive vectors v keep a share `rank` of their
    singular values (see factors), vectors are kept whole.

    The router g reads the shared expert's last tokens; it is trained to name an input's task on
    train, by cross-entropy, and the epoch that is best on val is the one that is kept (the
    authors' code looks at test). It needs to know of which task an input is, but no class labels.
    A Bench has one set of inputs: every fifth is held out in the place of val.

    `bench` is that of `adamerging`; `settings` are single fields of RouterTraining by name. Raises
    ValueError for numbers out of range, or a model that cannot be taken apart.
    """
    (training,) = settled("twin_merging", settings, training)
    if training.epochs < 0 or training.batch < 2 or (training.limit or 2) < 2:
        raise ValueError(
            f"the router needs epochs ≥ 0 and batches and limits ≥ 2, not {training.epochs}, "
            f"{training.batch} and {training.limit}"
        )
    bench = as_bench(bench)
    torch_state = torch.random.get_rng_state()
    try:
        torch.manual_seed(derived_seed(training.seed, "twin router"))
        model = twin_model(bench.model, tv, scale, rank)
        history = train_router(model, bench, training)
    finally:
        torch.random.set_rng_state(torch_state)
    return TwinMerged(model, history)


def train_router(model: TwinModel, bench: Asked, training: RouterTraining) -> pd.DataFrame:
    """Train the router on train, keep the epoch that is best on val; the history."""
    x, y = task_tokens(model, bench, "train", training.limit)
    val_x, val_y = task_tokens(model, bench, "val", training.limit)
    router = model.router
    adam = torch.optim.AdamW(router.parameters(), lr=training.lr)
    hidden = None if training.progress is None else not training.progress
    best, best_share, rows = None, -1.0, []
    for epoch in tqdm(range(1, training.epochs + 1), desc="router", disable=hidden):
        router.train()
        total, seen = 0.0, 0
        for places in torch.randperm(len(x)).split(training.batch):
            if len(places) < 2:  # batch norm needs two
                continue
            places = places.to(x.device)
            loss = cross_entropy(router(x[places]), y[places])
            adam.zero_grad()
            loss.backward()
            adam.step()
            total, seen = total + loss.item() * len(places), seen + len(places)
        router.eval()
        with torch.no_grad():
            share = (router(val_x).argmax(1) == val_y).double().mean().item()
        if share > best_share:
            best_share, best = share, {n: t.clone() for n, t in router.state_dict().items()}
            kept = epoch
        rows.append([epoch, total / seen, share])
    history = pd.DataFrame(rows, columns=["epoch", "loss", "accuracy"])
    if best is not None:
        router.load_state_dict(best)
        history["kept"] = history["epoch"] == kept
    router.eval()
    return history


class _Read(Exception):
    """The router's input is known: nothing that comes after it is wanted."""


@torch.no_grad()
def task_tokens(
    model: TwinModel, bench: Asked, split: str, limit: int | None = None
) -> tuple[Tensor, Tensor]:
    """What the router sees of a split's inputs (N, d), and the number of each one's task (N,)."""
    found, tasks = [], []

    def read(router: torch.nn.Module, arguments: tuple[Tensor]) -> None:
        found.append(arguments[0])
        raise _Read

    hook = model.router.register_forward_pre_hook(read)
    try:
        for number, task in enumerate(model.tasks):
            for batch in bench.batches_of(task, split, limit):
                with suppress(_Read):
                    bench.answer(model, task, batch)
                tasks += [number] * len(found[-1])
    finally:
        hook.remove()
    return torch.cat(found), torch.tensor(tasks, device=found[0].device)
