"""The data and settings pages: nothing is written before the button, and every role sees
what it may do."""

import json

import pytest

from core import data, projects
from tests.data.test_importing import PAIR, vote

CSV = b"sentence,label\ngood film,1\nbad film,0\ngood film,1\n,1\n"


def labels(elements):
    return [element.label for element in elements]


def texts(at):
    return " ".join(
        str(element.value)
        for kind in (at.caption, at.error, at.warning, at.success, at.info)
        for element in kind
    )


def upload(at, name, content):
    at.session_state["data_view"] = "Import"
    at.run()
    at.file_uploader[0].set_value((name, content, "text/plain")).run()
    assert not at.exception, at.exception
    return at


def test_a_file_is_mapped_previewed_imported_and_reported(db, admin, project, open_page):
    at = upload(open_page(admin, "data.py", project), "films.csv", CSV)
    assert at.multiselect[0].value == ["sentence"]
    assert next(box for box in at.selectbox if box.label == "Reference").value == "label"
    assert {metric.label: metric.value for metric in at.metric} == {
        "Rows that would be taken": "2", "Duplicates": "1", "Not taken": "1",
    }  # fmt: skip
    assert "split" in at.dataframe[0].value.columns
    assert data.counts(db, admin, project.id).examples == 0
    # Another column as the reference: the preview follows, and stays over a rerun.
    next(box for box in at.selectbox if box.label == "Reference").select("—").run()
    at.run()
    assert "reference" not in at.dataframe[0].value.columns
    next(box for box in at.selectbox if box.label == "Reference").select("label").run()
    next(button for button in at.button if button.label == "Import 2 rows").click().run()
    assert not at.exception
    assert "2 rows of films.csv imported." in texts(at)
    assert data.counts(db, admin, project.id).examples == 2
    why = at.dataframe[0].value
    assert list(why["line"]) == [5] and list(why["reason"]) == ["input: it is empty"]
    assert [e.reference for e in data.list_examples(db, admin, project.id).rows] == ["1", "0"]


def test_columns_that_are_missing_are_named_and_nothing_can_be_imported(db, admin, project, open_page):
    at = upload(open_page(admin, "data.py", project), "x.jsonl", json.dumps(vote("x", "a")).encode())
    next(box for box in at.selectbox if box.label.startswith("Response B")).select("—").run()
    assert "No column yet for: Response B" in texts(at)
    assert not [label for label in labels(at.button) if label.startswith("Import ")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv", b"a,b\n\xff,1\n", "line 2 is not UTF-8"),
        ("x.json", b"[{]", "line 1: broken JSON at column 3"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(db, admin, project, open_page, name, content, said):
    at = upload(open_page(admin, "data.py", project), name, content)
    assert said in texts(at)


def test_examples_pairs_and_exports_are_shown(db, admin, project, open_page):
    rows = [
        vote("x", "a"),
        vote("robot", "b", simulated=True),
        {**PAIR, "input": [{"role": "user", "content": "hi"}]},
    ]
    data.import_comparisons(db, admin, project.id, rows)
    at = open_page(admin, "data.py", project)
    assert list(at.dataframe[0].value["Input"]) == ["in", "hi"]
    at.session_state["data_view"] = "Pairs"
    at.run()
    assert not at.exception
    assert {metric.label: metric.value for metric in at.metric}["of them simulated"] == "1"
    assert any("(1 simulated)" in words for words in at.dataframe[0].value["Votes"])
    at.session_state["data_view"] = "Export"
    at.run()
    assert not at.exception
    assert next(metric for metric in at.metric if metric.label == "Rows").value == "2"
    at.toggle[0].set_value(True).run()
    assert next(metric for metric in at.metric if metric.label == "Rows").value == "3"


def test_a_first_project_is_made_and_is_the_one_in_hand(db, admin, person, open_page):
    at = open_page(person("annotator"), "")
    assert not at.exception
    at = open_page(admin, "project.py")
    assert at.title[0].value == "New project"
    next(box for box in at.text_input if box.label == "Name").set_value("First")
    next(box for box in at.text_input if box.label == "Criteria").set_value("helpful, safe")
    next(button for button in at.button if button.label == "Create project").click().run()
    assert not at.exception
    (made,) = projects.list_projects(db, admin)
    assert (made.name, made.criteria) == ("First", ["helpful", "safe"])
    assert at.session_state["project_id"] == made.id and at.title[0].value == "Settings"


def test_a_name_that_is_missing_is_said(db, admin, open_page):
    at = open_page(admin, "project.py")
    next(button for button in at.button if button.label == "Create project").click().run()
    assert "name: a project's name" in texts(at) and not projects.list_projects(db, admin)


def test_settings_are_saved_when_changed(db, admin, project, open_page):
    at = open_page(admin, "project.py", project)
    save = next(button for button in at.button if button.label == "Save")
    assert save.disabled
    next(box for box in at.number_input if box.label == "Votes per pair").set_value(4).run()
    assert "Not saved yet: votes per pair" in texts(at)
    next(button for button in at.button if button.label == "Save").click().run()
    assert not at.exception
    assert projects.get_project(db, admin, project.id).votes_per_pair == 4


def test_the_demo_is_removed_whole_and_only_by_who_may(db, admin, person, project, open_page):
    def mark(session):
        mine = session.get(type(project), project.id)
        mine.demo = True

    db.write(mark)
    at = open_page(person("engineer"), "project.py", project)
    assert "Delete for good" not in labels(at.button)
    at = open_page(admin, "project.py", project)
    assert next(button for button in at.button if button.label == "Delete for good").disabled
    next(box for box in at.checkbox if box.label == "Yes, delete the demo").check().run()
    assert projects.list_projects(db, admin)
    next(button for button in at.button if button.label == "Delete for good").click().run()
    assert not at.exception
    assert projects.list_projects(db, admin) == []
    assert at.title[0].value == "New project"
