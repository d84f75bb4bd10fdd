"""A whole judgement: its shape, planted cheats named in plain words, and honest ends."""

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

import core.reward.judgement as judgement
from core.reward.judgement import judge_model
from core.stats import wilson
from tests.reward.judgement.made import Made, Scores, embed

FIGURE = {"value", "low", "high", "n"}


def kind(text):
    return 1.0 * ("kind" in text) + 0.05 * np.sin(len(text))


def judge(folder, made, scorer, *, train=160, dev=40, test=80, change=None, **options):
    splits = [made.rows(name, count) for name, count in (("train", train), ("dev", dev), ("test", test))]
    if change:
        change(*splits)
    options = {"embed": embed, "plan": "quick", **options}
    return judge_model(folder, scorer, *splits, made.ballots, **options)


def codes(found):
    return {row["code"] for row in found["warnings"]}


def text_of(found, code):
    return " ".join(row["text"] for row in found["warnings"] if row["code"] == code)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest")
    return folder, judge(folder, Made(1), Scores(kind))


def test_it_is_written_as_it_is_described(honest):
    folder, found = honest
    assert json.loads((folder / "judgement.json").read_text()) == found
    described = judgement.__doc__ or ""
    for name in found:  # every part has its line in the description
        assert re.search(rf"\b{name}\b", described), name
    # Every figure that has a value has its n, and its interval holds it.
    # (The temperature is the scorer's own here, and was not fitted on these pairs.)
    calibrated = {name: found["calibration"][name] for name in ("before", "after")}
    figures = list(figures_in({**found, "calibration": calibrated}))
    assert len(figures) > 100
    for of in figures:
        assert isinstance(of["n"], int)
        if of["value"] is not None and of["low"] is not None:
            assert of["low"] - 1e-9 <= of["value"] <= of["high"] + 1e-9, of
            assert of["n"] > 0
    assert found["accuracy"]["n"] == found["n"]["decided"] == 80 and found["n"]["votes"] == 240
    assert [row["name"] for row in found["baselines"]] == [
        "longer", "shorter", "overlap", "prompt", "style", "embeddings", "left"
    ]  # fmt: skip
    assert {group["by"] for group in found["slices"]["groups"]} >= {
        "margin",
        "length",
        "cluster",
        "annotator",
    }
    assert found["skipped"] == [] and found["plan"]["name"] == "quick"


def figures_in(value):
    if isinstance(value, dict):
        if set(value) == FIGURE:
            yield value
        for item in value.values():
            yield from figures_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from figures_in(item)


def test_a_good_model_is_not_accused(honest):
    _, found = honest
    assert found["accuracy"]["low"] > 0.8
    assert codes(found).isdisjoint(
        {"length_cheat", "length_labels", "style_cheat", "leak", "position_labels"}
    )
    # A reward of one word does not care how long a text is, nor whether it is whole.
    assert not [row for row in found["warnings"] if row["level"] == "bad"]
    assert found["people"]["one_out"]["n"] == 240 and "two decisive votes" in found["people"]["message"]
    assert [len(topic["words"]) for topic in found["clusters"]] and len(found["clusters"]) == 3
    assert found["curve"]["accuracy"]["message"].startswith("500 more votes should bring")


def test_pairs_are_written_without_their_texts(honest):
    folder, found = honest
    rows = pq.read_table(folder / "test_pairs.parquet").to_pylist()
    assert len(rows) == 80 and [row["pair_id"] for row in rows] == [f"test-pair{i}" for i in range(80)]
    assert not {"input", "response_a", "response_b"} & set(rows[0])
    right = [row["right"] for row in rows if row["right"] is not None]
    assert np.mean(right) == pytest.approx(found["accuracy"]["value"])
    assert all((row["p"] > 0.5) == (row["d"] > 0) for row in rows)
    assert {row["cluster"] for row in rows} <= {topic["name"] for topic in found["clusters"]}
    wrong = {row["pair_id"] for row in rows if row["right"] == 0}
    assert {row["pair_id"] for row in found["mistakes"]} <= wrong
    sure = [row["p"] for row in found["mistakes"]]
    assert sure == sorted(sure) and all(p <= 0.5 for p in sure)


def test_a_planted_length_cheat_is_named(tmp_path):
    """Labels follow length, and so does the model that learnt them."""
    made = Made(2, prefer=lambda a, b: 0.97 if len(a) > len(b) else 0.03)
    found = judge(tmp_path, made, Scores(lambda text: len(text) / 80))
    assert {"length_cheat", "length_labels"} <= codes(found)
    assert "The votes follow length: the longer response" in text_of(found, "length_labels")
    assert "goes up for longer responses" in text_of(found, "length_cheat")
    assert {"padding", "flattery"} <= codes(found)  # and what it would cost
    assert found["warnings"][0]["level"] == "bad"


