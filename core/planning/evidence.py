"""What a project measured that plans are made from, each figure with n, interval and a
sentence on where it comes from. What is not there is None, with the reason in `missing`.

Votes of people count as soon as there are any; until then simulated ones do, and every
sentence says so (as everywhere, `core.annotation.judgements`).
"""

from dataclasses import dataclass, field
from datetime import datetime
from math import sqrt

from sqlmodel import Session

from core.access import Principal, require
from core.annotation.judgements import which_votes
from core.kept import Kept
from core.planning.quantity import Quantity
from core.projects import find_project
from core.prompts.versions import label
from core.stats import wilson
from storage import evidence as facts
from storage.database import Database
from storage.evidence import Meeting, Pace, RunTotals, Spent
from storage.tables import Project, Prompt

STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13)


@dataclass(frozen=True)
class Measured:
    """A figure of the project's own; `low` and `high` are its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    source: str
    n_simulated: int = 0

    def quantity(self, kind: str = "normal") -> Quantity:
        """As an input of a plan, with origin `measured`. Without any width, it is fixed."""
        if not self.low < self.high:
            return Quantity(value=self.value, n=self.n, origin="measured", source=self.source)
        return Quantity.model_validate(
            {
                "value": self.value, "kind": kind, "low": self.low, "high": self.high, "n": self.n,
                "origin": "measured", "source": self.source,
            }
        )  # fmt: skip


@dataclass
class Evidence:
    project_id: str
    prompts: dict[str, Prompt]
    champion: Prompt | None
    baseline: Prompt | None  # what the champion is measured against
    meetings: list[Meeting]  # of the champion, most votes first
    win_rate: Measured | None  # champion against baseline, ties and "both bad" as halves
    success: dict[str, Measured]  # in production, by prompt id
    interactions_per_month: Measured | None
    pace: Pace
    seconds_per_vote: Measured | None
    votes_per_day: float | None  # on days with votes
    agreement: Measured | None  # nominal alpha
    runs: list[RunTotals]
    spent: list[Spent]
    missing: dict[str, str] = field(default_factory=dict)  # figure -> why it is not there

    @property
    def simulated_only(self) -> bool:
        return bool(self.pace.votes) and self.pace.simulated == self.pace.votes


@dataclass(frozen=True)
class _Votes:
    """What the votes say."""

    meetings: list[Meeting]
    pace: Pace
    agreement: Measured | None


@dataclass(frozen=True)
class _Uses:
    """What production says."""

    success: dict[str, tuple[int, int]]
    months: list[tuple[datetime, int]]


# A million votes take most of a second, and every page of a plan asks at every click.
_votes: Kept[_Votes] = Kept()
_uses: Kept[_Uses] = Kept()


def gather(db: Database, who: Principal, project_id: str, baseline_id: str | None = None) -> Evidence:
    """Everything at once. `baseline_id`: the prompt to measure the champion against; by
    default the one it descends from, else the one it met most.

    What is counted from votes and from uses is kept until they change; beyond 100,000
    votes, until a thousandth of them is new, and a moment longer, while a thread counts.
    Runs and prompts are read anew."""
    require(who, "plan.view")
    with db.read() as session:
        project = find_project(session, project_id)
        prompts = facts.prompts(session, project_id)
        key, champion = (db.url, project_id), prompts.get(project.champion_prompt_id or "")
        state = facts.votes_state(session, project_id)
        said = _votes.get(
            (*key, champion and champion.id),
            state,
            lambda: _read_votes(db, project_id, champion),
            meanwhile=facts.is_large(state),
        )
        used = _uses.get(key, facts.uses_state(session, project_id), lambda: _read_uses(db, project_id))
        return _gather(session, project, prompts, champion, baseline_id, said, used)


def uses_per_month(db: Database, who: Principal, project_id: str) -> Measured | None:
    """Only this figure of `gather`."""
    require(who, "plan.view")
    with db.read() as session:
        find_project(session, project_id)
        key, state = (db.url, project_id), facts.uses_state(session, project_id)
        return _per_month(_uses.get(key, state, lambda: _read_uses(db, project_id)).months)


def _read_votes(db: Database, project_id: str, champion: Prompt | None) -> _Votes:
    with db.read() as session:
        which, _, _ = which_votes(session, project_id)
        pace = facts.pace(session, which)
        blocks = facts.agreement_blocks(session, which)
        met = facts.meetings(session, which, champion.id) if champion else []
    return _Votes(met, pace, alpha_of_blocks(blocks, pace.simulated))


def _read_uses(db: Database, project_id: str) -> _Uses:
    with db.read() as session:
        return _Uses(facts.successes(session, project_id), facts.interactions_by_month(session, project_id))


def _gather(
    session: Session, project: Project, prompts: dict[str, Prompt], champion: Prompt | None,
    baseline_id: str | None, said: _Votes, used: _Uses,
) -> Evidence:  # fmt: skip
    missing: dict[str, str] = {}
    met, pace = said.meetings, said.pace
    baseline = baseline_of(champion, prompts, met, baseline_id)
    if champion is None:
        missing["win_rate"] = "No prompt is the champion yet."
    elif baseline is None:
        missing["win_rate"] = f"Nobody has compared the champion {label(champion)} with another prompt."
    found = next((item for item in met if baseline and item.other_id == baseline.id), None)
    win_rate = None
    if champion and baseline and found and found.n:
        win_rate = _win_rate(champion, baseline, found)
    elif champion and baseline:
        missing["win_rate"] = f"No votes on {label(champion)} against {label(baseline)} yet."
    if said.agreement is None:
        missing["agreement"] = "No pair has two votes."
    seconds = None
    if pace.timed and pace.median_s is not None:
        text = f"median time of {pace.timed:,} votes{_simulated(pace.simulated, pace.votes)}"
        seconds = Measured(
            pace.median_s, float(pace.low_s or 0), float(pace.high_s or 0), pace.timed, text, pace.simulated
        )
    else:
        missing["seconds_per_vote"] = "No vote has a time taken."
    success = {key: _success(prompts, key, *counts) for key, counts in used.success.items()}
    months = _per_month(used.months)
    if months is None:
        missing["interactions_per_month"] = "No uses in production are recorded for a whole month."
    return Evidence(
        project.id, prompts, champion, baseline, list(met), win_rate, success, months, pace, seconds,
        pace.votes / pace.days if pace.days else None, said.agreement,
        facts.run_totals(session, project.id), facts.spent(session, project.id), missing,
    )  # fmt: skip


def baseline_of(
    champion: Prompt | None, prompts: dict[str, Prompt], met: list[Meeting], asked: str | None
) -> Prompt | None:
    """What a champion is measured against: the one asked for, else the oldest prompt it
    descends from that it met, else the one it met most. `met`: most votes first."""
    if champion is None:
        return None
    if asked in prompts and asked != champion.id:
        return prompts[asked]
    counted = {item.other_id for item in met if item.n}
    ancestor, seen, oldest = champion, {champion.id}, None
    while ancestor.parent_id in prompts and ancestor.parent_id not in seen:
        ancestor = prompts[ancestor.parent_id]
        seen.add(ancestor.id)
        oldest = ancestor if ancestor.id in counted else oldest
    if oldest is not None:
        return oldest
    return prompts.get(met[0].other_id) if met else None


def _win_rate(champion: Prompt, baseline: Prompt, met: Meeting) -> Measured:
    half = met.wins + met.even / 2
    low, high = wilson(half, met.n)
    text = f"{label(champion)} against {label(baseline)}: {met.wins:,} wins, {met.even:,} even, "
    text += f"{met.losses:,} losses{_simulated(met.simulated, met.n)}"
    return Measured(half / met.n, low, high, met.n, text, met.simulated)


def _success(prompts: dict[str, Prompt], prompt_id: str, good: int, n: int) -> Measured:
    low, high = wilson(good, n)
    name = label(prompts[prompt_id]) if prompt_id in prompts else "a deleted prompt"
    return Measured(good / n, low, high, n, f"{good:,} of {n:,} uses of {name} with a good signal")


def _per_month(months: list[tuple]) -> Measured | None:
    """Mean of the whole months (the first and the last are cut off), Student's interval."""
    whole = [n for _, n in months[1:-1]]
    if not whole:
        return None
    k, mean = len(whole), sum(whole) / len(whole)
    if k == 1:
        # One month says nothing of how months differ: Poisson's own spread at least.
        half = 1.96 * sqrt(mean)
    else:
        spread = sqrt(sum((n - mean) ** 2 for n in whole) / (k - 1))
        half = (STUDENT[k - 2] if k - 2 < len(STUDENT) else 1.96) * spread / sqrt(k)
    text = f"uses in production in {k} whole month{'s' if k > 1 else ''}"
    return Measured(mean, max(0.0, mean - half), mean + half, sum(whole), text)


