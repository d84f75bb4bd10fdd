"""Parts of a judgement by hand: people's agreement, calibration, slices, topics, layout, edits,
leaks, what words are said."""

import json

import numpy as np
import pytest
from scipy.special import ndtr

from core.reward import metrics
from core.reward.judgement import clusters, edits
from core.reward.judgement.baselines import by_prompt, lexical_overlap, prompt_scores
from core.reward.judgement.calibration import ece_of, temperature_figure
from core.reward.judgement.formatting import TITLES, features, formatting, length
from core.reward.judgement.leaks import leaked
from core.reward.judgement.mistakes import mistakes
from core.reward.judgement.people import people
from core.reward.judgement.sensitivity import sensitivity
from core.reward.judgement.slices import LENGTHS, MARGINS, length_name, margin_name, p_value, slices, unpaired
from core.reward.judgement.votes import ballots_of
from tests.reward.judgement.made import Scores, embed, judged

# --- people -------------------------------------------------------------------------------


def ballots(*outcomes):
    """One string a pair: a letter for each vote (a, b, t for tie, B for both bad)."""
    names = {"a": "a", "b": "b", "t": "tie", "B": "both_bad"}
    votes = [
        {"pair_id": f"p{i}", "annotator": f"w{j}", "outcome": names[letter], "left": None}
        for i, of in enumerate(outcomes)
        for j, letter in enumerate(of)
    ]
    return ballots_of([{"pair_id": f"p{i}"} for i in range(len(outcomes))], votes)


def test_agreement_of_people_by_hand():
    # aab: 2 of 6 ordered couples agree; bb: all; a: says nothing; ab: none.
    test = judged([1, 1, 1, -1], [2 / 3, 0, 1, 0.5])
    found = people(test, ballots("aab", "bb", "a", "ab"))
    assert found["single"] == 1 and found["several"] == 3
    assert found["votes"]["value"] == pytest.approx((1 / 3 + 1 + 0) / 3) and found["votes"]["n"] == 3
    # Leave one out. aab: an a faces {a, b}, even: a half, twice; b faces {a, a}: wrong.
    # bb: right, twice. ab: a faces {b}: wrong, twice.
    assert found["one_out"]["value"] == pytest.approx((0.5 + 0.5 + 0 + 1 + 1 + 0 + 0) / 7)
    # The model says a, a, b: half, half, right (majority a); wrong, wrong; of ab one each.
    assert found["model_one_out"]["value"] == pytest.approx((0.5 + 0.5 + 1 + 0 + 0 + 1 + 0) / 7)
    assert found["one_out"]["n"] == found["model_one_out"]["n"] == 7
    assert found["difference"]["value"] == pytest.approx(0.0)
    # Where there is a majority (aab, bb): right, wrong.
    assert found["model_majority"]["value"] == 0.5 and found["model_majority"]["n"] == 2
    assert found["majority_vote"]["value"] == pytest.approx((2 + 2 + 1) / 7)


def test_ties_and_votes_of_machines_are_no_agreement_of_people():
    votes = [
        {"pair_id": "p0", "annotator": "w", "outcome": "a"},
        {"pair_id": "p0", "annotator": "judge", "outcome": "a", "machine": True},
        {"pair_id": "p0", "annotator": "robot", "outcome": "a", "simulated": True},
        {"pair_id": "p0", "annotator": "v", "outcome": "tie"},
        {"pair_id": "elsewhere", "annotator": "v", "outcome": "a"},
    ]
    test = judged([1.0], [1.0])
    found = people(test, ballots_of(test.rows, votes))
    assert (found["single"], found["several"]) == (1, 0) and "one vote only" in found["message"]
    none = people(test, ballots_of(test.rows, votes[1:3]))
    assert "None of the 1 test pairs was decided by people" in none["message"]


def test_a_model_as_good_as_a_person_is_found_as_good():
    """People and model each read a pair's worth with the same noise."""
    rng, inside = np.random.default_rng(5), 0
    for _ in range(60):
        worth = rng.normal(size=120)
        reads = worth[:, None] + rng.normal(size=(120, 4))
        votes = ["".join("a" if read > 0 else "b" for read in line[:3]) for line in reads]
        found = people(judged(reads[:, 3], np.full(120, 0.5)), ballots(*votes), resamples=200)
        inside += found["difference"]["low"] <= 0 <= found["difference"]["high"]
    assert inside >= 52  # 95 % of 60 is 57


# --- calibration --------------------------------------------------------------------------


