"""Probes on the way to a desk: pairs given to learn about the annotator, beside the slots of
ordinary pairs. What is said to them: core.annotation.probe_answers. The claim path calls these
functions, all within its unit of work.

To the annotator a gold check or a repeat is a pair like any other. Only a training pair says what
it is (`core.annotation.qualification`). A lease that ran out still holds, as that of a slot does
while nobody else wants it: a probe is for one person.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from sqlmodel import Session

from core.annotation import qualification
from core.annotation.asked import Step
from core.annotation.disguise import shown_id
from core.annotation.probing import Probing, probing_in
from core.annotation.schedule import Schedule, pick
from core.errors import Forbidden
from storage import claims
from storage import probes as stored
from storage.ids import now
from storage.tables import Annotator, Pair, Probe, Project, Vote

_schedule = Schedule()

S = TypeVar("S", bound=claims.Held)


@dataclass(frozen=True)
class Held:
    """A probe on somebody's desk, as `claims.Held` is a slot. `shown_id`: its pair's id, as the
    annotator is told it."""

    pair_id: str
    shown_id: str
    lease: str
    a_left: bool
    expires_at: datetime
    leased_at: datetime
    training: Step | None = None


@dataclass(frozen=True)
class Drawn:
    """`held`: what to give now. `only`: nothing else may be claimed."""

    held: Held | None = None
    only: bool = False


def held(session: Session, project_id: str, annotator_id: str, until: datetime | None = None) -> list[Held]:
    """What this annotator holds, the first leased first; `until`: with longer leases."""
    if probing_in(session, project_id) is None:
        return []
    found = stored.open_ones(session, project_id, annotator_id)
    if found and until is not None:
        stored.prolong(session, project_id, annotator_id, until)
    return [replace(_held(session, probe), expires_at=until or probe.expires_at) for probe in found]


def in_order(session: Session, slots: Sequence[S], probes: Sequence[Held]) -> list[S | Held]:
    """Slots (in their order) and probes in the order they are to be shown."""
    if not probes:
        return list(slots)
    leased = stored.leased_at(session, [slot.slot_id for slot in slots])
    both: list[tuple[datetime, int, S | Held]] = [
        *((leased[slot.slot_id], place, slot) for place, slot in enumerate(slots)),
        *((probe.leased_at, place, probe) for place, probe in enumerate(probes)),
    ]
    return [item for *_, item in sorted(both, key=lambda entry: entry[:2])]


def prolong_all(session: Session, annotators: Sequence[Annotator], until: datetime) -> None:
    """Let everything these hold as probes run until then."""
    stored.prolong_of(session, [annotator.id for annotator in annotators], until)


def prolong(
    session: Session, project_id: str, annotator_id: str, until: datetime, leases: Sequence[str]
) -> set[str]:
    """Let these leases run until then; answers those that hold a probe."""
    if probing_in(session, project_id) is None:
        return set()
    stored.prolong(session, project_id, annotator_id, until, leases)
    return {probe.lease for probe in stored.open_ones(session, project_id, annotator_id)}


def draw(
    session: Session, project: Project, annotator: Annotator, until: datetime, holds: bool = False
) -> Drawn:
    """Before an ordinary pair is claimed: a probe in its place, when one is due. Raises
    Forbidden for one who failed to qualify and `holds` nothing to finish. One query where
    nothing was ever set."""
    probing = probing_in(session, project.id)
    if probing is None or annotator.simulated or annotator.machine:
        return Drawn()
    if qualification.needed(session, probing, annotator):
        try:
            probe = qualification.next_one(session, probing, annotator, until)
        except Forbidden:
            if not holds:
                raise
            probe = None
        if probe is not None:
            return Drawn(_held(session, probe), only=True)
        return Drawn(only=annotator.qualified_at is None)
    due = _due(annotator, probing)
    if not due or not stored.something_left(
        session, project.id, annotator.id, now(), annotator.audiences or ()
    ):
        return Drawn()
    return Drawn(_one_of(session, probing, annotator, until, due))


def hidden_of(session: Session, annotators: Sequence[Annotator]) -> dict[str, list[Held]]:
    """For claims that are done together: of these annotators, those who have nothing to do
    with training, each with the hidden probes they hold, the first leased first. Who is left
    out asks alone, through `held` and `draw`."""
    found: dict[str, list[Held]] = {}
    looked: list[str] = []
    for annotator in annotators:
        probing = probing_in(session, annotator.project_id)
        if probing is None or annotator.simulated or annotator.machine:
            found[annotator.id] = []
        elif not qualification.needed(session, probing, annotator):
            looked.append(annotator.id)
    on_desks = stored.open_of(session, looked) if looked else {}
    for key in looked:
        mine = on_desks.get(key, [])
        if all(probe.kind in stored.HIDDEN for probe in mine):
            found[key] = [_held(session, probe) for probe in mine]
    return found


def draw_hidden(session: Session, annotator: Annotator, until: datetime, at: datetime) -> Held | None:
    """For claims that are done together, of those whom `hidden_of` names: a probe in place of
    an ordinary pair that could be given now, when one is due."""
    probing = probing_in(session, annotator.project_id)
    if probing is None or annotator.simulated or annotator.machine:
        return None
    due = _due(annotator, probing)
    return _one_of(session, probing, annotator, until, due, at) if due else None


def _one_of(
    session: Session,
    probing: Probing,
    annotator: Annotator,
    until: datetime,
    due: Sequence[str],
    at: datetime | None = None,
) -> Held | None:
    for kind in due:
        _schedule.settle((annotator.id, kind))
        probe = (
            _check(session, annotator, until)
            if kind == "gold"
            else _repeat(session, probing, annotator, until)
        )
        if probe is not None:
            probe.leased_at = at or probe.leased_at
            session.add(probe)
            session.flush()
            return _held(session, probe)
    return None


def _kinds(annotator: Annotator, probing: Probing) -> list[tuple[tuple[str, str], float]]:
    """(key in the schedule, rate) of every kind of hidden probe."""
    return [((annotator.id, "gold"), probing.gold_rate), ((annotator.id, "repeat"), probing.repeat_rate)]


def _due(annotator: Annotator, probing: Probing) -> list[str]:
    """The kinds that are due now. Every kind takes every step."""
    return [key[1] for key, rate in _kinds(annotator, probing) if _schedule.step(key, rate)]


# --- parts ---------------------------------------------------------------------------------


def _check(session: Session, annotator: Annotator, until: datetime) -> Probe | None:
    found = stored.checks_for(session, annotator.project_id, annotator.id)
    if not found:
        return None
    gold = pick(found)
    a_left = secrets.randbits(1) == 1
    return _new(annotator, "gold", gold.pair_id, a_left, until, gold.outcome, gold.winner)


def _repeat(session: Session, probing: Probing, annotator: Annotator, until: datetime) -> Probe | None:
    found = stored.repeats_for(session, annotator.id, probing.repeat_after)
    if not found:
        return None
    vote = session.get(Vote, pick(found))
    pair = session.get(Pair, vote.pair_id) if vote else None
    if vote is None or pair is None:
        return None
    swapped = vote.left != pair.response_a
    return _new(annotator, "repeat", pair.id, swapped, until, vote.outcome, vote.winner)


def _new(
    annotator: Annotator,
    kind: str,
    pair_id: str,
    a_left: bool,
    until: datetime,
    outcome: str,
    winner: str | None,
) -> Probe:
    return Probe(
        project_id=annotator.project_id,
        annotator_id=annotator.id,
        pair_id=pair_id,
        kind=kind,
        lease=secrets.token_urlsafe(18),
        a_left=a_left,
        leased_at=now(),
        expires_at=until,
        expected_outcome=outcome,
        expected_winner=winner,
    )


def _held(session: Session, probe: Probe) -> Held:
    step = qualification.step_of(session, probe) if probe.kind == "training" else None
    return Held(
        probe.pair_id, shown_id(probe), probe.lease, probe.a_left, probe.expires_at, probe.leased_at, step
    )
