import pytest

from core.errors import Forbidden
from core.planning.roi import charts
from core.planning.roi.improvements import Prices, improvements, rows, verdict
from core.planning.roi.model import Scenario

PRICES = Prices(annotator_hour=36, machine_hour=3.6)  # one cent a second, a tenth of a cent


@pytest.fixture
def history(any_db, person_on, lab):
    """Three champions: the second came cheap and won clearly, the third was dear and did not."""
    lead, project = person_on(any_db, "lead")
    work = lab(any_db, project)
    first, second, third = (
        work.prompt("first"),
        work.prompt("second"),
        work.prompt("third", operation="grips:swap"),
    )
    work.promoted(first, None, days=60)
    work.votes(second, first, "w" * 20 + "l" * 2, days=50, seconds=10)
    work.run("optimize", 45, 1000, calls=100, cost=2.5)
    work.promoted(second, first, days=40)
    work.votes(third, second, "w" * 15 + "l" * 12 + "tt", days=30, seconds=20)
    work.votes(third, second, "w", days=29, seconds=None)
    work.votes(second, first, "lll", days=28, simulated=True)
    work.run("optimize", 25, 5000, calls=900, cost=9.0)
    work.run("reward_model", 24, 2000)
    work.promoted(third, second, days=20)
    work.run("optimize", 5, 300)
    work.keep(champion=third)
    return any_db, lead, project


def test_what_each_step_cost_and_gained(history):
    db, lead, project = history
    start, second, third, since = improvements(db, lead, project.id, PRICES)
    assert (start.prompt, start.before, start.gain, start.cost) == ("first v1", "", None, 0)
    assert (second.prompt, second.before, second.votes) == ("second v1", "first v1", 22)
    assert second.label_cost == pytest.approx(22 * 10 * 0.01)
    assert second.machine_cost == pytest.approx(1000 * 0.001)
    assert (second.calls, second.call_cost) == (100, 2.5)
    assert (second.gain.n, second.gain.value) == (22, pytest.approx(20 / 22))
    assert second.cost_per_point == pytest.approx((2.2 + 1 + 2.5) / (100 * (2 * 20 / 22 - 1)))
    # The vote without a time counts as long as the others; simulated votes cost nothing, and
    # do not count where people have voted.
    assert (third.votes, third.simulated, third.runs) == (30, 3, 2)
    assert third.label_cost == pytest.approx(30 * 20 * 0.01)
    assert third.machine_cost == pytest.approx(7.0) and third.made_by == "grips"
    assert third.gain.value == pytest.approx((16 + 1) / 30)
    assert third.cost_per_point is None  # 50 % lies in its interval
    assert (since.prompt, since.runs, since.votes) == ("", 1, 0)


def test_it_says_whether_returns_diminish(history):
    db, lead, project = history
    found = improvements(db, lead, project.id, PRICES)
    assert verdict(found).startswith("2 prompts took the place of another champion; 1 of them beat")
    table = rows(found)
    assert [row["Prompt"] for row in table] == ["first v1", "second v1", "third v1", "since then"]
    assert table[1]["n"] == 22 and table[-1]["Win rate"] is None
    assert charts.improvement_gains(found).to_dict() and charts.improvement_costs(found, "EUR").to_dict()


def test_new_votes_are_counted(history, lab):
    db, lead, project = history
    before = improvements(db, lead, project.id, PRICES)[-1]
    work = lab(db, project)
    a, b = work.prompt("fourth"), work.prompt("fifth")
    work.votes(a, b, "ww", days=1)
    work.keep()
    assert improvements(db, lead, project.id, PRICES)[-1].votes == before.votes + 2


def test_without_a_promotion_there_is_nothing_to_cost(db, person, project):
    assert improvements(db, person("lead"), project.id, PRICES) == []
    assert "No prompt has taken the place" in verdict([])
    with pytest.raises(Forbidden):
        improvements(db, person("annotator"), project.id, PRICES)


def test_prices_are_the_scenario_s():
    found = Prices.of(Scenario(hourly_rate=40, compute=[
        {"name": "A", "hours": 1, "price_per_hour": 2}, {"name": "B", "hours": 3, "price_per_hour": 6},
    ]))  # fmt: skip
    assert (found.annotator_hour, found.machine_hour) == (40, 5)
    assert Prices.of(Scenario(compute=[])).machine_hour == 0
