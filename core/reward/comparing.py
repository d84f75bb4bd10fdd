"""Two reward models compared on the same held-out pairs. Web side: no torch.

Which pairs: those that both models were judged on at the end of their trainings (their test
splits), without any whose pair, example or input one of them was trained or tuned on. Where two
models share too few of those, a run of the kind `reward_compare` scores, with both, every
pair that has votes now and that neither has seen (its examples included).

The first model is the one there is, the second the one that might take its place: every
difference is second less first.
"""

from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from sqlmodel import Session, col, select

from core.access import Principal, require
from core.errors import Invalid, NotFound
from core.reward import judged, metrics, paired
from core.reward.paired import Difference, Table
from core.settings import get_settings
from storage.database import Database
from storage.tables import RewardModel, Run, Snapshot

KIND = "reward_compare"
FEW = 20  # decided pairs below which a run that scores more is worth while
MOST_SHOWN = 50  # disagreements to read
# Settings that differ between any two runs and say nothing about the models.
_NO_SETTING = {"device", "steps", "best_step"}


@dataclass(frozen=True)
class Side:
    """One of the two, on the shared pairs."""

    id: str
    name: str
    accuracy: float | None
    low: float
    high: float
    log_loss: float | None
    brier: float | None


@dataclass(frozen=True)
class Disagreement:
    """A decided pair that exactly one of the two got right. `p_…`: its chance for a."""

    pair_id: str
    example_id: str
    q: float
    n: int
    p_first: float
    p_second: float
    right: str  # first, second


