"""Agreement, bias and ratings against known answers and independent computations."""

import time
from collections import Counter
from datetime import timedelta
from itertools import combinations

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sqlmodel import select

from core import data
from core.access import Principal, Role
from core.annotation import votes
from core.annotation.detail import detail
from core.annotation.leaderboard import leaderboard
from core.annotation.quality import alpha_nominal, quality
from core.annotation.ratings import SCALE, bradley_terry
from core.errors import Forbidden
from core.projects import create_project
from storage.ids import now
from storage.pairs import annotators_named
from storage.tables import Annotator, Pair, Project, Vote
from tests.annotation import llmfao
from tests.annotation.conftest import make_person, make_world

needs_llmfao = pytest.mark.skipif(not llmfao.FOLDER.exists(), reason="shared/data/llmfao is not here")


# --- agreement ---------------------------------------------------------------------------


def test_alpha_is_krippendorffs_on_symmetric_data():
    """Where a and b are chosen equally often, entering both orders changes only the
    count of votes in the small-sample correction."""
    counts = np.array([[2, 0, 0, 0], [0, 2, 0, 0], [1, 1, 0, 0], [0, 0, 2, 0], [0, 0, 1, 1]] * 50)
    plain = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
    assert alpha_nominal(counts)["alpha_nominal"] == pytest.approx(plain, abs=0.002)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=20), st.data())
@settings(max_examples=60, deadline=None)
def test_alpha_does_not_depend_on_which_response_is_called_a(rows, data):
    counts = np.array(rows)
    swap = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    swapped = np.where(swap[:, None], counts[:, [1, 0, 2, 3]], counts)
    one, other = alpha_nominal(counts, resamples=20), alpha_nominal(swapped, resamples=20)
    assert one["alpha_nominal"] == pytest.approx(other["alpha_nominal"], abs=1e-9)
    if one["alpha_nominal"] is not None:
        assert one["alpha_nominal"] <= 1 + 1e-9


@pytest.mark.parametrize(
    "counts",
    [np.zeros((0, 4), int), np.array([[1, 0, 0, 0], [0, 1, 0, 0]]), np.array([[0, 0, 3, 0], [0, 0, 2, 0]])],
)
def test_alpha_is_undefined_rather_than_made_up(counts):
    assert alpha_nominal(counts) == {"alpha_nominal": None, "alpha_low": None, "alpha_high": None}


def test_perfect_agreement_and_chance():
    perfect = np.array([[3, 0, 0, 0], [0, 3, 0, 0], [0, 0, 3, 0]])
    assert alpha_nominal(perfect)["alpha_nominal"] == pytest.approx(1)
    rng = np.random.default_rng(1)
    chance = alpha_nominal(rng.multinomial(3, [0.3, 0.3, 0.3, 0.1], size=3_000))
    assert chance["alpha_low"] < 0 < chance["alpha_high"]
    assert chance["alpha_high"] - chance["alpha_low"] < 0.06


def test_the_bootstrap_resamples_pairs():
    """The same interval as drawing pairs one by one and asking the library."""
    rng = np.random.default_rng(2)
    counts = rng.multinomial(4, [0.6, 0.2, 0.2, 0], size=120)
    both = [0, 1, 2, 3], [1, 0, 2, 3]
    slow = []
    for _ in range(400):
        drawn = counts[rng.integers(0, len(counts), len(counts))]
        stacked = np.vstack([drawn[:, order] for order in both])
        slow.append(krippendorff.alpha(value_counts=stacked, level_of_measurement="nominal"))
    ours = alpha_nominal(counts)
    assert [ours["alpha_low"], ours["alpha_high"]] == pytest.approx(
        np.quantile(slow, [0.025, 0.975]), abs=0.012
    )


# --- ratings ------------------------------------------------------------------------------


