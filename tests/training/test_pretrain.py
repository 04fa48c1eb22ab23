"""The base's training: the loss, the schedule, resuming, and the checkpoint that is shipped."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from toys import write_parquet

from mergelib.models.encoders import CONFIGS, build_encoder
from mergelib.models.tower import tower_state
from mergelib.training import pretrain as module
from mergelib.training.export import export
from mergelib.training.pretrain import Recipe, batch_at, pretrain, rate, smoothed_loss

TINY = Recipe(architecture="merge-vit-pico", samples=320, batch=16, warmup=64)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    for name in ("pretrain/tiny_imagenet", "pretrain/cifar100", "pretrain/caltech101"):
        for split, n in (("train", 15), ("test", 4)):
            write_parquet(folder / name / f"{split}.parquet", [0, 1] * n, ["a", "b"])
    for split in ("train", "test"):
        write_parquet(folder / "images/cifar10" / f"{split}.parquet", [0, 1, 2] * 5, list("abc"))
    return folder


def test_the_loss_is_cross_entropy_over_the_images_own_classes():
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(4, 7, generator=generator)
    first, last = torch.tensor([0, 0, 3, 3]), torch.tensor([3, 3, 7, 7])
    labels = torch.tensor([2, 0, 3, 6])
    c = torch.arange(7)
    logits = raw.masked_fill((c < first[:, None]) | (c >= last[:, None]), float("-inf"))
    slow = [
        F.cross_entropy(raw[i, first[i] : last[i]], labels[i] - first[i], label_smoothing=0.1)
        for i in range(4)
    ]
    assert smoothed_loss(logits, labels, first, last, 0.1) == pytest.approx(
        float(torch.stack(slow).mean()), rel=1e-5
    )


def test_the_rate_warms_up_stays_and_anneals_to_zero():
    recipe = Recipe(samples=1000, batch=10, warmup=100, anneal=0.2)
    assert rate(0, recipe) == pytest.approx(0.1)
    assert rate(90, recipe) == rate(500, recipe) == rate(800, recipe) == 1.0
    assert rate(900, recipe) == pytest.approx(0.5)
    assert rate(1000, recipe) == 0.0
    longer = replace(recipe, samples=2000)
    assert rate(900, longer) == 1.0


def test_an_epoch_shows_every_image_at_most_once_and_epochs_differ(data):
    train = module.load_sources(data / "pretrain", "train", 16)
    ids = replace(train, labels=torch.arange(len(train.labels)))
    recipe = replace(TINY, batch=20)
    epochs = [
        torch.cat([batch_at(ids, 80 * e + 20 * i, recipe).labels for i in range(4)])
        for e in range(2)
    ]
    assert all(len(epoch.unique()) == 80 for epoch in epochs)
    assert not torch.equal(*epochs)


def test_sources_do_not_share_classes(data):
    train = module.load_sources(data / "pretrain", "train", 16)
    assert train.classes == 6
    assert train.labels.bincount().tolist() == [15] * 6
    assert ((train.labels >= train.first) & (train.labels < train.last)).all()


def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(data, tmp_path, monkeypatch):
    whole = pretrain(data, tmp_path / "whole", TINY, "cpu", every=160)
    step, calls = module.Run.step, []

    def dying_step(run, *arguments):
        calls.append(1)
        if len(calls) == 15:
            raise KeyboardInterrupt
        return step(run, *arguments)

    monkeypatch.setattr(module.Run, "step", dying_step)
    with pytest.raises(KeyboardInterrupt):
        pretrain(data, tmp_path / "cut", TINY, "cpu", every=160)
    resumed = pretrain(data, tmp_path / "cut", TINY, "cpu", every=160)
    a, b = (torch.load(p, weights_only=True)["encoder"] for p in (whole, resumed))
    assert all(torch.equal(v, b[k]) for k, v in a.items())
    lines = [json.loads(x) for x in (tmp_path / "cut/log.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines] == [160, 320]


def test_the_exported_checkpoint_loads_in_open_clip(data, tmp_path):
    import open_clip

    state = pretrain(data, tmp_path / "run", TINY, "cpu", every=320)
    path = export(state.parent, tmp_path / "shipped")
    open_clip.add_model_config(CONFIGS)
    model = open_clip.create_model("merge-vit-pico", pretrained=str(path))
    trained = torch.load(state, weights_only=True)["encoder"]
    for name, value in trained.items():
        assert torch.equal(model.visual.state_dict()[name], value.half().float())
    own = build_encoder("merge-vit-pico")
    own.load_state_dict(tower_state(path))
    assert (tmp_path / "shipped/merge-vit-pico.log.jsonl").exists()
