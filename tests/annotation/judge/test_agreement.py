"""Agreement of a judge with people, against slow computations from single votes, and the
figures that come out of the database."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.annotation.judge.agreement import agreement
from core.annotation.judge.figures import first_share, judges, leans
from core.annotation.judge.prompt import LABELS
from core.stats import wilson
from storage import judges as store
from storage.judges import Kind
from tests.annotation.judge.conftest import far, make_place, prefers
from tests.annotation.judge.test_counts_nowhere import JUDGE, machine_says
from tests.annotation.judge.test_run import by_text
from tests.llm.servers import serving

Pair = tuple[str, list[str]]  # what the judge said, what people said: a, b, tie, both_bad

choices = st.sampled_from(["a", "b", "tie", "both_bad"])
some_pairs = st.lists(st.tuples(choices, st.lists(choices, min_size=1, max_size=5)), min_size=1, max_size=25)


def kinds(pairs: list[Pair]) -> list[Kind]:
    counted: Counter = Counter()
    for said, people in pairs:
        counts = Counter(people)
        counted[said, *(counts[choice] for choice in ("a", "b", "tie", "both_bad"))] += 1
    return [Kind("j", *key, "import", n) for key, n in counted.items()]


def kappa_of(rows: list[tuple[str, str, float]]) -> float | None:
    """Cohen's kappa of weighted (one, other) choices, each also with a and b swapped."""
    swap = {"a": "b", "b": "a", "tie": "tie", "both_bad": "both_bad"}
    rows = rows + [(swap[x], swap[y], w) for x, y, w in rows]
    total = sum(w for *_, w in rows)
    p = sum(w for x, y, w in rows if x == y) / total
    share = [{c: sum(w for *two, w in rows if two[i] == c) / total for c in swap} for i in (0, 1)]
    e = sum(share[0][c] * share[1][c] for c in swap)
    return None if abs(e - 1) < 1e-9 else (p - e) / (1 - e)


@settings(max_examples=60, deadline=None)
@given(some_pairs)
def test_every_figure_against_single_votes(pairs):
    found = agreement(kinds(pairs), resamples=20)
    share = np.mean([np.mean([x == said for x in people]) for said, people in pairs])
    assert found.share.value == pytest.approx(share) and found.share.n == len(pairs)
    rows = [(said, x, 1 / len(people)) for said, people in pairs for x in people]
    assert found.kappa.value == pytest.approx(kappa_of(rows))

    clear = [(said, [x for x in people if x in ("a", "b")]) for said, people in pairs if said in ("a", "b")]
    clear = [(said, people) for said, people in clear if people]
    assert found.decisive.n == len(clear)
    if clear:
        assert found.decisive.value == pytest.approx(
            np.mean([np.mean([x == said for x in people]) for said, people in clear])
        )

    # Leave one out: each person against each other on the pair.
    couples = [list(permutations(people, 2)) for _, people in pairs if len(people) > 1]
    assert found.people_share.n == len(couples)
    if couples:
        assert found.people_share.value == pytest.approx(
            np.mean([np.mean([x == y for x, y in two]) for two in couples])
        )
        rows = [(x, y, 1 / len(two)) for two in couples for x, y in two]
        assert found.people_kappa.value == pytest.approx(kappa_of(rows))


@settings(max_examples=30, deadline=None)
@given(some_pairs)
def test_for_a_judge_that_cannot_say_both_bad_it_is_a_tie(pairs):
    merged = [
        ("tie" if said == "both_bad" else said, ["tie" if x == "both_bad" else x for x in people])
        for said, people in pairs
    ]
    pairs = [(said, people) for (said, _), (_, people) in zip(merged, pairs, strict=True)]
    two_ways = agreement(kinds(pairs), resamples=20, both_bad=False), agreement(kinds(merged), resamples=20)
    for one, other in zip(*(vars(found).values() for found in two_ways), strict=True):
        assert (one.value, one.n) == (pytest.approx(other.value), other.n)


