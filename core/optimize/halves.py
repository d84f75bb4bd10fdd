"""A pair of reward models on disjoint halves of the votes: one to optimise against, one to watch
it (core/optimize/watch.py)."""

from core.access import Principal
from core.reward.runs import HALVES
from core.runs.service import start_run
from storage.database import Database
from storage.tables import Run


def train_halves(db: Database, who: Principal, project_id: str) -> list[Run]:
    """Start both trainings, with the same seed. Raises Invalid, before either is started, where
    there are too few votes for halves."""
    runs = []
    for half in HALVES:
        runs.append(start_run(db, who, project_id, "reward_model", {"half": half, "seed": 1}))
    return runs