def test_a_model_that_leans_on_length_where_people_do_not_is_named(tmp_path):
    found = judge(tmp_path, Made(3), Scores(lambda text: kind(text) - len(text) / 60))
    assert "length_cheat" in codes(found) and "length_labels" not in codes(found)
    assert "goes up for shorter responses" in text_of(found, "length_cheat")
    assert "padding" not in codes(found)  # it lowers this reward


def test_a_planted_leak_is_named_with_its_size(tmp_path):
    def plant(train, _dev, test):
        for i in range(12):  # the same texts, in other capitals and the other way round
            train[i] |= {
                "input": test[i]["input"].upper(),
                "response_a": test[i]["response_b"],
                "response_b": test[i]["response_a"] + " ",
            }

    found = judge(tmp_path, Made(4), Scores(kind), change=plant)
    assert found["leaks"]["pairs"] == found["leaks"]["input"] == found["leaks"]["responses"] == 12
    said = text_of(found, "leak")
    assert said.startswith("Leak: 12 of 80 test pairs") and "same input as a training pair" in said
    rows = pq.read_table(tmp_path / "test_pairs.parquet").to_pylist()
    assert [row["leaked"] for row in rows] == [True] * 12 + [False] * 68


def test_labels_that_follow_the_side_are_named(tmp_path):
    made = Made(5)

    def plant(_train, _dev, _test):
        for ballot in made.ballots:
            ballot["left"] = ballot["outcome"]

    found = judge(tmp_path, made, Scores(kind), change=plant)
    assert "went to the left" in text_of(found, "position_labels")


def test_one_vote_a_pair_says_that_there_is_no_ceiling(tmp_path):
    found = judge(tmp_path, Made(6, votes=1), Scores(kind))
    assert found["people"]["several"] == 0 and found["people"]["one_out"]["value"] is None
    assert "one vote only" in text_of(found, "single_votes")


def test_simulated_and_machine_votes_are_said(tmp_path):
    def plant(_train, _dev, test):
        for i, row in enumerate(test):
            row |= {"n_simulated": row["n"]} if i < 20 else {"n_machine": 1} if i < 30 else {}

    found = judge(tmp_path, Made(11), Scores(kind), change=plant)
    assert text_of(found, "simulated").startswith("60 of the 240 votes on the test pairs are simulated")
    assert text_of(found, "machine").startswith("10 of the 240 votes on the test pairs are by machine judges")
    assert {row["pair_id"] for row in found["mistakes"]}.isdisjoint({f"test-pair{i}" for i in range(20)})


def test_without_backbone_and_votes_it_says_what_is_missing(tmp_path):
    made = Made(7)
    splits = [made.rows(name, count) for name, count in (("train", 60), ("dev", 0), ("test", 30))]
    found = judge_model(tmp_path, Scores(kind), *splits, plan="quick")
    assert {row["part"] for row in found["skipped"]} == {"embeddings", "curve"}
    assert "without its single votes" in found["people"]["message"]
    assert "left" not in {row["name"] for row in found["baselines"]} and found["curve"] is None
    assert found["calibration"]["n_dev"] == 0 and found["calibration"]["temperature"]["low"] is None


def test_asked_to_stop_it_leaves_out_what_is_long_and_says_so(tmp_path):
    told = []
    found = judge(
        tmp_path, Made(8), Scores(kind), stop=lambda: True, tell=lambda share, text: told.append(share)
    )
    assert {row["part"] for row in found["skipped"]} == {"embeddings", "sensitivity", "curve"}
    assert found["accuracy"]["n"] == 80 and found["sensitivity"] == [] and found["curve"] is None
    assert told == sorted(told) and told[-1] == 1.0


def test_it_is_the_same_again(tmp_path):
    both = []
    for name in ("one", "two"):
        found = judge(tmp_path / name, Made(9, per_example=2), Scores(kind), train=60, test=40)
        both.append({key: value for key, value in found.items() if key != "seconds"})
    assert both[0] == both[1]


@pytest.mark.parametrize("examples", [1, 3])
def test_few_examples_with_many_pairs_are_judged_by_pairs_and_said(tmp_path, examples):
    test = 60
    made = Made(12, prefer=lambda a, b: 0.7 if "kind" in a else 0.3, per_example=-(-test // examples))
    found = judge(tmp_path, made, Scores(kind), test=test, train=60)
    assert found["n"]["examples"] == examples
    assert f"come from only {examples} example" in text_of(found, "few_examples")
    for row in found["sensitivity"]:  # by pairs: there is an interval at all
        assert row["shift"]["value"] is None or row["shift"]["low"] is not None
    by_pairs = wilson(found["accuracy"]["value"] * 60, 60)
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == pytest.approx(by_pairs)


@pytest.mark.parametrize("test", [0, 1, 3])
def test_hardly_any_test_pairs_are_no_error(tmp_path, test):
    found = judge(tmp_path, Made(10), Scores(kind), test=test, train=25, dev=3)
    assert found["n"]["test"] == test
    json.dumps(found, allow_nan=False)