def test_cohens_kappa_of_the_textbook():
    """20 and 15 the same, 5 and 10 not: (0.7 - 0.5) / (1 - 0.5) with the sides as they are
    (Cohen's kappa .4). Over a and tie, entered both ways, worked by hand: the judge says
    tie in 25 of 50, people in 20; e = .5 x .4 + 2 x .25 x .3 = .35; p = .7."""
    pairs = [("a", ["a"])] * 20 + [("a", ["tie"])] * 5 + [("tie", ["a"])] * 10 + [("tie", ["tie"])] * 15
    assert agreement(kinds(pairs)).kappa.value == pytest.approx((0.7 - 0.35) / 0.65)
    symmetric = [("a", ["a"])] * 20 + [("a", ["b"])] * 5 + [("b", ["a"])] * 5 + [("b", ["b"])] * 20
    assert agreement(kinds(symmetric)).kappa.value == pytest.approx(
        0.6
    )  # Cohen's own, too: the table is symmetric


def test_intervals_hold_what_they_should():
    """Coverage of the bootstrap: 95 %, over 200 draws from a known rate of agreement."""
    rng = np.random.default_rng(3)
    inside = 0
    for i in range(200):
        same = rng.random(60) < 0.7
        pairs = [("a", ["a" if one else "b"]) for one in same]
        figure = agreement(kinds(pairs), resamples=300, seed=i).share
        inside += figure.low <= 0.7 <= figure.high
    assert 180 <= inside <= 199


def test_nothing_to_compare():
    found = agreement([])
    assert found.share.value is None and found.share.n == 0 and found.people_kappa.value is None
    people = ["tie", "tie", "tie", "b"], ["b", "a", "tie"], ["tie"], ["both_bad", "a", "tie"]
    chance = agreement(kinds([("tie", said) for said in people])).kappa.value
    assert str(chance) == "0.0"  # its sums are -2.8e-16 here: not -0.0
    all_ties = agreement(kinds([("tie", ["tie"])] * 5))
    assert all_ties.share.value == 1 and all_ties.kappa.value is None and all_ties.decisive.n == 0


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.tuples(*[st.sampled_from(LABELS)] * 2).map("".join), st.integers(1, 30), min_size=1)
)
def test_the_pull_to_the_first_place(orders):
    figure = first_share(Counter(orders))
    answers = [letter for two, n in orders.items() for letter in two * n if letter in "AB"]
    assert figure.n == len(answers)
    if answers:
        assert figure.value == pytest.approx(answers.count("A") / len(answers))
        assert figure.low - 1e-9 <= figure.value <= figure.high + 1e-9
    if set(orders) <= {"AB", "BA"}:  # consistent: no pull at all, and that is certain
        assert (figure.value, figure.low, figure.high) == (0.5, 0.5, 0.5) and leans(figure) == ""


def test_always_the_first_is_a_pull():
    figure = first_share(Counter({"AA": 30}))
    assert (figure.value, figure.n) == (1.0, 60) and leans(figure) == "first"
    assert figure.low == pytest.approx(wilson(30, 30)[0])  # thirty pairs, not sixty answers
    assert leans(first_share(Counter({"BB": 30, "AB": 2}))) == "second"


