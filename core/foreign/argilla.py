"""Argilla: records as `dataset.records.to_json()` writes them, the flattened ones of
`to_list(flatten=True)`, and those of version 1.

A record is `{id, fields, metadata, suggestions, responses: {question: [{value, user_id}]}}`;
flattened, the columns are the fields, `question.responses`, `question.responses.users` and
`question.responses.status`; version 1 has `responses: [{values: {question: {value}}, user_id,
status}]`. The comparison is a label question or a ranking question over the responses;
ratings become marks on criteria, a text question the reason.
(docs.argilla.io, argilla/records/_io/_generic.py and records/_resource.py of argilla-io/argilla)
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from core.mapping import guess_mapping, guess_meaning, plain

Row = dict[str, Any]
_CHOICES = ("preference", "choice", "winner", "ranking", "rank", "better", "best", "preferred", "comparison")
_USERS, _STATUS, _VALUES = ".responses.users", ".responses.status", ".responses"


def fits(row: Row) -> bool:
    if isinstance(row.get("fields"), dict):
        return "responses" in row
    return any(name.endswith(_USERS) for name in row)


def rows(record: Row) -> Iterator[Row | str]:
    fields, metadata, answers, left_out = _read(record)
    yield from left_out
    base = dict(fields)
    named = guess_mapping("comparisons", list(metadata))
    for side in ("prompt_a", "prompt_b"):
        if named[side]:
            base[side] = metadata[named[side][0]]
    external_id = record.get("id") or record.get("external_id")
    base["external_id"] = None if external_id is None else str(external_id)
    sides = guess_mapping("comparisons", list(fields))
    names = {plain(chosen[0]): side for side in "ab" if (chosen := sides[f"response_{side}"])}
    if not answers and not left_out:
        yield base
    for user, given in answers.items():
        yield _voted(base, user, given, names)


def _read(record: Row) -> tuple[Row, Row, dict[str, Row], list[str]]:
    """Fields, metadata, and by user what they answered to each question."""
    answers: dict[str, Row] = defaultdict(dict)
    left_out: list[str] = []
    if not isinstance(record.get("fields"), dict):
        fields = {
            name: value
            for name, value in record.items()
            if not _of_question(name) and name not in ("id", "_server_id", "status")
        }
        for name in record:
            if not name.endswith(_USERS):
                continue
            question = name.removesuffix(_USERS)
            values, users = record.get(question + _VALUES) or [], record[name] or []
            states = record.get(question + _STATUS) or [None] * len(users)
            for value, user, state in zip(values, users, states, strict=True):
                if state in (None, "submitted"):
                    answers[str(user)][question] = value
                else:
                    left_out.append(f"{question}: the answer of {user} is {state}")
        return fields, fields, answers, left_out
    responses = record["responses"] or {}
    if isinstance(responses, dict):
        for question, given in responses.items():
            for one in given or []:
                answers[str(one.get("user_id"))][question] = one.get("value")
    else:
        for one in responses:
            if one.get("status") not in (None, "submitted"):
                left_out.append(f"the answer of {one.get('user_id')} is {one.get('status')}")
                continue
            for question, value in (one.get("values") or {}).items():
                answers[str(one.get("user_id"))][question] = value.get("value") if isinstance(value, dict) else value  # fmt: skip
    return record["fields"], record.get("metadata") or {}, answers, left_out


def _of_question(name: str) -> bool:
    return name.endswith((_USERS, _STATUS, _VALUES, ".suggestion", ".suggestion.score", ".suggestion.agent"))


def _voted(base: Row, user: str, given: Row, names: dict[str, str]) -> Row | str:
    question = _choice_question(given, names)
    if question is None:
        return f"the answers of {user} ({', '.join(given)}) compare nothing"
    criteria: Row = {}
    reasons: list[str] = []
    for name, value in given.items():
        if name == question or value is None:
            continue
        if isinstance(value, str) and guess_meaning(value) == "?":
            reasons.append(value)
        else:
            criteria[name] = _side(value, names) if isinstance(value, str) else value
    return {
        **base,
        "annotator": user,
        "choice": _choice(given[question], names),
        "reason": "\n".join(reasons),
        "criteria": criteria,
    }


def _choice_question(given: Row, names: dict[str, str]) -> str | None:
    """The ranking, else the label that speaks of a side; of several, the one whose name does."""
    found = [
        name
        for name, value in given.items()
        if _ranked(value) or (isinstance(value, str) and _side(value, names) in ("a", "b", "tie", "both_bad"))
    ]
    called = [name for name in given if any(word in plain(name) for word in _CHOICES)]
    return next((name for name in found if name in called), None) or next(iter(found + called), None)


def _choice(value: Any, names: dict[str, str]) -> str:
    if not _ranked(value):
        return _side(str(value), names)
    places = {
        _side(str(one["value"] if isinstance(one, dict) else one), names): (
            int(one.get("rank") or place) if isinstance(one, dict) else place
        )
        for place, one in enumerate(value, 1)
    }
    if not {"a", "b"} <= set(places):
        return ", ".join(places)  # a person says what it means, or the import refuses it
    return "tie" if places["a"] == places["b"] else "a" if places["a"] < places["b"] else "b"


def _ranked(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def _side(label: str, names: dict[str, str]) -> str:
    """a, b, tie or both_bad; else the label as it is."""
    if plain(label) in names:
        return names[plain(label)]
    meant = guess_meaning(label)
    return meant if meant in ("a", "b", "tie", "both_bad") else label