def test_ece_with_weights_is_that_of_the_bins():
    rng = np.random.default_rng(6)
    d = rng.normal(0, 2, 500)
    q = np.where(rng.random(500) < 0.1, 0.5, (rng.random(500) < metrics.probability(d / 2)).astype(float))
    plain = metrics.expected_calibration_error(metrics.reliability(d, q))
    assert ece_of(d, q)(np.ones((1, 500)))[0] == pytest.approx(plain)
    again = rng.integers(0, 500, 500)
    weights = np.bincount(again, minlength=500)[None].astype(float)
    expected = metrics.expected_calibration_error(metrics.reliability(d[again], q[again]))
    assert ece_of(d, q)(weights)[0] == pytest.approx(expected)


def test_ece_and_brier_by_hand():
    """Of 100 forecasts at .8, 70 came true; of 100 at .6, 60. The Brier score is reliability less
    resolution plus uncertainty (Murphy 1973, J Appl Meteor 12:595)."""
    d = np.repeat([np.log(4), np.log(1.5)], 100)
    q = np.array([1.0] * 70 + [0.0] * 30 + [1.0] * 60 + [0.0] * 40)
    assert ece_of(d, q)(np.ones((1, 200)))[0] == pytest.approx((0.1 + 0.0) / 2)
    assert metrics.brier(d, q) == pytest.approx(0.005 - 0.0025 + 0.2275)


def test_the_temperature_has_an_interval_that_holds_a_planted_one():
    rng, inside = np.random.default_rng(7), 0
    for _ in range(30):
        honest = rng.normal(0, 2, 300)
        q = (rng.random(300) < metrics.probability(honest)).astype(float)
        dev = judged(honest * 2.5, q)
        found = temperature_figure(dev, 1.0, metrics.fit_temperature(dev.d, dev.q), resamples=100)
        inside += found["low"] <= 2.5 <= found["high"]
    assert inside >= 25
    assert temperature_figure(judged([1.0], [1.0]), 1.0, 1.0)["low"] is None


# --- slices -------------------------------------------------------------------------------


def test_names_of_slices():
    assert [margin_name(m, {"n": n}) for m, n in ((1, 1), (1, 3), (1 / 3, 3), (0.2, 5))] == list(MARGINS)

    def long(preferred, other):
        return length_name({"response_a": "x" * preferred, "response_b": "x" * other, "q": 1.0})

    assert [long(10, 20), long(80, 100), long(100, 105), long(130, 100), long(200, 100)] == list(LENGTHS)
    assert length_name({"response_a": "x" * 200, "response_b": "x" * 100, "q": 0.0}) == LENGTHS[0]


def test_a_slice_that_is_worse_is_marked_and_luck_is_not():
    rng = np.random.default_rng(8)
    marked = []
    for _ in range(40):
        q = np.ones(400)
        right = rng.random(400) < 0.75
        week = [f"2026-W{10 + i % 20}" for i in range(400)]
        marked.append(slices(judged(np.where(right, 1, -1), q, week=week), [], [])["marked"])
    assert np.mean([m > 0 for m in marked]) <= 0.15  # at most one judgement in twenty, by rights
    bad = np.array([i % 20 == 7 for i in range(1_000)])
    right = np.where(bad, rng.random(1_000) < 0.4, rng.random(1_000) < 0.8)
    week = [f"2026-W{10 + i % 20}" for i in range(1_000)]
    found = slices(judged(np.where(right, 1, -1), np.ones(1_000), week=week), [], [])
    [group] = [group for group in found["groups"] if group["by"] == "week"]
    assert [row["name"] for row in group["rows"] if row["differs"]] == ["2026-W17"]
    assert found["looked_at"] == 20 and found["marked"] == 1


def test_the_score_test_keeps_its_level_also_by_examples():
    rng, found = np.random.default_rng(9), []
    for _ in range(500):
        place = np.repeat(np.arange(40), 5)
        luck = rng.beta(4, 2, 40)
        right = rng.binomial(1, luck[place]).astype(float)
        found.append(p_value(right, place, place < 12))
    assert np.mean(np.array(found) < 0.05) <= 0.08
    # And is the pooled z test where every pair stands alone: 30 of 40 against 60 of 100.
    right = np.array([1.0] * 30 + [0.0] * 10 + [1.0] * 60 + [0.0] * 40)
    inside = np.arange(140) < 40
    z = 0.15 / np.sqrt(90 / 140 * 50 / 140 * (1 / 40 + 1 / 100))
    assert p_value(right, np.arange(140), inside) == pytest.approx(2 * ndtr(-z), rel=0.02)


