"""The name under which an annotator knows the pair of a hidden probe.

Shown by its own id, a pair that comes again could be told from a new one by whoever reads ids
off the network. So for one person a hidden probe's pair has another id: made with the
installation's key, so that nobody outside can work it out; of the same form as a pair's own (a
name-based UUID); and always the same for this person and pair, so that an undo brings back what
was taken. It is understood from this person only, and the pair's own id is not understood in its
place: else one could ask which it is.
"""

import hashlib
import hmac
import uuid

from sqlmodel import Session

from core.access import Principal
from core.settings import get_settings
from core.signin.cookies import secret_key
from storage import probes as stored
from storage.tables import Probe


def shown_id(probe: Probe) -> str:
    """The id of its pair as its annotator knows it."""
    if probe.kind not in stored.HIDDEN:
        return probe.pair_id
    return disguised(probe.annotator_id, probe.pair_id)


def disguised(annotator_id: str, pair_id: str) -> str:
    key = secret_key(get_settings().data_dir).encode()
    digest = hmac.digest(key, f"hidden\x1f{annotator_id}\x1f{pair_id}".encode(), hashlib.sha256)
    return str(uuid.UUID(bytes=digest[:16], version=5))


def pair_behind(session: Session, who: Principal, shown: str) -> str | None:
    """The pair that this person knows by that id from a hidden probe."""
    for annotator_id, pair_id in stored.hidden_pairs_of(session, who.user_id):
        if disguised(annotator_id, pair_id) == shown:
            return pair_id
    return None
