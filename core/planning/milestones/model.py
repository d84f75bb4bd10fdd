"""The plan of phases and milestones, as a lead saves it."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from core.planning.documents import Body
from core.planning.milestones.catalogue import KIND, MANUAL, Direction
from core.planning.phases import PHASE, PHASES

Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]
Owner = Annotated[str, StringConstraints(strip_whitespace=True, max_length=80)]
Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(2100, 1, 1))]
Problem = tuple[tuple[str | int, ...], str]  # where, what


def today() -> date:
    """In UTC, as all times are."""
    return datetime.now(UTC).date()


class PhasePlan(BaseModel):
    """A phase lasts `weeks`, or until `end`: the first day it no longer takes. Without a
    `start` it begins as soon as what it comes after is done, or when the plan does."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    key: Key
    title: Name
    start: Day | None = None
    weeks: Annotated[float | None, Field(gt=0, le=520)] = None
    end: Day | None = None
    after: list[Key] = Field(default_factory=list, description="keys of the phases it waits for")
    owner: Owner = ""
    actual_start: Day | None = None
    actual_end: Day | None = None

    @property
    def days(self) -> int | None:
        """Planned, when it is given as a duration; at least one."""
        return None if self.weeks is None else max(1, round(7 * self.weeks))


class Milestone(BaseModel):
    """What is to be reached: a target of a live metric, or something a person ticks off
    (`metric` is "manual", with `done`). Without `due`, the planned end of its phase."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    key: Key
    name: Name
    phase: Key
    metric: str = MANUAL
    target: float | None = None
    direction: Direction = "at_least"
    due: Day | None = None
    owner: Owner = ""
    done: Day | None = None


class Milestones(Body):
    KIND: ClassVar[str] = "milestones"
    TITLE: ClassVar[str] = "Milestones"

    start: Day = Field(default_factory=today)
    phases: Annotated[list[PhasePlan], Field(min_length=1, max_length=40)] = Field(
        default_factory=lambda: usual_phases()
    )
    milestones: Annotated[list[Milestone], Field(max_length=100)] = Field(
        default_factory=lambda: usual_milestones()
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Milestones":
        problems = _phase_problems(self) or _order_problems(self)
        problems += _milestone_problems(self)
        if problems:
            raise ValidationError.from_exception_data(
                "Milestones",
                [
                    InitErrorDetails(
                        type=PydanticCustomError("plan", "{said}", {"said": said}), loc=where, input=None
                    )
                    for where, said in problems
                ],
            )
        return self


def planned(plan: Milestones) -> dict[str, tuple[date, date]]:
    """phase key -> (first day, first day after) as planned. Needs phases without a cycle."""
    by_key = {phase.key: phase for phase in plan.phases}
    found: dict[str, tuple[date, date]] = {}

    def of(key: str) -> tuple[date, date]:
        if key not in found:
            phase = by_key[key]
            begin = phase.start or max([of(other)[1] for other in phase.after], default=plan.start)
            found[key] = (begin, phase.end or begin + timedelta(days=phase.days or 1))
        return found[key]

    return {key: of(key) for key in by_key}


def in_order(plan: Milestones) -> list[str] | None:
    """Keys so that each comes after what it waits for; None when there is a cycle
    (Kahn 1962)."""
    waits = {phase.key: set(phase.after) for phase in plan.phases}
    order: list[str] = []
    while waits:
        ready = [key for key, others in waits.items() if not others & waits.keys()]
        if not ready:
            return None
        order += ready
        waits = {key: others for key, others in waits.items() if key not in ready}
    return order


def _phase_problems(plan: Milestones) -> list[Problem]:
    problems: list[Problem] = []
    keys = [phase.key for phase in plan.phases]
    now = today()
    for i, phase in enumerate(plan.phases):
        at = ("phases", i)
        if phase.key in keys[:i]:
            problems.append(((*at, "key"), f"two phases have the key “{phase.key}”"))
        if phase.weeks is None and phase.end is None:
            problems.append(((*at, "weeks"), f"“{phase.title}” needs a duration in weeks, or an end"))
        if phase.weeks is not None and phase.end is not None:
            problems.append(((*at, "end"), f"“{phase.title}” has a duration already; give one of the two"))
        for other in phase.after:
            if other not in keys:
                problems.append(((*at, "after"), f"there is no phase “{other}”"))
            elif other == phase.key:
                problems.append(((*at, "after"), f"“{phase.title}” cannot wait for itself"))
        if phase.start and phase.start < plan.start:
            problems.append(((*at, "start"), f"“{phase.title}” starts before the plan does ({plan.start})"))
        if phase.actual_end and not phase.actual_start:
            problems.append(
                ((*at, "actual_start"), f"“{phase.title}” has ended, so it needs an actual start")
            )
        elif phase.actual_end and phase.actual_start and phase.actual_end < phase.actual_start:
            problems.append(((*at, "actual_end"), f"“{phase.title}” ends before it starts"))
        for field in ("actual_start", "actual_end"):
            moment = getattr(phase, field)
            if moment and moment > now:
                problems.append(((*at, field), f"{moment} has not come yet"))
    if not problems and in_order(plan) is None:
        problems.append((("phases", _in_cycle(plan), "after"), "the phases wait for each other in a circle"))
    return problems


def _in_cycle(plan: Milestones) -> int:
    """Place of the first phase that waits, in the end, for itself."""
    after = {phase.key: phase.after for phase in plan.phases}
    for place, phase in enumerate(plan.phases):
        seen: set[str] = set()
        todo = list(phase.after)
        while todo:
            key = todo.pop()
            if key == phase.key:
                return place
            if key not in seen:
                seen.add(key)
                todo += after[key]
    raise AssertionError("there is a cycle")


def _order_problems(plan: Milestones) -> list[Problem]:
    """A date before the end of what it waits for, or an end before the start."""
    problems: list[Problem] = []
    spans = planned(plan)
    titles = {phase.key: phase.title for phase in plan.phases}
    for i, phase in enumerate(plan.phases):
        begin, end = spans[phase.key]
        late = max(phase.after, key=lambda key: spans[key][1], default=None)
        if late is not None and begin < spans[late][1]:
            said = f"“{phase.title}” starts on {begin}, before “{titles[late]}” ends ({spans[late][1]})"
            problems.append((("phases", i, "start"), said))
        if end <= begin:
            said = f"“{phase.title}” ends on {end}, but starts on {begin}"
            problems.append((("phases", i, "end"), said))
    return problems


def _milestone_problems(plan: Milestones) -> list[Problem]:
    problems: list[Problem] = []
    keys = [item.key for item in plan.milestones]
    phases = {phase.key for phase in plan.phases}
    for i, item in enumerate(plan.milestones):
        at = ("milestones", i)
        if item.key in keys[:i]:
            problems.append(((*at, "key"), f"two milestones have the key “{item.key}”"))
        if item.phase not in phases:
            problems.append(((*at, "phase"), f"there is no phase “{item.phase}”"))
        if item.due and item.due < plan.start:
            problems.append(((*at, "due"), f"“{item.name}” is due before the plan starts ({plan.start})"))
        if item.metric == MANUAL:
            if item.target is not None:
                problems.append(
                    ((*at, "target"), f"“{item.name}” is ticked off by hand, so it has no target")
                )
            if item.done and item.done > today():
                problems.append(((*at, "done"), f"{item.done} has not come yet"))
        elif item.metric not in KIND:
            said = f"there is no metric “{item.metric}”; there are {', '.join(KIND)} and {MANUAL}"
            problems.append(((*at, "metric"), said))
        else:
            problems += [((*at, field), said) for field, said in _target_problems(item)]
    return problems


def _target_problems(item: Milestone) -> list[tuple[str, str]]:
    kind = KIND[item.metric]
    low, high = {"share": (0.0, 1.0), "agreement": (-1.0, 1.0), "ratio": (0.0, None)}.get(
        kind.scale, (0.0 if kind.family == "count" else None, None)
    )
    problems: list[tuple[str, str]] = []
    if item.done:
        problems.append(("done", f"“{item.name}” follows from {kind.title.lower()}, so it is not ticked off"))
    if item.target is None:
        problems.append(("target", f"“{item.name}” needs a target for {kind.title.lower()}"))
    elif (low is not None and item.target < low) or (high is not None and item.target > high):
        limits = f"between {low:g} and {high:g}" if high is not None else f"not below {low:g}"
        problems.append(("target", f"a target for {kind.title.lower()} must be {limits}"))
    if kind.family == "count" and item.direction == "at_most":
        problems.append(("direction", f"{kind.title.lower()} only grow, so their target is a least number"))
    return problems


def usual_phases() -> list[PhasePlan]:
    """One after the other, each with its likely duration."""
    return [
        PhasePlan(
            key=phase.key,
            title=phase.title,
            weeks=phase.likely,
            after=[PHASES[place - 1].key] if place else [],
        )
        for place, phase in enumerate(PHASES)
    ]


def usual_milestones() -> list[Milestone]:
    """Where a project usually wants to be at the end of each phase: starting points, to be
    changed."""
    rows: list[tuple[str, str, str, str, float | None]] = [
        ("first-labels", "First labels collected", "exploration", "labels", 200),
        ("agreement", "Annotators agree", "exploration", "agreement", 0.4),
        ("criteria", "Success criteria agreed with the owner", "exploration", MANUAL, None),
        ("labels", "Labels for a reward model", "development", "labels", 1000),
        ("reward-model", "Reward model better than guessing", "development", "reward_accuracy", 0.65),
        ("fast-training", "Training fast enough to repeat", "development", "training_efficiency", 2),
        ("gain", "A search beats the prompt it started from", "optimisation", "gain", 0.05),
        ("win-rate", "People prefer the champion", "optimisation", "win_rate", 0.55),
        ("stable", "Stable in production", "deployment", "stability", 0.9),
        ("fallback", "Fallback tried out", "deployment", MANUAL, None),
        ("more-labels", "Labels keep coming", "improvement", "labels", 2500),
    ]
    return [
        Milestone(key=key, name=name, phase=phase, metric=metric, target=target)
        for key, name, phase, metric, target in rows
    ]


def default_plan(start: date) -> Milestones:
    return Milestones(start=start)


def usual_weeks(key: str) -> tuple[float, float] | None:
    """The usual range of a known phase."""
    return (PHASE[key].low, PHASE[key].high) if key in PHASE else None


def key_of(name: str, taken: set[str]) -> str:
    """A key from a name, that is not taken yet."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    base = "-".join(part for part in plain.split("-") if part)[:50] or "item"
    number, key = 1, base
    while key in taken:
        number += 1
        key = f"{base}-{number}"
    return key


def values_of(plan: Milestones) -> dict[str, Any]:
    """As JSON holds it."""
    return plan.model_dump(mode="json")