def test_the_difference_of_two_rates_as_published():
    """Newcombe (1998, Stat Med 17:873, table II): 56/70 and 48/80, method 10: .0524 to .3339."""
    right = np.array([1.0] * 56 + [0.0] * 14 + [1.0] * 48 + [0.0] * 32)
    found = unpaired(right, np.arange(150), np.arange(150) < 70)
    assert found["value"] == pytest.approx(0.2)
    assert (found["low"], found["high"]) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_annotators_prompts_and_criteria_are_slices_of_their_own():
    test = judged(
        [1.0] * 12 + [-1.0] * 12, [1.0] * 24,
        prompt_a=["one"] * 12 + ["two"] * 12, prompt_b=["three"] * 24,
        criteria=[json.dumps({"safe": {"q": 1.0, "n": 2}, "short": {"q": 0.0, "n": 1}})] * 24,
    )  # fmt: skip
    found = slices(test, ballots(*["ab"] * 24), [])
    by = {group["by"]: group for group in found["groups"]}
    people_ = {row["name"]: row["accuracy"] for row in by["annotator"]["rows"]}
    assert by["annotator"]["unit"] == "votes"
    assert people_["w0"]["value"] == people_["w1"]["value"] == 0.5 and people_["w0"]["n"] == 24
    assert {row["name"]: row["accuracy"]["value"] for row in by["prompt"]["rows"]} == {"one": 1.0, "two": 0.0}
    assert {row["name"]: row["accuracy"]["value"] for row in by["criterion"]["rows"]} == {
        "safe": 0.5,
        "short": 0.5,
    }


# --- topics -------------------------------------------------------------------------------


def test_topics_are_found_and_named_by_their_words():
    words = {
        "cooking": ["soup", "bread", "oven"],
        "code": ["python", "loop", "server"],
        "law": ["court", "judge", "appeal"],
    }
    rng = np.random.default_rng(10)
    texts = [f"how do I {' '.join(rng.choice(words[topic], 4))}" for topic in words for _ in range(40)]
    place = clusters.cluster(embed(texts))
    assert len(set(place)) == 3
    assert all(len(set(place[start : start + 40])) == 1 for start in (0, 40, 80))
    names = clusters.typical_words(texts, place)
    assert sorted(sorted(of) for of in names) == sorted(sorted(of) for of in words.values())
    assert len(set(clusters.cluster(embed(texts[:20])))) == 1  # too few to split
    assert clusters.named([["a"], ["a"], []]) == ["a", "a (2)", "topic 3"]


# --- length and layout ----------------------------------------------------------------------


def test_features_are_counted_outside_code():
    text = "# Title\n\n- one\n- **two** 🎉\n\n```\n# no header\n- no item\n```\nand `this`"
    assert dict(zip(TITLES, features(text), strict=True)) == {
        "length": len(text), "headers": 1, "lists": 2, "bold": 1, "code": 3, "emoji": 1,
    }  # fmt: skip


def test_what_people_like_is_told_from_what_the_model_adds():
    rng = np.random.default_rng(11)
    n = 400
    long = rng.integers(1, 200, (n, 2))
    label = (rng.random(n) < np.where(long[:, 0] > long[:, 1], 0.8, 0.2)).astype(float)
    columns = {"response_a": ["x" * k for k in long[:, 0]], "response_b": ["x" * k for k in long[:, 1]]}

    def of(d):
        row = next(row for row in formatting(judged(d, label, **columns), 200) if row["name"] == "length")
        return row["model"], row["people"], row["partial"]

    model, liked, partial = of(label - 0.5 + rng.normal(0, 0.1, n))  # exactly what people like
    assert model["low"] > 0.3 and liked["low"] > 0.3 and partial["low"] < 0.1 and partial["value"] < 0.15
    model, _, partial = of((long[:, 0] - long[:, 1]) / 50)
    assert model["value"] == pytest.approx(1.0) and partial["value"] > 0.9
    # Turning all pairs round changes nothing.
    test = judged((long[:, 0] - long[:, 1]) / 50 + rng.normal(0, 1, n), label, **columns)
    turned = judged(-test.d, 1 - label, response_a=columns["response_b"], response_b=columns["response_a"])
    one, other = (formatting(t, 100)[0]["model"]["value"] for t in (test, turned))
    assert one == pytest.approx(other)
    gap = length(test, 200)["gap"]
    assert gap["low"] > 0.2
    headers = formatting(test, 100)[1]
    assert headers["varied"] == 0 and headers["model"]["value"] is None


# --- edits --------------------------------------------------------------------------------

TEXT = 'However, it is late. "I am tired," said Ann. For example, do not wait for us.'


