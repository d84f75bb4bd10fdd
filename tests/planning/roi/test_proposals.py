from math import sqrt

import pytest

from core.errors import Forbidden
from core.planning.evidence import Measured, gather
from core.planning.quantity import fixed
from core.planning.roi import proposals
from core.planning.roi.model import Scenario
from core.planning.roi.proposals import cost_per_call, difference, propose, rate, stale
from core.planning.roi.results import compute, input_rows
from core.planning.roi.section import section
from storage.run_costs import CallSums, call_sums, run_times


def test_the_demo_proposes_its_own_figures(db, person, demo_project):
    lead = person("lead")
    found, evidence = propose(db, lead, demo_project.id), gather(db, lead, demo_project.id)
    win_rate = found.inputs["win_rate"]
    assert (win_rate.value, win_rate.n, win_rate.kind) == (
        evidence.win_rate.value,
        evidence.win_rate.n,
        "beta",
    )
    assert (win_rate.low, win_rate.high) == (evidence.win_rate.low, evidence.win_rate.high)
    assert win_rate.origin == "measured" and "simulated" in win_rate.source and found.simulated
    assert found.inputs["seconds_per_vote"].value == pytest.approx(evidence.seconds_per_vote.value)
    assert "baseline_success" in found.missing and "compute" in found.missing
    scenario = found.scenario()
    assert scenario.uplift_source == "win_rate" and scenario.win_rate == win_rate
    assert stale(scenario, found) == {}
    rows = {row["Input"]: row for row in input_rows(scenario, "EUR")}
    assert rows["Win rate"]["n"] == win_rate.n and rows["Win rate"]["Origin"] == "measured"
    assert rows["Interactions"]["Origin"] == "assumed"


def test_another_baseline_another_win_rate(db, person, demo_project):
    lead = person("lead")
    found = propose(db, lead, demo_project.id)
    assert len(found.baselines) > 1 and found.baseline != found.champion
    other = next(key for key, name in found.baselines.items() if not name.startswith(found.baseline))
    again = propose(db, lead, demo_project.id, other)
    assert again.baseline != found.baseline
    assert again.inputs["win_rate"].value != found.inputs["win_rate"].value
    assert again.scenario(other).baseline_prompt_id == other


def test_an_empty_project_proposes_useful_defaults(db, person, project):
    found = propose(db, person("lead"), project.id)
    assert found.inputs == {} and {"win_rate", "compute", "calls", "experiment"} <= set(found.missing)
    assert found.scenario() == Scenario()
    said = section(db, person("lead"), project.id)
    assert said.empty and "nothing" in said.answer


def test_runs_and_the_ledger(any_db, person_on, lab):
    lead, project = person_on(any_db, "lead")
    work = lab(any_db, project)
    for seconds, calls, cost in ((3600, 100, 1.0), (7200, 300, 2.0), (3600, 200, 3.0)):
        work.run("optimize", 40, seconds, calls, cost)
    work.run("reward_model", 35, 1800)
    work.run("optimize", 1, 60, status="failed")
    work.keep()
    with any_db.read() as session:
        times, calls = run_times(session, project.id), call_sums(session, project.id)
    assert (times["optimize"].runs, times["optimize"].mean_s) == (3, pytest.approx(4800))
    assert times["optimize"].sd_s == pytest.approx(sqrt((1200**2 * 2 + 2400**2) / 2))
    assert (calls.runs, calls.calls, calls.tokens, calls.cost) == (3, 600, 90_000, pytest.approx(6))
    assert calls.calls_cost == pytest.approx(100 * 1 + 300 * 2 + 200 * 3)
    found = propose(any_db, lead, project.id)
    assert found.compute["Machine: searches"].value == pytest.approx(4800 / 3600)
    # One reward model for three searches: half an hour, a third of it for each.
    assert found.compute["Machine: reward models"].value == pytest.approx(0.5 / 3)
    assert found.inputs["cost_per_call"].value == pytest.approx(0.01)
    assert found.inputs["searches_per_month"].value == pytest.approx(3)  # all on one day: of one month
    scenario = found.scenario()
    assert scenario.calls_basis == "calls" and [item.name for item in scenario.compute] == list(found.compute)
    assert found.of(scenario, "compute.0.hours") == found.compute["Machine: searches"]
    assert found.of(scenario, "compute.0.price_per_hour") is None


