"""Pre-trains the base model of the study on labelled natural images.

    python -m mergelib.training.pretrain --data FOLDER --out FOLDER [--samples 3e6]

One encoder, one cosine classifier over the classes of all data sets; the softmax of an image
runs over the classes of its own data set only. To afford many samples on a CPU most patches
are dropped while the learning rate is constant (Li et al. 2023, "Scaling Language-Image
Pre-training via Masking"), fewer while it is annealed; hidden matrices are trained with Muon
(Jordan et al. 2024), everything else with AdamW. The schedule is warm-up, constant, linear to
zero, so a run can be continued with a larger `--samples`.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from mergelib.cache import storage
from mergelib.evaluation import encode
from mergelib.models.compute import PRECISIONS, mixed_precision
from mergelib.models.encoders import (
    DEFAULT_ARCHITECTURE,
    architecture_config,
    build_encoder,
)
from mergelib.models.inputs import Pixels
from mergelib.suites.parquet import decode, load_rows
from mergelib.training.augment import random_colour, random_sensor, random_view
from mergelib.training.labelled import SOURCES, LabelledImages, load_sources


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, apart from the images and the seed."""

    architecture: str = DEFAULT_ARCHITECTURE
    samples: int = 3_000_000
    anneal: float = 0.25
    batch: int = 256
    muon_lr: float = 2e-3
    adam_lr: float = 1e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warmup: int = 50_000
    drop_constant: float = 2 / 3
    drop_anneal: float = 1 / 3
    precision: str = "auto"
    seed: int = 0


class CosineClassifier(torch.nn.Module):
    """logits = s · f̂ Wᵀ with rows of W of unit length: CLIP's head with learnt class vectors."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(classes, width) * width**-0.5)
        self.log_scale = torch.nn.Parameter(torch.tensor(2.5))

    def forward(self, features, first, last):
        logits = F.normalize(features, dim=1) @ F.normalize(self.weight, dim=1).T
        logits = logits * self.log_scale.clamp(max=4.0).exp()
        c = torch.arange(len(self.weight), device=logits.device)
        return logits.masked_fill((c < first[:, None]) | (c >= last[:, None]), float("-inf"))


def smoothed_loss(logits, labels, first, last, smoothing):
    """Cross-entropy with label smoothing over the classes of the image's own data set only."""
    log_p = F.log_softmax(logits, dim=1)
    own = (last - first).float()
    uniform = log_p.masked_fill(log_p.isinf(), 0).sum(dim=1) / own
    target = log_p.gather(1, labels[:, None])[:, 0]
    return -((1 - smoothing) * target + smoothing * uniform).mean()


def rate(seen: int, recipe: Recipe) -> float:
    """Share of the peak learning rate after `seen` samples."""
    left = (recipe.samples - seen) / max(1.0, recipe.anneal * recipe.samples)
    return max(0.0, min(1.0, (seen + recipe.batch) / recipe.warmup, left))


def optimisers(encoder, head, recipe: Recipe):
    """Muon for the blocks' matrices, AdamW for all else (vectors without weight decay)."""
    inner, matrices, vectors = [], [head.weight], [head.log_scale]
    for name, p in encoder.named_parameters():
        if name.startswith("transformer.") and p.ndim == 2:
            inner.append(p)
        else:
            (matrices if name in ("conv1.weight", "proj") else vectors).append(p)
    muon = torch.optim.Muon(
        inner,
        lr=recipe.muon_lr,
        weight_decay=recipe.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    adam = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": recipe.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=recipe.adam_lr,
        betas=(0.9, 0.98),
    )
    return muon, adam


def features(encoder, images: torch.Tensor, precision: str = "auto") -> torch.Tensor:
    """Unit-length features (N, d) of uint8 images; leaves the encoder in training mode."""
    out = F.normalize(encode(encoder, images, precision=precision), dim=1)
    encoder.train()
    return out


def held_out(run: "Run", test: LabelledImages) -> dict[str, float]:
    """Top-1 accuracy per source on its test split, classes of that source only."""
    f = features(run.encoder, test.images, run.recipe.precision)
    logits = run.head(f, test.first.to(run.device), test.last.to(run.device)).cpu()
    right = (logits.argmax(dim=1) == test.labels).float()
    starts = test.first.unique(sorted=True)
    return {
        name: round(float(right[test.first == start].mean()), 4)
        for name, start in zip(SOURCES, starts, strict=True)
    }


def probe_accuracy(run: "Run", probe) -> float:
    """Test accuracy of a logistic regression on the frozen features of a set never seen."""
    from sklearn.linear_model import LogisticRegression

    (train_x, train_y), (test_x, test_y) = probe
    model = LogisticRegression(C=10.0, max_iter=300)
    encoded = [features(run.encoder, x, run.recipe.precision) for x in (train_x, test_x)]
    model.fit(encoded[0].cpu().numpy(), train_y)
    return float(model.score(encoded[1].cpu().numpy(), test_y))


