"""The one loop: the objective, the record, checkpoints, the collapse watch."""

import math
import warnings

import pandas as pd
import pytest
import torch
from toys import toy_bench, toy_suite

from mergelib.adaptation import (
    CollapseWarning,
    CollapseWatch,
    Learner,
    adamerging,
    adapt,
    effective_classes,
    entropy,
    mean_entropy,
    unlabelled,
)
from mergelib.models.inputs import joined

# ---------------------------------------------------------------- objective


def test_entropy_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]]))
    expected = [1.5 * math.log(2), math.log(3)]
    assert entropy(logits).tolist() == pytest.approx(expected)
    assert mean_entropy(logits).item() == pytest.approx(sum(expected) / 2)


def test_entropy_of_certainty_is_zero_and_has_a_gradient():
    logits = torch.tensor([[1e4, 0.0, -1e4], [0.0, float("-inf"), 0.0]], requires_grad=True)
    found = entropy(logits)
    found.sum().backward()
    assert found.tolist() == pytest.approx([0.0, math.log(2)])
    assert logits.grad[0].abs().max() == 0 and logits.grad.isfinite().all()


def test_the_gradient_of_the_entropy_equals_finite_differences():
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(entropy, (x,))


def test_effective_classes():
    counts = torch.tensor([[5, 5, 0, 0], [7, 0, 0, 0], [3, 3, 3, 3]])
    assert effective_classes(counts).tolist() == pytest.approx([2, 1, 4])


# ----------------------------------------------------------------- the loop


def linear_learner(scale: float = 1.0, module: bool = False) -> Learner:
    """A model that is one matrix for all tasks, (5, 48)."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(48, 5, bias=False)
    if module:
        return Learner(layer, lambda task, x: scale * layer(x.values.flatten(1) / 255))
    weight = layer.weight.detach().clone().requires_grad_()
    return Learner({"w": weight}, lambda task, x: scale * (x.values.flatten(1) / 255) @ weight.T)


def streams(**options):
    return unlabelled(toy_suite(), **options)


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Equal to the bit, but for the clock."""
    pd.testing.assert_frame_equal(
        a.drop(columns="seconds", errors="ignore"),
        b.drop(columns="seconds", errors="ignore"),
        check_exact=True,
    )


@pytest.mark.parametrize("module", [False, True])
def test_the_loop_equals_a_slow_one(module):
    learner = linear_learner(module=module)
    (weight,) = learner.trainable.values()
    slow = weight.detach().clone().requires_grad_()
    adam, losses = torch.optim.Adam([slow], lr=1e-2), []
    for step in range(6):
        adam.zero_grad()
        loss = 0
        for stream in streams(seed=3).values():
            p = torch.softmax((stream.take(4 * step, 4).values.flatten(1) / 255) @ slow.T, -1)
            loss = loss - (p * p.log()).sum() / 4
        loss.backward()
        adam.step()
        losses.append(loss.item())
    found = adapt(learner, streams(seed=3), 6, lr=1e-2, batch=4)
    torch.testing.assert_close(weight, slow, rtol=1e-5, atol=1e-6)
    assert found.loss.tolist() == pytest.approx(losses, rel=1e-5)
    assert found.loss.iloc[-1] < found.loss.iloc[0]


