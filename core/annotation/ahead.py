"""How many pairs a desk holds: more while there is plenty, so that an annotator can go on
without the network; fewer towards the end, so that nobody sits on what others could do.

A desk gets its share of a quarter of what is open: with S open slots and P people at work,
S / (4 P) pairs, at least FEWEST (the one on the screen, and the next) and at most MOST.
"""

import time
from weakref import WeakKeyDictionary

from core.access import Principal
from core.annotation.asked import annotator_id_of
from storage.database import Database
from storage.room import Room, room
from storage.tables import Annotator

FEWEST, MOST = 2, 5
SHARE = 4
FRESH_S = 10.0  # what is left is counted at most so often

_seen: WeakKeyDictionary[Database, dict[str, tuple[float, Room]]] = WeakKeyDictionary()


def pairs_ahead(db: Database, who: Principal, project_id: str) -> int:
    """FEWEST to MOST, the pair on the screen included."""
    with db.read() as session:
        annotator = session.get(Annotator, annotator_id_of(project_id, who))
        known = _seen.setdefault(db, {})
        at, left = known.get(project_id, (float("-inf"), Room()))
        if time.monotonic() - at > FRESH_S:
            left = room(session, project_id)
            known[project_id] = (time.monotonic(), left)
    mine = left.open_to(tuple((annotator and annotator.audiences) or ()))
    return share(mine, left.people)


def share(open_slots: int, people: int) -> int:
    return max(FEWEST, min(MOST, open_slots // (SHARE * max(1, people))))
