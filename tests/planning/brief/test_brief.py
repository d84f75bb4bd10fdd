"""The brief of real rooms: on an empty project, on the demo, over the API, as a page."""

import io
import zipfile

import pytest

from core import demo
from core.errors import Forbidden, Invalid
from core.planning import documents
from core.planning.brief.collect import ROOMS, Room, collect
from core.planning.section import Section
from core.planning.units import Units, units_of
from core.projects import list_projects


@pytest.fixture
def demo_project(db, admin):
    demo.seed_once(db)
    return next(item for item in list_projects(db, admin) if item.demo)


def test_a_room_that_fails_says_so_in_its_place(db, person, project):
    def works(*_):
        return Section("anything", "Works", "Fine.")

    def refuses(*_):
        raise Invalid("currency: not one of three letters.")

    def breaks(*_):
        raise ZeroDivisionError("secret detail")

    rooms = tuple(Room(key, key, "", ask) for key, ask in (("a", works), ("b", refuses), ("c", breaks)))
    found = collect(db, person("engineer"), project.id, rooms)
    assert [(s.key, s.empty) for s in found.sections] == [("a", False), ("b", True), ("c", True)]
    assert "currency" in found.sections[1].answer and "secret" not in found.sections[2].answer
    assert found.sources == [] and "No prompt is the champion yet." in found.missing


def test_annotators_have_no_brief(db, person, project):
    with pytest.raises(Forbidden):
        collect(db, person("annotator"), project.id)


@pytest.mark.parametrize("which", ["empty", "demo"])
def test_every_room_answers(db, person, project, demo_project, which, caplog):
    chosen = project if which == "empty" else demo_project
    found = collect(db, person("lead"), chosen.id)
    assert [section.key for section in found.sections] == [room.key for room in ROOMS]
    assert all(section.answer for section in found.sections)
    assert "failed" not in caplog.text and "could not" not in caplog.text
    if which == "demo":
        assert found.simulated and any("Win rate" in said and "simulated" in said for said in found.sources)


def test_the_brief_over_rest(api, person, demo_project):
    client = api(person("engineer"))
    base = f"/projects/{demo_project.id}/plan/brief"
    brief = client.get(base)
    assert brief.status_code == 200, brief.text
    assert [section["key"] for section in brief.json()["sections"]] == [room.key for room in ROOMS]
    page = client.get(f"{base}.html")
    assert page.headers["content-type"].startswith("text/html") and "<script" not in page.text
    assert "sandbox" in page.headers["content-security-policy"]
    pdf = client.get(f"{base}.pdf")
    assert pdf.headers["content-type"] == "application/pdf" and pdf.content.startswith(b"%PDF-")
    zipped = client.get(f"{base}/tables.zip")
    assert zipped.headers["content-type"] == "application/zip"
    names = set(zipfile.ZipFile(io.BytesIO(zipped.content)).namelist())
    for section in brief.json()["sections"]:
        for table in section["tables"]:
            assert f"{section['key']}/{table}.csv" in names
            at = f"{base}/tables/{section['key']}/{table}"
            rows, text = client.get(f"{at}.json"), client.get(f"{at}.csv")
            assert isinstance(rows.json(), list)
            assert text.headers["content-type"].startswith("text/csv")
            if rows.json():
                assert text.text.splitlines()[0].count(",") >= len(rows.json()[0]) - 1
    assert any(section["tables"] for section in brief.json()["sections"])
    assert client.get(f"{base}/tables/team/none.json").status_code == 404
    assert client.get(f"{base}/tables/none/none.csv").status_code == 404
    annotator = api(person("annotator"))
    for path in ("", ".html", ".pdf", "/tables.zip", "/tables/team/figures.csv", "/tables/team/figures.json"):
        assert annotator.get(base + path).status_code == 403
        assert client.get(f"/projects/none/plan/brief{path}").status_code == 404


@pytest.mark.parametrize("role", ["lead", "engineer"])
def test_the_page_shows_every_room(open_page, person, project, demo_project, role):
    for chosen in (project, demo_project):
        page = open_page(person(role), "plan.py", chosen)
        assert not page.exception and not page.error
        shown = [item.value for item in page.subheader]
        assert shown == [room.title for room in ROOMS]
        assert len(page.get("download_button")) == 3
        assert bool(page.text_input) == (role == "lead")


def test_units_are_saved_from_the_page(open_page, person, project, db):
    lead = person("lead")
    page = open_page(lead, "plan.py", project)
    save = next(button for button in page.button if button.label == "Save")
    page.text_input[0].set_value("sek")
    save.click().run()
    assert not page.error and units_of(db, lead, project.id).currency == "SEK"
    page.text_input[0].set_value("e1")
    next(button for button in page.button if button.label == "Save").click().run()
    assert "currency" in page.error[0].value
    page.text_input[0].set_value("USD")
    page.number_input[0].set_value(0.0)
    next(button for button in page.button if button.label == "Save").click().run()
    assert "hours_per_week" in page.error[0].value.replace("\\", "")
    plan = documents.current(db, lead, project.id, Units)
    assert (plan.number, plan.body.currency) == (1, "SEK")
