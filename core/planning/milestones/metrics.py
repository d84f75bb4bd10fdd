"""The live metrics of a project: where each stands now, with n and interval, and how it
came there."""

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from math import exp, sqrt

import numpy as np
from scipy.special import stdtrit
from sqlmodel import Session

from core.access import Principal, require
from core.kept import Kept
from core.planning import evidence
from core.planning.milestones.catalogue import KIND, KINDS, MetricKind
from core.planning.milestones.forecast import Futures, count_futures, level_futures
from core.planning.milestones.model import today
from core.projects import find_project
from core.prompts.versions import label
from core.stats import wilson
from storage import evidence as facts
from storage import history
from storage.database import Database
from storage.evidence import Meeting, is_large, votes_state
from storage.judgements import Which
from storage.tables import Project

DAYS_BEFORE_WEEKS = 60  # a history that is longer is shown by week
ROLLING = 28  # days that deployment stability looks back


@dataclass(frozen=True)
class Point:
    """A value on a day with its 95 % interval, where there is one. `who`: for labels,
    people or simulated."""

    day: date
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    who: str = ""


@dataclass
class Metric:
    """`basis` says in a sentence what the figure rests on; `missing`, why there is none.
    `series` is in order of time, its last point the current value; `periods`: values of
    single days or weeks, where the series is cumulative. `daily`: counts of each day."""

    kind: MetricKind
    basis: str = ""
    missing: str = ""
    series: list[Point] = field(default_factory=list)
    periods: list[Point] = field(default_factory=list)
    simulated: int = 0
    daily: list[int] = field(default_factory=list)

    @property
    def current(self) -> Point | None:
        return self.series[-1] if self.series else None

    def futures(self, on: date | None = None) -> Futures:
        on = on or today()
        if self.kind.family == "count":
            last = self.series[-1].day if self.series else on
            return replace(count_futures(self.daily, last, on), key=self.kind.key)
        days, values = [point.day for point in self.series], [point.value for point in self.series]
        return level_futures(self.kind.key, days, values, on)


def metrics(db: Database, who: Principal, project_id: str) -> dict[str, Metric]:
    """All metrics by key, in the catalogue's order."""
    require(who, "plan.view")
    with db.read() as session:
        project = find_project(session, project_id)
        votes = history.votes_by_day(session, project_id)
        # As `core.annotation.judgements.which_votes`, without counting a million votes again.
        people = any(row[1] for row in votes)
        which = Which(project_id, "exclude" if people else "include")
        long = bool(votes) and (votes[-1][0] - votes[0][0]).days > DAYS_BEFORE_WEEKS
        period = "week" if long else "day"
        found = {
            "labels": _labels(votes),
            "agreement": _agreement(session, which, period),
            "reward_accuracy": _accuracy(session, project),
            "training_efficiency": _speed(session, project_id),
            "gain": _gain(session, project_id),
            "win_rate": _win_rate(session, project, which, period),
            "stability": _stability(session, project_id),
        }
    return {kind.key: found[kind.key] for kind in KINDS}


def _labels(votes: list[tuple[date, int, int]]) -> Metric:
    people, machine = sum(row[1] for row in votes), sum(row[2] for row in votes)
    if not votes:
        return Metric(KIND["labels"], missing="Nobody has voted yet.")
    by_day = {day: by_people if people else simulated for day, by_people, simulated in votes}
    days = [day for day, n in by_day.items() if n]
    every = history.days_from(days[0], days[-1])
    daily = [by_day.get(day, 0) for day in every]
    total = 0
    series = []
    for day, n in zip(every, daily, strict=True):
        total += n
        if n:
            series.append(Point(day, total, n=total, who="people" if people else "simulated"))
    other = []
    if people and machine:
        total = 0
        for day, _, n in votes:
            total += n
            if n:
                other.append(Point(day, total, n=total, who="simulated"))
    basis = f"{people:,} votes of people" if people else f"{machine:,} votes, all simulated"
    if people and machine:
        basis += f"; {machine:,} simulated ones are not counted"
    return Metric(KIND["labels"], basis, "", series, other, 0 if people else machine, daily)


