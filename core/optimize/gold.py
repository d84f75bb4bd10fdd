"""Who watches a search: a gold reward model that learned from other votes than the proxy, and
sealed votes of people. Web side; never imports torch.

config `watch`: {"gold": id of a reward model, or null for none (default: the newest one of the
project that shares no training pair with the proxy), "stop_after": checks, or null to warn only}.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlmodel import Session, col, select

from core.access import Principal, require
from core.errors import Invalid
from core.optimize.method import checked_whole
from core.optimize.rewards.freezing import folder_of, whole
from core.projects import find_project
from core.reward.registry import active_model
from core.runs.service import run_folder
from storage.database import Database
from storage.tables import Project, RewardModel

MOST_VOTES = 400
_SEEN = ("train", "dev")  # of a training: dev says which state is kept


def watched(
    session: Session, project: Project, asked: Any, proxies: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """(what the config says, the document, sealed votes) for a search whose reward has these
    models. Raises Invalid naming the field."""
    asked = {} if asked is None else asked
    if not isinstance(asked, dict):
        raise Invalid("watch: an object, such as {“gold”: null, “stop_after”: 3}.")
    unknown = sorted(set(asked) - {"gold", "stop_after"})
    if unknown:
        raise Invalid(f"watch.{unknown[0]}: not a setting of the watch.", "Settings: gold, stop_after.")
    stop_after = asked.get("stop_after")
    if stop_after is not None:
        checked_whole("watch.stop_after", stop_after, 1, 1_000)
    models = [model for key in proxies if (model := session.get(RewardModel, key)) is not None]
    seen = [pairs_of(model) for model in models]
    gold = _gold(session, project, asked, models, seen)
    if stop_after is not None and gold is None:
        raise Invalid(
            "watch.stop_after: there is no gold reward model that could fall.",
            "Train a pair of halves, or leave it out.",
        )
    known = [] if gold is None else [of for of in [pairs_of(gold), *seen] if of is None]
    document = {
        "gold": None if gold is None else {"id": gold.id, "name": gold.name, "folder": str(folder_of(gold)),
                                           "unknown_pairs": bool(known)},
        "proxy": [{"name": model.name, "folder": str(folder_of(model))} for model in models],
        "stop_after": stop_after,
    }  # fmt: skip
    config = {"gold": None if gold is None else gold.id, "stop_after": stop_after}
    return config, document, sealed_votes(models[0]) if models else []


def _gold(
    session: Session,
    project: Project,
    asked: dict[str, Any],
    proxies: list[RewardModel],
    seen: list[set[str] | None],
) -> RewardModel | None:
    if "gold" not in asked:
        return next(iter(independent(session, project, proxies, seen)), None)
    key = asked["gold"]
    if key is None:
        return None
    model = session.get(RewardModel, key) if isinstance(key, str) else None
    if model is None or model.project_id != project.id or model.archived_at is not None:
        raise Invalid(f"watch.gold: there is no reward model {key} in this project.")
    if any(model.id == proxy.id for proxy in proxies):
        raise Invalid(f"watch.gold: “{model.name}” is the reward itself.", "Name another one.")
    whole(model, "watch.gold")
    own = pairs_of(model)
    for proxy, of in zip(proxies, seen, strict=True):
        if own is not None and of is not None and own & of:
            raise Invalid(
                f"watch.gold: “{model.name}” was trained on {len(own & of):,} of the {len(of):,} pairs that "
                f"“{proxy.name}” was trained on, so it is no judge of it.",
                "Train a pair of halves on the page Optimise, or name a model of other votes.",
            )
    return model


def independent(
    session: Session, project: Project, proxies: Sequence[RewardModel], seen: Sequence[set[str] | None]
) -> list[RewardModel]:
    """The project's models that are known to share no training pair with the proxies, newest
    first; none where it is not known what the proxies were trained on."""
    if any(of is None for of in seen):
        return []
    taken = {key for of in seen if of for key in of}
    query = select(RewardModel).where(
        RewardModel.project_id == project.id, col(RewardModel.archived_at).is_(None)
    )
    found = session.exec(query.order_by(col(RewardModel.created_at).desc(), col(RewardModel.id)))
    ids = {proxy.id for proxy in proxies}
    return [
        model
        for model in found
        if model.id not in ids and folder_of(model).is_dir()
        if (own := pairs_of(model)) is not None and not own & taken
    ]


def watcher(db: Database, who: Principal, project_id: str) -> RewardModel | None:
    """Who watches a search against the project's active reward model when nobody is named."""
    require(who, "run.view")
    with db.read() as session:
        project = find_project(session, project_id)
        model = active_model(session, project)
        if model is None:
            return None
        return next(iter(independent(session, project, [model], [pairs_of(model)])), None)


def pairs_of(model: RewardModel) -> set[str] | None:
    """The pairs that it was trained on, as its run was frozen; None where that is not known (it
    was uploaded, or the run's folder is gone)."""
    rows = _rows(model, ["pair_id", "split"])
    return None if rows is None else {row["pair_id"] for row in rows if row["split"] in _SEEN}


def sealed_votes(model: RewardModel) -> list[dict[str, Any]]:
    """Pairs of the test split that people decided, which the model has never seen in training."""
    columns = ["pair_id", "split", "input", "response_a", "response_b", "q", "n", "n_simulated", "n_machine"]
    rows = _rows(model, columns) or []
    return [
        {name: row[name] for name in ("input", "response_a", "response_b", "q")}
        for row in rows
        if row["split"] == "test" and row["q"] != 0.5
        if not row["n_simulated"] and not row["n_machine"]
    ][:MOST_VOTES]


def _rows(model: RewardModel, columns: list[str]) -> list[dict[str, Any]] | None:
    path: Path = run_folder(model.run_id).inputs / "pairs.parquet"
    try:
        table = pq.read_table(path)
    except (OSError, ValueError):
        return None
    if not {"pair_id", "split"} <= set(table.column_names):
        return None
    there = [name for name in columns if name in table.column_names]
    if len(there) < len(columns) and "input" in columns:
        return []
    return list(table.select(there).to_pylist())
