"""Qualification: before real pairs, an annotator judges a training set whose answers are
known, and is told after each whether it was right, and why. Enough right: qualified. Else
again, as often as the lead allows; then the lead decides.

An attempt is frozen when it begins: its pairs are drawn at once (those seen least first, in
an order by lot) and given one at a time.
"""

import secrets
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.annotation.asked import Step
from core.annotation.probing import Probing, probing_in, save
from core.errors import Forbidden, NotFound
from core.projects import find_project
from storage import probe_results
from storage import probes as stored
from storage.database import Database
from storage.ids import now
from storage.probe_results import Attempt, Tally
from storage.tables import Annotator, Gold, Pair, Probe

_lot = secrets.SystemRandom()
_had_voted: set[tuple[str, datetime]] = set()  # annotator, moment: what was so once stays so


def needed(session: Session, probing: Probing, annotator: Annotator) -> bool:
    """Whether this annotator has to qualify before they get real pairs."""
    if not probing.qualify or annotator.qualified_at is not None:
        return False
    if probing.veterans or probing.since is None:
        return True
    key = (annotator.id, probing.since)
    if key not in _had_voted:
        if not stored.voted_before(session, *key):
            return True
        _had_voted.add(key)
    return False


def next_one(session: Session, probing: Probing, annotator: Annotator, until: datetime) -> Probe | None:
    """The training pair to judge next, with a new attempt where it needs one; None while
    one is on the desk, or when they have just qualified. Raises Forbidden when there is no
    attempt left."""
    held = [
        probe
        for probe in stored.open_ones(session, annotator.project_id, annotator.id)
        if probe.kind == "training"
    ]
    if held:
        return None
    tried = _tried(session, probing, annotator)
    if tried and _passed(probing, tried[-1]):  # its last pair was taken out of the set
        _qualify(session, None, annotator, tried[-1])
        return None
    if len(tried) >= probing.tries:
        raise Forbidden(
            f"You have not passed this project's qualification in {len(tried)} "
            f"attempt{'s' if len(tried) != 1 else ''}, and get no pairs.",
            "Ask the project's lead to let you try again.",
        )
    pool = stored.training_pool(session, annotator.project_id, annotator.id)
    if not pool:
        raise Forbidden(
            "This project asks for a qualification, and has no training pairs yet.",
            "Ask the project's lead.",
        )
    _lot.shuffle(pool)
    chosen = [gold for gold, _ in sorted(pool, key=lambda item: item[1])][: probing.asked]
    _lot.shuffle(chosen)
    begun = now()
    swapped = stored.swapped_gold(session, annotator.project_id)
    made = [_probe(annotator, gold, begun, until, gold.pair_id not in swapped) for gold in chosen]
    session.add_all(made)
    session.flush()
    return made[0]


def answered(session: Session, annotator: Annotator, probe: Probe) -> None:
    """A training pair was judged: when it was the last of its attempt, see how it went."""
    probing = probing_in(session, annotator.project_id) or Probing()
    attempt = _attempt_of(session, probe)
    if not attempt.over or annotator.qualified_at is not None:
        return
    if _passed(probing, attempt):
        _qualify(session, None, annotator, attempt)
    else:
        audit.record(
            session, None, "annotator.unqualified", "annotator", annotator.id, annotator.project_id,
            name=annotator.name, right=attempt.right, of=attempt.asked,
        )  # fmt: skip


@dataclass(frozen=True)
class Feedback:
    """What an annotator is told about a training pair. `expected`: left, right, tie or
    both_bad, as it was shown; `explanation`: the lead's words. `place` of `of` pairs, of
    which `score` were right so far and `needed` must be. `verdict`, after the last one:
    passed or failed; then `tries_left`."""

    right: bool
    expected: str
    explanation: str
    place: int
    of: int
    score: int
    needed: int
    verdict: Literal["passed", "failed"] | None
    tries_left: int


