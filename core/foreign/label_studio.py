"""Label Studio: tasks with their annotations (JSON), or one line an annotation (JSON-MIN).

A task is `{id, data, annotations: [{completed_by, result, lead_time (seconds), created_at,
was_cancelled, …}]}`; in `result` the Pairwise tag says `{type: "pairwise", value: {selected:
"left"}}`, where left is the first of `toName`. Choices, ratings and text areas come along.
The export does not hold the labelling interface, so which column of `data` is which response
follows from `to_name` where it names columns, else from the columns' names.
(labelstud.io/guide/export, labelstud.io/tags/pairwise)
"""

from collections.abc import Iterator
from typing import Any

from core.mapping import guess_meaning

Row = dict[str, Any]
_MINIMAL = {"annotation_id", "lead_time", "annotator"}


def fits(row: Row) -> bool:
    if isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list):
        return True
    return set(row) >= _MINIMAL


def rows(task: Row) -> Iterator[Row | str]:
    if "annotations" not in task:
        yield _minimal(task)
        return
    if not task["annotations"]:
        yield {**task["data"], "external_id": _id(task.get("id"))}
    for annotation in task["annotations"]:
        yield _annotated(task["data"], annotation)


def _annotated(data: Row, annotation: Row) -> Row | str:
    number = annotation.get("id", "?")
    if annotation.get("was_cancelled"):
        return f"annotation {number}: it was skipped"
    row: Row = dict(data)
    said: dict[str, Any] = {}
    reasons: list[str] = []
    criteria: dict[str, Any] = {}
    labels: dict[str, str] = {}
    for item in annotation.get("result") or []:
        kind, value, name = item.get("type"), item.get("value") or {}, str(item.get("from_name", ""))
        if kind == "pairwise":
            said = {"choice": str(value.get("selected")), "left": "a"}
            names = _shown(item.get("to_name"))
            if len(names) == 2 and all(name in data for name in names):
                row = {key: cell for key, cell in data.items() if key not in names}
                row |= {"response_a": data[names[0]], "response_b": data[names[1]]}
        elif kind == "choices":
            labels[name] = ", ".join(value.get("choices") or [])
        elif kind == "rating":
            criteria[name] = value.get("rating")
        elif kind == "textarea":
            text = value.get("text")
            reasons += [text] if isinstance(text, str) else [str(part) for part in text or []]
    if not said and labels:
        known = [name for name, label in labels.items() if guess_meaning(label) != "?"]
        name = known[0] if known else next(iter(labels))
        said = {"choice": labels.pop(name)}
    if not said:
        return f"annotation {number}: it has neither a pairwise selection nor a choice"
    criteria |= labels
    lead = annotation.get("lead_time")
    return {
        **row,
        **said,
        "annotator": _person(annotation.get("completed_by")),
        "reason": "\n".join(reasons),
        "criteria": criteria,
        "created_at": annotation.get("created_at"),
        "duration_ms": round(1000 * lead) if isinstance(lead, int | float) else None,
        "external_id": _id(annotation.get("id")),
    }


def _minimal(row: Row) -> Row | str:
    """A flat record: the tag's name holds left or right."""
    for name, value in row.items():
        selected = value.get("selected") if isinstance(value, dict) else value
        if selected in ("left", "right"):
            lead = row.get("lead_time")
            ours = (name, "annotator", "annotation_id", "lead_time", "id", "updated_at", "created_at")
            return {
                **{key: cell for key, cell in row.items() if key not in ours},
                "choice": selected,
                "left": "a",
                "annotator": _person(row["annotator"]),
                "created_at": row.get("created_at"),
                "duration_ms": round(1000 * lead) if isinstance(lead, int | float) else None,
                "external_id": _id(row["annotation_id"]),
            }
    return f"annotation {row['annotation_id']}: it has no pairwise selection"


def _shown(to_name: Any) -> list[str]:
    names = to_name if isinstance(to_name, list) else str(to_name or "").split(",")
    return [str(name).strip() for name in names]


def _person(completed_by: Any) -> str:
    if isinstance(completed_by, dict):
        full = f"{completed_by.get('first_name') or ''} {completed_by.get('last_name') or ''}".strip()
        said = completed_by.get("email") or completed_by.get("username") or full
        return str(said or f"user {completed_by.get('id')}")
    return str(completed_by) if isinstance(completed_by, str) else f"user {completed_by}"


def _id(value: Any) -> str | None:
    return None if value is None else str(value)
