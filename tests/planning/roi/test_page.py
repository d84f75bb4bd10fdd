import pytest

from core.planning import documents
from core.planning.quantity import fixed
from core.planning.roi.model import Scenario
from pages.roi_draft import moved_range


def fields(test):
    return {item.label: item for item in test.number_input}


def answer(test):
    return " ".join(item.value for item in [*test.success, *test.info, *test.warning])


def tab(test, project, name):
    test.session_state[f"roi_tab_{project.id}"] = name
    return test.run()


def group(test, name):
    test.session_state["roi_group"] = name
    return test.run()


def press(test, label):
    next(item for item in test.button if item.label == label).click()
    return test.run()


def scenarios(db, who, project):
    return documents.list_plans(db, who, project.id, Scenario.KIND)


def test_an_empty_project_gets_an_answer_from_guesses(open_page, person, project):
    page = open_page(person("lead"), "roi.py", project)
    assert not page.exception
    assert "breaks even at an uplift" in answer(page)
    assert "measured nothing yet" in answer(page)
    assert {"Net present value", "Chance of a loss", "Payback", "Break-even uplift"} <= {
        item.label for item in page.metric
    }


def test_every_tab_of_the_demo(open_page, person, demo_project):
    page = open_page(person("lead"), "roi.py", demo_project)
    for name in ("Cash flow", "Value of labels", "Cost per improvement", "Compare", "History", "Inputs"):
        assert not tab(page, demo_project, name).exception, name
    for name in ("Uplift", "Adoption", "Labels", "Compute", "Model calls", "People", "Platform"):
        assert not group(page, name).exception, name
        assert page.number_input and not any(item.disabled for item in page.number_input)
    assert "simulated" in answer(page)
    page.session_state["roi_words"] = True
    page.run()
    assert not page.exception and any("net preference" in item.value for item in page.markdown)
    frames = [item.value for item in page.dataframe]
    assert any("NPV at P10" in frame.columns for frame in frames)
    assert any("Source" in frame.columns for frame in frames)


def test_an_engineer_looks(open_page, db, person, demo_project):
    documents.save(db, person("lead"), demo_project.id, Scenario())
    page = open_page(person("engineer"), "roi.py", demo_project)
    assert not page.exception and "break" in answer(page)
    assert page.number_input and all(item.disabled for item in page.number_input)
    assert not {"Save version", "Duplicate this one", "Put away"} & {item.label for item in page.button}
    assert any("leads and admins" in item.value for item in page.caption)
    assert not group(page, "Uplift").exception
    assert all(item.disabled for item in page.button if item.label == "Take it")
    assert not tab(page, demo_project, "History").exception


def test_saving_makes_a_version_and_then_another(open_page, db, person, demo_project):
    lead = person("lead")
    page = open_page(lead, "roi.py", demo_project)
    press(page, "Save version")
    assert [(plan.name, plan.number) for plan in scenarios(db, lead, demo_project)] == [("Base case", 1)]
    fields(page)["Value of a success (€ per interaction)"].set_value(3.5)
    page.run()
    next(item for item in page.text_input if item.label == "Note").set_value("asked support")
    press(page, "Save version")
    plan = scenarios(db, lead, demo_project)[0]
    saved = documents.load(db, lead, demo_project.id, Scenario, plan.plan_id)
    assert (saved.number, saved.note, saved.body.value_per_success.value) == (2, "asked support", 3.5)
    assert saved.body.value_per_success.source == "put in by lead"
    tab(page, demo_project, "History")
    assert not page.exception
    changed = next(item.value for item in page.dataframe if "Before" in item.value.columns)
    assert changed["Input"].tolist()[0] == "Value of a success"


def test_a_measured_figure_is_overridden_with_a_mark_and_taken_back(open_page, db, person, demo_project):
    lead = person("lead")
    page = group(open_page(lead, "roi.py", demo_project), "Uplift")
    before = answer(page)
    fields(page)["Win rate (%)"].set_value(60.0)
    page.run()
    assert answer(page) != before
    assert any("Measured now" in item.value for item in page.caption)
    press(page, "Save version")
    plan = scenarios(db, lead, demo_project)[0]
    mine = documents.load(db, lead, demo_project.id, Scenario, plan.plan_id).body.win_rate
    assert (mine.origin, mine.n) == ("overridden", None) and mine.value == pytest.approx(0.6)
    press(page, "Take it")
    assert not any("Measured now" in item.value for item in page.caption)
    press(page, "Save version")
    again = documents.load(db, lead, demo_project.id, Scenario, plan.plan_id)
    assert again.number == 2 and again.body.win_rate.origin == "measured" and again.body.win_rate.n > 0


