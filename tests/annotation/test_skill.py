"""Skill, care and clickers: against another implementation, and against simulated truth."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom

from core.annotation.clickers import LOOKS, find, looks_of
from core.annotation.noisy import noisy_bradley_terry
from core.annotation.skill import dawid_skene, mace
from tests.annotation import llmfao

needs_llmfao = pytest.mark.skipif(not llmfao.FOLDER.exists(), reason="shared/data/llmfao is not here")


def crowd(seed: int, competence: list[float], pairs: int = 600, votes: int = 4, habits=None):
    """Annotators who know the truth (a, b, tie) with their competence, else click by a habit
    over (left, right, tie, both bad)."""
    rng = np.random.default_rng(seed)
    judges = len(competence)
    truth = rng.choice(3, pairs, p=[0.4, 0.4, 0.2])
    pair = np.repeat(np.arange(pairs), votes)
    judge = np.concatenate([rng.permutation(judges)[:votes] for _ in range(pairs)])
    a_left = rng.integers(0, 2, len(pair))
    habits = habits or {}
    choice = truth[pair].copy()
    guesses = rng.random(len(pair)) > np.array(competence)[judge]
    for v in np.flatnonzero(guesses):
        side = rng.choice(4, p=habits.get(judge[v], [0.4, 0.4, 0.2, 0]))
        choice[v] = side if side > 1 else (side if a_left[v] else 1 - side)
    return SimpleNamespace(
        pair=pair, judge=judge, choice=choice, a_left=a_left, truth=truth, pairs=pairs, judges=judges
    )


@needs_llmfao
def test_dawid_skene_is_what_crowd_kit_finds_on_llmfao():
    """crowd-kit 1.4.2 (DawidSkene, 500 iterations), every pair in both orders as two tasks:
    1,757 of 4,248 tasks are ties, and these are its accuracies of the first six workers."""
    rows = llmfao.judgements()
    ids = {key: i for i, key in enumerate(sorted({row["id"] for row in rows}))}
    workers = {key: i for i, key in enumerate(sorted({row["worker"] for row in rows}, key=int))}
    found = dawid_skene(
        np.array([ids[row["id"]] for row in rows]),
        np.array([workers[row["worker"]] for row in rows]),
        np.array([{"left": 0, "right": 1, "tie": 2}[row["winner"]] for row in rows]),
        len(ids), len(workers), smoothing=1e-6, most=1000, tolerance=1e-7,
    )  # fmt: skip
    assert found.accuracy[:6] == pytest.approx([0.6431, 0.5150, 0.3035, 0.5536, 0.6236, 0.4714], abs=2e-3)
    assert list(found.n[:6]) == [63, 28, 77, 154, 35, 14]
    assert abs(2 * (found.truth.argmax(1) == 2).sum() - 1757) <= 4


def test_dawid_skene_finds_the_truth_better_than_the_majority():
    made = crowd(1, [0.9, 0.9, 0.85, 0.1, 0.1, 0.05], pairs=800, votes=5)
    found = dawid_skene(made.pair, made.judge, made.choice, made.pairs, made.judges)
    counts = np.bincount(made.pair * 4 + made.choice, minlength=made.pairs * 4).reshape(-1, 4)
    majority = (counts.argmax(1) == made.truth).mean()
    assert (found.truth.argmax(1) == made.truth).mean() > max(0.95, majority + 0.03)
    right = [(made.choice == made.truth[made.pair])[made.judge == j].mean() for j in range(6)]
    assert found.accuracy == pytest.approx(right, abs=0.05)


def test_which_response_is_called_a_changes_no_skill():
    made = crowd(2, [0.8, 0.7, 0.6, 0.2])
    flip = np.random.default_rng(0).random(made.pairs) < 0.5
    choice = np.where(flip[made.pair] & (made.choice < 2), 1 - made.choice, made.choice)
    a_left = np.where(flip[made.pair], 1 - made.a_left, made.a_left)
    args = (made.pairs, made.judges)
    one, other = (dawid_skene(made.pair, made.judge, c, *args) for c in (made.choice, choice))
    assert one.accuracy == pytest.approx(other.accuracy, abs=1e-6)
    one, other = (
        mace(made.pair, made.judge, c, left, *args)
        for c, left in ((made.choice, made.a_left), (choice, a_left))
    )
    assert one.competence == pytest.approx(other.competence, abs=1e-6)


def test_mace_finds_competence_and_habits():
    inside, errors = [], []
    truth = np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.02])
    for seed in range(10):
        made = crowd(seed, list(truth), habits={5: [0.9, 0.05, 0.05, 0]})
        found = mace(made.pair, made.judge, made.choice, made.a_left, made.pairs, made.judges)
        inside.append((found.low <= truth) & (truth <= found.high))
        errors.append(found.competence - truth)
        assert found.habit[5, 0] > 0.8 and found.competence[5] < 0.15
    assert np.abs(np.mean(errors, axis=0))[:5].max() < 0.05
    assert 0.80 <= np.mean(inside) <= 1  # nominal 95 %; the truth of the pairs is estimated


def test_a_single_vote_is_no_witness_of_itself():
    made = crowd(3, [0.9, 0.9, 0.1], votes=1)
    found = mace(made.pair, made.judge, made.choice, made.a_left, made.pairs, made.judges)
    assert (found.n == 0).all() and found.competence == pytest.approx([0.5, 0.5, 0.5])
    assert (found.high - found.low > 0.8).all()
    empty = np.zeros(0, int)
    assert len(dawid_skene(empty, empty, empty, 0, 0).accuracy) == 0


def meetings(seed: int, care: list[float], pull: list[float], votes: int = 3_000, items: int = 5):
    """Votes by the noisy model with nu 0.6: careless ones click left with `pull`, never even."""
    rng = np.random.default_rng(seed)
    t = np.linspace(-1.5, 1.5, items)
    judge = rng.integers(0, len(care), votes)
    left = rng.integers(0, items, votes)
    right = (left + rng.integers(1, items, votes)) % items
    d = (t[left] - t[right]) / 2
    p = np.stack([np.exp(d), np.exp(-d), np.full_like(d, 0.6)], axis=1)
    p /= p.sum(1, keepdims=True)
    own = np.array([rng.choice(3, p=row) for row in p])
    clicked = (rng.random(votes) > np.array(pull)[judge]).astype(int)
    vote = np.where(rng.random(votes) < np.array(care)[judge], own, clicked)
    return t, judge, left, right, vote


def test_the_noisy_model_finds_strengths_care_and_pull():
    care, pull = [0.95, 0.8, 0.5, 0.1], [0.5, 0.5, 0.9, 0.5]
    t, *votes = meetings(0, care, pull, votes=8_000)
    found = noisy_bradley_terry(*votes, 4, 5)
    assert np.corrcoef(found.t, t)[0, 1] > 0.99 and found.nu == pytest.approx(0.6, abs=0.2)
    assert found.care == pytest.approx(care, abs=0.2) and (np.diff(found.care) < -0.05).all()
    assert (found.care_low < found.care).all() and (found.care < found.care_high).all()
    # Between equals: (care / 2.6 + (1 - care) pull) of what is not even.
    one = 1 / 2.6
    truth = [(c * one + (1 - c) * p) / (2 * c * one + 1 - c) for c, p in zip(care, pull, strict=True)]
    assert found.left == pytest.approx(truth, abs=0.04)
    assert found.left_low[2] > 0.5 and found.left_low[0] < 0.5 < found.left_high[0]


def test_the_interval_of_the_pull_holds_the_truth():
    inside = []
    for seed in range(25):
        _, *votes = meetings(seed, [0.9, 0.6, 0.6], [0.5, 0.5, 0.8], votes=1_500)
        found = noisy_bradley_terry(*votes, 3, 5)
        one = 1 / 2.6
        truth = np.array(
            [(c * one + (1 - c) * p) / (2 * c * one + 1 - c) for c, p in ((0.9, 0.5), (0.6, 0.5), (0.6, 0.8))]
        )
        inside.append((found.left_low <= truth) & (truth <= found.left_high))
    assert 0.85 <= np.mean(inside) <= 1


# --- clickers -----------------------------------------------------------------------------


def test_the_looks_are_drawn_once_and_in_their_order():
    for name in ("one", "another", "Zoë"):
        assert looks_of(name) == looks_of(name)
        assert all(low <= look <= high for look, (low, high) in zip(looks_of(name), LOOKS, strict=True))
    assert looks_of("one") != looks_of("another")


def run(made, level, salt=""):
    at = np.arange(len(made.pair))
    names = [f"{salt}{j}" for j in range(made.judges)]
    meeting = made.pair[np.unique(made.pair, return_index=True)[1]] % 3
    return find(made.pair, made.judge, made.choice, made.a_left, at, meeting, names, level)


@pytest.mark.parametrize("votes", [2, 4])
def test_the_false_alarm_rate_is_at_most_what_it_says(votes):
    """Annotators who are all alike, 400 of them at a level of 5 %."""
    alarms = 0
    for seed in range(10):
        found = run(crowd(100 + seed, [0.6] * 40, pairs=1_200, votes=votes), 0.05, str(seed))
        alarms += int(found.alarm.sum())
    assert alarms <= binom.ppf(0.999, 400, 0.05)


def test_clickers_are_named_and_others_are_not():
    """Three in thirty click at random; each votes on about 130 pairs."""
    named = others = 0
    for seed in range(5):
        made = crowd(200 + seed, [0.0] * 3 + [0.8] * 27, pairs=1_000, votes=4)
        found = run(made, 0.01, str(seed))
        named += int(found.suspected[:3].sum())
        others += int(found.suspected[3:].sum())
        assert found.agreed[:3] == pytest.approx(found.guessing[:3], abs=0.08)
        assert (found.gain_low[3:] > 0).all()
    assert named >= 13 and others == 0


def test_nobody_to_compare_with_is_no_suspicion():
    found = run(crowd(5, [0.0, 0.9], votes=1), 0.01)
    assert not found.alarm.any() and (found.p == 1).all() and (found.compared == 0).all()
