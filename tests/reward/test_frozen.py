"""Frozen layers whose activations are kept give the model that training without them gives."""

import numpy as np
import pytest
import torch

from core.reward.encode import Encoder, load, score_all
from core.reward.frozen import Frozen, Reader
from core.reward.options import Options
from core.reward.presets import PRESETS, Preset
from core.reward.split import Split
from core.reward.training import Training
from core.runs.context import RunContext
from tests.reward import backbones
from tests.reward.tiny import pair_rows, run_folder

QUICK = PRESETS["quick"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: make(tmp_path_factory.mktemp(kind)) for kind, make in backbones.KINDS.items()}


def loaded(folder):
    torch.manual_seed(1)
    model, tokenizer = load(str(folder), head=True, heads=("overall", "helpful"))
    rows = pair_rows(40)
    ids, _ = Encoder(tokenizer, 64)([row["input"] for row in rows], [row["response_a"] for row in rows])
    return model.eval(), tokenizer, ids


@pytest.mark.parametrize("kind", backbones.KINDS)
def test_a_model_in_two_parts_scores_as_the_whole(folders, kind):
    model, tokenizer, ids = loaded(folders[kind])
    split = Split.of(model, 2, ids[:3], tokenizer.pad_token_id)
    assert split is not None and split.first_token == (kind == "bert")
    whole = score_all(model, ids, tokenizer.pad_token_id, half=False)
    names = set(dict(model.named_parameters()))
    frozen = Frozen(split, tokenizer.pad_token_id, half=False)
    found = Reader(model, tokenizer.pad_token_id, frozen)(ids)
    assert found.shape == (40, 2) and np.allclose(found, whole, atol=2e-5)
    assert set(dict(model.named_parameters())) == names  # put together again


def test_equal_texts_are_read_once_and_large_caches_lie_in_a_file(folders, tmp_path, monkeypatch):
    model, tokenizer, ids = loaded(folders["bert"])
    split = Split.of(model, 2, ids[:3], tokenizer.pad_token_id)
    told = []
    small = Frozen(split, tokenizer.pad_token_id, half=False)
    rows = small.rows([*ids[:5], *ids[:5], ids[0]], told.append)
    assert rows.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0] and told[-1] == 5
    told.clear()
    assert small.rows(ids[3:7], told.append).tolist() == [3, 4, 5, 6] and told[-1] == 2
    monkeypatch.setattr("core.reward.frozen.IN_MEMORY", 0)
    large = Frozen(split, tokenizer.pad_token_id, tmp_path / "frozen", half=False)
    assert np.array_equal(large.logits(ids), Frozen(split, tokenizer.pad_token_id, half=False).logits(ids))
    assert list((tmp_path / "frozen").iterdir())
    large.forget()
    assert not list((tmp_path / "frozen").iterdir())


def training(path, backbone, monkeypatch, *, kept: bool, rate: float = 3e-3, count: int = 120):
    preset = Preset(**{**QUICK.as_dict(), "frozen": 0.5, "learning_rate": rate, "shorter": ()})
    if not kept:
        monkeypatch.setattr(Split, "of", classmethod(lambda *args, **options: None))
    folder = run_folder(path, pair_rows(count), backbone)
    made = Training(RunContext(folder), pair_rows(count), Options(precision="fp32", max_length=64), preset)
    assert (made.frozen is not None) == kept
    made.look_below(0.0, 0.1)
    return made


@pytest.mark.parametrize("kind", backbones.KINDS)
def test_training_with_kept_activations_is_training_without(folders, kind, tmp_path, monkeypatch):
    def losses(made):
        return [e["data"]["loss"] for e in made.context.folder.read_events()[0] if "loss" in e["data"]]

    with_them = training(tmp_path / "with", folders[kind], monkeypatch, kept=True, rate=1e-3, count=40)
    [one], _ = with_them.members(0.1, 0.9)
    without = training(tmp_path / "without", folders[kind], monkeypatch, kept=False, rate=1e-3, count=40)
    [other], _ = without.members(0.1, 0.9)
    # Rounding is all that may differ, and Adam makes more of it with every step.
    assert losses(with_them) == pytest.approx(losses(without), abs=1e-4) and len(losses(without)) > 10
    assert one.weights.keys() == other.weights.keys()

    def apart(of, other):
        # A key's bias moves no attention: its gradient is rounding, which Adam makes steps of.
        names = [name for name in of if not name.endswith(("k_proj.bias", "key.bias"))]
        return sum(float(((of[name] - other[name]) ** 2).sum()) for name in names) ** 0.5

    assert apart(one.weights, other.weights) < 0.02 * apart(one.weights, with_them.start)
    test = without.pairs(without.rows["test"])
    d = without.scores(test, [other])[0, :, :, 0] - with_them.scores(test, [one])[0, :, :, 0]
    assert np.abs(d).max() < 1e-2


def test_what_cannot_be_split_is_trained_whole_and_says_so(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(Split, "_agrees", lambda *args: False)
    folder = run_folder(tmp_path / "run", pair_rows(60), folders["bert"])
    made = Training(
        RunContext(folder), pair_rows(60), Options(), Preset(**{**QUICK.as_dict(), "frozen": 0.5})
    )
    assert made.frozen is None and made.frozen_layers == 2
    said = [e["data"]["text"] for e in folder.read_events()[0] if e["type"] == "log"]
    assert any("cannot be split" in text for text in said)


def test_a_fit_leaves_the_model_as_it_was(folders, tmp_path, monkeypatch):
    made = training(tmp_path / "run", folders["bert"], monkeypatch, kept=True)
    [member], _ = made.members(0.1, 0.9)
    test = made.rows["test"]
    before = made.scores(made.pairs(test), [member])
    many = made.fit(made.rows["train"], seed=5)
    few = made.fit(made.rows["train"][:20], seed=5)
    assert np.array_equal(made.scores(made.pairs(test), [member]), before)
    q = np.array([row["q"] for row in test])
    d = many(test)
    assert d.shape == (len(test),) and np.array_equal(d, many(test)) and not np.array_equal(d, few(test))
    assert np.mean((d > 0) == (q > 0.5)) > 0.8
