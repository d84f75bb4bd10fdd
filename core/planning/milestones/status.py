"""Where each milestone stands: met, on track, at risk or late, from the live figure, its
forecast and the due date, with the reason in a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from core.access import Principal, require
from core.planning.milestones.catalogue import KIND, MANUAL, shown
from core.planning.milestones.forecast import Forecast, Futures
from core.planning.milestones.metrics import Metric, Point, first_activity, live_metrics
from core.planning.milestones.model import Milestone, Milestones, planned, today
from core.planning.milestones.schedule import Current, Planned, current_plan, due_date, schedule
from storage.database import Database

Word = Literal["met", "on track", "at risk", "late"]
WORDS: tuple[Word, ...] = ("met", "on track", "at risk", "late")
ON_TRACK = 0.5  # chance of being in time
SOON = 14  # days before the due date from which a milestone without any data is at risk


@dataclass(frozen=True)
class Status:
    """`point`: the live figure; `chance`: of reaching the target by the due date, where
    there is a forecast."""

    milestone: Milestone
    phase_title: str
    due: date
    word: Word
    reason: str
    point: Point | None
    forecast: Forecast | None
    chance: float | None
    met_on: date | None
    simulated: bool = False


@dataclass
class Standing:
    """Everything the room shows about a project on a day."""

    current: Current
    on: date
    phases: list[Planned]
    statuses: list[Status]
    metrics: dict[str, Metric]
    futures: dict[str, Futures]
    activity: dict[str, tuple[date, date]]

    @property
    def plan(self) -> Milestones:
        return self.current.plan

    @property
    def any_data(self) -> bool:
        return any(metric.series for metric in self.metrics.values())


def standing(db: Database, who: Principal, project_id: str) -> Standing:
    """The saved plan (or the usual one) against the live figures."""
    require(who, "plan.view")
    current = current_plan(db, who, project_id)
    on = today()
    live = live_metrics(db, who, project_id)
    bound = {item.metric for item in current.plan.milestones} - {MANUAL}
    futures = {key: live[key].futures(on) for key in live if key in bound}
    return Standing(
        current, on, schedule(current.plan, on), judge(current.plan, live, futures, on), live, futures,
        first_activity(db, who, project_id),
    )  # fmt: skip


def judge(
    plan: Milestones, live: Mapping[str, Metric], futures: Mapping[str, Futures], on: date
) -> list[Status]:
    """A status for each milestone, in the plan's order."""
    spans = planned(plan)
    titles = {phase.key: phase.title for phase in plan.phases}
    found = []
    for item in plan.milestones:
        due = due_date(item, spans)
        if item.metric == MANUAL:
            word, reason = _by_hand(item, due, on, spans[item.phase][0])
            found.append(Status(item, titles[item.phase], due, word, reason, None, None, None, item.done))
            continue
        metric = live[item.metric]
        forecast = futures[item.metric].reach(float(item.target or 0), item.direction)
        chance = forecast.chance_by(due)
        word, reason = _by_data(item, metric, forecast, chance, due, on, spans[item.phase][0])
        met_on = _first_reached(item, metric) if word == "met" else None
        found.append(
            Status(
                item, titles[item.phase], due, word, reason, metric.current, forecast, chance, met_on,
                bool(metric.simulated),
            )
        )  # fmt: skip
    return found


def _by_hand(item: Milestone, due: date, on: date, begins: date) -> tuple[Word, str]:
    if item.done:
        late = (item.done - due).days
        return "met", f"Ticked off on {day(item.done)}" + (f", {days(late)} late." if late > 0 else ".")
    if due < on:
        return "late", f"Not ticked off; it was due on {day(due)}, {days((on - due).days)} ago."
    if (due - on).days <= SOON and begins <= on:
        return "at risk", f"Not ticked off, and due in {days((due - on).days)}."
    return "on track", f"To be ticked off by {day(due)}."


