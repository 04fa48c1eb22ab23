"""The encoder of sentences against transformers' own, on padded batches."""

import json
import sys

import pytest
import tiny_text
import torch

from mergelib.models.bert import Bert, BertConfig

IDS = torch.tensor([[2, 6, 7, 8, 3], [2, 9, 3, 0, 0], [2, 10, 11, 3, 0]])
MASK = IDS != 0


@pytest.fixture(scope="module")
def theirs():
    return tiny_text.tiny_bert()


@pytest.fixture
def ours(theirs):
    model = Bert(BertConfig.of(theirs.config.to_dict())).eval()
    state = theirs.state_dict()
    model.load_state_dict({k: v for k, v in state.items() if not k.startswith("pooler.")})
    return model


@pytest.mark.parametrize("rows", [slice(0, 3), slice(0, 1)], ids=["padded", "full"])
def test_it_computes_what_transformers_computes(ours, theirs, rows):
    ids, mask = IDS[rows], MASK[rows]
    one = ours(input_ids=ids, attention_mask=mask).last_hidden_state
    other = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.allclose(one[mask], other[mask], atol=1e-5)


def test_its_gradients_are_those_of_transformers(ours, theirs):
    for model in (ours, theirs):
        model.zero_grad()
        model(input_ids=IDS, attention_mask=MASK).last_hidden_state[MASK].square().sum().backward()
    own = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        if not name.startswith("pooler."):
            assert torch.allclose(own[name].grad, parameter.grad, atol=1e-3, rtol=1e-4), name


def test_dropout_is_where_the_config_says(ours):
    call = {"input_ids": IDS, "attention_mask": MASK}
    still = [ours(**call).last_hidden_state for _ in range(2)]
    assert torch.equal(*still)
    ours.train()
    torch.manual_seed(0)
    assert not torch.equal(*(ours(**call).last_hidden_state for _ in range(2)))


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "mpnet"},
        {"hidden_act": "relu"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
    ],
)
def test_another_model_is_left_to_transformers(theirs, change):
    assert BertConfig.of({**theirs.config.to_dict(), **change}) is None


def test_opening_the_base_does_not_import_transformers(tmp_path):
    """In a process of its own, since others in this one have imported it long ago."""
    import subprocess

    base = tiny_text.lay_out(tmp_path)
    program = (
        "import sys; from mergelib.models.text import Package, SentenceBase\n"
        f"base = SentenceBase(Package(*{[base.source.name, base.source.version, base.source.path]},"
        " ''))\n"
        "base.build(); base.frozen(); print('transformers' in sys.modules)"
    )
    paths = json.dumps(sys.path)
    program = f"import json, sys; sys.path[:0] = [{str(tmp_path)!r}, *json.loads({paths!r})]\n" + (
        program
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
