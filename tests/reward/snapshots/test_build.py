"""Votes to labels: known answers, worked out by hand."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.annotation.groups import Assignment, Group
from core.annotation.skill import mace
from core.errors import Invalid
from core.reward.snapshots.build import build, week_of
from core.reward.snapshots.filters import Filters, filters_of, words
from tests.reward.snapshots.material import CHOICES, Asked, Said, material

SUN = "Why is the sun hot?"


def rows(pairs, criteria=("safe",), more=None, **filters):
    return build(material(pairs, criteria, **(more or {})), Filters(**filters))


def one(votes, **filters):
    """The row of one pair with these votes, or None when it is left out."""
    found = rows([Asked("e", SUN, votes)], **filters).pairs
    return found[0] if found else None


FOUR = [
    Said("w", "a", 4, "a"),
    Said("x", "b", 2, "a"),
    Said("y", "tie"),
    Said("z", "a", 0, "b"),
    Said("v", "both_bad"),
]


def test_shares_margins_and_sides():
    row = one(FOUR)
    assert row["q"] == (2 + 0.5) / 4 and row["n"] == 4
    assert row["margin"] == pytest.approx((1 - 1 / 3) / 4) and row["strength"] == pytest.approx(
        (1 + 1 / 3) / 2
    )
    assert (row["left_known"], row["left_won"]) == (3, 1)
    assert (row["count_a"], row["count_b"], row["count_tie"]) == (2, 1, 1)
    assert (row["votes_a"], row["votes_b"], row["votes_tie"]) == (2, 1, 1)
    assert one(FOUR, margins="none")["margin"] == 0 and one(FOUR, margins="none")["strength"] is None
    assert one(FOUR, soft=False)["q"] == 1
    assert one(FOUR, ties="drop")["q"] == pytest.approx(2 / 3) and one(FOUR, ties="drop")["n"] == 3


def test_ties_and_both_bad_become_what_was_asked():
    even = [Said("x", "a"), Said("y", "b")]
    tie, bad = [Said("x", "tie")], [Said("x", "both_bad"), Said("y", "both_bad"), Said("z", "a")]
    assert one(even)["q"] == 0.5 and one(even, ties="drop") is None
    assert one(tie)["q"] == 0.5 and one(tie, ties="drop") is None
    assert one(bad)["q"] == 1 and one(bad, both_bad="drop") is None
    assert one([Said("x", "both_bad")]) is None
    pairs = [
        Asked("e", SUN, tie), Asked("f", "What do geese eat in winter?", bad), Asked("g", "Sail or row home today?", [Said("x", "both_bad")]),
    ]  # fmt: skip
    left_out = rows(pairs, ties="drop", both_bad="drop").counts["left_out"]
    assert (left_out["even"], left_out["both_bad"]) == (1, 2)
    # Both ways round in the train split only, so that a tie held out is judged as one.
    both = rows([Asked("e", SUN, tie), Asked("f", "Geese?", tie, "test", a="1")], ties="both")
    assert [(row["split"], row["q"], row["share"]) for row in both.pairs] == [
        ("train", 1.0, 0.5), ("train", 0.0, 0.5), ("test", 0.5, 1.0),
    ]  # fmt: skip
    assert (both.counts["pairs"], both.counts["ties"], both.counts["rows"]) == (2, 2, 3)


def test_who_and_when_and_whence():
    votes = [
        Said("w", "a", at=1000.0), Said("x", "b", at=2000.0, source="import"), Said("y", "b", at=3000.0, source="api"),
    ]  # fmt: skip
    moment = datetime.fromtimestamp(2000, UTC)
    assert one(votes, annotators=["w"])["q"] == 1
    assert one(votes, without=["x"])["q"] == 0.5
    assert one(votes, since=moment)["n"] == 2 and one(votes, until=moment)["n"] == 1
    assert one(votes, sources=["import", "api"])["n"] == 2
    assert one(votes, least_votes=4) is None
    assert one(votes, prompts=["q v1"])["n"] == 3
    group = {
        "assignment": Assignment(groups=[Group(id="g1", name="medics")]),
        "audiences": {"w": ("group:g1",)},
    }
    assert rows([Asked("e", SUN, votes)], more=group, groups=["medics"]).pairs[0]["n"] == 1
    gold = {"gold": {"id w": (9, 10), "id x": (5, 10)}}
    found = rows([Asked("e", SUN, votes)], more=gold, least_gold=0.9)
    assert [vote["annotator"] for vote in found.votes] == ["w"]  # y was never checked
    for wrong in ({"annotators": ["nobody"]}, {"groups": ["x"]}, {"prompts": ["r v1"]}, {"criterion": "odd"}):
        with pytest.raises(Invalid, match=next(iter(wrong))):
            one(votes, **wrong)


def test_adjudicators_decide_and_simulated_votes_speak_last():
    decided = [Said("w", "a"), Said("x", "a"), Said("judge", "b", source="adjudication")]
    row = one(decided)
    assert (row["q"], row["n"]) == (0, 1)
    assert one(decided, without=["judge"])["q"] == 1
    # Filters that measure annotators do not measure who was named to decide.
    assert one(decided, least_gold=0.5)["q"] == 0
    mixed = [Said("x", "a"), Said("s", "b", simulated=True), Said("t", "b", simulated=True)]
    assert one(mixed, simulated="include")["q"] == 1
    alone = [Said("s", "b", simulated=True), Said("x", "both_bad")]
    assert one(alone) is None
    row = one(alone, simulated="include")
    assert (row["q"], row["n"], row["n_simulated"]) == (0, 1, 1)
    # A tie of people's stays one, also where ties are dropped.
    assert one([Said("x", "tie"), Said("s", "b", simulated=True)], simulated="include", ties="drop") is None
    machine = [Said("x", "a"), Said("m", "b", machine=True, source="machine")]
    assert one(machine)["n"] == 1
    row = one(machine, machine="include")
    assert (row["n"], row["n_machine"], row["q"]) == (2, 1, 0.5)


def test_the_label_of_a_criterion():
    votes = [
        Said("w", "a", marks={"safe": "b"}), Said("x", "a", marks={"safe": {"a": 2, "b": 5}}), Said("y", "b", marks={"safe": "same"}),
        Said("z", "a"), Said("v", "a", marks={"safe": "perhaps"}),
    ]  # fmt: skip
    row = one(votes, criterion="safe")
    assert row["n"] == 3 and row["q"] == pytest.approx(0.5 / 3)
    assert row["margin"] == pytest.approx(-0.75 / 3)
    whole = one(votes)
    assert whole["q"] == 0.8 and json.loads(whole["criteria"]) == {
        "safe": {"n": 3, "q": pytest.approx(0.5 / 3)}
    }


def crowd(seed=0, pairs=60):
    """Three who see the truth, one who always takes the left."""
    import random

    rng = random.Random(seed)
    found = []
    for i in range(pairs):
        truth = rng.choice("ab")
        votes = [
            Said(
                f"good {k}", truth if rng.random() < 0.92 else "ab".replace(truth, ""), left=rng.choice("ab")
            )
            for k in range(2)
        ]
        side = rng.choice("ab")
        votes += [Said("lefty", side, left=side), Said("lefty too", side, left=side)]
        found.append(Asked(f"e{i}", f"question{i} about thing{i}", votes, a=f"a{i}", b=f"b{i}"))
    return found


def test_skill_weighs_votes_as_mace_says_and_can_be_asked_for():
    pairs = crowd()
    made = material(pairs)
    cast = made.cast
    skill = mace(cast.pair, cast.voter, cast.choice, cast.a_left, len(pairs), 4)
    by_name = {voter.name: float(skill.competence[i]) for i, voter in enumerate(cast.voters)}
    assert by_name["good 0"] > by_name["lefty"] + 0.3
    found = build(made, Filters(method="skill"))
    row, asked = found.pairs[0], pairs[0]
    weights = {vote.who: max(0.01, by_name[vote.who]) for vote in asked.votes}
    won = sum(weights[vote.who] for vote in asked.votes if vote.choice == "a")
    assert row["q"] == pytest.approx(won / sum(weights.values()))
    assert row["votes_a"] == pytest.approx(won)
    train = [row["weight"] for row in found.pairs]
    assert sum(train) / len(train) == pytest.approx(1)
    least = (by_name["good 0"] + by_name["lefty"]) / 2
    able = build(made, Filters(least_skill=least))
    assert {vote["annotator"] for vote in able.votes} == {name for name, c in by_name.items() if c >= least}


def test_counts_are_those_of_the_votes():
    pairs = [
        Asked("e", SUN, [Said("x", "a", left="a"), Said("y", "a", left="b"), Said("z", "both_bad")], a="long answer", b="no"),
        Asked("f", "What do geese eat in winter?", [Said("x", "b", left="b"), Said("y", "a", left="a")], "test", a="1"),
        Asked("g", "Sail or row home today?", [Said("x", "a")], a="same  text", b=" same text "),
    ]  # fmt: skip
    counts = rows(pairs).counts
    assert (counts["pairs"], counts["decided"], counts["ties"], counts["votes"], counts["cast"]) == (
        2,
        1,
        1,
        4,
        5,
    )
    assert (counts["annotators"], counts["both_bad_votes"], counts["left_out"]["identical"]) == (3, 1, 1)
    assert (counts["left"]["share"], counts["left"]["n"]) == (0.75, 4)
    assert counts["left"]["low"] < 0.75 < counts["left"]["high"]
    assert (counts["longer"]["share"], counts["longer"]["n"]) == (1.0, 1)
    assert (
        counts["agreement"]["share"] == pytest.approx((2 * 1 + 2 * 0) / 4) and counts["agreement"]["n"] == 2
    )
    assert counts["splits"]["test"]["pairs"] == 1
    assert {of["name"]: of["preferred"]["share"] for of in counts["prompts"]} == {"p v1": 0.75, "q v1": 0.25}
    by_name = {of["name"]: of for of in counts["by_annotator"]}
    assert by_name["x"]["votes"] == 2 and by_name["x"]["left"]["share"] == 1.0
    assert counts["votes_per_pair"] == {"2": 2}


votes = st.builds(
    Said, st.sampled_from("vwxyz"), st.sampled_from(sorted(CHOICES)), st.integers(0, 4), st.sampled_from(["a", "b", None])
)  # fmt: skip
asked = st.lists(
    st.lists(votes, min_size=1, max_size=4, unique_by=lambda vote: vote.who), min_size=1, max_size=8
)


@settings(max_examples=50, deadline=None)
@given(
    asked, st.sampled_from(["majority", "skill", "bradley_terry"]), st.sampled_from(["half", "drop", "both"])
)
def test_the_same_votes_and_filters_give_the_same_hash(drawn, method, ties):
    def made(reverse=False):
        pairs = [
            Asked(f"e{i}", f"question{i} on thing{i}", of[::-1] if reverse else of, a=f"a{i}")
            for i, of in enumerate(drawn)
        ]
        return build(material(pairs), Filters(method=method, ties=ties))

    first, again = made(), made(reverse=True)
    assert first.content_hash == again.content_hash and first.pairs == again.pairs
    assert first.checks == again.checks and first.counts == again.counts
    json.dumps(first.counts, allow_nan=False)
    if first.votes:
        changed = [
            [Said(vote.who, {"a": "b"}.get(vote.choice, "a"), vote.strength, vote.left) for vote in of]
            for of in drawn
        ]
        drawn[:] = changed
        assert made().content_hash != first.content_hash


def test_filters_are_checked_and_said_in_words():
    for wrong, name in (
        ({"least_skill": 2}, "least_skill"), ({"colour": 1}, "colour"), ({"ties": "toss"}, "ties"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, "until"), ({"sources": ["phone"]}, "sources"),
        ({"annotators": ["x"], "without": ["x"]}, "without"), ([], "filters"),
    ):  # fmt: skip
        with pytest.raises(Invalid, match=name):
            filters_of(wrong)
    assert Filters().as_json() == {}
    full = filters_of({"annotators": ["b", "a", "b"], "least_votes": 2, "since": "2026-01-31T12:00:00"})
    assert full.as_json() == {"annotators": ["a", "b"], "least_votes": 2, "since": "2026-01-31T12:00:00Z"}
    assert filters_of(full.as_json()) == full
    said = dict(words(full))
    assert said["Annotators"] == "only a, b" and "31 Jan 2026 12:00" in said["Time (UTC)"]
    assert week_of(datetime(2027, 1, 1, tzinfo=UTC).timestamp()) == "2026-W53"
