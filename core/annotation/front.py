"""The front row: the pairs that a project's selection strategy wants asked next.

Claims stay one statement (docs/annotation.md): they take slots with a place in front first,
then the others, fewest votes first. Beside them this looks, every few seconds, whether
enough has changed to choose a new front row: new votes, a used-up row, another strategy or
champion, new scores. What it chooses from are up to POOL pairs with the fewest votes.

Strategies that ask the reward model read the scores of the newest run of the kind `score`
(`core.reward.scoring`), which is started from here when they are missing or old. Until there
are scores the row is empty: pairs come fewest votes first.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.access import Principal, Role
from core.annotation.judgements import which_votes
from core.annotation.selection import (
    DEFAULT,
    STRATEGIES,
    OpenPairs,
    Strategy,
    choose,
    choose_by_value,
    standing,
)
from core.reward import scoring
from storage import selection
from storage.database import Database
from storage.tables import Project

ROW = 100  # pairs in front; a row lasts a while even with many annotators at once
POOL = 20_000
NEW_VOTES = 10  # so many make another choice worth while
SYSTEM = Principal("system", "system", Role.ADMIN)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Seen:
    strategy: str
    champion: str | None
    votes: int
    scores: str | None  # the run they are from


class FrontRow:
    """Keeps the front rows of all projects up to date; one per web process. Two at once do
    no harm: each row is as good as the other."""

    def __init__(
        self,
        db: Database,
        seed: int | None = None,
        score: Callable[[Database, str, list[str]], None] | None = None,
    ) -> None:
        self.db = db
        self._seen: dict[str, _Seen] = {}
        self._nothing_open: dict[str, tuple[tuple[str, ...], int]] = {}  # models, votes
        self._rng = np.random.default_rng(seed)
        self._score = score or start_scoring

    def refresh(self) -> None:
        with self.db.read() as session:
            projects = selection.watched(session)
        for project_id, strategy, champion, in_front in projects:
            try:
                self._look(project_id, strategy, champion, in_front)
            except Exception:  # one project's trouble is not the others'
                log.exception("project %s: the next pairs could not be chosen", project_id)

    def _look(self, project_id: str, strategy: str, champion: str | None, in_front: int) -> None:
        asks_model = strategy in STRATEGIES and STRATEGIES[strategy].models > 0
        with self.db.read() as session:
            votes = selection.votes_of(session, project_id)
            run = scoring.newest(session, project_id) if asks_model else None
        before = self._seen.get(project_id)
        now = _Seen(strategy, champion, votes, run.id if run else None)
        due = (
            before is None
            or (before.strategy, before.champion, before.scores) != (strategy, champion, now.scores)
            or abs(votes - before.votes) >= NEW_VOTES
            or (in_front < ROW // 4 and votes != before.votes)
        )
        if due:
            slots = self.row(project_id, strategy, champion)
            self.db.write(lambda session: selection.put_in_front(session, project_id, slots))
            self._seen[project_id] = now
        if asks_model:
            self._keep_scored(project_id, STRATEGIES[strategy], votes, due)

    def row(self, project_id: str, strategy: str, champion: str | None) -> list[str]:
        """Slots in the order they should be claimed; none for the strategy that the claim
        follows by itself."""
        if strategy == DEFAULT or strategy not in STRATEGIES:
            return []
        if STRATEGIES[strategy].value is not None:
            return self._by_reward(project_id, STRATEGIES[strategy])
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

    # --- strategies that ask the reward model ------------------------------------------------

    def _by_reward(self, project_id: str, rule: Strategy) -> list[str]:
        with self.db.read() as session:
            run = scoring.newest(session, project_id)
            slots = selection.open_slots(session, project_id, POOL) if run is not None else []
        scores = scoring.read_scores(run) if run is not None else None
        if scores is None or len(scores.models) < rule.models or rule.value is None:
            return []
        value = rule.value(scores.chances([s.response_a for s in slots], [s.response_b for s in slots]))
        return [slots[i].slot_id for i in choose_by_value(value, ROW, self._rng)]

    def _keep_scored(self, project_id: str, rule: Strategy, votes: int, due: bool) -> None:
        """Start a scoring where scores are missing, of other models, or too few."""
        with self.db.read() as session:
            project = session.get(Project, project_id)
            models = scoring.wanted_models(session, project, rule.models) if project else []
            state = (tuple(models), votes)
            if not models or self._nothing_open.get(project_id) == state:
                return
            run = scoring.newest(session, project_id)
            fresh = run is not None and list(run.config["models"]) == models
            if (fresh and not due) or not scoring.may_start(session, project_id, models):
                return
            slots = selection.open_slots(session, project_id, scoring.SCORED_PAIRS)
        if not slots:
            self._nothing_open[project_id] = state
            return
        scores = scoring.read_scores(run) if run is not None else None
        if not fresh or scoring.too_many_unscored(scores, slots):
            self._score(self.db, project_id, models)


def start_scoring(db: Database, project_id: str, models: list[str]) -> None:
    from core.runs.service import start_run

    start_run(db, SYSTEM, project_id, scoring.KIND, {"models": models})