def feedback(db: Database, who: Principal, probe_id: str) -> Feedback:
    """On one's own answer to a training pair; the same however often it is asked for."""
    require(who, "annotate")
    with db.read() as session:
        probe = session.get(Probe, probe_id)
        annotator = session.get(Annotator, probe.annotator_id) if probe else None
        if probe is None or annotator is None or probe.kind != "training" or probe.outcome is None:
            raise NotFound(f"There is no answer {probe_id} to a training pair.")
        if annotator.user_id != who.user_id:
            raise Forbidden("This is somebody else's answer.")
        pair = session.get(Pair, probe.pair_id)
        gold = session.exec(select(Gold).where(Gold.pair_id == probe.pair_id)).first()
        if pair is None:
            raise NotFound(f"The pair {probe.pair_id} is gone.")
        probing = probing_in(session, probe.project_id) or Probing()
        rows = _rows_of(session, probe)
        place = [row.id for row in rows].index(probe.id) + 1
        until_here = [row for row in rows[:place] if row.outcome is not None]
        attempt = _attempt_of(session, probe)
        last = attempt.over and place == len(rows)
        tried = len(_tried(session, probing, annotator))
        left = pair.response_a if probe.a_left else pair.response_b
        expected = probe.expected_outcome
        if expected == "win":
            expected = "left" if probe.expected_winner == left else "right"
        return Feedback(
            right=bool(probe.passed),
            expected=expected,
            explanation=gold.explanation if gold else "",
            place=place,
            of=len(rows),
            score=sum(bool(row.passed) for row in until_here),
            needed=probing.needed(len(rows)),
            verdict=("passed" if _passed(probing, attempt) else "failed") if last else None,
            tries_left=max(0, probing.tries - tried),
        )


def step_of(session: Session, probe: Probe) -> Step:
    rows = _rows_of(session, probe)
    probing = probing_in(session, probe.project_id) or Probing()
    return Step([row.id for row in rows].index(probe.id) + 1, len(rows), probing.needed(len(rows)))


# --- what a lead sees and does --------------------------------------------------------------

State = Literal["not asked", "veteran", "qualified", "not begun", "training", "failed", "out"]


@dataclass(frozen=True)
class Standing:
    """How an annotator with an account stands. `state`: not asked (qualification is off),
    veteran (voted before it was on), qualified, not begun, training (an attempt is open),
    failed (may try again), out (no attempt left). `attempts`: since they last began anew."""

    id: str
    name: str
    state: State
    qualified_at: datetime | None
    attempts: list[Attempt]
    tries_left: int
    tally: Tally


def people(db: Database, who: Principal, project_id: str) -> list[Standing]:
    """Everybody with an account who has opened the annotate page of a project, by name."""
    require(who, "quality.view")
    with db.read() as session:
        find_project(session, project_id)
        probing = probing_in(session, project_id) or Probing()
        query = select(Annotator).where(
            Annotator.project_id == project_id, col(Annotator.user_id).is_not(None)
        )
        annotators = session.exec(query.order_by(col(Annotator.name))).all()
        by_person: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in probe_results.attempts(session, project_id):
            by_person[attempt.annotator_id].append(attempt)
        tallies = probe_results.tallies(session, project_id)
        veterans: set[str] = set()
        if probing.qualify and probing.since is not None and not probing.veterans:
            veterans = probe_results.voters_before(session, project_id, probing.since)
        return [
            _standing(probing, item, by_person[item.id], tallies.get(item.id, Tally()), item.id in veterans)
            for item in annotators
        ]


def qualify(db: Database, who: Principal, project_id: str, annotator_id: str) -> None:
    """Let an annotator in without the training set. Again is the same as once."""

    def work(session: Session, annotator: Annotator) -> None:
        if annotator.qualified_at is None:
            _qualify(session, who, annotator, None)

    _change(db, who, project_id, annotator_id, work)


