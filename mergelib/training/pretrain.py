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
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from mergelib.models.encoders import DEFAULT_ARCHITECTURE, build_encoder, normalise_pixels
from mergelib.tasks.parquet import class_names, decode, load_rows
from mergelib.training.augment import random_colour, random_sensor, random_view

SOURCES = ("tiny_imagenet", "cifar100", "caltech101")


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
    seed: int = 0


@dataclass(frozen=True)
class LabelledImages:
    """uint8 images (N, 3, H, W), joint labels (N,), and the class range of each image's set."""

    images: torch.Tensor
    labels: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor

    @property
    def classes(self) -> int:
        return int(self.last.max())


def load_sources(folder: Path, split: str, size: int) -> LabelledImages:
    """Read the `SOURCES` of one split; labels are offset so that no two data sets share one."""
    images, labels, first, last, offset = [], [], [], [], 0
    for name in SOURCES:
        rows = load_rows(folder / name, split)
        pixels, y = decode(rows, size)
        y = y + offset
        images.append(pixels)
        labels.append(y)
        first.append(torch.full_like(y, offset))
        offset += len(class_names(rows))
        last.append(torch.full_like(y, offset))
    return LabelledImages(*(torch.cat(parts) for parts in (images, labels, first, last)))


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


@torch.no_grad()
def features(encoder, images: torch.Tensor, device, batch: int = 512) -> torch.Tensor:
    """Unit-length features of uint8 images, (N, d) float32 on the CPU."""
    encoder.eval()
    out = []
    for x in images.split(batch):
        x = normalise_pixels(x.to(device).float() / 255)
        with torch.autocast(device.type, dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            out.append(F.normalize(encoder(x).float(), dim=1).cpu())
    encoder.train()
    return torch.cat(out)


def held_out(encoder, head, test: LabelledImages, device) -> dict[str, float]:
    """Top-1 accuracy per source on its test split, classes of that source only."""
    f = features(encoder, test.images, device)
    logits = head(f.to(device), test.first.to(device), test.last.to(device)).cpu()
    right = (logits.argmax(dim=1) == test.labels).float()
    starts = test.first.unique(sorted=True)
    return {
        name: round(float(right[test.first == start].mean()), 4)
        for name, start in zip(SOURCES, starts, strict=True)
    }


def probe_accuracy(encoder, probe, device) -> float:
    """Test accuracy of a logistic regression on the frozen features of a set never seen."""
    from sklearn.linear_model import LogisticRegression

    (train_x, train_y), (test_x, test_y) = probe
    model = LogisticRegression(C=10.0, max_iter=300)
    model.fit(features(encoder, train_x, device).numpy(), train_y)
    return float(model.score(features(encoder, test_x, device).numpy(), test_y))


def save_atomically(state: dict, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def pretrain(data: Path, out: Path, recipe: Recipe, device: str, every: int = 100_000) -> Path:
    """Train to `recipe.samples` images, resuming from `out/state.pt` if it is there.

    Writes `out/state.pt` (everything needed to go on) and `out/log.jsonl` (one line each
    `every` samples). Returns the path of the state.
    """
    device = torch.device(device)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    encoder = build_encoder(recipe.architecture).to(device).train()
    size = encoder.image_size[0]
    train = load_sources(data / "pretrain", "train", size)
    test = load_sources(data / "pretrain", "test", size)
    probe = [decode(load_rows(data / "images" / "cifar10", s), size) for s in ("train", "test")]
    head = CosineClassifier(encoder.output_dim, train.classes).to(device)
    muon, adam = optimisers(encoder, head, recipe)
    from open_clip.transformer import PatchDropout

    seen, spent = 0, 0.0
    state_path, log_path = out / "state.pt", out / "log.jsonl"
    if state_path.exists():
        state = torch.load(state_path, weights_only=True, map_location=device)
        encoder.load_state_dict(state["encoder"])
        head.load_state_dict(state["head"])
        muon.load_state_dict(state["muon"])
        adam.load_state_dict(state["adam"])
        seen, spent = state["seen"], state["seconds"]
        print(f"resumed at {seen:,} samples", flush=True)
    n, running, started, told = len(train.labels), [], time.perf_counter(), seen
    order, epoch = None, -1
    while seen < recipe.samples:
        if seen // n != epoch or order is None:
            epoch = seen // n
            order = torch.randperm(n, generator=torch.Generator().manual_seed(epoch))
        start = seen % n
        index = order[start : start + recipe.batch]
        if len(index) < recipe.batch:
            seen += len(index)
            continue
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + seen)
        share = rate(seen, recipe)
        for optimiser, peak in ((muon, recipe.muon_lr), (adam, recipe.adam_lr)):
            for group in optimiser.param_groups:
                group["lr"] = peak * share
        annealing = seen >= (1 - recipe.anneal) * recipe.samples
        drop = recipe.drop_anneal if annealing else recipe.drop_constant
        encoder.patch_dropout = PatchDropout(drop, exclude_first_token=True)
        x = train.images[index].to(device).float() / 255
        x = random_sensor(random_colour(random_view(x, generator), generator), generator)
        y, first, last = (t[index].to(device) for t in (train.labels, train.first, train.last))
        with torch.autocast(device.type, dtype=torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            f = encoder(normalise_pixels(x))
        loss = smoothed_loss(head(f.float(), first, last), y, first, last, recipe.label_smoothing)
        muon.zero_grad()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        muon.step()
        adam.step()
        running.append(loss.detach())
        seen += len(index)
        if seen - told >= every or seen >= recipe.samples:
            told = seen
            spent += time.perf_counter() - started
            line = {
                "samples": seen,
                "seconds": round(spent, 1),
                "lr_share": round(share, 4),
                "patch_dropout": round(drop, 3),
                "train_loss": round(float(torch.stack(running).mean()), 4),
                **{f"test_{k}": v for k, v in held_out(encoder, head, test, device).items()},
                "probe_cifar10": round(probe_accuracy(encoder, probe, device), 4),
            }
            running = []
            with log_path.open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
            save_atomically(
                {
                    "encoder": encoder.state_dict(),
                    "head": head.state_dict(),
                    "muon": muon.state_dict(),
                    "adam": adam.state_dict(),
                    "seen": seen,
                    "seconds": spent,
                    "recipe": asdict(recipe),
                },
                state_path,
            )
            started = time.perf_counter()
    return state_path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=float, default=Recipe.samples)
    parser.add_argument("--anneal", type=float, default=Recipe.anneal)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    recipe = Recipe(samples=int(options.samples), anneal=options.anneal, seed=options.seed)
    pretrain(options.data, options.out, recipe, options.device)


if __name__ == "__main__":
    main()