def _by_data(
    item: Milestone,
    metric: Metric,
    forecast: Forecast,
    chance: float | None,
    due: date,
    on: date,
    begins: date,
) -> tuple[Word, str]:
    kind, point = KIND[item.metric], metric.current
    target = f"{'at least' if item.direction == 'at_least' else 'at most'} {shown(item.metric, item.target)}"
    if point is None:
        if due < on:
            return "late", f"{metric.missing} It was due on {day(due)}."
        if (due - on).days <= SOON:
            return "at risk", f"{metric.missing} It is due in {days((due - on).days)}."
        early = "not begun" if begins > on else "nothing to forecast from"
        return "on track", f"{metric.missing} Due on {day(due)}; {early} yet."
    now = shown(item.metric, point.value)
    if forecast.state == "reached":
        unsure = _unsure(item, point)
        first = _first_reached(item, metric)
        said = f"{kind.title} is {now}, target {target}"
        if first and first > due:
            said += f"; reached on {day(first)}, {days((first - due).days)} late"
        return "met", said + (f". {unsure}" if unsure else ".")
    stands = f"{kind.title} is {now}; the target is {target}."
    if due < on:
        more = f" On the present trend it is met on {day(forecast.day)}." if forecast.day else ""
        return "late", f"{stands} It was due on {day(due)}.{more}"
    if forecast.state == "too_short":
        word: Word = "at risk" if (due - on).days <= SOON else "on track"
        return word, f"{stands} No forecast yet: {forecast.said}."
    percent = f"{100 * (chance or 0):.0f} %"
    if forecast.day is None:
        return "at risk", f"{stands} {forecast.said[:1].upper()}{forecast.said[1:]}."
    when = f"Forecast for {span(forecast)}; {percent} chance by {day(due)}."
    return ("on track" if (chance or 0) >= ON_TRACK else "at risk"), f"{stands} {when}"


def _unsure(item: Milestone, point: Point) -> str:
    """The target is met by the figure, but its interval reaches to the other side."""
    target = float(item.target or 0)
    end = point.low if item.direction == "at_least" else point.high
    past = end is not None and (end < target if item.direction == "at_least" else end > target)
    return f"Not certain: the 95 % interval goes to {shown(item.metric, end)}." if past else ""


def _first_reached(item: Milestone, metric: Metric) -> date | None:
    """The first day from which the figure stayed at the target."""
    target, found = float(item.target or 0), None
    for point in reversed(metric.series):
        if point.value < target if item.direction == "at_least" else point.value > target:
            break
        found = point.day
    return found


def answer(statuses: list[Status], phases: list[Planned]) -> str:
    """The one sentence: how many are met, which are late or at risk, and when the next
    phase's end is expected."""
    if not statuses:
        return "The plan has no milestones yet."
    met = sum(item.word == "met" for item in statuses)
    parts = [f"{met} of {len(statuses)} milestones met"]
    for word in ("late", "at risk"):
        names = [item.milestone.name for item in statuses if item.word == word]
        if names:
            parts.append(f"{len(names)} {word}: {_list(names)}")
    ahead = [item for item in statuses if item.word != "met" and item.forecast and item.forecast.day]
    # What is still to come says more of the way ahead than what is late already.
    following = min(ahead, key=lambda item: (item.word == "late", item.due), default=None)
    text = ", ".join(parts) if len(parts) < 3 else f"{parts[0]}; {parts[1]}; {parts[2]}"
    if following is not None and following.forecast is not None:
        text += f". “{following.milestone.name}” is forecast for {span(following.forecast)}, "
        text += f"plan {day(following.due)}"
    late = next((item for item in phases if item.actual_end is None and item.slip > 0), None)
    if late is not None:
        text += f". {late.title} is expected to end {days(late.slip)} after its plan"
    return text + "."


def _list(names: list[str], most: int = 3) -> str:
    shown_ = [f"“{name}”" for name in names[:most]]
    more = len(names) - most
    return ", ".join(shown_) + (f" and {more} more" if more > 0 else "")


def day(value: date | None, *, short: bool = False) -> str:
    """`14 March 2026`, short: `14 Mar 2026`; `—` for none."""
    return "—" if value is None else f"{value.day} {value:{'%b' if short else '%B'} %Y}"


def days(count: int) -> str:
    return f"{count:,} day{'' if count == 1 else 's'}"


def span(forecast: Forecast, *, short: bool = False) -> str:
    """`14 March 2026 (80 %: 2 to 30 March 2026)`; short: `14 Mar 2026 (2 to 30 Mar 2026)`."""
    if forecast.day is None:
        return "—"
    said = "" if short else "80 %: "
    low, high = forecast.low or forecast.day, forecast.high
    if high is None:
        return f"{day(forecast.day, short=short)} ({said}not before {day(low, short=short)})"
    if low == high:
        return day(forecast.day, short=short)
    first = day(low, short=short)
    if low.year == high.year:
        first = str(low.day) if low.month == high.month else first.removesuffix(f" {low.year}")
    return f"{day(forecast.day, short=short)} ({said}{first} to {day(high, short=short)})"