def test_production_is_better_evidence_than_votes(any_db, person_on, lab):
    lead, project = person_on(any_db, "lead")
    work = lab(any_db, project)
    old = work.prompt("old")
    new = work.prompt("new", parent=old)
    work.votes(new, old, "wwwwllt", days=3)
    work.uses(old, good=6, bad=4)
    work.uses(new, good=9, bad=1)
    work.keep(champion=new)
    found = propose(any_db, lead, project.id)
    assert found.inputs["baseline_success"].value == pytest.approx(0.6)
    assert found.inputs["experiment"].value == pytest.approx(0.3) and found.inputs["experiment"].n == 20
    assert found.inputs["win_rate"].value == pytest.approx(4.5 / 7)
    scenario = found.scenario()
    assert scenario.uplift_source == "experiment"
    assert compute(scenario).flow.uplift == pytest.approx(0.3)


def test_newcombe_s_interval():
    """Newcombe 1998, Statistics in Medicine 17:873, table II (a): 56/70 against 48/80, method
    10 gives 0.0524 to 0.3339."""
    from core.stats import wilson

    def measured(good, n):
        return Measured(good / n, *wilson(good, n), n, "")

    found = difference(measured(56, 70), measured(48, 80), "")
    assert (found.value, found.low, found.high) == (
        pytest.approx(0.2), pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5),
    )  # fmt: skip


def test_a_rate_of_all_or_none_can_still_be_drawn():
    found = rate(Measured(1.0, 0.7, 1.0, 9, ""))
    assert found.value == pytest.approx(0.85) and found.kind == "beta"


def test_the_ratio_of_cost_to_calls_has_the_spread_of_the_runs():
    """Every run at the same price: no spread. One dear run: a wide one."""
    same = CallSums(3, 600, 0, 6, 100**2 + 200**2 + 300**2, 1400, 1 + 4 + 9, None, None)
    assert cost_per_call(same).kind == "fixed"
    rows = [(100, 1.0), (200, 2.0), (300, 9.0)]
    sums = CallSums(
        3, 600, 0, 12.0, sum(c * c for c, _ in rows), sum(c * m for c, m in rows), sum(m * m for _, m in rows),
        None, None,
    )  # fmt: skip
    found = cost_per_call(sums)
    residual = sum((m - 0.02 * c) ** 2 for c, m in rows) / 2
    assert found.value == pytest.approx(0.02)
    assert found.high - found.value == pytest.approx(1.96 * sqrt(residual / 3) / 200)


def test_the_team_plan_s_cost_comes_in(db, person, project, monkeypatch):
    monkeypatch.setattr(proposals, "team_cost", lambda *_: [0.0, 100.0, 200.0, 0.0])
    scenario = propose(db, person("lead"), project.id).scenario()
    assert (scenario.people_source, scenario.people_team) == ("team", [0.0, 100.0, 200.0])


def test_what_is_measured_now_is_named_where_a_scenario_says_otherwise(db, person, demo_project):
    found = propose(db, person("lead"), demo_project.id)
    mine = found.scenario().model_copy(update={"seconds_per_vote": fixed(99)})
    assert list(stale(mine, found)) == ["seconds_per_vote"]
    assert stale(mine, found)["seconds_per_vote"].n > 0


def test_the_section_of_the_demo(db, person, demo_project):
    found = section(db, person("engineer"), demo_project.id)
    assert not found.empty and "break" in found.answer
    assert {"Cash flow by year", "Cash flow by month", "Inputs and their sources", "Tornado"} <= set(
        found.tables
    )
    assert len(found.figures) == 4 and all(chart.to_dict() for chart in found.charts.values())
    assert any("simulated" in line for line in found.why)


def test_annotators_do_not_see_it(db, person, project):
    for look in (propose, section):
        with pytest.raises(Forbidden):
            look(db, person("annotator"), project.id)
