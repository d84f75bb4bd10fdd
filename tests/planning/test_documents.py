from typing import Annotated, ClassVar

import pytest
from pydantic import Field

from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.planning import documents
from core.planning.units import Units, money, units_of


class Note(documents.Body):
    KIND: ClassVar[str] = "note"
    TITLE: ClassVar[str] = "A note"

    volume: Annotated[float, Field(ge=0)] = 10
    tags: list[str] = Field(default_factory=list)


def test_versions_are_kept_and_nobody_overwrites_unseen(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    first = documents.save(any_db, lead, project.id, Note())
    assert (first.number, first.name) == (1, "A note")
    changed = documents.save(
        any_db, lead, project.id, Note(volume=20), plan_id=first.plan_id, based_on=1, name="Better"
    )
    assert changed.number == 2
    same = documents.save(any_db, lead, project.id, Note(volume=20), plan_id=first.plan_id, based_on=2)
    assert same.number == 2
    with pytest.raises(Conflict, match="version 2 meanwhile"):
        documents.save(any_db, lead, project.id, Note(volume=5), plan_id=first.plan_id, based_on=1)
    assert documents.load(any_db, lead, project.id, Note, first.plan_id, 1).body.volume == 10
    assert [saved.number for saved in documents.history(any_db, lead, project.id, Note, first.plan_id)] == [
        2,
        1,
    ]
    listed = documents.list_plans(any_db, lead, project.id, "note")
    assert [(item.name, item.number, item.author) for item in listed] == [("Better", 2, "lead")]
    documents.archive(any_db, lead, project.id, first.plan_id)
    assert documents.list_plans(any_db, lead, project.id, "note") == []
    assert documents.current(any_db, lead, project.id, Note) is None


def test_a_plan_of_another_kind_or_project_is_not_found(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    _, other = person_on(any_db, "lead")
    saved = documents.save(any_db, lead, project.id, Note())
    with pytest.raises(NotFound):
        documents.load(any_db, lead, other.id, Note, saved.plan_id)
    with pytest.raises(NotFound):
        documents.load(any_db, lead, project.id, Units, saved.plan_id)
    with pytest.raises(NotFound):
        documents.load(any_db, lead, project.id, Note, saved.plan_id, 7)


def test_engineers_look_and_annotators_do_not(db, person, project):
    documents.list_plans(db, person("engineer"), project.id, "note")
    with pytest.raises(Forbidden):
        documents.save(db, person("engineer"), project.id, Note())
    with pytest.raises(Forbidden):
        documents.list_plans(db, person("annotator"), project.id, "note")


def test_what_is_wrong_is_named():
    with pytest.raises(Invalid, match=r"volume: .*greater than or equal to 0"):
        documents.checked(Note, {"volume": -1})
    with pytest.raises(Invalid, match="unknown_thing"):
        documents.checked(Note, {"unknown_thing": 1})
    with pytest.raises(Invalid, match="volume"):
        documents.checked(Note, {"volume": float("nan")})


def test_differences():
    found = documents.differences(Note(tags=["a"]), Note(volume=3, tags=["a", "b"]))
    assert found == [("tags.1", None, "b"), ("volume", 10.0, 3.0)]


def test_units_have_a_default_and_are_saved(db, person, project):
    lead = person("lead")
    assert units_of(db, lead, project.id).currency == "EUR"
    documents.save(db, lead, project.id, Units(currency="SEK"))
    assert units_of(db, lead, project.id).currency == "SEK"
    with pytest.raises(Invalid, match="currency"):
        documents.checked(Units, {"currency": "euro"})


@pytest.mark.parametrize(
    ("value", "currency", "short", "shown"),
    [
        (12300, "EUR", False, "€12,300"),
        (12300, "EUR", True, "€12.3k"),
        (-1_200_000, "USD", True, "\u2212$1.2M"),
        (950, "SEK", True, "950 SEK"),
        (0.004, "EUR", False, "€0.004"),
        (-0.0, "EUR", False, "€0"),
        (None, "EUR", False, "—"),
        (999_990, "EUR", True, "€1M"),
    ],
)
def test_money(value, currency, short, shown):
    assert money(value, currency, short=short) == shown


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_no_database_keeps_is_refused(any_db, person_on, text):
    lead, project = person_on(any_db, "lead")
    for asked in ({"name": text}, {"note": text}):
        with pytest.raises(Invalid, match=next(iter(asked))):
            documents.save(any_db, lead, project.id, Note(), **asked)
    with pytest.raises(Invalid, match=r"tags.1"):
        documents.save(any_db, lead, project.id, Note(tags=["fine", text]))
    with pytest.raises(Invalid, match="note"):
        documents.save(any_db, lead, project.id, Note(), note="x" * 2001)
    assert documents.list_plans(any_db, lead, project.id) == []
    kept = documents.save(any_db, lead, project.id, Note(tags=["日本 🎉"]), name="Ünïcode 🎉")
    assert documents.load(any_db, lead, project.id, Note, kept.plan_id) == kept
    assert documents.kind_of(any_db, lead, project.id, kept.plan_id) == "note"