def test_the_history_is_tidy():
    found = adapt(linear_learner(), streams(), 5, batch=10).history
    columns = ["step", "task", "entropy", "top", "classes", "seconds"]
    assert list(found.columns) == columns and len(found) == 15
    assert found["task"].tolist() == ["ants", "bees", "cats"] * 5
    assert found["step"].tolist() == [1 + i // 3 for i in range(15)]
    assert found["entropy"].between(0, math.log(5)).all()
    assert found["top"].between(0.2, 1).all() and found["classes"].between(1, 5).all()
    assert found["seconds"].is_monotonic_increasing


def counting(table: list):
    def evaluate():
        table.append(len(table))
        return pd.DataFrame({"task": ["ants", "bees"], "accuracy": [0.5, 0.25]})

    return evaluate


def test_evaluations_come_at_the_start_when_asked_for_and_at_the_end():
    found = adapt(linear_learner(), streams(), 7, evaluate=counting([]), every=3).evaluations
    assert found["step"].tolist() == [0, 0, 3, 3, 6, 6, 7, 7]
    assert found["accuracy"].tolist() == [0.5, 0.25] * 4
    assert len(adapt(linear_learner(), streams(), 2, evaluate=counting([])).evaluations) == 0


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_and_ends_as_an_uninterrupted_one(tmp_path):
    options = {"steps": 40, "lr": 1e-2, "batch": 4, "save_every": 8, "every": 10}
    whole = linear_learner()
    expected = adapt(whole, streams(), evaluate=counting([]), **options)

    path, killed = tmp_path / "run.pt", linear_learner()
    logits, calls = killed.logits, []

    def dying(task, x):
        calls.append(task)
        if len(calls) > 3 * 29:
            raise Killed
        return logits(task, x)

    killed.logits = dying
    with pytest.raises(Killed):
        adapt(killed, streams(), evaluate=counting([]), checkpoint=path, **options)
    resumed, seen = linear_learner(), []
    logits = resumed.logits
    resumed.logits = lambda task, x: (seen.append(task), logits(task, x))[1]
    found = adapt(resumed, streams(), evaluate=counting([]), checkpoint=path, **options)
    assert len(seen) == 3 * 16  # from step 24 on
    assert torch.equal(resumed.trainable["w"], whole.trainable["w"])
    same(found.history, expected.history)
    same(found.evaluations, expected.evaluations)
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]

    again = adapt(linear_learner(), streams(), checkpoint=path, **options)
    same(again.history, expected.history)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    adapt(linear_learner(), streams(), 4, lr=1e-2, checkpoint=path)
    with pytest.raises(ValueError, match=r"run\.pt is of a run with lr=0\.01, not 0\.1"):
        adapt(linear_learner(), streams(), 4, lr=1e-1, checkpoint=path)
    with pytest.raises(ValueError, match="with seed=None, not 3"):
        adapt(linear_learner(), streams(), 4, lr=1e-2, checkpoint=path, recipe={"seed": 3})
    with pytest.raises(ValueError, match=r"run\.pt is at step 4, past 2"):
        adapt(linear_learner(), streams(), 2, lr=1e-2, checkpoint=path)


def test_an_entropy_that_is_not_finite_is_named():
    learner = linear_learner()
    logits = learner.logits
    learner.logits = lambda task, x: logits(task, x) * (float("nan") if task == "bees" else 1)
    with pytest.raises(FloatingPointError, match="entropy of task 'bees' is nan at step 1"):
        adapt(learner, streams(), 2)


def test_nothing_to_do_is_refused():
    with pytest.raises(ValueError, match="nothing to learn"):
        Learner({"w": torch.zeros(3)}, lambda task, x: x)
    with pytest.raises(ValueError, match="needs streams, steps ≥ 0 and batch ≥ 1, not 0 streams"):
        adapt(linear_learner(), {}, 1)


def test_the_bar_shows_loss_and_entropy(capsys):
    found = adapt(linear_learner(), streams(), 2, progress=True, title="toy")
    shown = capsys.readouterr().err
    loss = found.loss.iloc[-1]
    assert "toy" in shown and f"loss={loss:.3f}" in shown and f"entropy={loss / 3:.3f}" in shown
    adapt(linear_learner(), streams(), 2)
    assert capsys.readouterr().err == ""  # no terminal here


# ----------------------------------------------------------- collapse watch


def spread(classes: int, of: int = 10, total: int = 20) -> torch.Tensor:
    counts = torch.zeros(of, dtype=torch.long)
    counts[:classes] = total // classes
    return counts


def show(watch, sequence, task="ants"):
    return [watch.see(task, i + 1, spread(c), h) for i, (c, h) in enumerate(sequence)]