@dataclass(frozen=True)
class Comparison:
    """`n`: decided pairs; `n_pairs`: with ties, for log-loss and Brier; `source`: test, or the
    id of the run that scored them. `left_out`: pairs of the two test splits that were not
    used, by reason. `unknown`: the names of those of which nobody knows what they were trained on
    (uploads): it may hold these pairs. `not_by_people`: pairs with simulated or machine votes. `p`: McNemar's mid-p, or by examples where these have several pairs.
    `verdict`: better, worse, unclear, unknown (no pairs)."""

    first: Side
    second: Side
    source: str
    n: int
    n_pairs: int
    examples: int
    not_by_people: int
    accuracy: Difference
    p: float
    by_examples: bool
    table: Table
    log_loss: Difference
    brier: Difference
    left_out: dict[str, int]
    relabelled: int
    unknown: list[str] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)
    settings: list[tuple[str, str, str]] = field(default_factory=list)
    data: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        if not self.n:
            return "unknown"
        if self.accuracy.low > 0:
            return "better"
        return "worse" if self.accuracy.high < 0 else "unclear"

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it: an interval without an end has None there."""
        said = _finite({**asdict(self), "verdict": self.verdict})
        said["settings"] = [dict(zip(("name", "first", "second"), row, strict=True)) for row in self.settings]
        said["data"] = [dict(zip(("name", "first", "second"), row, strict=True)) for row in self.data]
        return dict(said)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def compare(
    db: Database, who: Principal, first_id: str, second_id: str, source: str | None = None
) -> Comparison:
    """`source`: test, or the id of a `reward_compare` run of these two; by itself whichever has
    more decided pairs. Raises NotFound, or Invalid for models of two projects."""
    require(who, "run.view")
    with db.read() as session:
        return compare_in(session, *two_models(session, first_id, second_id), source)


def sources(db: Database, who: Principal, first_id: str, second_id: str) -> list[Comparison]:
    """What there is to compare them on: their test splits, and the newest run."""
    require(who, "run.view")
    with db.read() as session:
        first, second = two_models(session, first_id, second_id)
        found = [compare_in(session, first, second, "test")]
        run = newest_run(session, first, second)
        return found if run is None else [*found, compare_in(session, first, second, run.id)]


def two_models(session: Session, first_id: str, second_id: str) -> tuple[RewardModel, RewardModel]:
    found = [session.get(RewardModel, key) for key in (first_id, second_id)]
    for key, model in zip((first_id, second_id), found, strict=True):
        if model is None:
            raise NotFound(f"There is no reward model {key}.")
    first, second = found
    assert first is not None and second is not None
    if first.id == second.id:
        raise Invalid("second: a model is not compared with itself.", "Name another one.")
    if first.project_id != second.project_id:
        raise Invalid("second: the two models are of different projects.")
    return first, second


def compare_in(
    session: Session, first: RewardModel, second: RewardModel, source: str | None = None
) -> Comparison:
    """For use inside a unit of work."""
    if source == "test":
        return _of_pairs(session, first, second, "test", *_shared_test(first, second))
    run = newest_run(session, first, second)
    if source is not None:
        named = session.get(Run, source)
        if named is None or named.kind != KIND or {first.id, second.id} != models_of(named):
            raise Invalid(f"source: there is no comparison {source} of these two models.")
        run = named
    scored = _scored(run, first) if run is not None else None
    if run is not None and source is not None and scored is None:
        raise Invalid(f"source: the comparison {source} has no result.", "Look at the run.")
    by_test = _shared_test(first, second) if source is None else None
    if scored is not None and (by_test is None or _decided(scored) > _decided(by_test[0])):
        assert run is not None
        return _of_pairs(session, first, second, run.id, scored, {})
    assert by_test is not None
    return _of_pairs(session, first, second, "test", *by_test)


def newest_run(session: Session, first: RewardModel, second: RewardModel) -> Run | None:
    """The newest comparison of these two, in either order, that ended well."""
    query = (
        select(Run)
        .where(Run.project_id == first.project_id, Run.kind == KIND, Run.status == "succeeded")
        .order_by(col(Run.id).desc())
    )
    return next((run for run in session.exec(query) if models_of(run) == {first.id, second.id}), None)


def models_of(run: Run) -> set[str]:
    return {run.config.get("first", ""), run.config.get("second", "")}


# --- which pairs ------------------------------------------------------------------------------

Columns = dict[str, np.ndarray]


def _shared_test(first: RewardModel, second: RewardModel) -> tuple[Columns, dict[str, int]]:
    """Pairs that both were judged on and neither has seen. A label is the one with more votes;
    with as many, the newer model's."""
    tables = [judged.test_pairs(model) for model in (first, second)]
    left_out = {"only_first": 0, "only_second": 0, "seen": 0, "relabelled": 0}
    if tables[0] is None or tables[1] is None:
        return _nothing(), left_out
    one, two = tables[0], tables[1]
    place = {key: i for i, key in enumerate(two["pair_id"])}
    at_one = [i for i, key in enumerate(one["pair_id"]) if key in place]
    left_out["only_first"] = len(one["pair_id"]) - len(at_one)
    left_out["only_second"] = len(two["pair_id"]) - len(at_one)
    known = [found for model in (first, second) if (found := judged.seen(model)) is not None]
    asked = judged.test_inputs(first) or {}
    unseen = [
        i
        for i in at_one
        if not any(
            k.knows(one["pair_id"][i], one["example_id"][i], asked.get(one["pair_id"][i], "")) for k in known
        )
    ]
    left_out["seen"] = len(at_one) - len(unseen)
    i = np.array(unseen, dtype=int)
    j = np.array([place[key] for key in one["pair_id"][i]], dtype=int)
    newer = second.created_at >= first.created_at
    by_second = (two["n"][j] > one["n"][i]) | ((two["n"][j] == one["n"][i]) & newer)
    q = np.where(by_second, two["q"][j], one["q"][i]).astype(float)
    left_out["relabelled"] = int((np.sign(one["q"][i] - 0.5) != np.sign(two["q"][j] - 0.5)).sum())

    def newest(name: str) -> np.ndarray:
        a, b = ((t[name] if name in t else t["n"])[k] for t, k in ((one, i), (two, j)))
        return np.where(by_second, b, a)

    return {
        "pair_id": one["pair_id"][i], "example_id": one["example_id"][i], "q": q, "n": newest("n"),
        "n_people": newest("n_people"), "d_first": one["d"][i].astype(float),
        "d_second": two["d"][j].astype(float), "p_first": one["p"][i].astype(float),
        "p_second": two["p"][j].astype(float),
    }, left_out  # fmt: skip


def _nothing() -> Columns:
    names = ("q", "n", "n_people", "d_first", "d_second", "p_first", "p_second")
    text = {name: np.array([], dtype=object) for name in ("pair_id", "example_id")}
    return {**text, **{name: np.array([]) for name in names}}


def _scored(run: Run, first: RewardModel) -> Columns | None:
    """What the run scored, turned so that its first model is ours."""
    found = judged.read_columns(get_settings().runs_dir / run.id / "artifacts" / "compared.parquet")
    if found is None or run.config.get("first") == first.id:
        return found
    turned = {"d_first": "d_second", "d_second": "d_first", "p_first": "p_second", "p_second": "p_first"}
    return {turned.get(name, name): values for name, values in found.items()}


def _decided(columns: Columns) -> int:
    return int((columns["q"] != 0.5).sum())


# --- the comparison ---------------------------------------------------------------------------


