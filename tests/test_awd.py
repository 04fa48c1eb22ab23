"""AWD's exact solver against descents from many starts, closed forms and what must not matter."""

import pickle

import pytest
import torch
from instances import one_tensor, random_state

from mergelib import TaskVectors, merging, passes
from mergelib.groups import Groups

ALPHAS = (0.003, 0.03, 0.3)


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def vectors(deltas):
    return one_tensor(deltas, torch.zeros_like(deltas[0]))


def leaning(tasks=4, size=60, seed=0, lean=0.5):
    """Random task vectors of about unit length that share a part."""
    deltas = draw(tasks, size, seed=seed) + lean * draw(size, seed=seed + 100)
    return vectors(deltas / size**0.5)


def model(tasks=3, seed=0):
    """Task vectors of a model of several tensors, in float64."""
    base = random_state(seed)
    experts = {f"t{i}": random_state(seed + 1 + i, near=base) for i in range(tasks)}
    tv = TaskVectors.from_states(base, experts).to(dtype=torch.float64)
    shared = 0.05 * draw(tv.layout.size, seed=seed)
    return tv.with_deltas(tv.deltas + shared)


def slow_objective(deltas, redundant, alpha):
    """f for many problems at once: deltas (…, K, P), redundant (…, P)."""
    v = deltas - redundant.unsqueeze(-2)
    u = v / v.norm(dim=-1, keepdim=True)
    tasks = deltas.shape[-2]
    apart = 1 - torch.eye(tasks, dtype=deltas.dtype)
    pairs = (u @ u.mT).abs() * apart
    return pairs.sum((-1, -2)) / (tasks * (tasks - 1)) + alpha * redundant.norm(dim=-1)


def instances(tasks, size):
    """Named (K, P) task vectors, of random and of awkward geometry."""
    alternating = torch.tensor([1.0, -1] * tasks, dtype=torch.float64)[:tasks, None]
    huge = torch.ones(tasks, 1, dtype=torch.float64)
    huge[0] = 1000
    for seed in range(2):
        own, shared = draw(tasks, size, seed=seed), draw(size, seed=50 + seed)
        yield f"random {seed}", own
        yield f"leaning {seed}", own + 0.7 * shared
        yield f"near-parallel {seed}", shared + 10 ** -(1.0 + seed) * own
        yield f"negative cosines {seed}", 0.7 * own + alternating * shared
        yield f"around zero {seed}", own - 0.9 * own.mean(0)
        yield f"one huge {seed}", huge * (own + 0.7 * shared)
        yield f"duplicated {seed}", torch.cat([own[:1], own[:-1]]) + 0.5 * shared


