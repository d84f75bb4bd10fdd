from datetime import timedelta

import pytest

from core.planning import documents
from core.planning.evidence import Measured
from core.planning.quantity import Quantity, fixed
from core.planning.sourcing.model import CostLine, Score, Sourcing
from core.planning.sourcing.proposals import Known, known
from core.planning.sourcing.results import sourcing_now, work_out
from core.planning.team.model import typical_team
from storage.ids import now
from storage.tables import Interaction, Prompt

USES = Measured(40_000, 30_000, 50_000, 120_000, "uses in production in 3 whole months")


def test_coverage_gives_capability_and_resources_by_the_stated_rule():
    plan = work_out(Sourcing(), Known(skills_covered=0.6, roles_covered=0.5), "EUR").plan
    build, buy, _ = plan.options  # 100 % and 15 % in house
    assert build.scores["capability"].value == pytest.approx(6.0)
    assert buy.scores["capability"].value == pytest.approx(10 * (1 - 0.15 * 0.4))
    assert build.scores["resources"].value == pytest.approx(5.0)
    assert build.scores["resources"].origin == "proposed"
    assert "The team covers 50 %" in build.scores["resources"].reason


def test_a_measured_volume_fills_in_and_gives_the_scale():
    found = work_out(Sourcing(), Known(uses=USES), "EUR")
    volume = found.plan.interactions_per_month
    assert (volume.value, volume.origin, volume.n) == (40_000, "measured", 120_000)
    for option, cost in zip(found.plan.options, found.costs.options, strict=True):
        assert option.scores["scale"].value == pytest.approx(10 * (1 - cost.use_share), abs=0.051)
    assert "40,000 uses a month (measured)" in found.plan.options[0].scores["scale"].reason


def test_an_assumed_volume_proposes_nothing():
    found = work_out(Sourcing(), Known(), "EUR")
    assert found.proposals == {}
    assert found.plan == Sourcing()


def test_what_a_person_overrode_stays():
    mine = Quantity(value=9, origin="overridden", source="set by hand")
    plan = Sourcing(interactions_per_month=mine)
    plan.options[0].scores["capability"] = Score(value=1, origin="overridden")
    found = work_out(plan, Known(uses=USES, skills_covered=0.6), "EUR")
    assert found.plan.interactions_per_month == mine
    assert found.plan.options[0].scores["capability"].value == 1


def test_a_proposal_whose_evidence_went_is_assumed_from_then_on():
    plan = work_out(Sourcing(), Known(skills_covered=0.6), "EUR").plan
    again = work_out(plan, Known(), "EUR").plan
    assert again.options[0].scores["capability"].origin == "assumed"
    assert again.options[0].scores["capability"].value == pytest.approx(6.0)


def test_the_reason_in_words_names_what_would_change_it():
    plan = Sourcing()
    plan.options[0].costs, plan.options[1].costs, plan.options[2].costs = (
        [CostLine(name="Fixed", amount=fixed(12_000))],
        [CostLine(name="Fee", when="use", amount=fixed(0.1))],
        [CostLine(name="Fixed", amount=fixed(99_000))],
    )
    plan.interactions_per_month, plan.growth, plan.cost_weight = fixed(20_000), fixed(0), 1000.0
    said = work_out(plan, Known(), "EUR").recommendation
    assert said.answer.startswith("Build fits best with 9")
    assert any("above 10,000 uses a month; assumed here: 20,000" in line for line in said.conditions)
    assert any("100 % against Buy" in line for line in said.reasons)
    assert any("wins in 100 % of weightings" in line for line in said.conditions)


def test_what_a_project_knows(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    found = known(any_db, lead, project.id)
    assert found.uses is None and found.person_year is None and len(found.missing) == 2
    documents.save(any_db, lead, project.id, typical_team())
    prompt = Prompt(project_id=project.id, name="plain", user="{{input}}")

    def work(session):
        session.add(prompt)
        for days in range(0, 100, 2):
            at = now() - timedelta(days=days)
            session.add(Interaction(project_id=project.id, prompt_id=prompt.id, created_at=at))

    any_db.write(work)
    found = known(any_db, lead, project.id)
    assert found.missing == {}
    assert found.uses.value == pytest.approx(15, abs=1.5)
    assert found.skills_covered == found.roles_covered == 1
    saved, results = sourcing_now(any_db, lead, project.id)
    assert saved is None and results.plan.person_year.origin == "measured"
