"""Several members and several heads: what they share, what is kept, how they are asked."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from core.reward import presets
from core.reward.heads import combine
from core.reward.options import Combination
from core.runs.context import RunContext
from tests.reward import backbones
from tests.reward.test_work import FragileContext, Killed
from tests.reward.tiny import GOOD, pair_rows, run_folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return backbones.bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(autouse=True, scope="module")
def fast_learning():
    """Half of the layers frozen, their activations kept, and steps that a random model needs."""
    import torch

    patch = pytest.MonkeyPatch()
    for name, preset in presets.PRESETS.items():
        patch.setitem(
            presets.PRESETS, name, replace(preset, learning_rate=3e-3, frozen=0.5, epochs=2, batch_size=16)
        )
    torch.set_num_threads(1)
    patch.setattr("core.reward.work.judge_run", lambda *args, **options: {"path": None})
    yield
    patch.undo()


def train(folder, context=RunContext, **attributes):
    from core.reward.work import run

    made = context(folder)
    for name, value in attributes.items():
        setattr(made, name, value)
    try:
        return run(made)
    finally:
        made.close()


def rated_rows(count):
    """Pairs rated by two criteria: “kind” as the overall vote, and “blunt” the other way round;
    a third of them by none."""
    rows = pair_rows(count)
    for i, row in enumerate(rows):
        said = {"kind": {"q": row["q"], "n": 1}, "blunt": {"q": 1 - row["q"], "n": 2}}
        row["criteria"] = json.dumps(said if i % 3 else {})
    return rows


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory, backbone):
    folder = run_folder(tmp_path_factory.mktemp("runs") / "three", pair_rows(200), backbone, members=3)
    return folder, train(folder)


def sides(rows):
    inputs = [row["input"] for row in rows]
    return inputs, [row["response_a"] for row in rows], [row["response_b"] for row in rows]


def test_members_share_what_is_frozen_and_are_asked_as_one(ensemble):
    from core.reward.score import RewardScorer

    folder, result = ensemble
    model = folder.artifacts / "model"
    assert result["members"]["kept"] == 3 and len(result["member_accuracy"]) == 3
    assert result["settings"]["kept_activations"] and result["settings"]["frozen_layers"] == 2
    whole = load_file(model / "model.safetensors")
    for number in (1, 2):
        other = load_file(model / "members" / str(number) / "model.safetensors")
        assert other.keys() < whole.keys()
        assert not any("embeddings" in name or ".layer.0." in name or ".layer.1." in name for name in other)
        assert any(not np.array_equal(other[name], whole[name]) for name in other)
    scorer = RewardScorer(model)
    inputs, a, b = sides([row for row in pair_rows(200) if row["split"] == "train"])
    each = scorer.score_members([*inputs, *inputs], [*a, *b])
    assert each.shape == (2 * len(inputs), 3)
    mean = scorer.score([*inputs, *inputs], [*a, *b])
    assert np.allclose(each.mean(axis=1), mean) and abs(mean.mean()) < 0.1 and abs(mean.std() - 1) < 0.1
    assert (each.std(axis=1) > 1e-4).all()  # they do not say the same
    assert np.allclose(mean, scorer.score([*inputs, *inputs], [*a, *b]))  # the first member is back
    inputs, a, b = sides([row for row in pair_rows(200) if row["split"] == "test"])
    d = scorer.score(inputs, a) - scorer.score(inputs, b)
    q = np.array([row["q"] for row in pair_rows(200) if row["split"] == "test"])
    assert np.mean((d > 0) == (q > 0.5)) == pytest.approx(result["accuracy"])
    assert scorer.score([], []).shape == (0,)


def test_the_folder_loads_elsewhere_as_its_first_member(ensemble):
    from transformers import AutoModelForSequenceClassification

    folder, _ = ensemble
    model, said = AutoModelForSequenceClassification.from_pretrained(
        folder.artifacts / "model", output_loading_info=True
    )
    assert not said["missing_keys"] and not said["unexpected_keys"]
    assert model.config.id2label == {0: "overall"}


def test_warm_is_the_mean_of_weights_that_began_alike(tmp_path, backbone):
    rows = pair_rows(100)
    averaged = run_folder(tmp_path / "warm", rows, backbone, members=2, average="warm")
    result = train(averaged)
    assert result["members"]["average"] == "warm" and not (averaged.artifacts / "model" / "members").exists()
    found = load_file(averaged.artifacts / "model" / "model.safetensors")
    # The same two members, kept by stopping before the end.
    from core.reward.ensemble import averaged as average
    from core.reward.options import read_options
    from core.reward.training import Training

    again = run_folder(tmp_path / "again", rows, backbone, members=2, average="warm")
    context = RunContext(again)
    training = Training(context, rows, read_options(context.config), presets.PRESETS["quick"])
    training.look_below(0.0, 0.1)  # in the same batches, so with the same rounding
    members, _ = training.members(0.1, 1.0)
    one, two = (member.weights for member in members)
    assert training.seeds(0)[0] == training.seeds(1)[0] and training.seeds(0)[1] != training.seeds(1)[1]
    for name, value in one.items():
        assert np.allclose(found[name], ((value + two[name]) / 2).numpy(), atol=1e-7), name
    assert any(not np.array_equal(one[name].numpy(), found[name]) for name in one)
    assert average(members).weights.keys() == one.keys()


def test_killed_between_and_within_members_it_ends_with_the_same_weights(tmp_path, backbone):
    rows = pair_rows(100)
    options = {"members": 2, "accumulation": 2, "checkpoint_s": 0}
    whole = run_folder(tmp_path / "whole", rows, backbone, **options)
    expected = train(whole)
    steps = expected["settings"]["steps"]
    killed = run_folder(tmp_path / "killed", rows, backbone, **options)
    for die_at in (steps // 2, steps + steps // 2):  # in the first member, in the second
        with pytest.raises(Killed):
            train(killed, FragileContext, die_at=die_at)
    assert (killed.state / "member-0.json").exists() and not (killed.state / "member-1.json").exists()
    result = train(killed)
    for place in ("model.safetensors", "members/1/model.safetensors"):
        one, other = (load_file(folder.artifacts / "model" / place) for folder in (whole, killed))
        assert all(np.array_equal(one[name], other[name]) for name in one), place
    assert result["accuracy"] == expected["accuracy"]
    assert not killed.state.exists()


def test_cancelled_in_the_second_member_keeps_what_there_is(tmp_path, backbone):
    folder = run_folder(tmp_path / "run", pair_rows(100), backbone, members=3)
    steps = -(-70 // 4) * 4  # 70 pairs in batches of 4, until there are enough steps
    result = train(folder, FragileContext, cancel_at=steps + 5)
    assert result["partial"] is True and result["members"]["kept"] == 2
    assert (folder.artifacts / "model" / "members" / "1" / "model.safetensors").exists()
    (folder.path / "cancel").unlink()
    assert train(folder)["members"]["kept"] == 3


def test_early_stopping_ends_when_the_dev_split_gains_nothing(tmp_path, backbone):
    rows = pair_rows(200)
    for row in rows:  # dev pairs that say the opposite: every step makes it worse there
        if row["split"] == "dev":
            row["q"] = 1 - row["q"]
    folder = run_folder(tmp_path / "run", rows, backbone, early_stopping=1)
    result = train(folder)
    [member] = result["members"]["each"]
    assert member["stopped_early"] and member["steps"] < -(-140 // 4) * 2 and result["partial"] is False


# --- heads --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def headed(tmp_path_factory, backbone):
    folder = run_folder(
        tmp_path_factory.mktemp("runs") / "heads", rated_rows(300), backbone, criteria=["kind", "blunt"],
        combination={"weights": {"overall": 1.0, "blunt": 0.5}, "at_least": {"kind": 0.0}, "penalty": 2.0},
    )  # fmt: skip
    return folder, train(folder)


def test_each_criterion_learns_its_own_votes(headed):
    from core.reward.score import RewardScorer

    folder, result = headed
    config = json.loads((folder.artifacts / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": "overall", "1": "kind", "2": "blunt"}
    found = result["criteria"]
    assert found["kind"]["own"]["n"] == found["blunt"]["own"]["n"] > 0
    assert found["kind"]["own"]["accuracy"] > 0.85
    assert found["blunt"]["own"]["accuracy"] > 0.85 > 0.15 > found["blunt"]["overall"]["accuracy"]
    heads = RewardScorer(folder.artifacts / "model").score_heads(["word1"] * 2, ["word2 kind", "word2 rude"])
    assert list(heads) == ["overall", "kind", "blunt"] and heads["kind"][0] > heads["kind"][1]


def test_heads_are_combined_as_the_card_says_or_as_is_asked(headed):
    from core.errors import Invalid
    from core.reward.score import RewardScorer

    folder, _ = headed
    model = folder.artifacts / "model"
    texts = ["word4"] * 6, ["rude", "kind word3", "false word1 word2", *GOOD[:3]]
    scorer = RewardScorer(model)
    heads = scorer.score_heads(*texts)
    by_hand = heads["overall"] + 0.5 * heads["blunt"] - 2.0 * np.maximum(0, 0.0 - heads["kind"])
    assert np.allclose(scorer.score(*texts), by_hand)
    plain = RewardScorer(model, combination={"weights": {"overall": 1.0}})
    assert np.allclose(plain.score(*texts), heads["overall"])
    with pytest.raises(Invalid, match="safe"):
        RewardScorer(model, combination={"weights": {"safe": 1.0}})


def test_a_constraint_costs_only_what_falls_short():
    scores = {"overall": np.array([1.0, 1.0]), "safe": np.array([0.5, -1.5])}
    found = combine(scores, Combination({"overall": 2.0}, {"safe": -0.5}, penalty=3.0))
    assert found.tolist() == [2.0, 2.0 - 3.0 * 1.0]


@pytest.mark.parametrize("loss", ["rao_kupper", "davidson"])
def test_models_of_ties_say_how_likely_a_tie_is(tmp_path, backbone, loss):
    from transformers import AutoModelForSequenceClassification

    from core.reward.score import RewardScorer

    rows = pair_rows(200)
    for i, row in enumerate(rows):
        tie = i % 4 == 0
        row["q"] = 0.5 if tie else row["q"]
        row |= {
            "votes_a": 0.0 if tie else row["q"],
            "votes_b": 0.0 if tie else 1 - row["q"],
            "votes_tie": float(tie),
        }
    folder = run_folder(tmp_path / loss, rows, backbone, objective={"loss": loss})
    result = train(folder)
    tie = json.loads((folder.artifacts / "model" / "reward.json").read_text())["tie"]
    assert tie["loss"] == loss and tie["value"] > 0 and result["settings"]["tie"] == tie["value"]
    p = RewardScorer(folder.artifacts / "model").outcomes(["word1"] * 2, ["word2", "kind"], ["word3", "rude"])
    assert np.allclose(p.sum(axis=1), 1) and 0.02 < p[0, 2] < 0.8 and p[1, 0] > p[1, 1]
    _, said = AutoModelForSequenceClassification.from_pretrained(
        folder.artifacts / "model", output_loading_info=True
    )
    assert not said["unexpected_keys"]
    fixed = train(run_folder(tmp_path / "fixed", rows, backbone, objective={"loss": loss, "tie": 0.7}))
    assert fixed["settings"]["tie"] == pytest.approx(0.7, rel=1e-5)


def test_the_learning_curve_refits_the_model_itself_where_that_is_quick(tmp_path, backbone, monkeypatch):
    from core.reward.judgement import judge
    from core.reward.judgement.running import judge_run

    monkeypatch.setattr("core.reward.work.judge_run", judge_run)
    # By the clock a busy machine gives a refit up, rightly; here it is to be seen.
    plenty = replace(judge.PLANS["quick"], orders=2, curve_s=1e6)
    monkeypatch.setitem(judge.PLANS, "quick", plenty)
    folder = run_folder(tmp_path / "run", pair_rows(140), backbone)
    result = train(folder)
    found = json.loads((folder.path / result["judgement"]["path"]).read_text())
    assert found["curve"]["learner"] == "the model itself, refitted" and len(found["curve"]["points"]) >= 2
    assert found["n"]["test"] == result["n_test_pairs"]
    # The fits left the weights that were saved as they were: the same model, judged twice, agrees.
    assert found["accuracy"]["value"] == pytest.approx(result["accuracy"])
