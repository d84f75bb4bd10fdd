"""The parts of benchmarks/active_selection.py, on sizes that take no time."""

import csv
import json
from dataclasses import replace as with_

import numpy as np
import pytest
from scipy.optimize import minimize

from benchmarks import active_selection
from benchmarks.selection import careless, replay, worlds
from benchmarks.selection.careless import Arm
from benchmarks.selection.head import Heads
from core.annotation.selection import STRATEGIES
from core.stats import wilson

ALL = ("ratings_elo", "win_matrix_points", "reward_log_loss", "reward_accuracy_points")


@pytest.fixture(scope="module")
def world():
    return worlds.simulated(3, examples=2, held_examples=4)


def test_the_simulation_is_what_it_says(world):
    assert len(world.a) == 2 * 190 and world.total == 3 * len(world.a)
    assert len(world.held.q) == 4 * 190
    # Rewards are linear: both kinds of chances follow from the features, by the same weights.
    held = (world.held.q - 0.06) / 0.88
    chance = np.concatenate([world.chance, held])
    rows = [np.concatenate([world.row_a, world.held.a]), np.concatenate([world.row_b, world.held.b])]
    difference = world.features[rows[0]] - world.features[rows[1]]
    logit = np.log(chance / (1 - chance))
    weights, *_ = np.linalg.lstsq(difference, logit, rcond=None)
    assert difference @ weights == pytest.approx(logit, abs=1e-3) and weights @ weights == pytest.approx(1)
    # Truth: what prompts win on these examples, ties as halves.
    beats = np.zeros((20, 20))
    np.add.at(beats, (world.a, world.b), (0.06 + 0.88 * world.chance) / 2)
    shares = world.truth_p[np.triu_indices(20, 1)] - beats[np.triu_indices(20, 1)]
    assert abs(shares.mean()) < 0.01 and np.abs(shares).mean() < 0.15  # Bradley-Terry, two examples


def test_heads_are_ridge_logistic_regressions_on_differences():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 4))
    a, b = rng.integers(0, 15, 60), rng.integers(15, 30, 60)
    heads = Heads(features, a, b, ridge=0.7, members=3, seed=1)
    seen = rng.integers(0, 60, 90)
    scores = rng.choice([0, 0.5, 1], 90)
    for part in (slice(0, 40), slice(40, 90)):  # from where it stood, to the same end
        heads.see(seen[part], scores[part])
        heads.fit()

    def loss(w):
        z = (features[a] - features[b])[seen] @ w
        return (scores * np.logaddexp(0, -z) + (1 - scores) * np.logaddexp(0, z)).sum() + 0.35 * w @ w

    best = minimize(loss, np.zeros(4), tol=1e-10).x
    assert heads.weights[0] == pytest.approx(best, abs=1e-3)
    assert heads.logits()[:, 0] == pytest.approx(features @ best, abs=1e-2)
    assert np.abs(heads.weights[1:] - best).max() > 0.01, "the others saw other votes"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_ends_where_all_votes_do(world, strategy):
    found = replay.replay(strategy, world, 0, (0.2, 1.0), 100.0)
    assert found.shape == (2, len(replay.MEASURES)) and replay.MEASURES == ALL
    assert np.isfinite(found).all() and 0 < found[1, 3] <= 100
    end = replay.replay("random", world, 0, (1.0,), 100.0)
    assert found[1] == pytest.approx(end[0], abs=1e-2)


def test_the_unsure_model_is_asked_about_the_closest_pairs(world):
    """Once it has learned, what it asks for is closer than what is left."""
    rng, heads = np.random.default_rng(0), Heads(world.features, world.row_a, world.row_b, 100.0)
    for i, of in enumerate(world.votes):
        heads.see(np.full(3, i), of)
    heads.fit()
    given = np.zeros(len(world.a), dtype=int)
    picked = replay.by_reward(heads, world, np.arange(len(world.a)), given, "reward_uncertainty", 30, rng)
    logits = heads.logits()[:, 0]
    distance = np.abs(logits[world.row_a] - logits[world.row_b])
    assert len(set(picked.tolist())) == 30
    assert distance[picked].max() <= np.quantile(distance, 0.1) + 1e-9


