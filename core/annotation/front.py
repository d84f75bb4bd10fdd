"""The front row: the pairs that a project's selection strategy wants asked next.

Claims stay one statement (docs/annotation.md): they take slots with a place in front first,
then the others, fewest votes first. Beside them this looks, every few seconds, whether
enough has changed to choose a new front row: new votes, a used-up row, another strategy or
champion. What it chooses from are up to POOL pairs with the fewest votes.
"""

import logging
from dataclasses import dataclass

import numpy as np

from core.annotation.judgements import which_votes
from core.annotation.selection import DEFAULT, STRATEGIES, OpenPairs, choose, standing
from storage import selection
from storage.database import Database

ROW = 100  # pairs in front; a row lasts a while even with many annotators at once
POOL = 20_000
NEW_VOTES = 10  # so many make another choice worth while

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Seen:
    strategy: str
    champion: str | None
    votes: int


class FrontRow:
    """Keeps the front rows of all projects up to date; one per web process. Two at once do
    no harm: each row is as good as the other."""

    def __init__(self, db: Database, seed: int | None = None) -> None:
        self.db = db
        self._seen: dict[str, _Seen] = {}
        self._rng = np.random.default_rng(seed)

    def refresh(self) -> None:
        with self.db.read() as session:
            projects = selection.watched(session)
        for project_id, strategy, champion, in_front in projects:
            try:
                self._look(project_id, strategy, champion, in_front)
            except Exception:  # one project's trouble is not the others'
                log.exception("project %s: the next pairs could not be chosen", project_id)

    def _look(self, project_id: str, strategy: str, champion: str | None, in_front: int) -> None:
        with self.db.read() as session:
            votes = selection.votes_of(session, project_id)
        before = self._seen.get(project_id)
        now = _Seen(strategy, champion, votes)
        due = (
            before is None
            or (before.strategy, before.champion) != (strategy, champion)
            or abs(votes - before.votes) >= NEW_VOTES
            or (in_front < ROW // 4 and votes != before.votes)
        )
        if due:
            slots = self.row(project_id, strategy, champion)
            self.db.write(lambda session: selection.put_in_front(session, project_id, slots))
            self._seen[project_id] = now

    def row(self, project_id: str, strategy: str, champion: str | None) -> list[str]:
        """Slots in the order they should be claimed; none for the strategy that the claim
        follows by itself."""
        if strategy == DEFAULT or strategy not in STRATEGIES:
            return []
        with self.db.read() as session:
            slots = selection.open_slots(session, project_id, POOL)
            which, _, _ = which_votes(session, project_id)
            met = selection.wins_between(session, which)
        prompts = sorted(
            {p for slot in slots for p in (slot.prompt_a, slot.prompt_b)}
            | {p for row in met for p in row[:2]}
        )
        place = {prompt: i for i, prompt in enumerate(prompts)}
        wins = np.zeros((len(prompts), len(prompts)))
        for a, b, got, n in met:
            wins[place[a], place[b]] += got
            wins[place[b], place[a]] += n - got
        pairs = OpenPairs(
            np.array([place[slot.prompt_a] for slot in slots], dtype=int),
            np.array([place[slot.prompt_b] for slot in slots], dtype=int),
            np.array([slot.votes for slot in slots], dtype=int),
        )
        order = choose(strategy, pairs, standing(wins), ROW, self._rng, place.get(champion or ""))
        return [slots[i].slot_id for i in order]