def test_the_watch_names_task_and_numbers():
    watch = CollapseWatch(window=3)
    with pytest.warns(CollapseWarning) as found:
        classes = show(watch, [(10, 2.0)] * 4 + [(1, 0.1)] * 6)
    assert len(found) == 1  # once a task
    text = str(found[0].message)
    assert text.startswith("task 'ants' may be collapsing at step 6: its last 60 predictions fall")
    # Three batches: 2, 2, 2 of 20 on nine classes and 2 + 20 + 20 on one.
    shares = [42 / 60] + [2 / 60] * 9
    expected = math.exp(-sum(s * math.log(s) for s in shares))
    assert classes[5] == pytest.approx(expected)
    assert f"on {expected:.1f} of 10 classes (70% on class 0)" in text
    assert "those up to step 3 on 10.0, while the entropy fell from 2.000 to 0.733" in text


@pytest.mark.parametrize(
    "sequence",
    [
        [(10, 2.0 - i / 20) for i in range(30)],  # sure of itself and still of many minds
        [(10, 1.0)] * 10 + [(2, 1.5)] * 20,  # concentrated, but less and less sure
        [(2, 2.0)] * 10 + [(2, 0.1)] * 20,  # few classes from the start
        [(2, 2.0)] * 10 + [(10, 0.1)] * 20,  # spreads out
    ],
)
def test_the_watch_is_silent_where_nothing_collapses(sequence):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        show(CollapseWatch(window=4), sequence)


def test_the_loop_warns_of_a_model_that_gives_all_inputs_one_answer():
    """Only a bias can be learnt, so that all that lowers the entropy is to prefer one class."""
    torch.manual_seed(1)
    weight, bias = torch.randn(5, 48), torch.zeros(5, requires_grad=True)
    learner = Learner(
        {"bias": bias}, lambda task, x: (x.values.flatten(1) / 255 - 0.5) @ weight.T + bias
    )
    with pytest.warns(CollapseWarning, match="may be collapsing") as warned:
        found = adapt(learner, streams(), 150, lr=0.1)
    assert "task 'ants'" in "".join(str(w.message) for w in warned)
    assert found.history["classes"].iloc[-1] < 1.5


def test_a_collapse_within_the_first_window_is_noticed():
    sequence = [(10, 2.0)] * 5 + [(1, 0.1)] * 25
    with pytest.warns(CollapseWarning, match="those up to step 5 on 10.0"):
        show(CollapseWatch(), sequence)


def test_the_watch_goes_on_where_it_was():
    sequence = [(10, 2.0)] * 5 + [(1, 0.1)] * 4
    whole, first, second = (CollapseWatch(window=3) for _ in range(3))
    with pytest.warns(CollapseWarning):
        expected = show(whole, sequence)
    found = show(first, sequence[:5])
    second.restore(first.state())
    with pytest.warns(CollapseWarning):
        found += show(second, sequence[5:])
    assert found == expected
    third = CollapseWatch(window=3)
    third.restore(second.state())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        show(third, [(1, 0.05)] * 3)


def test_one_pass_for_all_tasks_is_the_sum_of_their_turns():
    torch.manual_seed(0)
    parts, tv = toy_bench()
    kept = {}
    for together in (False, True):
        kept[together] = adamerging(parts, tv, steps=4, batch=5, lr=0.05, together=together)
    apart, joint = kept[False], kept[True]
    assert torch.allclose(apart.coefficients, joint.coefficients, atol=1e-3)
    assert not torch.allclose(apart.coefficients, torch.full_like(apart.coefficients, 0.3))
    for column in ("entropy", "top"):
        assert apart.history[column].tolist() == pytest.approx(joint.history[column], abs=2e-3)


def test_a_pass_for_all_tasks_is_one_call():
    calls, weight = [], torch.zeros(5, 48, requires_grad=True)

    def logits(images):
        return (images.values.flatten(1) / 255 - 0.5) @ weight.T

    def several(batches):
        calls.append(list(batches))
        parts = logits(joined(list(batches.values()))).split([len(b) for b in batches.values()])
        return dict(zip(batches, parts, strict=True))

    learner = Learner({"w": weight}, lambda task, x: logits(x), several)
    adapt(learner, streams(), 2, batch=3, together=True)
    assert calls == [list(toy_suite().names)] * 2
    adapt(learner, streams(), 1, batch=3)
    assert len(calls) == 2