def _of_pairs(
    session: Session,
    first: RewardModel,
    second: RewardModel,
    source: str,
    columns: Columns,
    left_out: dict[str, int],
) -> Comparison:
    q = columns["q"].astype(float)
    place, _ = paired.clusters_of(columns["example_id"])
    decided = q != 0.5
    right = [_right(columns[name], q)[decided] for name in ("d_first", "d_second")]
    among, examples = paired.clusters_of(columns["example_id"][decided])
    accuracy, p, found = paired.accuracy_difference(right[0], right[1], among)
    chance = [np.clip(columns[name].astype(float), 1e-7, 1 - 1e-7) for name in ("p_first", "p_second")]
    losses = [-(q * np.log(x) + (1 - q) * np.log(1 - x)) for x in chance]
    squares = [(x - q) ** 2 for x in chance]
    rates = [metrics.rate(float(x.sum()), len(x)) for x in right]
    sides = [
        Side(
            model.id,
            model.name,
            rate["accuracy"],
            rate["low"],
            rate["high"],
            float(loss.mean()) if len(loss) else None,
            float(square.mean()) if len(square) else None,
        )
        for model, rate, loss, square in zip((first, second), rates, losses, squares, strict=True)
    ]
    return Comparison(
        first=sides[0],
        second=sides[1],
        source=source,
        n=int(decided.sum()),
        n_pairs=len(q),
        examples=examples,
        not_by_people=int((columns["n_people"] < columns["n"]).sum()),
        accuracy=accuracy,
        p=p,
        by_examples=examples < int(decided.sum()),
        table=found,
        log_loss=paired.mean_difference(losses[0], losses[1], place),
        brier=paired.mean_difference(squares[0], squares[1], place),
        left_out={key: n for key, n in left_out.items() if key != "relabelled"},
        relabelled=left_out.get("relabelled", 0),
        unknown=[model.name for model in (first, second) if judged.seen(model) is None],
        disagreements=_disagreements(columns, q),
        settings=_differing(
            *_known_of_both(_settings(session, first), _settings(session, second), first, second)
        ),
        data=_differing(_data(session, first), _data(session, second)),
    )


def _right(d: np.ndarray, q: np.ndarray) -> np.ndarray:
    """(n,) 1, 0, or one half where the two scores are equal."""
    return (np.sign(d.astype(float)) * np.sign(q - 0.5) + 1) / 2


def _disagreements(columns: Columns, q: np.ndarray) -> list[Disagreement]:
    """Those that the two are furthest apart on first."""
    right = [_right(columns[name], q) for name in ("d_first", "d_second")]
    apart = np.abs(columns["p_first"].astype(float) - columns["p_second"].astype(float))
    differ = np.flatnonzero((q != 0.5) & (right[0] != right[1]))
    order = differ[np.argsort(-apart[differ], kind="stable")][:MOST_SHOWN]
    return [
        Disagreement(
            str(columns["pair_id"][i]),
            str(columns["example_id"][i]),
            float(q[i]),
            int(columns["n"][i]),
            float(columns["p_first"][i]),
            float(columns["p_second"][i]),
            "first" if right[0][i] > right[1][i] else "second",
        )
        for i in order
    ]


# --- what else differs ------------------------------------------------------------------------


def _settings(session: Session, model: RewardModel) -> dict[str, str]:
    """How it was trained, flat: the run's config with what the training made of it."""
    run = session.get(Run, model.run_id)
    asked = dict(run.config) if run is not None and not model.metrics.get("uploaded") else {}
    asked = {key: value for key, value in asked.items() if key != "snapshot"}
    return _flat({**asked, **(model.metrics.get("settings") or {})}, skip=_NO_SETTING)


def _known_of_both(
    one: dict[str, str], two: dict[str, str], first: RewardModel, second: RewardModel
) -> tuple[dict[str, str], dict[str, str]]:
    """Of an upload few settings are known: then only those that are known of both."""
    if first.metrics.get("uploaded") or second.metrics.get("uploaded"):
        shared = one.keys() & two.keys()
        one, two = ({key: of[key] for key in of if key in shared} for of in (one, two))
    return one, two


def _data(session: Session, model: RewardModel) -> dict[str, str]:
    if model.metrics.get("uploaded"):
        return {"snapshot": "not known (uploaded)", "n_test_pairs": str(model.metrics.get("n_test_pairs"))}
    snapshot = session.get(Snapshot, model.snapshot_id) if model.snapshot_id else None
    said: dict[str, Any] = {"snapshot": snapshot.name if snapshot is not None else "none"}
    for key in ("n_train", "n_dev", "n_test_pairs", "machine_votes"):
        said[key] = model.metrics.get(key)
    said["simulated_share"] = round(model.simulated_share, 4)
    return _flat(said)


def _flat(values: dict[str, Any], before: str = "", skip: set[str] | None = None) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in values.items():
        if skip and key in skip:
            continue
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{key}.", skip)
        else:
            found[before + key] = "none" if value in (None, [], "") else str(value)
    return found


def _differing(first: dict[str, str], second: dict[str, str]) -> list[tuple[str, str, str]]:
    names = list(dict.fromkeys([*first, *second]))
    rows = [(name, first.get(name, "none"), second.get(name, "none")) for name in names]
    return [row for row in rows if row[1] != row[2]]
