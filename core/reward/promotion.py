"""What making another reward model the active one would change, and whether it is shown to be
better: read before the promotion, by a person or a program, and kept in the audit log with it.
"""

from dataclasses import asdict, dataclass
from typing import Any

from sqlmodel import Session

from core.access import Principal, require
from core.errors import NotFound
from core.projects import find_project
from core.reward import judged
from core.reward.comparing import Comparison, compare_in
from storage.database import Database
from storage.tables import RewardModel

MAX_REASON = 500


@dataclass(frozen=True)
class Row:
    """One thing that changes, as a person reads it."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """`before`: the active model's id and name, None when there is none (then nothing is to be
    warned of). `warning`: why the other one is not shown to be better; "" when it is."""

    before: str | None
    before_name: str
    after: str
    after_name: str
    comparison: Comparison | None
    rows: list[Row]
    warning: str

    def as_dict(self) -> dict[str, Any]:
        return {
            **{
                key: getattr(self, key) for key in ("before", "before_name", "after", "after_name", "warning")
            },
            "comparison": self.comparison.as_dict() if self.comparison else None,
            "rows": [asdict(row) for row in self.rows],
        }

    def for_audit(self) -> dict[str, Any]:
        """The figures that the decision was made on."""
        said: dict[str, Any] = {"before": self.before}
        if self.comparison is not None:
            found = self.comparison
            said |= {"verdict": found.verdict, "n": found.n, "source": found.source}
            if found.n:
                said |= {
                    "difference": round(found.accuracy.value, 4),
                    "low": round(found.accuracy.low, 4),
                    "high": round(found.accuracy.high, 4),
                    "p": round(found.p, 4),
                }
        return said


def change(db: Database, who: Principal, model_id: str) -> Change:
    """What `registry.activate` would change. Raises NotFound."""
    require(who, "run.view")
    with db.read() as session:
        model = session.get(RewardModel, model_id)
        if model is None or model.archived_at is not None:
            raise NotFound(f"There is no reward model {model_id}.")
        active_id = find_project(session, model.project_id).reward_model_id
        active = session.get(RewardModel, active_id) if active_id else None
        return change_in(session, active if active is None or active.archived_at is None else None, model)


def change_in(session: Session, active: RewardModel | None, model: RewardModel) -> Change:
    """For use inside a unit of work."""
    if active is None or active.id == model.id:
        return Change(
            active.id if active else None, active.name if active else "", model.id, model.name, None, [], ""
        )
    found = compare_in(session, active, model)
    return Change(
        active.id,
        active.name,
        model.id,
        model.name,
        found,
        _rows(active, model, found),
        _warning(found, model),
    )


def _warning(found: Comparison, model: RewardModel) -> str:
    old, new, n = found.first.name, found.second.name, found.n
    points = _points(found)
    if found.verdict == "unknown":
        said = (
            f"Whether “{new}” is better than “{old}” is not known: no held-out pair was judged by both "
            "that neither was trained on. Compare them first: that scores such pairs with both."
        )
    elif found.verdict == "worse":
        said = f"“{new}” is worse than “{old}” on {n:,} held-out pairs that both were judged on: {points}."
    elif found.verdict == "unclear":
        said = (
            f"“{new}” is not shown to be better than “{old}”: {points} on {n:,} held-out pairs, and the "
            "interval includes no difference."
        )
    else:
        said = ""
    if model.metrics.get("partial"):
        said = f"{said} Its training was stopped early.".strip()
    return said


def _points(found: Comparison) -> str:
    a = found.accuracy
    return f"{100 * a.value:+.1f} points of accuracy ({100 * a.low:+.1f} to {100 * a.high:+.1f})"


def _rows(active: RewardModel, model: RewardModel, found: Comparison) -> list[Row]:
    """The figures of each on its own test split, then what it was made of."""
    rows = [
        Row("Accuracy on its own test pairs", *(_accuracy(m) for m in (active, model))),
        Row("Calibration error", *(_calibration(m) for m in (active, model))),
        Row("Goes by length (rank correlation)", *(_leaning(m) for m in (active, model))),
    ]
    rows += [Row(name_of(name), before, after) for name, before, after in [*found.data, *found.settings]]
    return [row for row in rows if row.before != row.after]


def name_of(key: str) -> str:
    return {
        "snapshot": "Preference data",
        "n_train": "Pairs trained on",
        "n_dev": "Pairs tuned on",
        "n_test_pairs": "Pairs judged on",
        "machine_votes": "Votes by machine judges",
        "simulated_share": "Share of simulated votes",
    }.get(key, key.replace("_", " ").replace(".", ": ").capitalize())


def _accuracy(model: RewardModel) -> str:
    m = model.metrics
    if m.get("accuracy") is None:
        return "—"
    said = f"{100 * m['accuracy']:.1f} %"
    if m.get("accuracy_low") is not None:
        said += f" ({100 * m['accuracy_low']:.1f} to {100 * m['accuracy_high']:.1f}"
        said += f", n {m.get('n_test', 0):,})"
    return said


def _calibration(model: RewardModel) -> str:
    """With its interval where the judgement has one."""
    found = judged.judgement(model) or {}
    ece = ((found.get("calibration") or {}).get("after") or {}).get("ece") or {}
    if ece.get("value") is not None and ece.get("low") is not None:
        inside = f"{100 * ece['low']:.1f} to {100 * ece['high']:.1f}"
        return f"{100 * ece['value']:.1f} % ({inside}, n {ece['n']:,})"
    value = model.metrics.get("ece")
    return "—" if value is None else f"{100 * value:.1f} % (n {model.metrics.get('n_test', 0):,})"


def _leaning(model: RewardModel) -> str:
    found = judged.judgement(model) or {}
    rows: list[dict[str, Any]] = found.get("formatting") or []
    length = next((row for row in rows if row["name"] == "length"), {})
    told = length.get("model") or {}
    if told.get("value") is not None and told.get("low") is not None:
        return f"{told['value']:+.2f} ({told['low']:+.2f} to {told['high']:+.2f}, n {told['n']:,})"
    value = (model.metrics.get("length") or {}).get("spearman")
    return "—" if value is None else f"{value:+.2f} (n {model.metrics.get('n_test_pairs', 0):,})"
