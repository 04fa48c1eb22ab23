"""Accuracies and their intervals, against another library and closed forms."""

import math

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from mergelib.evaluation import encode, evaluate, predict
from mergelib.intervals import mean_interval, wilson_interval
from mergelib.models.heads import Head
from mergelib.suites import load_suite
from mergelib.suites.bases import load_encoder


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_scipys(case):
    correct, n = case
    expected = binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(correct, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("case", [(-1, 10), (11, 10), (0, 0)])
def test_wilson_interval_refuses_what_is_no_proportion(case):
    with pytest.raises(ValueError, match="not a proportion"):
        wilson_interval(*case)


def test_mean_interval_is_that_of_independent_binomials():
    table = pd.DataFrame({"accuracy": [0.5, 0.9], "n": [100, 400]})
    mean, low, high = mean_interval(table)
    deviation = math.sqrt(0.25 / 100 + 0.09 / 400) / 2
    assert mean == pytest.approx(0.7)
    assert high - mean == pytest.approx(1.959963984540054 * deviation)
    assert mean - low == pytest.approx(high - mean)


@pytest.fixture(scope="module")
def pico():
    return load_suite("pico")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("pico")


def heads_that_answer(suite, encoder, answer: int) -> dict[str, Head]:
    """Heads whose prediction is one class whatever the image."""
    d, heads = encoder.output_dim, {}
    for task in suite:
        bias = torch.zeros(len(task.classes))
        bias[answer] = 1e3
        heads[task.name] = Head(torch.zeros(len(task.classes), d), bias)
    return heads


def test_a_constant_answer_is_right_as_often_as_its_class_occurs(pico, encoder):
    table = evaluate(encoder, heads_that_answer(pico, encoder, 2), pico)
    for row in table.itertuples():
        labels = pico[row.task].test.labels
        assert row.correct == int((labels == 2).sum())
        assert row.n == len(labels)
        assert row.accuracy == row.correct / row.n
        assert row.low < row.accuracy < row.high


def test_normalised_accuracy_is_relative_to_the_expert(pico, encoder):
    heads = heads_that_answer(pico, encoder, 0)
    expert = {name: 0.5 for name in pico.names}
    table = evaluate(encoder, heads, pico, expert=expert)
    assert (table["normalised"] == table["accuracy"] / 0.5).all()


def test_predictions_do_not_depend_on_the_batch(pico, encoder):
    generator = torch.Generator().manual_seed(0)
    head = Head(torch.randn(5, encoder.output_dim, generator=generator), torch.zeros(5))
    images = pico["digits"].test.inputs.values
    whole = predict(encoder, head, images)
    assert torch.equal(whole, predict(encoder, head, images, batch=7))


def test_weights_given_replace_the_encoders_own_and_leave_it_alone(pico, encoder):
    images = pico["bars"].test.inputs.values[:8]
    own = {k: v.clone() for k, v in encoder.state_dict().items()}
    zeros = {k: torch.zeros_like(v) for k, v in own.items()}
    before = encode(encoder, images)
    assert torch.equal(encode(encoder, images, zeros), torch.zeros_like(before))
    assert torch.equal(encode(encoder, images), before)
    assert all(torch.equal(v, own[k]) for k, v in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "unknown split 'dev'"),
        ({"tasks": ["digit"]}, "unknown task 'digit' in suite 'pico'; did you mean 'digits'"),
    ],
)
def test_a_misspelt_split_or_task_is_named(pico, encoder, options, message):
    with pytest.raises((KeyError, ValueError), match=message):
        evaluate(encoder, heads_that_answer(pico, encoder, 0), pico, **options)


def test_a_missing_head_is_named(pico, encoder):
    heads = heads_that_answer(pico, encoder, 0)
    del heads["spots"]
    with pytest.raises(KeyError, match="unknown head 'spots'"):
        evaluate(encoder, heads, pico)
