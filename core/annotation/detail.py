"""What takes every vote, or the same figure many times over: skill and care of annotators,
who clicks at random, Cohen's kappa, agreement by criterion, kind of pair and week, and what
each way of adding votes up does. Computed when asked for, and kept until the votes change.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlmodel import Session, col, select

from core.access import Principal, require
from core.annotation import clickers, noisy
from core.annotation.aggregation import Effect, effects_of
from core.annotation.agreement import (
    SWAP_CHOICES,
    Cohen,
    Measure,
    alpha,
    cohens,
    fleiss,
    raw,
)
from core.annotation.judgements import Simulated, which_votes
from core.annotation.quality import columns
from core.annotation.skill import Mace, dawid_skene, mace
from core.kept import Kept
from core.projects import find_project
from storage import ballots
from storage import quality as facts
from storage.ballots import Ballots
from storage.counting import left_out_state
from storage.database import Database
from storage.evidence import votes_state
from storage.judgements import Which
from storage.rows import prompt_label
from storage.tables import Project, Prompt

AT_ONCE = 100_000  # votes up to which the page computes this without being asked
MOST_GROUPS = 40
GROUP_RESAMPLES = 400


@dataclass(frozen=True)
class Group:
    """Agreement on some of the pairs, or on one criterion. `of`: all, criterion, prompts,
    source or week; `name` as a person reads it."""

    of: str
    name: str
    alpha: Measure
    fleiss: Measure
    raw: Measure


@dataclass(frozen=True)
class Judge:
    """What the models say of an annotator. `compared`: votes on pairs that others voted on.

    accuracy: Dawid-Skene. competence: MACE, with its interval. care, left (of decisive votes
    between equals, the share for the left) with intervals: noisy Bradley-Terry; None without
    votes that show their sides. p: of the sequential test, after `looked` votes. agreed,
    guessing, gain_…: see `core.annotation.clickers`."""

    id: str
    name: str
    compared: int
    accuracy: float | None
    competence: float | None
    competence_low: float | None
    competence_high: float | None
    care: float | None
    care_low: float | None
    care_high: float | None
    left: float | None
    left_low: float | None
    left_high: float | None
    p: float
    looked: int
    alarm: bool
    suspected: bool
    agreed: float | None
    guessing: float | None
    gain_low: float | None
    gain_high: float | None


@dataclass(frozen=True)
class Detail:
    """`tested`: annotators of whom at least one look was taken; `false_alarms`: how many of
    them chance alone would name, at most."""

    votes: int
    simulated: str
    judges: list[Judge]
    tested: int
    level: float
    false_alarms: float
    cohen: Cohen
    groups: list[Group]
    effects: list[Effect]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_kept: Kept[Detail] = Kept(16)


def detail(
    db: Database, who: Principal, project_id: str, *, simulated: Simulated | str | None = None
) -> Detail:
    """All of it. A million votes take some ten seconds, the second time nothing."""
    require(who, "quality.view")
    with db.read() as session:
        project = find_project(session, project_id)
        which, _, _ = which_votes(session, project_id, simulated=simulated, independent=True)
        return _kept.get(
            (db.url, project_id, which.simulated),
            (*votes_state(session, project_id), left_out_state(session, project_id), tuple(project.criteria)),
            lambda: _detail(session, project, which),
        )


def _detail(session: Session, project: Project, which: Which) -> Detail:
    votes = ballots.read(session, which)
    size, many = len(votes.pair_ids), len(votes.judges)
    found = mace(votes.pair, votes.judge, votes.choice, votes.a_left, size, many)
    judges = _judges(votes, found)
    tested = sum(judge.looked > 0 for judge in judges)
    return Detail(
        votes=len(votes),
        simulated=which.simulated,
        judges=judges,
        tested=tested,
        level=clickers.LEVEL,
        false_alarms=tested * clickers.LEVEL,
        cohen=cohens(votes.pair, votes.judge, votes.choice, resamples=_resamples(len(votes))),
        groups=_groups(session, project, which),
        effects=effects_of(votes, found.competence),
    )


def _resamples(votes: int) -> int:
    return 200 if votes <= AT_ONCE else 40


def _judges(votes: Ballots, competence: Mace) -> list[Judge]:
    size, many = len(votes.pair_ids), len(votes.judges)
    if not many:
        return []
    skill = dawid_skene(votes.pair, votes.judge, votes.choice, size, many)
    met = _noisy(votes)
    meeting = votes.prompt_a * len(votes.prompts) + votes.prompt_b
    test = clickers.find(
        votes.pair, votes.judge, votes.choice, votes.a_left, votes.at, meeting,
        [judge.id for judge in votes.judges],
    )  # fmt: skip
    found = []
    for j, judge in enumerate(votes.judges):
        values: dict[str, Any] = {"accuracy": skill.accuracy, "competence": competence.competence}
        values |= {"competence_low": competence.low, "competence_high": competence.high}
        known = {key: _or_none(bool(competence.n[j]), x[j]) for key, x in values.items()}
        values = {"care": met.care, "care_low": met.care_low, "care_high": met.care_high}
        values |= {"left": met.left, "left_low": met.left_low, "left_high": met.left_high}
        known |= {key: _or_none(bool(met.n[j]), x[j]) for key, x in values.items()}
        values = {"agreed": test.agreed, "guessing": test.guessing}
        values |= {"gain_low": test.gain_low, "gain_high": test.gain_high}
        known |= {key: _or_none(test.compared[j] > 0, x[j]) for key, x in values.items()}
        found.append(
            Judge(
                id=judge.id,
                name=judge.name,
                compared=int(test.compared[j]),
                p=float(test.p[j]),
                looked=int(test.looked[j]),
                alarm=bool(test.alarm[j]),
                suspected=bool(test.suspected[j]),
                **known,  # type: ignore[arg-type]
            )
        )
    return found


def _noisy(votes: Ballots) -> noisy.Noisy:
    """Of votes that show what stood left, between two different prompts."""
    a, b = votes.prompt_a[votes.pair], votes.prompt_b[votes.pair]
    there = (votes.a_left >= 0) & (a != b)
    a_left = votes.a_left[there] == 1
    left, right = np.where(a_left, a[there], b[there]), np.where(a_left, b[there], a[there])
    choice = votes.choice[there]
    for_left = (choice == ballots.A) == a_left
    vote = np.where(choice > 1, noisy.EVEN, np.where(for_left, noisy.LEFT, noisy.RIGHT))
    return noisy.noisy_bradley_terry(
        votes.judge[there], left, right, vote, len(votes.judges), len(votes.prompts)
    )


def _or_none(there: bool, value: Any) -> float | None:
    return float(value) if there else None


def _groups(session: Session, project: Project, which: Which) -> list[Group]:
    """Of each kind, those with most pairs that two voted on."""
    found = [_group("all", "All pairs, who won", facts.kinds(session, which))]
    for criterion in project.criteria:
        kinds = facts.criterion_kinds(session, which, criterion)
        if kinds:
            found.append(_group("criterion", criterion, kinds))
    names = _prompt_names(session, project.id)
    for of in ("prompts", "source", "week"):
        by: dict[Any, list[facts.Kind]] = {}
        for kind in facts.kinds(session, which, of):
            by.setdefault(kind[0], []).append(kind)
        shared = {key: sum(n for _, v, n in kinds if sum(v) > 1) for key, kinds in by.items()}
        most = sorted(shared, key=lambda key: (-shared[key], str(key)))[:MOST_GROUPS]
        for key in sorted(most, key=str) if of == "week" else most:
            if shared[key]:
                found.append(_group(of, _name(of, key, names), by[key]))
    return found


def _group(of: str, name: str, kinds: list[facts.Kind]) -> Group:
    counts, times = columns(kinds)
    some: dict[str, Any] = {"times": times, "resamples": GROUP_RESAMPLES}
    return Group(
        of, name, alpha(counts, swap=SWAP_CHOICES, **some), fleiss(counts, swap=SWAP_CHOICES, **some),
        raw(counts, **some),
    )  # fmt: skip


def _name(of: str, key: Any, names: dict[str, str]) -> str:
    if of == "prompts":
        first, second = (names.get(item, item) for item in key)
        return f"{first} against {second}" if key[0] != key[1] else f"{first} against itself"
    return key.isoformat() if of == "week" else str(key)


def _prompt_names(session: Session, project_id: str) -> dict[str, str]:
    rows = session.exec(
        select(Prompt.id, Prompt.name, Prompt.version).where(col(Prompt.project_id) == project_id)
    )
    return {key: prompt_label(name, version) for key, name, version in rows}