def independent_mle(a, b, counts, n):
    """Bradley-Terry by minimising the log loss with scipy, ties as halves."""

    won, lost = counts[:, 0] + counts[:, 2] / 2, counts[:, 1] + counts[:, 2] / 2

    def loss(t):
        d = t[a] - t[b]
        slope = won * expit(-d) - lost * expit(d)
        gradient = np.bincount(b, slope, n) - np.bincount(a, slope, n)
        return -(won * np.log(expit(d)) + lost * np.log(expit(-d))).sum(), gradient

    t = minimize(loss, np.zeros(n), jac=True, method="BFGS", options={"gtol": 1e-7}).x
    return t - t.mean()


def random_comparisons(seed, n=6, rows=200, votes=3):
    rng = np.random.default_rng(seed)
    t = rng.normal(size=n)
    a = rng.integers(0, n, rows)
    b = (a + rng.integers(1, n, rows)) % n
    p = expit(t[a] - t[b])
    counts = np.array([rng.multinomial(votes, [0.8 * q, 0.8 * (1 - q), 0.2]) for q in p])
    return t, a, b, counts


@pytest.mark.parametrize("seed", range(4))
def test_ratings_are_the_maximum_likelihood(seed):
    _, a, b, counts = random_comparisons(seed)
    ours = bradley_terry(a, b, counts, 6)
    assert (ours.rating - 1000) / SCALE == pytest.approx(independent_mle(a, b, counts, 6), abs=1e-4)
    assert not ours.smoothed.any() and set(ours.group) == {0}


def test_two_items_have_a_closed_form():
    """30 wins, 10 losses: a difference of 400 log10(3), with variance 1/(n p q)."""
    ours = bradley_terry(
        np.zeros(40, int), np.ones(40, int), np.array([[1, 0, 0]] * 30 + [[0, 1, 0]] * 10), 2
    )
    assert ours.rating[0] - ours.rating[1] == pytest.approx(400 * np.log10(3), abs=1e-4)
    assert (ours.high - ours.low)[0] == pytest.approx(2 * 1.959964 * SCALE * np.sqrt(1 / 7.5) / 2, rel=1e-4)
    assert list(ours.rank) == [1, 2]


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    inside = []
    for seed in range(60):
        t, a, b, _ = random_comparisons(seed, rows=150, votes=1)
        t = 0.8 * t  # ties pull differences in: compare on a tie-free draw
        rng = np.random.default_rng(1000 + seed)
        p = expit(t[a] - t[b])
        won = rng.random(len(p)) < p
        ours = bradley_terry(a, b, np.column_stack([won, ~won, np.zeros(len(p))]).astype(int), 6)
        truth = 1000 + SCALE * (t - t.mean())
        inside.append((ours.low <= truth) & (truth <= ours.high))
    assert 0.90 <= np.mean(inside) <= 0.98


def test_votes_that_hang_together_widen_the_interval():
    """Ten votes on one pair that always agree are worth one, not ten."""
    rng = np.random.default_rng(0)
    won = rng.random(40) < 0.6
    a, b = np.zeros(40, int), np.ones(40, int)
    once = bradley_terry(a, b, np.column_stack([won, ~won, won & False]).astype(int), 2)
    tenfold = bradley_terry(a, b, 10 * np.column_stack([won, ~won, won & False]).astype(int), 2)
    assert tenfold.high - tenfold.low == pytest.approx(once.high - once.low, rel=1e-3)


def test_who_won_everything_has_a_rating_and_a_wide_interval():
    ours = bradley_terry(np.zeros(5, int), np.ones(5, int), np.array([[1, 0, 0]] * 5), 2)
    assert ours.smoothed.all() and np.isfinite(ours.rating).all()
    assert ours.rating[0] > ours.rating[1] and ours.low[0] < ours.high[1]  # five votes prove little
    assert list(ours.rank) == [1, 1]


