import pytest

from core import demo
from core.errors import Invalid
from core.planning import documents
from core.planning.quantity import fixed
from core.planning.sourcing.model import Score, Sourcing
from core.planning.sourcing.proposals import Known
from core.planning.sourcing.results import work_out
from core.planning.team.model import typical_team
from core.projects import list_projects
from pages.sourcing_tables import plan_from, tables_of

SIMPLE = {"cost_weight": 15.0, "years": 3, "discount_rate": 0.08}


def saved_of(db, who, project):
    return documents.current(db, who, project.id, Sourcing)


def button(at, label):
    return next(item for item in at.button if item.label == label)


def text_of(at):
    kinds = (at.markdown, at.caption, at.info, at.warning, at.error, at.subheader)
    return "\n".join(item.value for kind in kinds for item in kind).replace("\\", "")


def edited(at, project, table, number, rows=None, added=()):
    at.session_state[f"{table}_{project.id}_{number}_0"] = {
        "edited_rows": rows or {},
        "added_rows": list(added),
        "deleted_rows": [],
    }


def test_an_empty_project_has_an_answer_and_says_what_is_assumed(db, person, project, open_page):
    at = open_page(person("lead"), "sourcing.py", project)
    assert not at.exception and not at.error
    assert "fits best with" in at.info[0].value
    said = text_of(at)
    assert "No team is saved on the page Team" in said and "Nobody has saved a version yet" in said


def test_the_demo_project_opens_and_takes_the_team_up(db, person, open_page):
    demo.seed_once(db)
    lead = person("lead")
    here = list_projects(db, lead)[0]
    documents.save(db, lead, here.id, typical_team())
    at = open_page(lead, "sourcing.py", here)
    assert not at.exception and not at.error
    assert "on the page Team, by the time they give" in text_of(at)
    scores = next(item.value for item in at.data_editor if "FactorKey" in item.value)
    proposed = scores[scores["From"] == "proposed"]
    assert set(proposed["Factor"]) == {"Technical capability", "Resources"}
    assert proposed["Reason"].str.contains("The team covers 100 %").all()


def test_an_engineer_looks_and_cannot_change(db, person, project, open_page):
    at = open_page(person("engineer"), "sourcing.py", project)
    assert not at.exception
    assert "Leads and admins can change it" in text_of(at)
    assert button(at, "Save").disabled
    assert all(item.disabled for item in at.number_input)


def test_saving_makes_a_version_and_a_bad_value_is_refused_by_name(db, person, project, open_page):
    lead = person("lead")
    at = open_page(lead, "sourcing.py", project)
    licence = next(
        i for i, (o, line) in enumerate((o, line) for o in Sourcing().options for line in o.costs) if line.name == "Licence"
    )  # fmt: skip
    edited(at, project, "costs", 0, {str(licence): {"Low": 70_000.0}})
    button(at, "Save").click().run()
    assert not at.exception
    assert "Costs, Buy, Licence: the value must lie within its range" in text_of(at)
    assert saved_of(db, lead, project) is None
    edited(at, project, "costs", 0, {str(licence): {"Low": 50_000.0}})
    next(item for item in at.number_input if item.label == "Years").set_value(5)
    button(at, "Save").click().run()
    assert not at.exception and not at.error
    saved = saved_of(db, lead, project)
    assert saved.number == 1 and saved.body.years == 5
    assert next(line for line in saved.body.options[1].costs if line.name == "Licence").amount.low == 50_000
    assert any(item.label == "5-year cost" for item in at.metric)


def test_a_draft_is_tried_without_saving(db, person, project, open_page):
    lead = person("lead")
    at = open_page(lead, "sourcing.py", project)
    edited(at, project, "scores", 0, {"0": {"Score": 10.0}, "1": {"Score": 10.0}, "4": {"Score": 10.0}})
    button(at, "Try without saving").click().run()
    assert not at.exception and "A draft, not saved" in text_of(at)
    assert "Build fits best" in at.info[0].value
    assert saved_of(db, lead, project) is None
    button(at, "Back to the saved plan").click().run()
    assert "A draft" not in text_of(at)


