"""What annotators ask for, and what they get: a pair to judge, a vote to keep."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.access import Principal
from core.annotation.marks import Marks, check_vote, kept
from storage.ids import id_of
from storage.tables import Vote


@dataclass(frozen=True)
class Step:
    """Where a training pair stands: the `place`-th `of` so many, of which `needed` must be
    right to qualify."""

    place: int
    of: int
    needed: int


@dataclass(frozen=True)
class Reason:
    """What somebody else said of a pair, in the sides of whoever reads it. `choice`: left,
    right, tie or both_bad."""

    choice: str
    strength: str | None
    reason: str


@dataclass(frozen=True)
class Claim:
    """A pair to judge, blind: nothing says what produced the responses. `left` and
    `right` are their texts, `messages` the earlier turns of the example, if any. `training`:
    the answer is known, and told after the vote. `reasons`: what others said, of a disputed
    pair that is here to be decided."""

    pair_id: str
    project_id: str
    lease: str
    expires_at: datetime
    input: str
    messages: list[dict[str, str]] | None
    fields: dict[str, Any]
    left: str
    right: str
    training: Step | None = None
    reasons: list[Reason] | None = None


@dataclass(frozen=True)
class PairsAsked:
    """`wanted` pairs in all, with those already held. `one`: only the pair to judge now is
    looked at, and its lease prolonged, whatever else is held."""

    who: Principal
    project_id: str
    wanted: int = 1
    one: bool = False


@dataclass(frozen=True)
class VoteSent:
    """A vote on a claimed pair, in the words it was cast in."""

    who: Principal
    pair_id: str
    lease: str
    choice: str
    strength: str | None = None
    criteria: Mapping[str, Any] | None = None
    reason: str = ""
    duration_ms: int | None = None
    source: str = "page"

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", self.reason.strip())
        check_vote(self.choice, self.strength, self.reason, self.duration_ms)

    def as_vote(
        self, *, project_id: str, annotator_id: str, slot_id: str, left: str, right: str, marks: Marks
    ) -> Vote:
        """The row to keep; `left` and `right` are the responses as they were shown."""
        return Vote(
            project_id=project_id,
            pair_id=self.pair_id,
            annotator_id=annotator_id,
            slot_id=slot_id,
            lease=self.lease,
            outcome="win" if self.choice in ("left", "right") else self.choice,
            winner={"left": left, "right": right}.get(self.choice),
            left=left,
            strength=self.strength,
            criteria=kept(marks, left, right),
            reason=self.reason,
            duration_ms=self.duration_ms,
            source=self.source,
        )


def annotator_id_of(project_id: str, who: Principal) -> str:
    """The judge that this person is in a project (`storage.pairs.annotator_of_user`)."""
    return id_of("annotator", project_id, "user", who.user_id)
