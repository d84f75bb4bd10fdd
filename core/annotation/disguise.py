"""The ids under which an annotator knows a hidden probe: of its pair, and of its answer.

By a pair's own id, one that comes again could be told from a new one by whoever reads ids off the
network; and the id of an answer would bear the time at which the probe was given, where a vote's
bears the time it was cast. So a hidden probe has others, of the same form as a pair's and a vote's
own: a name-based UUID, always the same for this person and pair, so that an undo brings back what
was taken; and a UUIDv7 of the moment of the answer. Both are made with the installation's key, so
that nobody outside can work them out. A pair's own id is not understood in the place of the
other: else one could ask which it is.
"""

import hashlib
import hmac
import uuid
from datetime import UTC, datetime, timedelta

from sqlmodel import Session

from core.access import Principal
from core.settings import get_settings
from core.signin.cookies import secret_key
from storage import probes as stored
from storage.tables import Probe

_MS = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _digest(*parts: str) -> bytes:
    key = secret_key(get_settings().data_dir).encode()
    return hmac.digest(key, "\x1f".join(("hidden", *parts)).encode(), hashlib.sha256)


# --- the pair ------------------------------------------------------------------------------


def shown_id(probe: Probe) -> str:
    """The id of its pair as its annotator knows it."""
    if probe.kind not in stored.HIDDEN:
        return probe.pair_id
    return disguised(probe.annotator_id, probe.pair_id)


def disguised(annotator_id: str, pair_id: str) -> str:
    return str(uuid.UUID(bytes=_digest("pair", annotator_id, pair_id)[:16], version=5))


def pair_behind(session: Session, who: Principal, shown: str) -> str | None:
    """The pair that this person knows by that id from a hidden probe."""
    for annotator_id, pair_id in stored.hidden_pairs_of(session, who.user_id):
        if disguised(annotator_id, pair_id) == shown:
            return pair_id
    return None


# --- the answer ----------------------------------------------------------------------------


def shown_vote_id(probe: Probe) -> str:
    """The id of its answer as its annotator knows it."""
    if probe.kind not in stored.HIDDEN or probe.answered_at is None:
        return probe.id
    return vote_id_of(probe.id, probe.answered_at)


def vote_id_of(probe_id: str, answered_at: datetime) -> str:
    bits = (answered_at - _EPOCH) // _MS << 80 | int.from_bytes(_digest("vote", probe_id)[:10], "big")
    bits = bits & ~(0xF << 76) | 7 << 76  # version 7
    return str(uuid.UUID(int=bits & ~(0b11 << 62) | 0b10 << 62))  # the variant of RFC 9562


def probe_behind(session: Session, shown: str) -> Probe | None:
    """The probe whose answer somebody knows by that id; a training pair's by its own."""
    found = session.get(Probe, shown)
    if found is not None:
        return found if found.kind not in stored.HIDDEN else None
    try:
        moment = _EPOCH + (uuid.UUID(shown).int >> 80) * _MS
    except (ValueError, OverflowError):
        return None
    answered = stored.answered_within(session, moment, moment + _MS)
    return next((probe for probe in answered if shown_vote_id(probe) == shown), None)
