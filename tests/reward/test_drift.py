"""Drift: which votes are new, what a week's accuracy is, and which slice raises an alarm."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact
from sqlmodel import select

from core.reward import drift, falls
from core.reward.falls import LEAST, Rate, Slice
from core.settings import get_settings
from storage.ids import now
from storage.tables import Pair, Run, Vote
from tests.reward.judgement_sample import judgement
from tests.reward.test_data import FIRST, Made
from tests.reward.test_pages import texts
from tests.reward.trained import row, trained

HELD_OUT = 60


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_the_test_is_fishers(k, n, j, m):
    k, j = min(k, n), min(j, m)
    expected = fisher_exact([[k, n - k], [j, m - j]], alternative="less").pvalue
    assert falls.fell((k, n), (j, m)) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_holm_by_hand():
    rate = Rate(0.5, 0.4, 0.6, 100)
    found = [(Slice("prompt", str(i), rate, rate), counts) for i, counts in enumerate(
        [((30, 60), (55, 60)), ((40, 60), (50, 60)), ((50, 60), (50, 60)), ((1, LEAST - 1), (50, 60))]
    )]  # fmt: skip
    told = falls.holm(found)
    p = [falls.fell(*counts) for _, counts in found]
    assert told[0].p_adjusted == pytest.approx(3 * p[0]) and told[0].alarm
    assert told[1].p_adjusted == pytest.approx(max(3 * p[0], 2 * p[1])) and not told[1].alarm
    assert told[2].p_adjusted == pytest.approx(min(1.0, max(2 * p[1], p[2])))
    assert told[3].p is None and not told[3].alarm


class World:
    """A model whose held-out accuracy is 90 %, and pairs that get votes after it was made."""

    def __init__(self, db, project):
        self.db, self.project, self.made = db, project, Made(db, project)
        self.old = self.made.pairs(4, "test", FIRST)
        rows = [row("trained on", "train"), *(row(pair_id) for pair_id, _ in self.old)]
        rows += [row(f"t{i}", response_a="x" * (10 + 300 * (i % 2))) for i in range(HELD_OUT)]
        scores = {
            r["pair_id"]: -1.0 if r["pair_id"] in ("t1", "t2", "t3", "t4", "t5", "t6") else 1.0 for r in rows
        }
        self.model = trained(db, project, rows, scores, judgement(), accuracy=0.9, n_test=HELD_OUT)

    def week(self, count, right, weeks_ago=0, **kind):
        """`count` new pairs; the model scores the preferred one higher on the first `right`."""
        pairs = self.made.pairs(count, "test", FIRST, **kind)
        at = now() + timedelta(seconds=1) - timedelta(weeks=weeks_ago)

        def date(session):
            for vote in session.exec(select(Vote).where(Vote.pair_id.in_([p for p, _ in pairs]))):
                vote.created_at = at
            session.get(Run, self.model.run_id).created_at = now() - timedelta(weeks=20)

        self.db.write(date)
        return [(ids, place < right) for place, (_, ids) in enumerate(pairs)]

    def scored(self, pairs):
        """A score run of all responses by the model."""
        run = Run(
            project_id=self.project.id, kind="score", status="succeeded",
            config={"scope": "all", "models": [self.model.id], "model_names": ["m"]},
        )  # fmt: skip
        path = get_settings().runs_dir / run.id / "artifacts" / "scores.parquet"
        path.parent.mkdir(parents=True)
        rows = []
        for ids, right in pairs:
            for which, key in enumerate(ids):
                logit = 1.0 if (which == 0) == right else -1.0
                rows.append({"model_id": self.model.id, "response_id": key, "logit": logit, "score": logit})
        pq.write_table(pa.Table.from_pylist(rows), path)
        self.db.write(lambda session: session.add(run))


@pytest.fixture
def world(db, project):
    return World(db, project)


def test_without_a_model_or_new_votes(db, admin, project, world):
    found = drift.drift(db, admin, project.id)
    # The pairs of the model's own data do not count, though their votes may be newer.
    assert found.model_id == world.model.id and found.new_pairs == 0 and not found.weeks
    assert found.held_out.value == pytest.approx((HELD_OUT + 4 - 6) / (HELD_OUT + 4))


def test_a_week_is_counted_with_its_interval_and_missing_scores_are_said(db, admin, project, world):
    early, late = world.week(30, 27, weeks_ago=2), world.week(20, 17)
    found = drift.drift(db, admin, project.id)
    assert (found.new_pairs, found.unscored, found.weeks, found.run_id) == (50, 50, [], None)
    world.scored([*early, *late[:19]])
    found = drift.drift(db, admin, project.id)
    assert (found.new_pairs, found.unscored) == (50, 1) and found.run_id
    assert [week.accuracy.n for week in found.weeks] == [30, 19]
    assert found.weeks[0].accuracy.value == pytest.approx(0.9)
    assert found.weeks[1].accuracy.value == pytest.approx(17 / 19)
    assert all(week.accuracy.low < week.accuracy.value < week.accuracy.high for week in found.weeks)
    assert found.recent.n == 49 and not found.alarms and found.tested >= 1
    today = datetime.now(UTC).isocalendar()
    assert found.weeks[-1].week in (f"{today.year}-W{today.week:02d}",)


def test_the_last_weeks_alone_are_compared(db, admin, project, world):
    old = world.week(40, 0, weeks_ago=drift.WEEKS)  # all wrong, and a week too old
    oldest_that_counts = world.week(12, 12, weeks_ago=drift.WEEKS - 1)
    world.scored([*old, *oldest_that_counts, *world.week(8, 8)])
    found = drift.drift(db, admin, project.id)
    assert [week.accuracy.n for week in found.weeks] == [40, 12, 8]
    assert (found.recent.n, found.recent.value) == (20, 1.0)
    assert not found.alarms


def test_a_fall_names_its_slice_and_nothing_else(db, admin, project, world, open_page, api):
    """Long differences fell to 40 %, short ones stay: only the former raise an alarm."""
    good = world.week(120, 112, texts=("a short one", "another"))
    bad = world.week(40, 16, texts=("a short one " * 30, "another"))
    world.scored([*good, *bad])
    found = drift.drift(db, admin, project.id)
    alarms = {(item.by, item.name) for item in found.alarms}
    assert ("length", "200 characters and more") in alarms
    assert not any(name == "under 50 characters" for _, name in alarms)
    assert "200 characters and more" in drift.in_words(found.alarms[0])
    assert "40.0 %" in drift.in_words(found.alarms[0])
    for page in ("reward_models.py", "overview.py"):
        at = open_page(admin, page, project)
        assert not at.exception
        assert any("has become worse on new votes" in item.value for item in at.warning), page
    at = open_page(admin, "reward_models.py", project)
    at.session_state[f"reward_tab_{world.model.id}"] = "Over time"
    at.run()
    assert not at.exception and "part by part" in texts(at)
    said = api(admin).get(f"/projects/{project.id}/reward-drift").json()
    assert said["alarms"] and said["level"] == drift.LEVEL and said["weeks"][0]["accuracy"]["n"] == 160


def test_several_pairs_of_one_example_count_once(db, admin, project):
    rate, counted = falls.rate_of([1.0, 1.0, 0.0, 0.0], ["e", "e", "f", "f"])
    assert (rate.value, rate.n, counted) == (0.5, 4, (1, 2))
    assert rate.high - rate.low > 0.8


def test_no_alarm_at_the_same_accuracy_more_often_than_said(db):
    rng = np.random.default_rng(3)
    false = 0
    for _ in range(400):
        cuts = [((int(rng.binomial(40, 0.7)), 40), (int(rng.binomial(60, 0.7)), 60)) for _ in range(8)]
        some = Rate(0.7, 0.6, 0.8, 60)
        false += any(s.alarm for s in falls.holm([(Slice("prompt", "x", some, some), c) for c in cuts]))
    assert false / 400 <= drift.LEVEL + 0.01


def test_the_page_offers_to_score_what_is_missing(db, admin, project, world, open_page):
    world.week(25, 20)
    at = open_page(admin, "reward_models.py", project)
    at.session_state[f"reward_tab_{world.model.id}"] = "Over time"
    at.run()
    assert not at.exception and "25 of 25 new pairs have no score" in texts(at)
    at.button(key="score_all_drift").click().run()
    with db.read() as session:
        runs = list(session.exec(select(Run).where(Run.kind == "score")))
        assert len(list(session.exec(select(Pair)))) == 29
    # The made-up model has no weights: the run is refused or queued, and the page says which.
    assert runs or at.error