def test_llmfao_is_read_and_prompts_are_held_out(tmp_path):
    votes = [  # prompt, left, right, winner; two votes on the first pair, once the other way round
        ("1", "A", "B", "left"), ("1", "B", "A", "left"), ("1", "A", "C", "tie"), ("2", "C", "B", "right"),
        ("3", "A", "B", "right"),
    ]  # fmt: skip
    with (tmp_path / "crowd-comparisons.csv").open("w") as file:
        table = csv.writer(file)
        table.writerow(["id", "prompt", "left", "right", "winner"])
        table.writerows([i, *row] for i, row in enumerate(votes))
    with (tmp_path / "pairs-crowd.jsonl").open("w") as file:
        for i, (prompt, left, right, _) in enumerate(votes):
            text = {"text": f"P{prompt}", "result_x": f"{left}{prompt}", "result_y": f"{right}{prompt}"}
            file.write(json.dumps({"id": i, **text}) + "\n")
    found = worlds.llmfao(tmp_path)
    world = found.world
    assert [sorted(of) for of in world.votes] == [[0, 1], [0.5], [1], [0]]
    assert (world.a.tolist(), world.b.tolist()) == ([0, 0, 1, 0], [1, 2, 2, 1])
    assert [found.texts[row] for row in world.row_a] == [
        ("P1", "A1"),
        ("P1", "A1"),
        ("P2", "B2"),
        ("P3", "A3"),
    ]
    assert [found.texts[row] for row in world.row_b] == [
        ("P1", "B1"),
        ("P1", "C1"),
        ("P2", "C2"),
        ("P3", "B3"),
    ]
    split = worlds.hold_out(found, 0)  # a third of three prompts
    assert len(split.a) + len(split.held.q) == 4 and 0 < len(split.held.q) < 4
    asked = {found.texts[row][0] for row in split.row_a}
    held = {found.texts[row][0] for row in split.held.a}
    assert len(held) == 1 and not asked & held


def test_probes_use_up_answers_at_their_rate_and_are_no_votes(world):
    total = 3 * len(world.a)
    at = (0.5,)
    plain = careless.replay(Arm(0.0), world, 0, at)[0, -1]
    assert plain == round(total / 2)
    for arm, rate in ((Arm(0.0, 0.1), 0.1), (Arm(0.0, 0.2), 0.2)):
        votes = careless.replay(arm, world, 0, at)[0, -1]
        assert votes == pytest.approx(plain * (1 - rate), rel=0.03)
    again = [careless.replay(Arm(0.25, 0.1, 0.1, "gold"), world, 5, at) for _ in range(2)]
    assert np.array_equal(*again), "the same seed, the same crowd"


def test_people_who_click_at_random_are_found_by_gold_and_by_repeats():
    world = worlds.simulated(1, examples=10, held_examples=0)
    for arm in (Arm(0.25, 0.2, 0.0, "gold"), Arm(0.25, 0.0, 0.3, "repeats")):
        found = dict(zip(careless.MEASURES, careless.replay(arm, world, 2, (0.9,))[0], strict=True))
        assert found["clickers_left_out"] >= 0.8 > 0.4 > found["careful_left_out"], arm
    known = careless.replay(Arm(0.25, rule="known"), world, 2, (0.9,))[0]
    none = careless.replay(Arm(0.25), world, 2, (0.9,))[0]
    assert known[1] < none[1] and known[2] == 1 and none[2] == 0


def test_who_is_left_out_makes_room_for_others(world):
    crowd = careless._Crowd(Arm(0.0), world, 0)
    for _ in range(8):
        crowd.batch(50)
    first = crowd.people[0].votes
    before = crowd.given.copy()
    crowd.leave_out(0)
    assert before.sum() - crowd.given.sum() == len(first) > 0
    assert crowd.measures()[-1] == 400 - len(first)
    crowd.batch(50)
    assert len(crowd.people[0].votes) == len(first), "they get no more pairs"


def test_rows_are_differences_seed_by_seed():
    values = {"random": np.array([[[1.0]], [[3.0]]]), "x": np.array([[[0.5]], [[2.0]]])}
    rows = active_selection.rows_of(values, lambda _: "random", lambda key: {"strategy": key}, (0.1,), ("m",))
    x = next(row for row in rows if row["strategy"] == "x")
    assert (x["value"], x["difference"], x["seeds"]) == (1.25, -0.75, 2)
    half = 12.7062 * 0.25  # Student's t with one degree of freedom; standard error .25
    assert x["difference_low"] == pytest.approx(-0.75 - half, abs=1e-3)
    assert x["difference_high"] == pytest.approx(-0.75 + half, abs=1e-3)


def test_share_of_repeats_is_read_as_the_quality_page_shows_it(world):
    """The lead's rule leaves out whose interval lies below that of all together, and no others."""
    crowd = careless._Crowd(Arm(0.0, 0.0, 0.1, "repeats"), world, 0)
    for i, one in enumerate(crowd.people):
        one.same = [True] * (2 if i == 0 else 18) + [False] * (18 if i == 0 else 2)
    crowd.people[1].same = [False] * 5  # too few to say
    assert wilson(2, 20)[1] < 0.8
    crowd.look()
    assert [i for i, one in enumerate(crowd.people) if one.out] == [0]


def test_a_world_without_held_out_pairs_has_no_reward_measures(world):
    found = replay.replay("random", with_(world, held=None), 0, (0.2,), 100.0)
    assert np.isnan(found[0, 2:]).all() and np.isfinite(found[0, :2]).all()
