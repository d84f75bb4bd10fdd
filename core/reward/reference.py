"""The reference responses of a project: what rewards are normalised on, so that scores of two
versions of a reward model can be compared.

A reward model's scores have no scale of their own: two versions, equally good, may centre and
stretch them differently. So each model scores the same responses of the project, and a reward
is how many standard deviations of these a response lies above their mean. Which responses: the
MOST with the smallest SHA-256 of their ids, which depends neither on scores nor on votes, and
is a uniform sample (a bottom-k sketch; Cohen and Kaplan 2007, PODC). The set is chosen once and
kept; only while it is smaller than MOST is it chosen anew, when the project has twice as many
responses.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlmodel import Session

from storage.project_documents import document_body, save_document

KIND = "reward_reference"
MOST = 400


@dataclass(frozen=True)
class Reference:
    """`ids` of responses, sorted by their hash; `version`: a fingerprint of them."""

    ids: tuple[str, ...]

    @property
    def version(self) -> str:
        return hashlib.sha256("\x1f".join(self.ids).encode()).hexdigest()[:12]


def smallest(ids: Iterable[str], most: int = MOST) -> tuple[str, ...]:
    """The `most` ids with the smallest hash, in that order."""
    return tuple(sorted(ids, key=lambda key: hashlib.sha256(key.encode()).digest())[:most])


def kept(session: Session, project_id: str) -> Reference | None:
    """The project's reference as it was chosen last."""
    ids = document_body(session, project_id, KIND).get("ids")
    return Reference(tuple(ids)) if ids else None


def choose(before: Reference | None, ids: Sequence[str]) -> Reference:
    """The reference of a project that has responses `ids`: the one before while it holds."""
    if before is not None and (len(before.ids) >= MOST or len(ids) < 2 * len(before.ids)):
        return before
    return Reference(smallest(ids))


def keep(session: Session, project_id: str, reference: Reference) -> None:
    """Keep it as the project's, in the caller's unit of work, unless a larger one is there."""
    before = kept(session, project_id)
    if before is not None and len(before.ids) >= len(reference.ids):
        return
    body = {"ids": list(reference.ids), "version": reference.version}
    save_document(session, project_id, KIND, "Reference responses", body, None, "system")
