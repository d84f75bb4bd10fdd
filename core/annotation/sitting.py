"""One exchange with the annotate page: what was done there since the last, and what to
show next.

The page keeps what its person did until this answer says that it is stored, and sends it
again when no answer came. Each deed carries a key of its own (a vote and a skip their
lease, an undo its vote), so that it is done once however often it is sent.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from core.access import Principal, require
from core.annotation import demonstrations, mine, probe_answers, qualification, votes
from core.annotation.ahead import pairs_ahead
from core.annotation.desk import desk_of
from core.annotation.groups import others_wait_for
from core.annotation.marks import said
from core.errors import PrefloopError
from core.projects import get_project
from core.rendering.markdown import response_html
from storage.database import Database
from storage.tables import Vote


@dataclass(frozen=True)
class Deed:
    """Something done on the page. `kind`: vote, skip, undo. `key`: its lease; of an undo what is
    taken back, as `mine.undoable` names it."""

    kind: str
    key: str
    pair_id: str = ""
    values: dict[str, Any] | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a deed. `said`: what the vote that was taken back had said, so that
    it stands there again. `problem`: why nothing was recorded. `feedback`: on a training pair,
    which cannot be taken back."""

    key: str
    vote_id: str | None = None
    pair_id: str | None = None
    said: dict[str, Any] | None = None
    problem: str | None = None
    feedback: dict[str, Any] | None = None


def do(db: Database, who: Principal, deeds: Sequence[Deed]) -> list[Outcome]:
    """Each of the deeds, in order; what cannot be done is answered, and the rest goes on.
    Trouble that is not the deed's own (the database is away) raises, so it is sent again."""
    require(who, "annotate")
    return [_done(db, who, deed) for deed in deeds]


def _done(db: Database, who: Principal, deed: Deed) -> Outcome:
    values = deed.values or {}
    try:
        if deed.kind == "vote":
            better = str(values.get("better") or "").strip()
            vote = votes.cast(
                db,
                who,
                deed.pair_id,
                deed.key,
                str(values.get("choice")),
                strength=values.get("strength"),
                criteria=values.get("criteria"),
                reason=str(values.get("reason") or ""),
                duration_ms=values.get("duration_ms"),
            )
            if better:
                demonstrations.write(db, who, deed.pair_id, better)
            if vote.source == probe_answers.TRAINING:
                told = qualification.feedback(db, who, vote.id)
                html = response_html(told.explanation) if told.explanation else ""
                return Outcome(deed.key, None, vote.pair_id, feedback={**asdict(told), "explanation": html})
            return Outcome(deed.key, vote.id, vote.pair_id)
        if deed.kind == "skip":
            votes.skip(db, who, deed.pair_id, deed.key, str(values.get("reason") or ""))
            return Outcome(deed.key, None, deed.pair_id)
        if deed.key.startswith(mine.SKIPPED):
            return Outcome(deed.key, None, votes.unskip(db, who, deed.key.removeprefix(mine.SKIPPED)))
        before = _my_vote(db, who, deed.key)
        pair_id = votes.undo(db, who, deed.key)
        return Outcome(deed.key, deed.key, pair_id, said(before) if before else None)
    except PrefloopError as problem:
        return Outcome(deed.key, pair_id=deed.pair_id or None, problem=str(problem))


def _my_vote(db: Database, who: Principal, vote_id: str) -> Vote | None:
    with db.read() as session:
        return session.get(Vote, vote_id) or probe_answers.as_vote(session, vote_id)


def pairs(db: Database, who: Principal, project_id: str, known: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The pairs on the desk, the one to judge now first, as safe HTML; of those the page
    knows by their leases already, the lease alone."""
    return [
        {"lease": claim.lease} if claim.lease in known else _as_html(claim)
        for claim in votes.claim_some(db, who, project_id, pairs_ahead(db, who, project_id))
    ]


def _as_html(claim: votes.Claim) -> dict[str, Any]:
    turns = [
        {"role": str(turn.get("role", "")), "html": response_html(str(turn.get("content", "")))}
        for turn in claim.messages or []
    ]
    return {
        "lease": claim.lease,
        "pair_id": claim.pair_id,
        "turns": [*turns, {"role": "user" if turns else "input", "html": response_html(claim.input)}],
        "left": _response(claim.left),
        "right": _response(claim.right),
        "training": asdict(claim.training) if claim.training else None,
        "reasons": None if claim.reasons is None else [asdict(reason) for reason in claim.reasons],
    }


def _response(text: str) -> dict[str, Any]:
    return {"html": response_html(text), "words": len(text.split()), "empty": not text.strip()}


def progress(db: Database, who: Principal, project_id: str, day_start: datetime | None) -> dict[str, Any]:
    """How far this person is, and the project; `today` since the start of their own day."""
    now = votes.my_progress(db, who, project_id)
    today = mine.done_since(db, who, project_id, day_start) if day_start else None
    return {
        "done": now.done,
        "left": now.left,
        "skipped": now.skipped,
        "elsewhere": now.elsewhere,
        "wanted": now.wanted,
        "median_ms": now.median_ms,
        "today": today,
        "for_groups": others_wait_for(db, who, project_id) if not now.left else [],
    }


def opening(db: Database, who: Principal, project_id: str) -> dict[str, Any]:
    """What the page needs once: criteria and their scales, guidelines, the goal, and the
    votes and skips that undo can take back, the newest first."""
    project = get_project(db, who, project_id)
    desk = desk_of(db, who, project_id)
    return {
        "criteria": [{"name": name, "scale": desk.scale(name)} for name in project.criteria],
        "guidelines": response_html(project.guidelines) if project.guidelines.strip() else "",
        "goal": desk.daily_goal,
        "undoable": mine.undoable(db, who, project_id),
    }
