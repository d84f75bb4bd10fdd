"""A run that scores pairs with two reward models, web side: every pair that has votes now and
that neither has seen. For models whose test splits share too few pairs; never imports torch.

config: first, second (ids); pairs (at most so many, those with most votes first); simulated
(exclude; include: simulated votes where no person voted). `core.reward.comparing` reads.
"""

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, col, select

from core.access import Principal, require
from core.errors import Invalid
from core.projects import find_project
from core.reward import judged
from core.reward.comparing import KIND, models_of, two_models
from core.reward.data import VotedPair, training_row, voted_pairs
from core.reward.judged import folder_of
from core.runs.folder import RunFolder
from core.runs.kinds import Prepared
from storage.database import Database
from storage.tables import Project, RewardModel, Run

MOST_PAIRS = 5_000
_FIELDS = {"first", "second", "pairs", "simulated", "seed"}
_FROZEN = {"names", "n_pairs", "seen_known"}


def prepare(session: Session, project: Project, config: dict[str, Any], seed: int) -> Prepared:
    """Freeze the pairs that have votes now and that neither model has seen, those with most
    votes first when there are more than `pairs`."""
    for name in config:
        if name not in _FIELDS | _FROZEN:
            raise Invalid(
                f"{name}: a comparison has no such field.", f"Fields: {', '.join(sorted(_FIELDS))}."
            )
    for name in ("first", "second"):
        if not isinstance(config.get(name), str):
            raise Invalid(f"{name}: the id of a reward model.")
    most = config.get("pairs", MOST_PAIRS)
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MOST_PAIRS:
        raise Invalid(f"pairs: a whole number from 1 to {MOST_PAIRS:,}.")
    simulated = config.get("simulated", "exclude")
    if simulated not in ("exclude", "include"):
        raise Invalid(f"simulated: there is no “{simulated}”.", "One of: exclude, include.")
    first, second = two_models(session, config["first"], config["second"])
    for name, model in (("first", first), ("second", second)):
        if model.project_id != project.id:
            raise Invalid(f"{name}: there is no reward model {model.id} in this project.")
        if not folder_of(model).is_dir():
            raise Invalid(f"{name}: the files of “{model.name}” are gone.", "Train a new one.")
    rows = _unseen(session, project.id, (first, second), simulated == "include")
    if not any(row["q"] != 0.5 for row in rows):
        raise Invalid(
            "No decided pair is left that neither model was trained on.",
            "Label pairs of other examples (or import comparisons), and compare again.",
        )
    rows = sorted(rows, key=lambda row: (-row["n"], row["pair_id"]))[:most]
    return Prepared(
        config={
            "first": first.id,
            "second": second.id,
            "names": [first.name, second.name],
            "pairs": most,
            "simulated": simulated,
            "n_pairs": len(rows),
            "seen_known": all(judged.seen(model) is not None for model in (first, second)),
        },
        tables={"pairs": rows},
        documents={
            "models": [
                {"id": model.id, "name": model.name, "folder": str(folder_of(model))}
                for model in (first, second)
            ]
        },
        name=f"Compare {first.name} with {second.name} on {len(rows):,} pairs",
    )


def _unseen(
    session: Session, project_id: str, models: Sequence[RewardModel], include_simulated: bool
) -> list[dict[str, Any]]:
    """Of a model whose training nobody knows, only the project's test split is trusted."""
    known = [judged.seen(model) for model in models]

    def unseen(pair: VotedPair) -> bool:
        return all(
            pair.split == "test"
            if k is None
            else not k.knows(pair.pair_id, pair.text["example_id"], pair.text["input"])
            for k in known
        )

    rows = []
    for pair in voted_pairs(session, project_id, with_text=True):
        votes = pair.votes(include_simulated)
        if votes is not None and unseen(pair):
            rows.append(training_row(pair, votes))
    return rows


def finish(session: Session, run: Run, folder: RunFolder, result: dict[str, Any]) -> None:
    """Nothing to store: the comparison reads the newest run's file."""


def waiting_run(db: Database, who: Principal, project_id: str, first_id: str, second_id: str) -> Run | None:
    """The newest comparison of these two that is under way or failed; None after one that
    ended well."""
    require(who, "run.view")
    with db.read() as session:
        find_project(session, project_id)
        query = select(Run).where(Run.project_id == project_id, Run.kind == KIND).order_by(col(Run.id).desc())
        newest = next((run for run in session.exec(query) if models_of(run) == {first_id, second_id}), None)
    return newest if newest is not None and newest.status != "succeeded" else None