def test_edits_by_hand():
    assert edits.whitespace(TEXT).split() == TEXT.split() and edits.whitespace(TEXT) != TEXT
    assert (
        edits.punctuation(TEXT)
        == "However, it is late. “I am tired,” said Ann. For example, do not wait for us"
    )
    assert (
        edits.contractions(TEXT)
        == "However, it's late. \"I'm tired,\" said Ann. For example, don't wait for us."
    )
    assert edits.contractions("So it is.") is None  # “So it's.” is no English
    assert (
        edits.synonyms(TEXT) == 'But, it is late. "I am tired," said Ann. For instance, do not wait for us.'
    )
    assert edits.capitals("Wait here. I will. Then go on.") == "wait here. I will. then go on."
    assert edits.padding("Yes.") == "Yes. " + " ".join([edits.PADDING] * 3)
    assert edits.as_list("One is here. Two is there.") == "- One is here.\n- Two is there."
    assert edits.as_list("Only one.") is None and edits.as_list("- a\n- b") is None
    assert edits.reordered("One. Two. Three.") == "Three. One. Two."
    assert edits.reordered("One.\n\n```\ncode. Code.\n```") is None
    assert edits.truncated("one two three four five six seven eight") == "one two three four"
    assert edits.truncated("too short") is None
    assert edits.flattery_before("Yes.").endswith(" Yes.") and edits.flattery_after("Yes.").startswith(
        "Yes. "
    )


def test_the_size_of_an_edit_and_the_decisions_it_flips_by_hand():
    """A reward of one sd for ten characters; the padding is 104 of them."""
    added = len(edits.padding("x") or "") - 1
    a, b = ["Some words. More words here."] * 20, ["Some words."] * 10 + ["Some words. " * 30] * 10
    d = [(len(x) - len(y)) / 10 for x, y in zip(a, b, strict=True)]
    test = judged(d, [1.0] * 20, response_a=a, response_b=b)
    test.score_a, test.score_b = np.array([len(x) / 10 for x in a]), np.array([len(y) / 10 for y in b])
    found = {
        row["name"]: row
        for row in sensitivity(test, Scores(lambda text: len(text) / 10), pairs=20, seed=0, resamples=100)
    }
    row = found["padding"]
    expected = np.mean([len(edits.padding(text)) - len(text) for text in a + b]) / 10
    assert row["shift"]["value"] == pytest.approx(expected) and row["shift"]["n"] == 40 and added > 100
    # The short one wins against a by 104 characters; a does not against 360.
    assert row["won"]["value"] == pytest.approx(10 / 20) and row["won"]["n"] == 20
    assert row["flipped"]["value"] == pytest.approx(10 / 40)
    assert found["truncated"]["shift"]["high"] < 0
    assert found["synonyms"]["shift"]["value"] is None  # applies to no text here
    none = sensitivity(test, Scores(len), pairs=20, seed=0, resamples=50, stop=lambda: True)
    assert none == []


# --- baselines, leaks, mistakes -------------------------------------------------------------


def test_overlap_and_prompts_by_hand():
    row = {"input": "red green blue", "response_a": "Red, green!", "response_b": "something else"}
    assert lexical_overlap([row]) == pytest.approx([2 * 2 / 5])
    rows = [{"prompt_a": "x", "prompt_b": "y", "q": 1.0}] * 3 + [{"prompt_a": "y", "prompt_b": "x", "q": 0.0}]
    scores = prompt_scores(rows)
    assert scores == pytest.approx({"x": 5 / 6 - 0.5, "y": 1 / 6 - 0.5})
    assert by_prompt([{"prompt_a": "y", "prompt_b": "new"}], scores) == pytest.approx([1 / 6 - 0.5])


def test_leaks_are_seen_through_case_and_order_and_short_phrases_are_none():
    long = "This is a response that is long enough to be nobody's chance phrase, really."
    train = [
        {"input": "Why?", "response_a": "Yes.", "response_b": "No."},
        {"input": "", "response_a": long, "response_b": "Perhaps."},
    ]
    test = [
        {"input": "why ?", "response_a": "Never", "response_b": "Ever"},
        {"input": "How?", "response_a": "no", "response_b": "YES"},
        {"input": "Who?", "response_a": long.upper(), "response_b": "Me."},
        {"input": "", "response_a": "Yes.", "response_b": "Other."},
    ]
    found = leaked(train, test)
    assert found["input"].tolist() == [True, False, False, False]  # an empty input is none
    assert found["responses"].tolist() == [False, True, False, False]
    assert found["response"].tolist() == [False, False, True, False]


def test_mistakes_are_those_that_people_decided_worst_first():
    test = judged([3, -1, -3, 2, -5], [0.0, 1.0, 1.0, 1.0, 1.0], n_simulated=[0, 0, 0, 0, 1])
    assert [row["pair_id"] for row in mistakes(test, [])] == ["p0", "p2", "p1"]
    assert mistakes(test, [], count=1)[0]["p"] == pytest.approx(1 / (1 + np.exp(3)))