def _agreement(session: Session, which: Which, period: str) -> Metric:
    rows = history.agreement_by_period(session, which, period)
    by_period: dict[date, dict[str, history.Block]] = {}
    for day, block, values in rows:
        by_period.setdefault(day, {})[block] = values
    sums: dict[str, history.Block] = {}
    series: list[Point] = []
    periods: list[Point] = []
    for day, blocks in by_period.items():
        for block, values in blocks.items():
            old = sums.get(block, (0, 0.0, 0, 0, 0))
            n, agreed, ab, tie, bad = (a + b for a, b in zip(old, values, strict=True))
            sums[block] = (int(n), float(agreed), int(ab), int(tie), int(bad))
        end = _end(day, period)
        for target, of in ((series, sums), (periods, blocks)):
            found = evidence.alpha_of_blocks(list(of.values()))
            if found is not None:
                target.append(Point(end, found.value, found.low, found.high, found.n))
    if not series:
        return Metric(KIND["agreement"], missing="No pair has two votes, or everybody chose the same.")
    n = series[-1].n or 0
    machine = n if which.simulated == "include" else 0
    basis = f"{n:,} votes on pairs with two or more" + (", all simulated" if machine else "")
    return Metric(KIND["agreement"], basis, "", series, periods, machine)


def _accuracy(session: Session, project: Project) -> Metric:
    rows = history.reward_accuracy(session, project.id)
    if not rows:
        return Metric(KIND["reward_accuracy"], missing="No reward model has been trained to the end yet.")
    series = [Point(row.day, row.value, row.low, row.high, row.n) for row in rows]
    share = rows[-1].simulated_share
    basis = f"{rows[-1].n:,} held-out pairs of the newest model"
    if share > 0:
        basis += ", trained on simulated votes" if share == 1 else f", {100 * share:.0f} % simulated votes"
    return Metric(KIND["reward_accuracy"], basis, "", series, simulated=round(share * rows[-1].n))


def _speed(session: Session, project_id: str) -> Metric:
    rows = history.training_speed(session, project_id)
    if not rows:
        return Metric(KIND["training_efficiency"], missing="No training run has succeeded yet.")
    if (rows[-1].day - rows[0].day).days > DAYS_BEFORE_WEEKS:
        rows = _by_week(rows)
    series = []
    for row in rows:
        low = high = None
        if row.runs > 1:
            half = float(stdtrit(row.runs - 1, 0.975)) * row.sd_log / sqrt(row.runs)
            low, high = exp(row.mean_log - half), exp(row.mean_log + half)
        series.append(Point(row.day, exp(row.mean_log), low, high, row.runs))
    runs = rows[-1].runs
    basis = f"{runs:,} training run{'' if runs == 1 else 's'} of the newest period"
    return Metric(KIND["training_efficiency"], basis, "", series)


def _by_week(rows: list[history.Speed]) -> list[history.Speed]:
    """Days joined into weeks, each under its last day."""
    weeks: dict[date, list[history.Speed]] = {}
    for row in rows:
        weeks.setdefault(row.day - timedelta(days=row.day.weekday()), []).append(row)
    found = []
    for monday, days in weeks.items():
        n = sum(row.runs for row in days)
        mean = sum(row.runs * row.mean_log for row in days) / n
        within = sum((row.runs - 1) * row.sd_log**2 + row.runs * (row.mean_log - mean) ** 2 for row in days)
        found.append(history.Speed(_end(monday, "week"), n, mean, sqrt(within / max(1, n - 1))))
    return found


def _gain(session: Session, project_id: str) -> Metric:
    reward, runs, rows = history.best_gains(session, project_id)
    if not rows:
        return Metric(KIND["gain"], missing="No search has read its test split yet.")
    series = [Point(row.day, row.score, row.low, row.high, row.n) for row in rows]
    unit = "share of right labels" if reward == "labels" else "reward"
    basis = f"the best of {runs:,} searches, in {unit}" if runs > 1 else f"one search, in {unit}"
    return Metric(replace(KIND["gain"], unit=unit), basis, "", series)