@pytest.mark.parametrize("tasks", [2, 5])
def test_no_descent_ends_lower(tasks, size=24, starts=6, steps=3000):
    """3,000 steps of Adam on all P numbers, step size falling to zero, the best of six starts."""
    cases = [(f"{n}, α {a}", d / size**0.5, a) for n, d in instances(tasks, size) for a in ALPHAS]
    deltas = torch.stack([d for _, d, _ in cases]).unsqueeze(1)
    alpha = torch.tensor([[a] for *_, a in cases], dtype=torch.float64)
    unit = deltas.norm(dim=-1).median(-1).values.unsqueeze(-1)
    weights = draw(starts, tasks, seed=1).softmax(-1)
    towards = torch.linspace(0, 1, starts, dtype=torch.float64)[:, None]
    x = towards * (weights @ deltas.squeeze(1)) + 0.02 * unit * draw(
        len(cases), starts, size, seed=2
    )
    x = (x / unit).requires_grad_()
    optimiser = torch.optim.Adam([x], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        slow_objective(deltas, x * unit, alpha).sum().backward()
        optimiser.step()
        schedule.step()
    ends = slow_objective(deltas, x.detach() * unit, alpha).min(1).values
    for (name, d, a), end in zip(cases, ends.tolist(), strict=True):
        found = merging.awd(vectors(d), a, within_span=False).report.objective.item()
        assert found <= end * (1 + 1e-6), (name, found, end)


@pytest.mark.parametrize(("tasks", "cosine"), [(2, 0.5), (4, 0.1), (8, 0.05)])
def test_equal_norms_and_cosines_have_the_closed_form(tasks, cosine, radius=3.0):
    """δ = s · mean τ with s = 1 − √(1 − c/m), m = (1 + (K − 1) c)/K: all angles are right."""
    gram = torch.full((tasks, tasks), cosine, dtype=torch.float64).fill_diagonal_(1)
    axes = torch.linalg.qr(draw(40, tasks)).Q
    tv = vectors(radius * torch.linalg.cholesky(gram) @ axes.T)
    m = (1 + (tasks - 1) * cosine) / tasks
    share = 1 - (1 - cosine / m) ** 0.5
    apart = merging.awd(tv, alpha=1e-4)
    assert apart.cosines().fill_diagonal_(0).abs().max() < 1e-6
    shortest = 1e-4 * share * (tv.sum() / tasks).norm().item()
    assert apart.report.objective.item() == pytest.approx(shortest, rel=1e-5)
    if tasks > 2:  # with two, other points see them at right angles too
        torch.testing.assert_close(apart.redundant, share * tv.sum() / tasks, atol=1e-5, rtol=0)
        coefficients = torch.full((1, tasks), share / tasks, dtype=torch.float64)
        torch.testing.assert_close(apart.report.coefficients, coefficients, atol=1e-5, rtol=0)


@pytest.mark.parametrize("granularity", ["model", "block", "tensor", "row"])
@pytest.mark.parametrize("within_span", [True, False])
def test_the_report_is_true_of_the_vectors(granularity, within_span):
    tv = model()
    apart = merging.awd(tv, 0.1, granularity, within_span=within_span)
    torch.testing.assert_close(apart.deltas + apart.redundant, tv.deltas, rtol=0, atol=1e-15)
    report, zero = apart.report, torch.zeros_like(tv.base)
    for redundant, reported in ((apart.redundant, report.objective), (zero, report.before)):
        found = torch.as_tensor(merging.awd_objective(tv, redundant, 0.1, granularity))
        torch.testing.assert_close(reported.squeeze(), found.double(), rtol=1e-8, atol=1e-12)
    assert (report.unrestricted <= report.in_span).all() and (report.in_span <= report.before).all()
    assert torch.equal(report.objective, report.in_span if within_span else report.unrestricted)
    assert not (within_span and report.outside.any())
    assert len(report.groups) == len(report.coefficients) == len(report.iterations)


@pytest.mark.parametrize("granularity", ["model", "block", "tensor"])
def test_coefficients_make_the_redundant_vector(granularity):
    tv = model()
    apart = merging.awd(tv, 0.1, granularity)
    for segment, c in zip(tv.layout.segments(granularity), apart.report.coefficients, strict=True):
        for place in segment.slices:
            torch.testing.assert_close(apart.redundant[place], c @ tv.deltas[:, place])
    assert apart.redundant.any()


def test_rows_are_solved_as_if_each_were_a_model():
    tv = model()
    apart = merging.awd(tv, 0.05, "row")
    state = tv.layout.unflatten(apart.redundant)
    deltas = [tv.layout.unflatten(delta) for delta in tv.deltas]
    names = iter(zip(apart.report.groups, apart.report.objective, strict=True))
    for name, shape in zip(tv.layout.names, tv.layout.shapes, strict=True):
        if state[name].numel() == 0:
            continue
        rows = range(shape[0]) if len(shape) > 1 else [...]
        for i in rows:
            group, objective = next(names)
            assert group == (name if i is ... else f"{name}[{i}]")
            row = torch.stack([delta[name][i].reshape(-1) for delta in deltas])
            alone = merging.awd(vectors(row), 0.05)
            assert objective.item() == pytest.approx(alone.report.objective.item(), rel=1e-9)
            mine = state[name][i].reshape(-1)
            torch.testing.assert_close(mine, alone.redundant, atol=1e-6, rtol=1e-5)
    assert next(names, None) is None


def test_one_tensor_is_the_model():
    tv = leaning()
    model, tensor = (merging.awd(tv, 0.1, granularity) for granularity in ("model", "tensor"))
    assert torch.equal(model.deltas, tensor.deltas)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_task_arithmetic_it_is_task_arithmetic_with_task_weights(dtype):
    """λ Σ_i (τ_i − δ) = Σ_k λ (1 − K c_k) τ_k."""
    tv = leaning().to(dtype=dtype)
    apart = merging.awd(tv, 0.05)
    assert apart.redundant.any()
    weights = 0.3 * (1 - len(tv) * apart.report.coefficients[0])
    expected = merging.task_arithmetic(tv, weights)
    torch.testing.assert_close(merging.task_arithmetic(apart, 0.3), expected, atol=1e-6, rtol=1e-5)
    merged = merging.awd_task_arithmetic(tv, 0.3, 0.05)
    assert torch.equal(merged, merging.task_arithmetic(apart, 0.3))


def test_it_composes_like_any_task_vectors():
    tv = leaning()
    apart = merging.awd(tv, 0.05, "tensor")
    plain = tv.with_deltas(tv.deltas - apart.redundant)
    for merge in (merging.ties, merging.dare, merging.average):
        assert torch.equal(merge(apart), merge(plain))
    assert torch.equal(apart["b"].deltas, plain["b"].deltas)
    assert torch.equal(apart.sum(), plain.sum())
    assert isinstance(apart, TaskVectors) and list(apart) == list(tv)
    again = pickle.loads(pickle.dumps(apart))
    assert torch.equal(again.redundant, apart.redundant) and again.report.groups == ("w",)
    assert torch.equal(again.deltas, apart.deltas) and "shared vector" in repr(again)
    with pytest.raises(AttributeError, match="immutable"):
        apart.redundant = tv.base


def test_the_order_of_the_tasks_does_not_matter():
    tv, order = leaning(), [2, 0, 3, 1]
    apart = merging.awd(tv, 0.05)
    shuffled = merging.awd(tv[[tv.tasks[i] for i in order]], 0.05)
    torch.testing.assert_close(shuffled.deltas, apart.deltas[order], atol=1e-6, rtol=0)
    coefficients = apart.report.coefficients[:, order]
    torch.testing.assert_close(shuffled.report.coefficients, coefficients, atol=1e-6, rtol=0)


def test_neither_pieces_nor_cores_matter(monkeypatch):
    tv = model()
    threads = torch.get_num_threads()
    for granularity in ("model", "block", "row"):
        whole = merging.awd(tv, 0.1, granularity)
        monkeypatch.setattr(passes, "width", lambda *_: 7)
        pieces = merging.awd(tv, 0.1, granularity)
        try:
            torch.set_num_threads(3)
            on_three = merging.awd(tv, 0.1, granularity)
        finally:
            torch.set_num_threads(threads)
            monkeypatch.undo()
        torch.testing.assert_close(pieces.redundant, whole.redundant, atol=1e-7, rtol=1e-6)
        assert torch.equal(pieces.redundant, on_three.redundant)


def test_outside_the_span_only_if_it_helps_and_only_if_allowed():
    """Three vectors at 120°: from height r/√2 over their plane they are at right angles."""
    plane = torch.linalg.qr(draw(30, 2)).Q.T
    angles = torch.tensor([0, 2.0943951, 4.1887902], dtype=torch.float64)
    tv = vectors(torch.stack([angles.cos(), angles.sin()], 1) @ plane)
    inside, outside = (merging.awd(tv, 0.01, within_span=w) for w in (True, False))
    height = 0.5**0.5
    assert outside.report.objective.item() == pytest.approx(0.01 * height, rel=1e-6)
    assert outside.report.outside.item() == pytest.approx(height, rel=1e-6)
    assert (tv.deltas @ outside.redundant).abs().max() < 1e-6
    assert inside.report.objective.item() > 10 * outside.report.objective.item()
    assert inside.report.unrestricted.item() == outside.report.objective.item()
    other = merging.awd(tv, 0.01, within_span=False, seed=1)
    assert not torch.allclose(other.redundant, outside.redundant, atol=1e-2)
    assert torch.equal(merging.awd(tv, 0.01, within_span=False).redundant, outside.redundant)


def test_groups_cover_every_coordinate_once():
    layout = model().layout
    for by in ("model", "block", "tensor", "row"):
        groups = Groups.of_layout(layout, by)
        covered = torch.zeros(layout.size)
        for tile in groups.pieces(torch.device("cpu")):
            covered[tile.columns] += 1
        assert covered.eq(1).all() and groups.sizes.sum() == layout.size
        assert len(set(groups.names)) == len(groups) == len(groups.sizes)