def test_a_new_option_and_factor_of_ones_own(db, person, project, open_page):
    lead = person("lead")
    at = open_page(lead, "sourcing.py", project)
    edited(at, project, "options", 0, {"0": {"Option": "In house"}}, [{"Option": "Agency", "In house": 20.0}])
    edited(at, project, "factors", 0, added=[{"Factor": "Data protection", "Weight": 30.0}])
    button(at, "Save").click().run()
    assert not at.exception and not at.error
    body = saved_of(db, lead, project).body
    assert [(o.key, o.name) for o in body.options] == [
        ("build", "In house"), ("buy", "Buy"), ("hybrid", "Hybrid"), ("agency", "Agency"),
    ]  # fmt: skip
    assert body.factors[-1].key == "data_protection"
    assert body.options[0].costs == Sourcing().options[0].costs


def found(known=None, plan=None):
    return work_out(plan or Sourcing(), known or Known(), "EUR")


TEAM = Known(skills_covered=0.6, roles_covered=0.5, people=3, person_year=90_000)


def test_tables_say_what_the_plan_says():
    assert plan_from(tables_of(found()), found(), SIMPLE) == Sourcing()
    with_team = found(TEAM)
    assert plan_from(tables_of(with_team), with_team, SIMPLE) == with_team.plan


def test_a_changed_proposal_is_overridden_and_a_cleared_one_comes_back():
    shown = found(TEAM)
    tables = tables_of(shown)
    tables["scores"].loc[0, "Score"] = 2.0
    changed = plan_from(tables, shown, SIMPLE)
    score = changed.options[0].scores["capability"]
    assert (score.value, score.origin) == (2.0, "overridden")
    assert score.reason == "Set by hand; proposed: 6."
    again = found(TEAM, changed)  # what is overridden stays as it is
    assert again.plan.options[0].scores["capability"] == score
    tables = tables_of(again)
    tables["scores"].loc[0, "Score"] = None
    assert plan_from(tables, again, SIMPLE).options[0].scores["capability"].origin == "proposed"


def test_a_changed_figure_is_overridden_and_a_cleared_one_comes_back():
    shown = found(TEAM)
    assert shown.plan.person_year.origin == "measured"
    tables = tables_of(shown)
    row = tables["shared"].index[tables["shared"]["Key"] == "person_year"][0]
    tables["shared"].loc[row, "Likely"] = 70_000
    changed = plan_from(tables, shown, SIMPLE)
    assert (changed.person_year.value, changed.person_year.origin) == (70_000, "overridden")
    assert found(TEAM, changed).plan.person_year.value == 70_000
    tables["shared"].loc[row, "Likely"] = None
    assert found(TEAM, plan_from(tables, shown, SIMPLE)).plan.person_year == shown.plan.person_year


@pytest.mark.parametrize(
    ("table", "column", "value", "said"),
    [
        ("costs", "High", None, "give both low and high"),
        ("costs", "Likely", -5.0, "within its range"),
        ("scores", "Score", 11.0, "Scores, Build, Technical capability: from 0 to 10"),
        ("shared", "Low", -5.0, "Figures, Uses a month today: must not be below 0"),
        ("factors", "Weight", -1.0, "Factors, Technical capability, weight"),
        ("options", "Option", "Buy", "twice"),
        ("options", "In house", 120.0, "Options, Build, in_house"),
    ],
)
def test_what_is_wrong_is_named_by_row_and_column(table, column, value, said):
    shown = found()
    tables = tables_of(shown)
    tables[table].loc[0, column] = value
    if table == "options" and column == "Option":
        said = "“buy” is there twice"
    with pytest.raises(Invalid, match=said):
        plan_from(tables, shown, SIMPLE)


def test_empty_weights_are_refused():
    shown = found()
    tables = tables_of(shown)
    tables["factors"]["Weight"] = 0.0
    with pytest.raises(Invalid, match="at least one weight"):
        plan_from(tables, shown, SIMPLE | {"cost_weight": 0.0})


def test_a_deleted_factor_and_option_take_their_scores_and_costs_with_them():
    shown = found()
    tables = tables_of(shown)
    tables["factors"] = tables["factors"].iloc[1:]
    tables["options"] = tables["options"].iloc[1:]
    plan = plan_from(tables, shown, SIMPLE)
    assert [o.key for o in plan.options] == ["buy", "hybrid"]
    assert all("capability" not in o.scores for o in plan.options)
    assert found(plan=plan).ranking.names[0] == "Resources"


def test_a_line_keeps_the_source_of_its_amount():
    plan = Sourcing()
    plan.options[0].costs[0].amount = fixed(0.7, "offer of May")
    plan.options[0].scores["own"] = Score(value=3)
    plan.options[0].scores.pop("own")
    assert (
        plan_from(tables_of(found(plan=plan)), found(plan=plan), SIMPLE).options[0].costs[0].amount.source
        == "offer of May"
    )