class Run:
    """Model, optimisers and counters of a pre-training run; can be written and read back."""

    def __init__(self, recipe: Recipe, classes: int, device: torch.device):
        torch.manual_seed(recipe.seed)
        self.recipe, self.device = recipe, device
        self.encoder = build_encoder(recipe.architecture).to(device).train()
        self.head = CosineClassifier(self.encoder.output_dim, classes).to(device)
        self.muon, self.adam = optimisers(self.encoder, self.head, recipe)
        self.seen, self.seconds = 0, 0.0

    @property
    def parts(self) -> dict:
        return {n: getattr(self, n) for n in ("encoder", "head", "muon", "adam")}

    def save(self, path: Path) -> None:
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"seen": self.seen, "seconds": self.seconds, "recipe": asdict(self.recipe)}
        with storage.atomic(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True, map_location=self.device)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.seen, self.seconds = state["seen"], state["seconds"]

    def step(self, batch: LabelledImages, generator: torch.Generator) -> torch.Tensor:
        """One update on a batch (uint8 images); returns its loss."""
        recipe, share = self.recipe, rate(self.seen, self.recipe)
        # Patch dropout draws from torch's global generator.
        torch.manual_seed(recipe.seed * 1_000_003 + self.seen)
        for optimiser, peak in ((self.muon, recipe.muon_lr), (self.adam, recipe.adam_lr)):
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                group["lr"] = peak * share
        from open_clip.transformer import PatchDropout

        dropout = PatchDropout(dropped(self.seen, recipe), exclude_first_token=True)
        self.encoder.patch_dropout = dropout.train()
        arguments = Pixels(batch.images).prepare(self.device, change=partial(varied, generator))
        labels, first, last = (t.to(self.device) for t in (batch.labels, batch.first, batch.last))
        with mixed_precision(self.device, recipe.precision):
            f = self.encoder(*arguments)
        logits = self.head(f.float(), first, last)
        loss = smoothed_loss(logits, labels, first, last, recipe.label_smoothing)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), 1.0)
        self.muon.step()
        self.adam.step()
        self.seen += len(labels)
        return loss.detach()


def varied(generator: torch.Generator, images: torch.Tensor) -> torch.Tensor:
    """Another view, other colours and another sensor for images (B, 3, H, W) in [0, 1]."""
    return random_sensor(random_colour(random_view(images, generator), generator), generator)


def dropped(seen: int, recipe: Recipe) -> float:
    """Share of the patches that are dropped after `seen` samples."""
    annealing = seen >= (1 - recipe.anneal) * recipe.samples
    return recipe.drop_anneal if annealing else recipe.drop_constant


def batch_at(train: LabelledImages, seen: int, recipe: Recipe) -> LabelledImages:
    """The batch that follows `seen` samples: whole epochs, shuffled by their number.

    The batches of an epoch are of equal size; the few images left over wait for the next one.
    """
    per_epoch = len(train.labels) // recipe.batch
    epoch, i = divmod(seen // recipe.batch, per_epoch)
    order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(epoch))
    return train.take(order[i * recipe.batch : (i + 1) * recipe.batch])


def pretrain(data: Path, out: Path, recipe: Recipe, device: str, every: int = 100_000) -> Path:
    """Train to `recipe.samples` images, resuming from `out/state.pt` if it is there.

    `data` holds pretrain/<source>/{train,test}.parquet and images/cifar10 (for the probe).
    Writes `out/state.pt` (everything needed to go on) and `out/log.jsonl` (one line each
    `every` samples). Returns the path of the state.
    """
    size = architecture_config(recipe.architecture)["vision_cfg"]["image_size"]
    train, test = (load_sources(data / "pretrain", split, size) for split in ("train", "test"))
    probe = [decode(load_rows(data / "images" / "cifar10", s), size) for s in ("train", "test")]
    run, state_path = Run(recipe, train.classes, torch.device(device)), out / "state.pt"
    if state_path.exists():
        run.load(state_path)
        print(f"resumed at {run.seen:,} samples", flush=True)
    losses, begun, told = [], time.perf_counter(), run.seen
    while run.seen < recipe.samples:
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + run.seen)
        losses.append(run.step(batch_at(train, run.seen, recipe), generator))
        if run.seen - told >= every or run.seen >= recipe.samples:
            run.seconds += time.perf_counter() - begun
            record(run, float(torch.stack(losses).mean()), test, probe, out / "log.jsonl")
            run.save(state_path)
            losses, begun, told = [], time.perf_counter(), run.seen
    return state_path


def record(run: Run, loss: float, test: LabelledImages, probe, log: Path) -> None:
    """Measure the run and append one line to its log."""
    accuracy = held_out(run, test)
    line = {
        "samples": run.seen,
        "seconds": round(run.seconds, 1),
        "lr_share": round(rate(run.seen, run.recipe), 4),
        "patch_dropout": round(dropped(run.seen, run.recipe), 3),
        "train_loss": round(loss, 4),
        **{f"test_{name}": share for name, share in accuracy.items()},
        "probe_cifar10": round(probe_accuracy(run, probe), 4),
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=float, default=Recipe.samples)
    parser.add_argument("--anneal", type=float, default=Recipe.anneal)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    recipe = Recipe(
        samples=int(options.samples),
        anneal=options.anneal,
        precision=options.precision,
        seed=options.seed,
    )
    pretrain(options.data, options.out, recipe, options.device)


if __name__ == "__main__":
    main()