def test_from_the_database(any_db):
    here = make_place(any_db, pairs=8)
    ids = [pair.id for pair in here.pairs]
    here.vote("Ann", dict(zip(ids, ["a", "b", "tie", "both_bad", "a", "a", "b"], strict=False)))
    here.vote("Bob", dict(zip(ids, ["a", "a", "tie", "tie", "b"], strict=False)))
    here.vote("Sim", dict.fromkeys(ids, "b"), simulated=True)
    here.vote("Out", dict.fromkeys(ids, "b"))

    from core.annotation.annotators import leave_out
    from storage.ids import id_of

    leave_out(any_db, here.who, here.project.id, id_of("annotator", here.project.id, "Out"))
    machine_says(here, dict(zip(ids, ["a", "b", "tie", "tie", "b", "tie", "b", "a"], strict=True)))
    (judge,) = judges(any_db, here.who, here.project.id)
    pairs = [
        ("a", ["a", "a"]), ("b", ["b", "a"]), ("tie", ["tie", "tie"]), ("tie", ["both_bad", "tie"]),
        ("b", ["a", "b"]), ("tie", ["a"]), ("b", ["b"]),
    ]  # fmt: skip
    assert not judge.says_both_bad and judge.agreement == agreement(kinds(pairs), both_bad=False)
    assert judge.agreement.share.value == pytest.approx((1 + 0.5 + 1 + 1 + 0.5 + 0 + 1) / 7)
    assert (judge.votes, judge.ties.value, judge.counts) == (8, 3 / 8, False)
    assert judge.by_source == {}  # one source only

    lengths = {
        pair.id: len(here.texts[pair.response_a]) - len(here.texts[pair.response_b]) for pair in here.pairs
    }
    assert set(lengths.values()) == {0} and judge.longer.n == 0


def test_the_taste_for_length(any_db):
    here = make_place(any_db, pairs=4)

    def stretch(session) -> None:
        from storage.tables import Response

        for i, pair in enumerate(here.pairs):
            session.get(Response, pair.response_a).text = "long " * (i + 20)

    any_db.write(stretch)
    ids = [pair.id for pair in here.pairs]
    here.vote("Ann", dict(zip(ids, "abbb", strict=True)))
    here.vote("Bob", dict(zip(ids[:2], "aa", strict=True)))
    machine_says(here, dict(zip(ids, ["a", "a", "b", "tie"], strict=True)))
    with any_db.read() as session:
        found = store.longer(session, here.project.id)
    # Judge: 2 of 3 for the longer. People on its pairs (all four): Ann 1 of 4, Bob 2 of 2.
    assert found == {JUDGE: store.Longer(3, 2, 6, 3)}


def test_a_judge_that_says_both_bad_is_compared_on_that_too(any_db):
    here = make_place(any_db, pairs=4)
    ids = [pair.id for pair in here.pairs]
    here.vote("Ann", dict(zip(ids, ["both_bad", "both_bad", "tie", "a"], strict=True)))
    here.vote("Bob", dict(zip(ids, ["both_bad", "tie", "both_bad", "a"], strict=True)))
    machine_says(here, dict(zip(ids, ["both_bad", "tie", "both_bad", "a"], strict=True)))
    (judge,) = judges(any_db, here.who, here.project.id)
    pairs = [
        ("both_bad", ["both_bad"] * 2), ("tie", ["both_bad", "tie"]), ("both_bad", ["tie", "both_bad"]), ("a", ["a"] * 2),
    ]  # fmt: skip
    assert judge.says_both_bad and judge.agreement == agreement(kinds(pairs))
    assert (judge.agreement.share.value, judge.agreement.people_share.value) == (0.75, 0.5)
    assert (judge.ties.value, judge.both_bad.value, judge.agreement.decisive.n) == (0.25, 0.5, 1)


def test_runs_add_up(place):
    here = place(pairs=5)
    with serving(prefers(lambda first, second: "A" if "0" in first else by_text(first, second))) as server:
        far(here, server.url, price_out=1e6)
        one = here.judge(host="far", pairs="all", limit=2)
        two = here.judge(host="far", pairs="all")
    (judge,) = judges(here.db, here.who, here.project.id)
    assert (judge.runs, judge.votes, judge.calls, judge.cost) == (2, 5, 10, 30.0)
    assert judge.inconsistent.n == 5
    assert judge.inconsistent.value == (one.result["inconsistent"] + two.result["inconsistent"]) / 5
    assert judge.agreement.share.n == 0  # nobody has voted
