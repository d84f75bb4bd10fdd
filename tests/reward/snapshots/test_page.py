"""The page Preference data, and the training's form, as people use them."""

import pytest

from core import data as rows_in
from core.reward.snapshots import service
from core.runs.service import list_runs
from tests.reward.snapshots.test_service import comparison


def texts(at):
    return " ".join(
        str(element.value)
        for kind in ("markdown", "caption", "subheader", "error", "success", "text", "info")
        for element in at.get(kind)
    )


def metrics(at):
    return {metric.label: metric.value for metric in at.metric}


def button(at, label):
    return next(one for one in at.button if one.label == label)


@pytest.fixture
def votes(db, admin, project):
    rows_in.import_comparisons(
        db, admin, project.id,
        [comparison(i, criteria={"helpful": "ab"[i % 2]}) for i in range(60)] + [comparison(i, "Bo", criteria={"helpful": "a"}) for i in range(20)],
    )  # fmt: skip


def test_without_votes_it_says_where_to_get_some(person, project, open_page):
    at = open_page(person("lead"), "snapshots.py", project)
    assert not at.exception and "no votes to make a data set of" in texts(at)


def test_a_lead_makes_one_and_sees_it(db, person, project, votes, open_page):
    at = open_page(person("lead"), "snapshots.py", project)
    assert not at.exception
    shown = metrics(at)  # open, as there is none yet
    assert shown["Votes"] == "80" and "of 80 that count" in texts(at)
    button(at, "Freeze it").click().run()
    assert "name" in at.error[0].value
    at.multiselect(key=f"snapshot_annotators_{project.id}").set_value(["Bo"]).run()
    assert metrics(at)["Votes"] == "20"
    at.text_input(key=f"snapshot_name_{project.id}").set_value("By Bo").run()
    button(at, "Freeze it").click().run()
    assert not at.exception
    (made,) = service.list_snapshots(db, person("lead", "other"), project.id)
    assert (made.name, made.filters, made.counts["pairs"]) == ("By Bo", {"annotators": ["Bo"]}, 20)
    said = texts(at)
    assert "By Bo" in said and "only Bo" in said and "trained on it: no model yet" in said
    assert metrics(at)["Pairs"] == "20"
    assert {tab.label for tab in at.tabs} >= {"Leak checks", "Balance", "Criteria", "Card"}
    assert "By Bo" in at.code[0].value


def test_two_are_compared_and_one_is_put_away(db, admin, project, votes, open_page):
    service.make(db, admin, project.id, "First", {"annotators": ["Bo"]})
    service.make(db, admin, project.id, "Second", {})
    at = open_page(admin, "snapshots.py", project)
    assert not at.exception
    assert metrics(at)["Pairs that came"] == "40" and metrics(at)["Votes that came"] == "60"
    button(at, "Put it away").click().run()
    assert not at.exception and "Compare two" not in texts(at)
    assert [item.name for item in service.list_snapshots(db, admin, project.id)] == ["First"]
    next(one for one in at.toggle if "put away" in one.label).set_value(True).run()
    assert "Compare two" in texts(at)


def test_a_failed_leak_check_is_red_and_a_training_needs_a_word(db, admin, project, open_page):
    rows_in.import_comparisons(db, admin, project.id, [comparison(i, left="ab"[i % 2]) for i in range(120)])
    leaky = service.make(db, admin, project.id, "Sorted", {})
    at = open_page(admin, "snapshots.py", project)
    assert "Label from the side" in at.error[0].value and "refuses this data set" in at.error[0].value
    at = open_page(admin, "reward_models.py", project)
    at.selectbox(key=f"snapshot_{project.id}").set_value(leaky.id).run()
    assert not at.exception and "Label from the side" in at.error[0].value
    assert button(at, "Train").disabled
    at.checkbox(key=f"allow_leaks_{leaky.id}").check().run()
    button(at, "Train").click().run()
    (run,) = list_runs(db, admin, project.id)
    assert (run.config["snapshot"], run.config["allowed_leaks"]) == (leaky.id, ["left"])


def test_an_annotator_has_no_such_page(person, project, votes, open_page):
    with pytest.raises(ValueError, match="navigation page"):
        open_page(person("annotator"), "snapshots.py", project)