def _simulated(simulated: int, votes: int) -> str:
    if not simulated:
        return ""
    return " (all simulated)" if simulated == votes else f" ({simulated:,} of them simulated)"


def alpha_of_blocks(blocks: list[tuple[int, float, int, int, int]], n_simulated: int = 0) -> Measured | None:
    """Nominal alpha from `storage.evidence.agreement_blocks`, interval by the delete-a-block
    jackknife (Efron and Tibshirani 1993, 11.5). The same alpha as `core.annotation.quality`:
    each pair enters in both orders. None without a pair of two votes, or when all chose
    the same."""

    def alpha(rows: list[tuple[int, float, int, int, int]]) -> float | None:
        n, agreed, ab, tie, bad = (sum(column) for column in zip(*rows, strict=True))
        total = 2 * n
        chance = sum(c * (c - 1) for c in (ab, ab, 2 * tie, 2 * bad)) / (total * (total - 1))
        return None if chance >= 1 else 1 - (1 - agreed / n) / (1 - chance)

    if not blocks:
        return None
    value = alpha(blocks)
    if value is None:
        return None
    n = sum(row[0] for row in blocks)
    k = len(blocks)
    without = [alpha(blocks[:i] + blocks[i + 1 :]) for i in range(k)] if k > 1 else []
    kept = [item for item in without if item is not None]
    if len(kept) > 1:
        mean = sum(kept) / len(kept)
        half = 1.96 * sqrt((len(kept) - 1) / len(kept) * sum((item - mean) ** 2 for item in kept))
        low, high = max(-1.0, value - half), min(1.0, value + half)
    else:
        low, high = -1.0, 1.0
    text = f"Krippendorff's nominal alpha over {n:,} votes on pairs with two or more"
    if n_simulated:
        text += ", with simulated votes"
    return Measured(value, low, high, n, text, n_simulated)