@pytest.mark.parametrize("times", [1, 1_000, 100_000])
def test_intervals_narrow_with_the_root_of_the_votes(times):
    """Also where the information is so large that its null space is only nearly null."""
    _, a, b, counts = random_comparisons(3, n=20, rows=400)
    once = bradley_terry(a, b, counts, 20)
    many = bradley_terry(np.tile(a, 2), np.tile(b, 2), np.tile(counts, (2, 1)) * times, 20)
    assert many.rating == pytest.approx(once.rating, abs=1e-2)
    assert (many.high - many.low) * np.sqrt(2) == pytest.approx(once.high - once.low, rel=0.35)


def test_items_that_never_met_are_rated_apart():
    ours = bradley_terry(
        np.array([0, 1, 2, 3]),
        np.array([1, 0, 3, 2]),
        np.array([[3, 1, 0], [1, 3, 0], [1, 1, 0], [0, 0, 1]]),
        5,
    )
    assert ours.group[0] == ours.group[1] != ours.group[2] == ours.group[3]
    assert len({ours.group[0], ours.group[2], ours.group[4]}) == 3
    assert ours.rating[2:] == pytest.approx([1000, 1000, 1000])


def test_nothing_at_all():
    none = np.zeros(0, int)
    assert len(bradley_terry(none, none, np.zeros((0, 3)), 0).rating) == 0


# --- over the database --------------------------------------------------------------------


def vote_on_everything(db, made, who, choice):
    while (claim := votes.claim(db, who, made.project.id)) is not None:
        votes.cast(db, who, claim.pair_id, claim.lease, choice, duration_ms=2_000)


def test_quality_of_a_small_project(any_db):
    made, lead = make_world(any_db, pairs=4, votes=2), make_person(any_db, "lead", "lead")
    nothing = quality(any_db, lead, made.project.id)
    assert (nothing["votes"], nothing["pairs"], nothing["alpha_nominal"], nothing["left_share"]) == (
        0,
        4,
        None,
        None,
    )
    vote_on_everything(any_db, made, make_person(any_db, "always left"), "left")
    vote_on_everything(any_db, made, make_person(any_db, "always tie"), "tie")
    found = quality(any_db, lead, made.project.id)
    assert (found["votes"], found["annotators"], found["pairs_shared"], found["decisive"]) == (8, 2, 4, 4)
    assert (found["left_share"], found["tie_share"], found["median_duration_ms"]) == (1.0, 0.5, 2000)
    assert found["left_low"] < 1 and found["alpha_nominal"] < 0
    judges = {item["name"]: item for item in found["per_annotator"]}
    assert judges["always left"]["left_share"] == 1.0 and judges["always left"]["agreement"] == 0.0
    assert judges["always tie"]["left_share"] is None and judges["always tie"]["compared"] == 4
    assert [day["votes"] for day in found["per_day"]] == [8]
    with pytest.raises(Forbidden):
        quality(any_db, make_person(any_db), made.project.id)


def simulate(db, made, count=3):
    """`count` simulated annotators, each choosing response_a of every pair."""

    def work(session):
        judges = annotators_named(
            session, made.project.id, {f"sim {i}" for i in range(count)}, simulated=True
        )
        for pair_id in made.pairs:
            pair = session.get(Pair, pair_id)
            for judge in judges.values():
                session.add(
                    Vote(
                        project_id=made.project.id, pair_id=pair.id, annotator_id=judge.id, outcome="win",
                        winner=pair.response_a, left=pair.response_a, source="simulated", simulated=True,
                    )
                )  # fmt: skip

    db.write(work)


def test_simulated_votes_never_mix_silently(any_db):
    made, lead = make_world(any_db, pairs=3, votes=1), make_person(any_db, "lead", "lead")
    simulate(any_db, made)
    only = quality(any_db, lead, made.project.id)
    assert (only["simulated"], only["votes"], only["simulated_votes"]) == ("include", 9, 9)
    board = leaderboard(any_db, lead, made.project.id)
    assert (board["votes"], board["simulated_votes"], board["all_human_votes"]) == (9, 9, 0)
    vote_on_everything(any_db, made, make_person(any_db), "tie")
    for answer in (quality(any_db, lead, made.project.id), leaderboard(any_db, lead, made.project.id)):
        assert (answer["simulated"], answer["votes"], answer["simulated_votes"]) == ("exclude", 3, 0)
        assert (answer["all_human_votes"], answer["all_simulated_votes"]) == (3, 9)
    both = leaderboard(any_db, lead, made.project.id, simulated="include")
    assert (both["votes"], both["simulated_votes"]) == (12, 9)
    assert quality(any_db, lead, made.project.id, simulated="only")["votes"] == 9