def test_a_bad_value_is_refused_at_its_field(open_page, db, person, project):
    lead = person("lead")
    page = open_page(lead, "roi.py", project)
    before = answer(page)
    fields(page)["Interactions (per month)"].set_value(-5.0)
    page.run()
    assert not page.exception
    said = [item.value for item in page.error]
    assert any("must not be below 0" in text.lower() for text in said)
    assert answer(page) == before  # the results are those of the last scenario that was right
    assert next(item for item in page.button if item.label == "Save version").disabled
    fields(page)["Interactions (per month)"].set_value(7000.0)
    page.run()
    assert not page.error and answer(page) != before


def test_a_bad_range_is_refused_and_named_from_another_group(open_page, person, project):
    page = open_page(person("lead"), "roi.py", project)
    next(item for item in page.number_input if item.label == "From (per month)").set_value(90_000.0)
    page.run()
    assert any("within its range" in item.value for item in page.error)
    group(page, "Platform")
    assert any("Volume and value" in item.value for item in page.warning)


def test_two_scenarios_side_by_side(open_page, db, person, project):
    lead = person("lead")
    documents.save(db, lead, project.id, Scenario(), name="Base case")
    documents.save(db, lead, project.id, Scenario(uplift=fixed(0.09)), name="Bold *plan*")
    page = tab(open_page(lead, "roi.py", project), project, "Compare")
    assert not page.exception
    frames = [item.value for item in page.dataframe if "Bold *plan*" in item.value.columns]
    assert frames[0]["Input"].tolist() == ["Uplift"]
    assert "Net present value, P50" in frames[1]["Figure"].tolist()
    # A name is text, not Markdown.
    assert any(r"Bold \*plan\*" in item.value for item in page.markdown)


def test_duplicate_rename_and_put_away(open_page, db, person, project):
    lead = person("lead")
    documents.save(db, lead, project.id, Scenario(uplift=fixed(0.09)), name="Bold")
    page = open_page(lead, "roi.py", project)
    press(page, "Duplicate this one")
    names = [plan.name for plan in scenarios(db, lead, project)]
    assert names == ["Bold", "Scenario"] and page.selectbox(key=f"roi_plan_{project.id}").value != ""
    copy = documents.load(db, lead, project.id, Scenario, scenarios(db, lead, project)[1].plan_id)
    assert copy.body.uplift.value == 0.09 and copy.note == "copy of Bold"
    press(page, "Put away")
    assert [plan.name for plan in scenarios(db, lead, project)] == ["Bold"]
    assert not page.exception


def test_who_saved_meanwhile_is_not_undone(open_page, db, person, project):
    lead, other = person("lead"), person("lead", "Ben")
    plan = documents.save(db, lead, project.id, Scenario())
    page = open_page(lead, "roi.py", project)
    fields(page)["Interactions (per month)"].set_value(60_000.0)
    page.run()
    documents.save(db, other, project.id, Scenario(horizon_months=12), plan_id=plan.plan_id, based_on=1)
    press(page, "Save version")
    assert any("Ben saved version 2 meanwhile" in item.value for item in page.error)
    press(page, "Discard changes")
    assert not page.exception
    newest = documents.load(db, lead, project.id, Scenario, plan.plan_id)
    assert newest.number == 2 and newest.body.horizon_months == 12


def test_going_back_to_an_older_version(open_page, db, person, project):
    lead = person("lead")
    plan = documents.save(db, lead, project.id, Scenario(uplift=fixed(0.01)))
    documents.save(db, lead, project.id, Scenario(uplift=fixed(0.09)), plan_id=plan.plan_id, based_on=1)
    page = tab(open_page(lead, "roi.py", project), project, "History")
    press(page, "Go back to version 1")
    press(page, "Save version")
    newest = documents.load(db, lead, project.id, Scenario, plan.plan_id)
    assert (newest.number, newest.body.uplift.value) == (3, 0.01)


def test_a_range_moves_with_its_value_but_not_out_of_bounds():
    share = {"value": 0.6, "kind": "beta", "low": 0.5, "high": 0.7}
    assert moved_range(share, 0.65, 0, 1) == {**share, "value": 0.65}
    assert moved_range(share, 0.9, 0, 1) == {**share, "value": 0.9, "low": 0.75, "high": 1}
    assert moved_range(share, -3, 0, 1) == {**share, "value": -3}
    normal = {"value": 5, "kind": "normal", "low": 1, "high": 9}
    assert moved_range(normal, 3, 0, 1e9) == {**normal, "value": 3, "low": 0, "high": 7}
