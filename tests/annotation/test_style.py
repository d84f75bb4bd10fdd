"""Style control: the plain ratings without style, and the truth with it."""

import numpy as np
import pytest
from scipy.special import expit
from sqlmodel import select

from core.annotation.leaderboard import leaderboard
from core.annotation.ratings import SCALE, bradley_terry
from core.annotation.style import controlled, differences, features
from core.annotation.styled import composite, style_controlled
from core.errors import Invalid
from storage.tables import Pair, Vote
from tests.annotation.conftest import make_person, make_world
from tests.annotation.test_aggregation import fill
from tests.annotation.test_figures import random_comparisons


def test_what_is_counted():
    text = "# One\n\n- a\n- **b**\n1. c\n\n```\n# no header\n- no item\n```\n"
    assert features(text) == (len(text), 1, 3, 1)
    assert features("a * b ** c __x__") == (16, 0, 0, 1)
    assert features("") == (0, 0, 0, 0)


def test_differences_change_sign_with_the_sides_and_have_unit_size():
    rng = np.random.default_rng(0)
    a, b = rng.poisson(3, (200, 4)), rng.poisson(3, (200, 4))
    apart = differences(a, b)
    assert apart == pytest.approx(-differences(b, a)) and (apart**2).mean(0) == pytest.approx(np.ones(4))
    assert not differences(np.zeros((3, 4)), np.zeros((3, 4))).any()


def test_without_style_it_is_bradley_terry():
    _, a, b, counts = random_comparisons(1, rows=300)
    plain = bradley_terry(a, b, counts, 6)
    found = controlled(a, b, counts, np.zeros((300, 4)), 6)
    assert found.rating == pytest.approx(plain.rating, abs=0.05)
    assert found.high - found.low == pytest.approx(plain.high - plain.low, rel=0.01)
    assert not found.effect.any()


def test_length_that_is_liked_does_not_pass_for_quality():
    """Item 0 is no better, only longer, and people like length: plain it leads, held fixed
    it does not, and the effect of length is found. Over 40 draws, so does the interval."""
    inside = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        a = rng.integers(0, 4, 1_200)
        b = (a + rng.integers(1, 4, 1_200)) % 4
        long = np.where(a == 0, 1.0, 0) - np.where(b == 0, 1.0, 0) + 0.7 * rng.normal(size=1_200)
        style = np.column_stack([long, rng.normal(size=1_200)])
        t = np.array([0.0, 0.4, -0.4, 0.0])
        won = rng.random(1_200) < expit(t[a] - t[b] + 0.8 * long)
        counts = np.column_stack([won, ~won, np.zeros(1_200)]).astype(int)
        found = controlled(a, b, counts, style, 4)
        truth = 1000 + SCALE * (t - t.mean())
        inside.append(np.append((found.low <= truth) & (truth <= found.high),
                                (found.effect_low <= [0.8, 0]) & (found.effect_high >= [0.8, 0])))  # fmt: skip
        assert bradley_terry(a, b, counts, 4).rating[0] > found.rating[0] + 40
    assert 0.90 <= np.mean(inside) <= 0.99


def mark_everything(db, made):
    """Every vote marks its winner as helpful, and gives points for accuracy the other way."""

    def work(session):
        for vote in session.exec(select(Vote)):
            pair = session.get(Pair, vote.pair_id)
            other = pair.response_b if vote.winner == pair.response_a else pair.response_a
            vote.criteria = {"helpful": vote.winner, "accurate": {vote.winner: 2, other: 4}}
            session.add(vote)

    db.write(work)


def test_style_and_criteria_over_a_project(any_db):
    made, lead = make_world(any_db, pairs=60, votes=1, prompts=3), make_person(any_db, "lead", "lead")
    assert style_controlled(any_db, lead, made.project.id)["items"] == []
    assert composite(any_db, lead, made.project.id)["items"] == []
    fill(any_db, made)
    mark_everything(any_db, made)
    found = style_controlled(any_db, lead, made.project.id)
    assert (found["votes"], found["pairs"], found["sampled"], len(found["items"])) == (240, 60, False, 3)
    board = {item["prompt_id"]: item for item in leaderboard(any_db, lead, made.project.id)["items"]}
    assert all(
        item["plain_rating"] == pytest.approx(board[item["prompt_id"]]["rating"]) for item in found["items"]
    )
    both = composite(any_db, lead, made.project.id)
    assert both["marks"] == {"helpful": 240, "accurate": 240} and len(both["items"]) == 3
    # One criterion says the opposite of the other: their mean is flat, and each alone is not.
    assert [item["rating"] for item in both["items"]] == pytest.approx([1000] * 3, abs=0.1)
    one = composite(any_db, lead, made.project.id, {"helpful": 1.0})
    assert all(
        item["rating"] == pytest.approx(board[item["prompt_id"]]["rating"], abs=0.1) for item in one["items"]
    )
    with pytest.raises(Invalid):
        composite(any_db, lead, made.project.id, {"style": 1.0})


def test_the_leaderboard_shows_both(db, open_page, api):
    made, lead = make_world(db, pairs=60, votes=1, prompts=3), make_person(db, "lead", "lead")
    fill(db, made)
    mark_everything(db, made)
    at = open_page(lead, "leaderboard.py", made.project)
    for toggle in at.toggle:
        toggle.set_value(True)
    at.run()
    assert not at.exception
    assert {"With style held fixed", "By criterion"} <= {item.value for item in at.subheader}
    base = f"/projects/{made.project.id}/leaderboard"
    assert len(api(lead).get(f"{base}/style").json()["style"]) == 4
    assert api(lead).get(f"{base}/criteria").json()["weights"] == {"helpful": 1.0, "accurate": 1.0}