def test_the_leaderboard_counts_and_filters(any_db):
    made, lead = make_world(any_db, pairs=6, votes=2, prompts=3), make_person(any_db, "lead", "lead")
    assert leaderboard(any_db, lead, made.project.id)["items"] == []
    one, two = make_person(any_db, "one"), make_person(any_db, "two")
    vote_on_everything(any_db, made, one, "both_bad")
    middle = now()
    vote_on_everything(any_db, made, two, "left")
    board = leaderboard(any_db, lead, made.project.id)
    assert (board["votes"], board["both_bad"], len(board["groups"])) == (12, 6, 1)
    assert all(item["n"] == item["wins"] + item["ties"] + item["losses"] == 8 for item in board["items"])
    assert sum(item["wins"] for item in board["items"]) == 6
    assert all(item["low"] < item["rating"] < item["high"] for item in board["items"])
    wins, met = np.array(board["matrix"]["wins"]), np.array(board["matrix"]["n"])
    assert (wins + wins.T == met).all() and met.sum() == 2 * 12
    ids = {name: _annotator(any_db, made, name) for name in ("one", "two")}
    assert leaderboard(any_db, lead, made.project.id, annotators=[ids["one"]])["both_bad"] == 6
    assert leaderboard(any_db, lead, made.project.id, annotators=[ids["two"]])["votes"] == 6
    assert leaderboard(any_db, lead, made.project.id, until=middle)["both_bad"] == 6
    assert leaderboard(any_db, lead, made.project.id, since=middle)["both_bad"] == 0
    # A time without a zone is UTC.
    late = (now() + timedelta(hours=1)).replace(tzinfo=None)
    assert leaderboard(any_db, lead, made.project.id, since=late)["items"] == []


def _annotator(db, made, name):
    with db.read() as session:
        return session.exec(
            select(Annotator.id).where(Annotator.project_id == made.project.id, Annotator.name == name)
        ).one()


def test_three_people_on_every_pair(db):
    """The shape of PandaLM's test set (Wang et al. 2024): three people each say of every pair that
    one, the other or neither is better. Every figure is counted here from the votes as they came in."""
    admin = Principal("admin", "admin", Role.ADMIN)
    rng = np.random.default_rng(4)
    strength = {"A": 0.9, "B": 0.3, "C": 0.0, "D": -0.8}
    people, said, rows = ("x", "y", "z"), [], []
    for i in range(200):
        a, b = rng.choice(list(strength), 2, replace=False)
        own = rng.choice(["a", "b", "tie"], p=_wins(strength[a] - strength[b]))
        choices = [own if rng.random() < 0.7 else rng.choice(["a", "b", "tie"]) for _ in people]
        said.append((a, b, choices))
        texts = {"response_a": f"{a} says", "response_b": f"{b} says", "prompt_a": a, "prompt_b": b}
        rows += [{"input": f"q{i}", "annotator": who, "choice": str(choice), **texts}
                 for who, choice in zip(people, choices, strict=True)]  # fmt: skip
    project = create_project(db, admin, name="Three", votes_per_pair=3)
    assert data.import_comparisons(db, admin, project.id, rows).imported == 600
    found, more = quality(db, admin, project.id), detail(db, admin, project.id)
    assert (found["votes"], found["pairs_shared"], found["annotators"]) == (600, 200, 3)
    # Which response is called a means nothing: each pair is entered in both orders.
    turned = {"a": "b", "b": "a", "tie": "tie"}
    both = [choices for _, _, choices in said] + [[turned[c] for c in choices] for _, _, choices in said]
    values = {"a": 0, "b": 1, "tie": 2}
    table = np.array([[values[c] for c in choices] for choices in both], float)
    theirs = krippendorff.alpha(reliability_data=table.T, level_of_measurement="nominal")
    assert found["alpha_nominal"] == pytest.approx(theirs, abs=1e-9)
    same = np.mean([[p == q for p, q in combinations(choices, 2)] for choices in both])
    shares = np.bincount(table.astype(int).ravel()) / table.size
    whole = next(group for group in more.groups if group.of == "all")
    assert whole.raw.value == pytest.approx(same)
    assert whole.fleiss.value == pytest.approx((same - (shares**2).sum()) / (1 - (shares**2).sum()))
    couples = []
    for p, q in combinations(range(3), 2):
        agreed = np.mean(table[:, p] == table[:, q])
        chance = sum(np.mean(table[:, p] == v) * np.mean(table[:, q] == v) for v in range(3))
        couples.append((agreed - chance) / (1 - chance))
    assert more.cohen.value == pytest.approx(np.mean(couples)) and more.cohen.couples == 3
    names = list(strength)
    counts = np.array([[choices.count(kind) for kind in ("a", "b", "tie")] for _, _, choices in said])
    a, b = (np.array([names.index(row[side]) for row in said]) for side in (0, 1))
    board = {item["name"]: item["rating"] for item in leaderboard(db, admin, project.id)["items"]}
    ours = [(board[name] - 1000) / SCALE for name in names]
    assert ours == pytest.approx(independent_mle(a, b, counts.astype(float), 4), abs=1e-3)