def _win_rate(session: Session, project: Project, which: Which, period: str) -> Metric:
    prompts = facts.prompts(session, project.id)
    champion = prompts.get(project.champion_prompt_id or "")
    if champion is None:
        return Metric(KIND["win_rate"], missing="No prompt is the champion yet.")
    rows = history.meetings_by_period(session, which, champion.id, period)
    totals: dict[str, Meeting] = {}
    for row in rows:
        old = totals.get(row.other_id, Meeting(champion.id, row.other_id, 0, 0, 0, 0))
        totals[row.other_id] = Meeting(
            champion.id, row.other_id, old.wins + row.wins, old.even + row.even, old.losses + row.losses,
            old.simulated + row.simulated,
        )  # fmt: skip
    met = sorted(totals.values(), key=lambda item: (-item.n, item.other_id))
    baseline = evidence.baseline_of(champion, prompts, met, None)
    mine = [row for row in rows if baseline is not None and row.other_id == baseline.id]
    if baseline is None or not mine:
        return Metric(KIND["win_rate"], missing=f"No votes on the champion {label(champion)} yet.")
    wins = n = simulated = 0.0
    series, periods = [], []
    for row in mine:
        won, count = row.wins + row.even / 2, row.wins + row.even + row.losses
        wins, n, simulated = wins + won, n + count, simulated + row.simulated
        end = _end(row.day, period)
        series.append(Point(end, wins / n, *wilson(wins, n), int(n)))
        periods.append(Point(end, won / count, *wilson(won, count), count))
    basis = f"{label(champion)} against {label(baseline)}, {int(n):,} votes"
    basis += (", all simulated" if simulated == n else f", {int(simulated):,} simulated") if simulated else ""
    return Metric(KIND["win_rate"], basis, "", series, periods, int(simulated))


def _stability(session: Session, project_id: str) -> Metric:
    rows = history.uses_by_day(session, project_id)
    title = "Uses with a good signal"
    if not rows:
        rows, title = history.runs_by_day(session, project_id), "Runs that succeeded"
    if not rows:
        missing = "No use in production has a signal yet, and no run has ended."
        return Metric(KIND["stability"], missing=missing)
    first, last = rows[0][0], rows[-1][0]
    length = (last - first).days + 1
    good, all_ = np.zeros(length + 1), np.zeros(length + 1)
    for day, ok, n in rows:
        at = (day - first).days + 1
        good[at], all_[at] = ok, n
    good, all_ = good.cumsum(), all_.cumsum()
    every = 7 if length > DAYS_BEFORE_WEEKS else 1
    series = []
    for at in range(length - (length - 1) // every * every, length + 1, every):
        before = max(0, at - ROLLING)
        ok, n = int(good[at] - good[before]), int(all_[at] - all_[before])
        if n and (all_[at] > all_[max(0, at - every)]):
            series.append(Point(first + timedelta(days=at - 1), ok / n, *wilson(ok, n), n))
    what = (
        "uses in production with a good signal" if title[0] == "U" else "runs that succeeded (no signals yet)"
    )
    ok = round(series[-1].value * (series[-1].n or 0))
    basis = f"{ok:,} of {series[-1].n or 0:,} {what}, in the 28 days to {series[-1].day}"
    return Metric(
        replace(KIND["stability"], title=f"Deployment stability: {title[0].lower()}{title[1:]}"),
        basis,
        "",
        series,
    )


def _end(day: date, period: str) -> date:
    """The last day of a period, or today."""
    return min(day + timedelta(days=6), max(day, today())) if period == "week" else day


# --- kept while nothing changes ------------------------------------------------------------

_kept: Kept[dict[str, Metric]] = Kept()


def live_metrics(db: Database, who: Principal, project_id: str) -> dict[str, Metric]:
    """`metrics`, computed anew only when votes, runs, models, uses or the champion changed
    (on a large project a moment later, in a thread): a million votes take a second, and a
    page asks at every click."""
    require(who, "plan.view")
    with db.read() as session:
        project = find_project(session, project_id)
        votes = votes_state(session, project_id)
        state = (
            today(), project.champion_prompt_id, votes, history.fingerprint(session, project_id),
        )  # fmt: skip
    key = (str(db.url), project_id)
    return _kept.get(key, state, lambda: metrics(db, who, project_id), meanwhile=is_large(votes))


def first_activity(db: Database, who: Principal, project_id: str) -> dict[str, tuple[date, date]]:
    """phase key -> first and last day that its kind of work was seen: votes for
    exploration, reward models for development, searches for optimisation, uses in
    production for deployment."""
    require(who, "plan.view")
    with db.read() as session:
        find_project(session, project_id)
        seen = history.activity(session, project_id)
    names = {
        "votes": "exploration",
        "training": "development",
        "searches": "optimisation",
        "uses": "deployment",
    }
    return {names[key]: days for key, days in seen.items()}
