"""A workbench whose encoder is linear in its weights: much has a closed form there."""

from dataclasses import dataclass

import torch

from mergelib import Layout, TaskVectors
from mergelib.models.heads import Head
from mergelib.tasks.suite import Split, Suite, Task
from mergelib.workbench import Workbench

PIXELS, IMAGES = 12, 30


@dataclass(frozen=True)
class PlainHead(Head):
    """W f + b of the features as they are, in their type; the library's normalise, in float32."""

    def __call__(self, features):
        return features @ self.weight.to(features).T + self.bias.to(features)

    def to(self, device):
        return self


class Linear(torch.nn.Module):
    """Features W x of the 12 numbers x of a 2 × 2 image."""

    def __init__(self, features):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(features, PIXELS, dtype=torch.float64))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


class Halves(torch.nn.Module):
    """Two blocks that read disjoint inputs, the upper and the lower row of pixels, in float32."""

    def __init__(self, features):
        super().__init__()
        self.upper = torch.nn.Linear(6, features, bias=False)
        self.lower = torch.nn.Linear(6, features, bias=False)

    def forward(self, x):
        rows = (x[:, :, 0].flatten(1), x[:, :, 1].flatten(1))
        return torch.cat([self.upper(rows[0]), self.lower(rows[1])], 1)


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def toy_task(name, classes, seed, size=2):
    generator = torch.Generator().manual_seed(seed)

    def split():
        images = torch.randint(0, 256, (IMAGES, 3, size, size), generator=generator)
        labels = torch.randint(0, classes, (IMAGES,), generator=generator)
        return Split(images.to(torch.uint8), labels)

    names = tuple(map(str, range(classes)))
    return Task(name, name, names, ("{}",), "drawn", "Noise.", split(), split(), split())


def linear_bench(deltas, classes=3, encoder=None, heads=None) -> Workbench:
    """Tasks a, b, … of noise images; `deltas` (K, P), random base and heads by default."""
    tasks, size = deltas.shape
    encoder = encoder or Linear(size // PIXELS)
    width = encoder(torch.zeros(1, 3, 2, 2, dtype=deltas.dtype)).shape[1]
    names = "abcdefgh"[:tasks]
    suite = Suite("toy", 2, {n: toy_task(n, classes, seed=k) for k, n in enumerate(names)})
    if heads is None:
        heads = {
            n: PlainHead(normal(classes, width, seed=10 + k), normal(classes, seed=20 + k))
            for k, n in enumerate(names)
        }
    base = 0.3 * normal(size, seed=30).to(deltas)
    layout = Layout.from_state(dict(encoder.state_dict()))
    return Workbench(suite, encoder, heads, TaskVectors(names, base, deltas, layout))
