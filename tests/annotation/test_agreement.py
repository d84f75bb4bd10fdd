"""Agreement against published tables, the krippendorff package and slow computations."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.annotation.agreement import SWAP_CHOICES, SWAP_SCALE, alpha, cohen, cohens, fleiss, raw

# Fleiss 1971, table 1: 30 patients, 6 psychiatrists, 5 diagnoses; kappa 0.430.
DIAGNOSES = [
    "444444", "222555", "233335", "555555", "222444", "113333", "333355", "113334", "114444", "555555",
    "144444", "124444", "222333", "144444", "224445", "333335", "111455", "111112", "224444", "133555",
    "555555", "244444", "224555", "114444", "144445", "222224", "111155", "224444", "133333", "555555",
]  # fmt: skip
# The worked example of Wikipedia's page on Fleiss' kappa: 10 subjects, 14 raters; 0.210.
FOURTEEN = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def diagnoses() -> np.ndarray:
    return np.array([[row.count(str(k)) for k in range(1, 6)] for row in DIAGNOSES])


def test_fleiss_of_the_published_tables():
    assert fleiss(diagnoses()).value == pytest.approx(0.4302445, abs=1e-7)
    assert fleiss(np.array(FOURTEEN)).value == pytest.approx(0.210, abs=5e-4)
    assert raw(np.array(FOURTEEN)).value == pytest.approx(0.378, abs=5e-4)


def test_cohen_of_the_published_tables():
    # The example of SAS' documentation of PROC FREQ, and Cohen's kappa by hand: (0.7 - 0.5) / 0.5.
    assert cohen(np.array([[0, 4, 1], [0, 8, 0], [0, 1, 5]])) == pytest.approx(0.4842, abs=5e-5)
    assert cohen(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    assert cohen(np.array([[9, 0], [0, 0]])) is None


def test_cohens_kappa_of_many_is_the_mean_over_couples():
    """Light's kappa of three raters; anxiety of irr, 20 subjects: rater 2 with 3 is -0.0063."""
    ratings = np.array([
        3, 3, 3, 4, 5, 5, 2, 3, 5, 2, 2, 6, 1, 5, 2, 2, 1, 2, 4, 3, 3, 6, 4,
        6, 2, 4, 2, 4, 3, 3, 2, 3, 3, 3, 2, 2, 1, 3, 3, 4, 2, 1, 4, 4, 3, 2,
        1, 6, 1, 1, 1, 2, 3, 3, 1, 1, 3, 3, 2, 2,
    ]).reshape(3, 20) - 1  # fmt: skip
    pair, judge = np.tile(np.arange(20), 3), np.repeat(np.arange(3), 20)
    two = cohens(pair[20:], judge[20:], ratings[1:].ravel(), values=6, swap=None)
    assert two.value == pytest.approx(-0.006289308, abs=1e-8) and two.couples == 1 and two.n == 20
    every = cohens(pair, judge, ratings.ravel(), values=6, swap=None)
    each = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        table = np.zeros((6, 6))
        np.add.at(table, (ratings[i], ratings[j]), 1)
        each.append(cohen(table))
    assert every.value == pytest.approx(np.mean(each)) and every.couples == 3
    assert every.low < every.value < every.high
    assert cohens(pair[:20], judge[:20], ratings[0]).value is None


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
def test_alpha_is_krippendorffs(level):
    rng = np.random.default_rng(5)
    for values in (3, 5, 9):
        counts = rng.multinomial(4, rng.dirichlet(np.ones(values)), size=60)
        theirs = krippendorff.alpha(value_counts=counts, level_of_measurement=level)
        assert alpha(counts, level, resamples=2).value == pytest.approx(theirs, abs=1e-12)
        swap = tuple(reversed(range(values)))
        both = np.vstack([counts, counts[:, swap]])
        theirs = krippendorff.alpha(value_counts=both, level_of_measurement=level)
        assert alpha(counts, level, swap=swap, resamples=2).value == pytest.approx(theirs, abs=1e-12)


def test_ordinal_alpha_forgives_neighbours():
    """Significantly against clearly is a small disagreement, against the other side a large
    one; nominal alpha cannot tell them apart."""
    near, far = np.zeros((40, 9), int), np.zeros((40, 9), int)
    for i in range(40):
        side = 0 if i % 2 else 7
        near[i, [side, side + 1]] = 1
        far[i, [side, 8 - side]] = 1
    kept = {"swap": SWAP_SCALE, "resamples": 2}
    assert alpha(near, "ordinal", **kept).value > 0.6 > 0 > alpha(far, "ordinal", **kept).value
    assert alpha(near, "nominal", **kept).value < 0.4


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Two votes a pair, each the pair's own choice with chance 0.7, else at random: nominal
    agreement is known."""
    rng = np.random.default_rng(1)
    inside = []
    truth = 0.7**2  # alpha: both copied the same; chance agreement cancels
    for _ in range(80):
        own = rng.integers(0, 3, 250)
        counts = np.zeros((250, 4), int)
        for _vote in range(2):
            said = np.where(rng.random(250) < 0.7, own, rng.integers(0, 3, 250))
            counts[np.arange(250), said] += 1
        found = alpha(counts, swap=SWAP_CHOICES, resamples=200)
        inside.append(found.low <= truth <= found.high)
    assert 0.88 <= np.mean(inside) <= 1


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=15), st.data())
@settings(max_examples=40, deadline=None)
def test_no_measure_depends_on_which_response_is_called_a(rows, data):
    counts = np.array(rows)
    flip = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))))
    flipped = np.where(flip[:, None], counts[:, SWAP_CHOICES], counts)
    for measure in (alpha, fleiss):
        one, other = (measure(c, swap=SWAP_CHOICES, resamples=5) for c in (counts, flipped))
        assert (one.value is None) == (other.value is None)
        assert one.value is None or one.value == pytest.approx(other.value, abs=1e-9)
        assert one.value is None or one.value <= 1 + 1e-9
