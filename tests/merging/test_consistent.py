"""Consistent task arithmetic: the equations that it solves, and those without a solution."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mergelib import Layout, TaskVectors
from mergelib.merging import consistent, consistent_task_arithmetic, task_arithmetic
from mergelib.merging.consistent import consistent_weights

SHAPES = {"a.weight": (3, 5, 2), "b.bias": (7,), "c.weight": (4, 9)}


def task_vectors(deltas, shapes=SHAPES, dtype=torch.float64):
    layout = Layout.from_state({name: torch.zeros(shape) for name, shape in shapes.items()})
    deltas = torch.as_tensor(deltas, dtype=dtype)
    names = [f"task {i}" for i in range(len(deltas))]
    return TaskVectors(names, torch.zeros(layout.size, dtype=dtype), deltas, layout)


def normal(count, seed=0, shapes=SHAPES):
    generator = torch.Generator().manual_seed(seed)
    size = sum(int(np.prod(s)) for s in shapes.values())
    return torch.randn(count, size, generator=generator, dtype=torch.float64)


def rows(tv):
    """Every group of granularity "row" as a (K, n) array, in the layout's order."""
    for shape, start in zip(tv.layout.shapes, tv.layout.offsets, strict=False):
        count = shape[0] if len(shape) > 1 else 1
        size = int(np.prod(shape)) // count
        for i in range(count):
            first = start + i * size
            yield tv.deltas[:, first : first + size].numpy()


@pytest.mark.parametrize("tasks", [1, 2, 4])
def test_each_row_solves_its_own_equations(tasks):
    tv = task_vectors(normal(tasks, seed=tasks))
    for before, after in zip(rows(tv), rows(consistent(tv)), strict=True):
        merged = after.sum(0)
        assert before @ merged == pytest.approx((before**2).sum(1), rel=1e-9)
        weights = np.linalg.solve(before @ before.T, (before**2).sum(1))
        assert after == pytest.approx(weights[:, None] * before, rel=1e-9)


@pytest.mark.parametrize("granularity", ["model", "tensor"])
def test_coarser_groups_solve_theirs(granularity):
    tv = task_vectors(normal(3))
    found = consistent(tv, granularity)
    for segment in tv.layout.segments(granularity):
        (place,) = segment.slices
        own, merged = tv.deltas[:, place], found.deltas[:, place].sum(0)
        assert (own @ merged).numpy() == pytest.approx((own * own).sum(1).numpy(), rel=1e-9)
        ratio = found.deltas[:, place] / own
        assert float((ratio - ratio[:, :1]).abs().max()) < 1e-12


def test_orthogonal_vectors_stay_and_equal_ones_share():
    eye = torch.eye(7, dtype=torch.float64)
    tv = task_vectors(eye[:3], {"w": (1, 7)})
    assert torch.equal(consistent(tv).deltas, tv.deltas)
    same = task_vectors(normal(1).expand(4, -1).clone())
    assert consistent(same).sum().numpy() == pytest.approx(same.deltas[0].numpy(), rel=1e-9)
    assert consistent(same).deltas.numpy() == pytest.approx(same.deltas.numpy() / 4, rel=1e-9)


def test_two_vectors_have_a_closed_form():
    """Lengths a and b, cosine c: w_1 = (1 − c b/a) / (1 − c²)."""
    a, b, c = 2.0, 3.0, 0.4
    points = torch.tensor([[a, 0.0], [b * c, b * (1 - c * c) ** 0.5]], dtype=torch.float64)
    weights = consistent_weights((points @ points.T).unsqueeze(0))[0]
    expected = [(1 - c * b / a) / (1 - c * c), (1 - c * a / b) / (1 - c * c)]
    assert weights.tolist() == pytest.approx(expected)


def test_contradicting_equations_are_met_as_well_as_can_be():
    """τ and 2τ cannot both be had: for unit vectors, 1 and 2 are asked for and 1.5 is given."""
    one = normal(1, shapes={"w": (1, 6)})
    tv = task_vectors(torch.cat([one, 2 * one]), {"w": (1, 6)})
    assert consistent(tv).sum().numpy() == pytest.approx(1.5 * one[0].numpy(), rel=1e-9)


def test_a_zero_vector_stays_zero_and_leaves_the_others_alone():
    deltas = normal(3)
    deltas[1] = 0
    tv = task_vectors(deltas)
    found, without = consistent(tv), consistent(task_vectors(deltas[[0, 2]]))
    assert float(found.deltas[1].abs().max()) == 0
    assert found.deltas[[0, 2]].numpy() == pytest.approx(without.deltas.numpy(), rel=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(4)), st.floats(0.1, 10))
def test_order_and_unit_do_not_matter(order, unit):
    deltas = normal(4, seed=3)
    found = consistent(task_vectors(deltas)).deltas
    other = consistent(task_vectors(unit * deltas[list(order)])).deltas
    assert other.numpy() == pytest.approx(unit * found[list(order)].numpy(), rel=1e-8)


def test_the_merger_is_task_arithmetic_on_what_the_transformation_gives():
    tv = task_vectors(normal(3), dtype=torch.float32)
    merged = consistent_task_arithmetic(tv, scale=0.4)
    assert torch.equal(merged, task_arithmetic(consistent(tv), 0.4))
    assert tv.deltas.equal(task_vectors(normal(3), dtype=torch.float32).deltas)


def test_what_cannot_be_solved_is_refused():
    deltas = normal(2)
    deltas[0, 4] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite"):
        consistent(task_vectors(deltas))
    with pytest.raises(ValueError, match="granularity must be one of .*, not 'layer'"):
        consistent(task_vectors(normal(2)), "layer")
