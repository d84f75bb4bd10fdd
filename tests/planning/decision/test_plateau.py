"""The plateau test: figures that are known, its errors on simulated histories, its power."""

from math import exp, log, sqrt

import numpy as np
import pytest
from scipy.special import ndtri

from core.planning.decision.history import history_of, manual_line
from core.planning.decision.model import Plateau
from core.planning.decision.plateau import Steps, gain, judge, judge_scores
from storage.ids import now
from storage.tables import Prompt


def steps(earlier, later, p, pairs, rng, votes=1, spread=0.0, ties=0.1):
    """Simulated votes: `p` is the mean vote for the later version; `votes` on each pair,
    alike by `spread`."""
    chance = (p - ties / 2) / (1 - ties) + spread * rng.uniform(-1, 1, pairs)
    drawn, tied = rng.random((pairs, votes)), rng.random((pairs, votes)) < ties
    s = np.where(tied, 0.5, drawn < chance[:, None]).sum(1)
    return Steps(
        earlier, later, pairs * votes, s.sum(), pairs, (s**2).sum(), votes * s.sum(), pairs * votes**2
    )


def plain(earlier, later, wins, losses):
    n = wins + losses
    return Steps(earlier, later, n, wins, n, wins, wins, n)


def test_one_step_is_the_logit_and_its_delta_method():
    odds, error, inflation = gain([plain(0, 1, 70, 30)], 0, 1)
    assert odds == pytest.approx(log(7 / 3))
    assert error == pytest.approx(1 / sqrt(100 * 0.7 * 0.3), rel=0.01)
    assert inflation == pytest.approx(1, abs=0.02)


def test_chained_steps_add_up():
    odds, error, _ = gain([plain(0, 1, 60, 40), plain(1, 2, 55, 45)], 0, 2)
    assert odds == pytest.approx(log(60 / 40) + log(55 / 45))
    assert error == pytest.approx(sqrt(1 / (100 * 0.6 * 0.4) + 1 / (100 * 0.55 * 0.45)), rel=0.01)
    back, _, _ = gain([plain(0, 1, 60, 40), plain(1, 2, 55, 45)], 2, 0)
    assert back == pytest.approx(-odds)


def test_direct_and_chained_votes_are_pooled_by_their_information():
    """Direct votes (variance v1) and a chain (v2): 1 / v = 1 / v1 + 1 / v2."""
    even = [plain(0, 1, 200, 200), plain(1, 2, 200, 200), plain(0, 2, 200, 200)]
    odds, error, _ = gain(even, 0, 2)
    assert odds == pytest.approx(0, abs=1e-9)
    assert error**2 == pytest.approx(1 / (1 / (4 / 400) + 1 / (8 / 400)), rel=0.01)


def test_votes_that_are_alike_widen_the_interval():
    alone = Steps(0, 1, 300, 165.0, 300, 165.0, 165.0, 300.0)
    # Three votes on each of 100 pairs, always the same: S is 3 or 0.
    alike = Steps(0, 1, 300, 165.0, 100, 55 * 9.0, 55 * 9.0, 900.0)
    assert gain([alike], 0, 1)[1] == pytest.approx(gain([alone], 0, 1)[1] * sqrt(3), rel=0.02)


@pytest.mark.parametrize(
    ("rates", "outcome"),
    [((5000, 5000), "plateaued"), ((6000, 4000), "improving"), ((52, 48), "undecided")],
)
def test_the_three_outcomes(rates, outcome):
    found = judge([plain(0, 1, *rates)], 0, 1, margin=3, alpha=0.05)
    assert found.outcome == outcome
    assert found.gain == pytest.approx(100 * rates[0] / sum(rates) - 50)
    assert found.low < found.gain < found.high
    # The verdict can be read off the interval.
    assert (found.high < 3) == (outcome == "plateaued") and (found.low > 3) == (outcome == "improving")
    assert (found.more == 0) == (outcome != "undecided")


def test_without_votes_between_the_ends_nobody_can_tell():
    found = judge([plain(0, 1, 60, 40)], 0, 2, margin=1, alpha=0.05)
    assert (found.outcome, found.gain, found.power) == ("undecided", None, 0)
    z = ndtri(0.95) + ndtri(0.8)
    assert found.more == pytest.approx(4 * (z / log(0.51 / 0.49)) ** 2, abs=1)
    # A version that always won has no finite odds: a tie is added, as on the leaderboard.
    sure = judge([plain(0, 1, 12, 0)], 0, 1, margin=1, alpha=0.05)
    assert np.isfinite([sure.gain, sure.low, sure.high]).all() and sure.outcome == "improving"


