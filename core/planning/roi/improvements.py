"""What each improvement cost: for every prompt that became the champion, the labels, machine
time and money since the one before it, and what it gained over that one by people's votes.

With the prices of a scenario. Diminishing returns show as a rising cost for each point of
net preference (wins less losses, of a hundred comparisons).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.access import Principal, require
from core.annotation.judgements import which_votes
from core.kept import Kept
from core.planning.evidence import Measured
from core.planning.roi.model import Scenario
from core.projects import find_project
from core.prompts.versions import label
from core.stats import wilson
from storage import improvements as facts
from storage.database import Database
from storage.evidence import is_large, votes_state
from storage.evidence import prompts as all_prompts
from storage.tables import Prompt

NEWEST = 40  # promotions looked at


@dataclass(frozen=True)
class Prices:
    """What a second of an annotator and of a machine costs, in the project's currency."""

    annotator_hour: float
    machine_hour: float

    @staticmethod
    def of(scenario: Scenario) -> "Prices":
        """The scenario's annotator, and the mean of its machines by hours."""
        hours = sum(item.hours.value for item in scenario.compute)
        paid = sum(item.hours.value * item.price_per_hour.value for item in scenario.compute)
        return Prices(scenario.hourly_rate.value, paid / hours if hours else 0.0)


@dataclass(frozen=True)
class Improvement:
    """One step from champion to champion; `prompt` is empty for what has been spent since the
    last one. `gain` is the win rate against the one before, ties and “both bad” as halves."""

    at: datetime | None
    prompt: str
    before: str
    made_by: str
    votes: int
    simulated: int
    label_seconds: float
    runs: int
    machine_seconds: float
    calls: int
    label_cost: float
    machine_cost: float
    call_cost: float
    gain: Measured | None

    @property
    def cost(self) -> float:
        return self.label_cost + self.machine_cost + self.call_cost

    @property
    def net_preference(self) -> float | None:
        """Wins less losses, of one comparison: 2w - 1."""
        return None if self.gain is None else 2 * self.gain.value - 1

    @property
    def cost_per_point(self) -> float | None:
        """Money for each point of net preference; None where the gain's interval has 50 %."""
        if self.gain is None or self.gain.low <= 0.5:
            return None
        return self.cost / (100 * (2 * self.gain.value - 1))


@dataclass(frozen=True)
class _Votes:
    """What the votes say: labels by period, and how champions did against each other."""

    labels: dict[int, facts.Labels]
    met: dict[tuple[str, str], tuple[int, int, int, int]]


_votes: Kept[_Votes] = Kept()


def _read_votes(db: Database, project_id: str, steps: list[facts.Promotion]) -> _Votes:
    couples = {
        (step.prompt_id, step.before) for step in steps if step.before and step.before != step.prompt_id
    }
    with db.read() as session:
        which, _, _ = which_votes(session, project_id)
        return _Votes(
            facts.labels_by_period(session, project_id, [step.at for step in steps]),
            facts.head_to_head(session, which, couples),
        )


