"""Time and objective of AWD: the exact solver against 300 gradient steps on all P numbers.

    python benchmarks/awd.py            # K = 8, P = 10⁶ and 10⁷; a minute or two
    python benchmarks/awd.py --small    # P = 10⁶ only
    python benchmarks/awd.py --full     # and 87.5 M, CLIP ViT-B/32's vision tower: 9 GB of memory

Task vectors are random, of length 2 and with cosines of 0.05, about those of published experts.
Each size is one run, the cases in turn, `--repeats` times; the fastest of each is shown.

    read        reading the K×P numbers once, where they are (their sum)
    load        reading them once into new memory, which is what opening the experts' files costs at
                least
    exact       ml.merging.awd, from task vectors to disentangled ones
    descent     the same by 300 gradient steps, each a single pass over the numbers; once
    autograd    300 times a step as torch's autograd takes it, from the time of `--autograd` steps
"""

from functools import partial

import torch
from harness import machine, parser, show, timed, turns

import mergelib as ml
from mergelib.vectors import passes

ALPHA, LENGTH, COSINE = 0.1, 2.0, 0.05
FULL = 87_456_000


def make(tasks: int, size: int) -> ml.TaskVectors:
    """Random task vectors of one tensor of `size` numbers."""
    generator = torch.Generator().manual_seed(0)
    deltas = torch.randn(tasks, size, generator=generator)
    shared = torch.randn(size, generator=generator)
    for delta in deltas:
        delta.mul_((1 - COSINE) ** 0.5).add_(shared, alpha=COSINE**0.5).mul_(LENGTH / size**0.5)
    base = torch.zeros(size)
    names = [f"task{i}" for i in range(tasks)]
    return ml.TaskVectors(names, base, deltas, ml.Layout.from_state({"w": base}))


def read(tv: ml.TaskVectors) -> None:
    numbers = tv.deltas.view(-1)
    pieces = passes.columns(numbers.numel(), tv.device, cpu_width=8 * passes.CPU_WIDTH)
    passes.run(lambda batch: (numbers[piece].sum() for piece in batch), pieces, tv.device)


def load(tv: ml.TaskVectors) -> None:
    copy = torch.empty_like(tv.deltas)

    def fill(batch):
        for piece in batch:
            copy[:, piece] = tv.deltas[:, piece]
            yield

    passes.run(fill, passes.columns(tv.layout.size, tv.device), tv.device)


def autograd(tv: ml.TaskVectors, steps: int, lr: float = 0.01) -> None:
    tasks = len(tv)
    redundant = torch.zeros_like(tv.base).requires_grad_()
    optimiser = torch.optim.SGD([redundant], lr=lr)
    apart = 1 - torch.eye(tasks)
    for _ in range(steps):
        optimiser.zero_grad()
        units = torch.nn.functional.normalize(tv.deltas - redundant, dim=1)
        cosines = (units @ units.T).abs() * apart
        loss = cosines.sum() / (tasks * (tasks - 1)) + ALPHA * redundant.norm()
        loss.backward()
        optimiser.step()


def exact(tv: ml.TaskVectors) -> float:
    """The objective of the exact solver; its vectors are not kept."""
    return ml.merging.awd(tv, ALPHA).report.objective.item()


def descent(tv: ml.TaskVectors, steps: int) -> tuple[float, float]:
    """The objective at the end and at δ = 0."""
    report = ml.merging.awd(tv, ALPHA, solver="descent", steps=steps).report
    return report.objective.item(), report.before.item()


def measure(tv: ml.TaskVectors, steps: int, autograd_steps: int, repeats: int) -> None:
    """Print the rows of one size."""
    ml.merging.awd(tv)  # not timed: what is only done the first time
    cases = {"read": read, "load": load, "exact": exact}
    each = turns({name: partial(timed, partial(case, tv)) for name, case in cases.items()}, repeats)
    best = {name: min(run.seconds for run in runs) for name, runs in each.items()}
    slow = timed(lambda: descent(tv, steps))
    best["descent"], (end, before) = slow.seconds, slow.value
    ends = {"exact": each["exact"][-1].value, "descent": end}
    if autograd_steps:
        spent = timed(lambda: autograd(tv, autograd_steps)).seconds
        best["autograd"] = spent * steps / autograd_steps
    print(f"\nK = {len(tv)}, P = {tv.layout.size:,}; objective at δ = 0: {before:.6f}")
    rows = {
        name: [spent, *(spent / best[other] for other in cases), ends.get(name)]
        for name, spent in best.items()
    }
    ratios = [(f"/{name}", "8.1f") for name in cases]
    show(rows, [("seconds", "10.3f"), *ratios, ("objective", "12.6f")], first=10)


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--full", action="store_true", help="also P = 87.5 million")
    asked.add_argument("--small", action="store_true", help="P = 1 million only")
    asked.add_argument("--tasks", type=int, default=8, help="number of experts")
    asked.add_argument("--steps", type=int, default=300, help="gradient steps")
    asked.add_argument("--autograd", type=int, default=3, help="autograd steps to time; 0: none")
    asked.add_argument("--repeats", type=int, default=5, help="runs of read, load and exact")
    options = asked.parse_args()
    print(machine())
    for size in [10**6] + [10**7] * (not options.small) + [FULL] * options.full:
        measure(make(options.tasks, size), options.steps, options.autograd, options.repeats)


if __name__ == "__main__":
    main()
