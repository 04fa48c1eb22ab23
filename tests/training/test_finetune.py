"""An expert's training: what is trained, what is kept, and that a killed run goes on."""

from dataclasses import replace

import pytest
import torch

from mergelib.evaluation import encode, evaluate
from mergelib.models.heads import Head, linear_probe
from mergelib.suites import load_suite
from mergelib.suites.bases import load_encoder
from mergelib.training.finetune import FineTuning, decay_towards, fine_tune, set_rate

QUICK = FineTuning(epochs=3, batch=40, lr=5e-3)


@pytest.fixture(scope="module")
def setting():
    suite, encoder = load_suite("pico"), load_encoder("pico")
    task = suite["bars"]
    f = [encode(encoder, s.inputs.values) for s in (task.train, task.val)]
    head = linear_probe(f[0], task.train.labels, f[1], task.val.labels, len(task.classes))
    return suite, encoder, task, head


@pytest.fixture(scope="module")
def tuned(setting):
    _, encoder, task, head = setting
    return fine_tune(encoder, head, task, QUICK)


def test_an_expert_beats_the_probe(setting, tuned):
    suite, encoder, task, head = setting
    heads = {"bars": head}
    before = evaluate(encoder, heads, suite, tasks=["bars"])["accuracy"][0]
    after = evaluate(encoder, heads, suite, weights=tuned[0], tasks=["bars"])["accuracy"][0]
    assert after > before + 0.05


def test_the_starting_encoder_is_left_alone(setting):
    _, encoder, task, head = setting
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    fine_tune(encoder, head, task, replace(QUICK, epochs=1))
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


def test_every_tensor_of_the_encoder_is_trained(setting, tuned):
    start = setting[1].state_dict()
    unmoved = [k for k, v in tuned[0].items() if torch.equal(v, start[k])]
    assert unmoved == []


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(setting, tuned):
    _, encoder, task, head = setting
    again, _ = fine_tune(encoder, head, task, QUICK)
    assert all(torch.equal(v, again[k]) for k, v in tuned[0].items())
    other, _ = fine_tune(encoder, head, task, replace(QUICK, seed=1))
    assert not torch.equal(other["conv1.weight"], again["conv1.weight"])


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(setting, tuned, tmp_path):
    _, encoder, task, head = setting
    checkpoint = tmp_path / "bars.partial"

    def die_after_second(record):
        if record["epoch"] == 3:
            raise Killed

    with pytest.raises(Killed):
        fine_tune(encoder, head, task, QUICK, checkpoint, die_after_second)
    epochs = []
    weights, history = fine_tune(
        encoder, head, task, QUICK, checkpoint, lambda record: epochs.append(record["epoch"])
    )
    assert epochs == [3]
    assert [h["epoch"] for h in history] == [1, 2, 3]
    assert all(torch.equal(v, weights[k]) for k, v in tuned[0].items())


def test_the_kept_weights_are_those_of_the_best_epoch(setting):
    suite, encoder, task, head = setting
    weights, history = fine_tune(encoder, head, task, replace(QUICK, epochs=6, lr=2e-2))
    val = evaluate(encoder, {"bars": head}, suite, weights, "val", ["bars"])["accuracy"][0]
    assert val == pytest.approx(max(h["val_accuracy"] for h in history))


def test_weights_decay_towards_the_base_at_the_present_rate():
    base, p = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 2.0], requires_grad=True)
    optimiser = torch.optim.Adam([p], lr=0.05)
    decay_towards([base], [p], optimiser, FineTuning(l2sp=5.0))
    torch.testing.assert_close(p.detach(), torch.tensor([2.5, 1.0]))
    torch.testing.assert_close(base, torch.tensor([1.0, -2.0]), rtol=0, atol=0)


def test_the_decay_shortens_the_task_vector(setting, tuned):
    _, encoder, task, head = setting
    free, _ = fine_tune(encoder, head, task, replace(QUICK, l2sp=0.0))
    start = encoder.state_dict()
    lengths = [sum((w[k] - v).square().sum() for k, v in start.items()) for w in (tuned[0], free)]
    assert lengths[0] < 0.8 * lengths[1]


def test_the_rate_rises_then_falls_to_zero():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0)
    rates = []
    for step in range(100):
        set_rate(optimiser, FineTuning(lr=1.0, warmup=0.1), step, 100)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates[9] == pytest.approx(1.0) == max(rates)
    assert rates[0] == pytest.approx(0.1)
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert rates[-1] < 1e-3


def test_a_probe_separates_what_is_separable_and_names_absent_classes():
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(3, 8)
    labels = torch.arange(3).repeat(40)
    features = centres[labels] + 0.05 * torch.randn(120, 8, generator=generator)
    head = linear_probe(features, labels, features, labels, 3)
    assert (head(features).argmax(dim=1) == labels).all()
    with pytest.raises(ValueError, match=r"classes \[3\] are absent"):
        linear_probe(features, labels, features, labels, 4)


def test_two_classes_get_two_rows():
    features = torch.tensor([[1.0, 0.1], [0.9, 0.0], [-1.0, 0.0], [-0.8, 0.1]])
    labels = torch.tensor([0, 0, 1, 1])
    head = linear_probe(features, labels, features, labels, 2)
    assert head.weight.shape == (2, 2)
    assert head(features).argmax(dim=1).tolist() == labels.tolist()


def test_a_head_ignores_the_length_of_features():
    head = Head(torch.randn(4, 6), torch.randn(4))
    features = torch.randn(5, 6)
    assert torch.allclose(head(features), head(17.0 * features), atol=1e-5)