def _wins(apart: float) -> list[float]:
    return [0.8 * expit(apart), 0.8 * expit(-apart), 0.2]


@needs_llmfao
def test_the_figures_of_llmfao(db):
    project: Project = llmfao.load(db)
    lead = make_person(db, "lead", "lead")
    start = time.perf_counter()
    found = quality(db, lead, project.id)
    seconds = time.perf_counter() - start
    assert (found["votes"], found["annotators"], found["pairs"]) == (8931, 124, 2139)
    assert round(found["alpha_nominal"], 3) == 0.291
    assert found["alpha_low"] < 0.291 < found["alpha_high"] < found["alpha_low"] + 0.05
    assert round(100 * found["left_share"], 1) == 53.3 and found["decisive"] == 5460
    assert found["simulated_votes"] == 0 and found["tie_share"] == pytest.approx(3471 / 8931)
    # Each annotator's agreement with others, counted again the slow way.
    rows = llmfao.judgements()
    by_pair = Counter((row["id"], row["winner"]) for row in rows)
    of_pair = Counter(row["id"] for row in rows)
    judge = found["per_annotator"][0]
    mine = [row for row in rows if f"worker {row['worker']}" == judge["name"] and of_pair[row["id"]] > 1]
    shares = [(by_pair[row["id"], row["winner"]] - 1) / (of_pair[row["id"]] - 1) for row in mine]
    assert judge["agreement"] == pytest.approx(np.mean(shares)) and judge["compared"] == len(mine)

    start = time.perf_counter()
    board = leaderboard(db, lead, project.id)
    seconds = max(seconds, time.perf_counter() - start)
    assert len(board["items"]) == 59 and board["votes"] == 8931 and len(board["groups"]) == 1
    names = sorted({row["left"] for row in rows} | {row["right"] for row in rows})
    at = {name: i for i, name in enumerate(names)}
    a = np.array([at[row["left"]] for row in rows])
    b = np.array([at[row["right"]] for row in rows])
    counts = np.array([[row["winner"] == kind for kind in ("left", "right", "tie")] for row in rows])
    t = independent_mle(a, b, counts.astype(float), len(names))
    ours = {item["name"]: (item["rating"] - 1000) / SCALE for item in board["items"]}
    assert [ours[name] for name in names] == pytest.approx(t, abs=1e-3)
    assert seconds < 3  # well under 1 on a quiet machine