def begin_anew(db: Database, who: Principal, project_id: str, annotator_id: str) -> None:
    """Take an annotator's qualification away, if they have it, and let them try as often as
    somebody new: what they tried before does not count any more."""

    def work(session: Session, annotator: Annotator) -> None:
        probing = probing_in(session, project_id) or Probing()
        annotator.qualified_at = None
        session.add(annotator)
        stored.drop_open(session, annotator_id=annotator.id, kind="training")
        save(
            session,
            who,
            project_id,
            probing.model_copy(update={"anew": {**probing.anew, annotator.id: now()}}),
        )
        audit.record(
            session, who, "annotator.requalify", "annotator", annotator.id, project_id, name=annotator.name
        )

    _change(db, who, project_id, annotator_id, work)


def _change(db: Database, who: Principal, project_id: str, annotator_id: str, change) -> None:  # type: ignore[no-untyped-def]
    require(who, "annotator.manage")

    def work(session: Session) -> None:
        find_project(session, project_id)
        annotator = session.get(Annotator, annotator_id)
        if annotator is None or annotator.project_id != project_id:
            raise NotFound(f"There is no annotator {annotator_id} in this project.")
        change(session, annotator)

    db.write(work)


# --- parts ----------------------------------------------------------------------------------


def _standing(
    probing: Probing, annotator: Annotator, attempts: list[Attempt], tally: Tally, veteran: bool
) -> Standing:
    since = probing.anew.get(annotator.id)
    attempts = [item for item in attempts if since is None or item.started > since]
    over = [item for item in attempts if item.over]
    left = max(0, probing.tries - len(over))
    state: State
    if annotator.qualified_at is not None:
        state = "qualified"
    elif not probing.qualify:
        state = "not asked"
    elif veteran:
        state = "veteran"
    elif not attempts:
        state = "not begun"
    elif not attempts[-1].over:
        state = "training"
    else:
        state = "failed" if left else "out"
    return Standing(annotator.id, annotator.name, state, annotator.qualified_at, attempts, left, tally)


def _probe(annotator: Annotator, gold: Gold, begun: datetime, until: datetime, a_left: bool) -> Probe:
    """The sides stand as the explanation may name them."""
    return Probe(
        project_id=annotator.project_id,
        annotator_id=annotator.id,
        pair_id=gold.pair_id,
        kind="training",
        lease=secrets.token_urlsafe(18),
        a_left=a_left,
        leased_at=begun,
        expires_at=until,
        expected_outcome=gold.outcome,
        expected_winner=gold.winner,
    )


def _tried(session: Session, probing: Probing, annotator: Annotator) -> list[Attempt]:
    since = probing.anew.get(annotator.id)
    return [
        attempt
        for attempt in probe_results.attempts(session, annotator.project_id, annotator.id)
        if attempt.over and (since is None or attempt.started > since)
    ]


def _rows_of(session: Session, probe: Probe) -> list[Probe]:
    """The probes of the same attempt, in the order they are given."""
    query = select(Probe).where(
        Probe.annotator_id == probe.annotator_id, Probe.kind == "training", Probe.leased_at == probe.leased_at
    )
    return list(session.exec(query.order_by(col(Probe.id))))


def _attempt_of(session: Session, probe: Probe) -> Attempt:
    rows = _rows_of(session, probe)
    done = [row for row in rows if row.outcome is not None]
    return Attempt(
        probe.annotator_id, probe.leased_at, len(rows), len(done), sum(bool(row.passed) for row in done)
    )


def _passed(probing: Probing, attempt: Attempt) -> bool:
    return attempt.right >= probing.needed(attempt.asked)


def _qualify(session: Session, who: Principal | None, annotator: Annotator, attempt: Attempt | None) -> None:
    annotator.qualified_at = now()
    session.add(annotator)
    stored.drop_open(session, annotator_id=annotator.id, kind="training")
    detail = {"right": attempt.right, "of": attempt.asked} if attempt else {"by": "hand"}
    audit.record(
        session, who, "annotator.qualify", "annotator", annotator.id, annotator.project_id,
        name=annotator.name, **detail,
    )  # fmt: skip
