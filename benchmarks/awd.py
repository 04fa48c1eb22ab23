"""Time and objective of AWD: the exact solver against 300 gradient steps on all P numbers.

    python benchmarks/awd.py            # K = 8, P = 10⁶ and 10⁷; a minute or two
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

import argparse
import time
from collections.abc import Callable

import torch

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


def seconds(case: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = case()
    return time.perf_counter() - start, result


def measure(tv: ml.TaskVectors, steps: int, autograd_steps: int, repeats: int) -> None:
    """Print the rows of one size."""
    ml.merging.awd(tv)  # not timed: what is only done the first time
    times = {name: [] for name in ("read", "load", "exact")}
    for _ in range(repeats):
        times["read"].append(seconds(lambda: read(tv))[0])
        times["load"].append(seconds(lambda: load(tv))[0])
        spent, exact = seconds(lambda: ml.merging.awd(tv, ALPHA))
        times["exact"].append(spent)
        objective = exact.report.objective.item()
        del exact
    best = {name: min(column) for name, column in times.items()}
    best["descent"], descent = seconds(
        lambda: ml.merging.awd(tv, ALPHA, solver="descent", steps=steps)
    )
    ends = {"exact": objective, "descent": descent.report.objective.item()}
    before = descent.report.before.item()
    del descent
    if autograd_steps:
        spent, _ = seconds(lambda: autograd(tv, autograd_steps))
        best["autograd"] = spent * steps / autograd_steps
    print(f"\nK = {len(tv)}, P = {tv.layout.size:,}; objective at δ = 0: {before:.6f}")
    print(f"{'':10}{'seconds':>10}{'/read':>8}{'/load':>8}{'/exact':>8}{'objective':>12}")
    for name, spent in best.items():
        ratios = "".join(f"{spent / best[other]:8.1f}" for other in ("read", "load", "exact"))
        end = f"{ends[name]:12.6f}" if name in ends else ""
        print(f"{name:10}{spent:10.3f}{ratios}{end}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="also P = 87.5 million")
    parser.add_argument("--tasks", type=int, default=8, help="number of experts")
    parser.add_argument("--steps", type=int, default=300, help="gradient steps")
    parser.add_argument("--autograd", type=int, default=3, help="autograd steps to time; 0: none")
    parser.add_argument("--repeats", type=int, default=5, help="runs of read, load and exact")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for size in [10**6, 10**7] + [FULL] * options.full:
        measure(make(options.tasks, size), options.steps, options.autograd, options.repeats)


if __name__ == "__main__":
    main()