@pytest.mark.parametrize(("pairs", "votes", "spread"), [(60, 1, 0.0), (200, 3, 0.3)])
@pytest.mark.parametrize("chain", [1, 3])
def test_each_error_is_made_in_five_percent_at_most(pairs, votes, spread, chain):
    """At the margin itself either verdict is wrong: each at most in alpha of the cases
    (within three standard errors of the simulation)."""
    rng = np.random.default_rng(7)
    margin, runs = 5.0, 600
    p = 1 / (1 + exp(-log(0.55 / 0.45) / chain))
    found = [
        judge([steps(i, i + 1, p, pairs, rng, votes, spread) for i in range(chain)], 0, chain, margin, 0.05)
        for _ in range(runs)
    ]
    allowed = 0.05 + 3 * sqrt(0.05 * 0.95 / runs)
    for outcome in ("plateaued", "improving"):
        share = np.mean([item.outcome == outcome for item in found])
        assert 0.01 < share < allowed
    covered = np.mean([item.low <= margin <= item.high for item in found])
    assert covered == pytest.approx(0.90, abs=3 * sqrt(0.09 / runs))


def test_so_many_more_votes_do_tell():
    """With the votes it asks for, a plateau without any gain shows in 80 % of cases; and
    the power it states for the votes there are is the share of cases in which it shows."""
    rng = np.random.default_rng(11)
    margin, have, runs = 5.0, 200, 500
    asked = judge([plain(0, 1, have // 2, have // 2)], 0, 1, margin, 0.05)
    assert asked.outcome == "undecided" and asked.more > 0

    def shown(n):
        return np.mean(
            [
                judge([steps(0, 1, 0.5, n, rng, ties=0.0)], 0, 1, margin, 0.05).outcome == "plateaued"
                for _ in range(runs)
            ]
        )

    assert shown(have) == pytest.approx(asked.power, abs=0.07)
    assert shown(have + asked.more) == pytest.approx(0.8, abs=0.06)


def test_scores_on_a_labelled_test_split():
    found = judge_scores((0.70, 0.01), (0.70, 0.01), margin=5, alpha=0.05, n=2000)
    assert found.outcome == "plateaued" and found.gain == 0
    assert found.high == pytest.approx(1.6449 * 100 * sqrt(2) * 0.01, rel=1e-3)
    assert judge_scores((0.70, 0.01), (0.80, 0.01), 5, 0.05, 2000).outcome == "improving"
    unsure = judge_scores((0.70, 0.04), (0.72, 0.04), 1, 0.05, 100)
    assert unsure.outcome == "undecided" and unsure.more > 1000


# --- which history it is ---------------------------------------------------------------------


def version(number, parent=None, operation="edited", run_id=None, name="plain"):
    return Prompt(
        project_id="p", name=name, version=number, parent_id=parent.id if parent else None,
        operation=operation, run_id=run_id, created_at=now(),
    )  # fmt: skip


def test_the_line_is_manual_versions_only():
    one = version(1, operation="written")
    two = version(2, one)
    found = version(3, two, "grips:delete", "run")
    four = version(4, found)
    five = version(5, four)
    six = version(6, five)
    other = version(1, operation="imported", name="other")
    line, lineage = manual_line({p.id: p for p in (six, other, one, found, five, two, four)})
    assert lineage and line == [four, five, six]


def test_without_descent_the_order_is_by_time():
    rows = [version(1, operation="written", name=name) for name in "abc"]
    line, lineage = manual_line({p.id: p for p in reversed(rows)})
    assert not lineage and line == rows
    assert manual_line({}) == ([], False)


def test_the_sentence_names_its_figures():
    rows = [version(1, operation="written")]
    for number in (2, 3, 4):
        rows.append(version(number, rows[-1]))
    none = history_of(rows[:1], True, [], {}, Plateau())
    assert "fewer than two manual versions" in none.sentence()
    nobody = history_of(rows, True, [], {}, Plateau())
    assert "no votes on held-out examples join plain v1 and plain v4" in nobody.sentence()
    score = {"accuracy": 0.7, "accuracy_low": 0.68, "accuracy_high": 0.72, "n": 2000}
    labels = history_of(rows, True, [], {rows[0].id: score, rows[3].id: score}, Plateau(margin=5))
    assert labels.basis == "labels" and labels.outcome == "plateaued"
    assert (
        "Manual work has plateaued: +0.0 points over the last three versions (90 %: -2.4 to +2.4, n 2,000"
        in labels.sentence()
    )
