"""Label Studio: tasks with their annotations (JSON), or one line an annotation (JSON-MIN, CSV).

A task is `{id, data, annotations: [{completed_by, result, lead_time (seconds), created_at,
was_cancelled, …}]}`; in `result` the Pairwise tag says `{type: "pairwise", value: {selected:
"left"}}`, where left is the first of `toName`. Choices, ratings and text areas come along.
The export does not hold the labelling interface, so which column of `data` is which response
follows from `to_name` where it names columns, else from the columns' names.
(labelstud.io/guide/export, labelstud.io/tags/pairwise)
"""

import json
from collections.abc import Iterator
from typing import Any

from core.mapping import guess_meaning

Row = dict[str, Any]
_MINIMAL = {"annotation_id", "lead_time", "annotator"}
_OF_ANNOTATION = (*_MINIMAL, "id", "created_at", "updated_at", "agreement")
_RESULT = {"selected", "rating", "choices", "text"}  # what a result of a flat record may hold


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
    """A flat record: beside the columns of the task, each tag's name holds its results. What
    is a single choice or a single text stands alone; all else is a list, [{selected: left}],
    [{rating: 4}], and JSON in a CSV file (`prettify_result` in converter/utils.py, and
    converter/exports/csv2.py, of HumanSignal/label-studio-sdk)."""
    left_over = {name: cell for name, cell in row.items() if name not in _OF_ANNOTATION}
    found = {name: items for name, cell in left_over.items() if (items := _results(cell))}
    said: Row = {}
    criteria: Row = {}
    reasons: list[str] = []
    for name, items in found.items():
        del left_over[name]
        for item in items:
            if item.get("selected") in ("left", "right") and not said:
                said = {"choice": item["selected"], "left": "a"}
            elif "rating" in item:
                criteria[name] = item["rating"]
            elif "choices" in item:
                criteria[name] = ", ".join(map(str, item["choices"]))
            elif "text" in item:
                text = item["text"]
                reasons += [text] if isinstance(text, str) else [str(part) for part in text]
    if not said:
        labels = [
            name for name, cell in left_over.items() if isinstance(cell, str) and guess_meaning(cell) != "?"
        ]
        if row["annotation_id"] in (None, ""):  # a task that nobody has annotated
            return {**left_over, "external_id": _id(row.get("id"))}
        if len(labels) != 1:
            return f"annotation {row['annotation_id']}: it has no pairwise selection"
        said = {"choice": left_over.pop(labels[0])}
    lead = _number(row.get("lead_time"))
    return {
        **left_over,
        **said,
        "annotator": _person(row["annotator"]),
        "reason": "\n".join(reasons),
        "criteria": criteria,
        "created_at": row.get("created_at"),
        "duration_ms": None if lead is None else round(1000 * lead),
        "external_id": _id(row["annotation_id"]),
    }


def _results(cell: Any) -> list[Row]:
    """The results of one tag, as `prettify_result` leaves them; none where the cell is a column
    of the task."""
    if isinstance(cell, str) and cell.startswith(("[{", "{")):
        try:
            cell = json.loads(cell)
        except ValueError:
            return []
    items = cell if isinstance(cell, list) else [cell]
    if items and all(isinstance(item, dict) and _RESULT & set(item) for item in items):
        return items
    return [{"selected": cell}] if cell in ("left", "right") else []


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


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