def improvements(db: Database, who: Principal, project_id: str, prices: Prices) -> list[Improvement]:
    """Oldest first; the last one is what was spent since. Empty without any promotion. A
    handful of queries, whatever the number of votes and runs; what is counted from votes
    is kept until they change (see `storage.evidence.votes_state`)."""
    require(who, "plan.view")
    with db.read() as session:
        find_project(session, project_id)
        steps = facts.promotions(session, project_id, NEWEST)
        if not steps:
            return []
        ends = [step.at for step in steps]
        prompts = all_prompts(session, project_id)
        machine = facts.seconds_by_period(session, project_id, ends)
        calls = facts.calls_by_period(session, project_id, ends)
        votes = votes_state(session, project_id)
    said = _votes.get(
        (db.url, project_id, tuple(steps)),
        votes,
        lambda: _read_votes(db, project_id, steps),
        meanwhile=is_large(votes),
    )
    found = []
    for i in range(len(steps) + 1):
        step = steps[i] if i < len(steps) else None
        given = said.labels.get(i, facts.Labels(0, 0, 0, 0.0))
        # A vote without a time takes as long as the others of its period.
        seconds = given.seconds * given.people / given.timed if given.timed else 0.0
        runs, machine_seconds = machine.get(i, (0, 0.0))
        asked, paid = calls.get(i, (0, 0.0))
        gain = None
        if step is not None and step.before:
            counts = said.met.get((step.prompt_id, step.before))
            gain = _gain(*counts) if counts else None
        found.append(
            Improvement(
                step.at if step else None,
                _name(prompts, step.prompt_id) if step else "",
                _name(prompts, step.before) if step else "",
                _made_by(prompts.get(step.prompt_id)) if step else "",
                given.people, given.simulated, seconds, runs, machine_seconds, asked,
                seconds / 3600 * prices.annotator_hour, machine_seconds / 3600 * prices.machine_hour, paid,
                gain,
            )
        )  # fmt: skip
    return found


def _gain(wins: int, even: int, losses: int, simulated: int) -> Measured | None:
    n = wins + even + losses
    if not n:
        return None
    low, high = wilson(wins + even / 2, n)
    text = f"{wins:,} wins, {even:,} even, {losses:,} losses"
    if simulated:
        text += " (all simulated)" if simulated == n else f" ({simulated:,} of them simulated)"
    return Measured((wins + even / 2) / n, low, high, n, text, simulated)


def _name(prompts: dict[str, Prompt], prompt_id: str | None) -> str:
    if not prompt_id:
        return ""
    return label(prompts[prompt_id]) if prompt_id in prompts else "a deleted prompt"


def _made_by(prompt: Prompt | None) -> str:
    """`written`, or the optimiser that found it: `grips`."""
    return prompt.operation.split(":")[0] if prompt else ""


def verdict(found: list[Improvement]) -> str:
    """In a sentence: whether improvements get dearer."""
    steps = [item for item in found if item.prompt and item.before]
    if not steps:
        return "No prompt has taken the place of another champion yet, so there is no improvement to cost."
    proved = [item for item in steps if item.cost_per_point is not None]
    text = f"{len(steps)} prompt{'s' if len(steps) > 1 else ''} took the place of another champion; "
    text += f"{len(proved) or 'none'} of them beat the one before beyond chance. "
    if len(proved) < 2:
        return text + "It takes two such steps to see whether returns diminish."
    first, last = proved[0].cost_per_point or 0.0, proved[-1].cost_per_point or 0.0
    if first <= 0:
        return text + "The first of them cost nothing that is on record."
    times = last / first
    if times > 1.25:
        return (
            text
            + f"A point of preference cost {times:.1f} times as much in the last as in the first: returns diminish."
        )
    if times < 0.8:
        return (
            text
            + f"A point of preference cost {100 * times:.0f} % of what it cost in the first: no sign of diminishing returns."
        )
    return (
        text + "A point of preference costs about what it cost in the first: no sign of diminishing returns."
    )


def rows(found: list[Improvement]) -> list[dict[str, Any]]:
    """Plain numbers, for a table or a file."""
    return [
        {
            "When": item.at.isoformat(timespec="minutes") if item.at else "",
            "Prompt": item.prompt or "since then",
            "Instead of": item.before,
            "Made by": item.made_by,
            "Votes": item.votes,
            "Simulated votes": item.simulated,
            "Runs": item.runs,
            "Machine hours": item.machine_seconds / 3600,
            "Model calls": item.calls,
            "Labels": item.label_cost,
            "Compute": item.machine_cost,
            "Calls": item.call_cost,
            "Cost": item.cost,
            "Win rate": item.gain.value if item.gain else None,
            "Win rate low": item.gain.low if item.gain else None,
            "Win rate high": item.gain.high if item.gain else None,
            "n": item.gain.n if item.gain else None,
            "Cost per point": item.cost_per_point,
        }
        for item in found
    ]
