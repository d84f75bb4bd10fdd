"""What a search is said to take before it starts."""

import pytest

from core.llm.registry import create_host
from core.optimize.view import preview, so_far
from storage.tables import LedgerEntry, Run

CONFIG = {"reward": "reward_model", "method": "random", "budget": {"calls": 300}, "host": "far", "seed": 1}


@pytest.fixture
def far(db, admin):
    return create_host(db, admin, name="far", kind="openai", model="m", base_url="http://127.0.0.1:9/v1",
                       price_in=2.0, price_out=10.0)  # fmt: skip


def test_by_rule_then_by_what_was_measured(db, admin, project, examples, champion, reward_model, far):
    examples(train=30)
    laid = preview(db, admin, project.id, CONFIG)
    proposals = laid.config["plan"]["candidates"]
    letters = len(champion.system) + 20  # “train review 0: bad” and the like
    scoring = letters / 4 + 20
    tokens = (300 - proposals) * (scoring + 64) + proposals * (400 + 80)
    cost = ((300 - proposals) * (2 * scoring + 10 * 64) + proposals * (2 * 400 + 10 * 80)) / 1e6
    assert laid.spend.tokens == pytest.approx(tokens, rel=0.02)
    assert laid.spend.cost == pytest.approx(cost, rel=0.02) and not laid.spend.measured
    assert "a rule of thumb" in laid.spend.source and "“far” costs 2 in and 10 out" in laid.spend.source

    earlier = Run(project_id=project.id, kind="optimize", config={"reward": "reward_model"}, status="failed")
    lines = [
        LedgerEntry(run_id=earlier.id, project_id=project.id, host="far", purpose="target", calls=100,
                    tokens_in=5_000, tokens_out=2_000, cost=0.03),
        LedgerEntry(run_id=earlier.id, project_id=project.id, host="far", purpose="optimizer", calls=10,
                    tokens_in=3_000, tokens_out=400, cost=0.01),
    ]  # fmt: skip
    db.write(lambda session: session.add_all([earlier, *lines]))
    laid = preview(db, admin, project.id, CONFIG)
    assert laid.spend.measured and laid.spend.tokens == (300 - proposals) * 70 + proposals * 340
    assert "measured on 100 calls" in laid.spend.source
    spent = so_far(db, admin, earlier)
    assert (spent.calls, spent.tokens_in, spent.tokens_out) == (110, 8_000, 2_400)
    assert spent.cost == pytest.approx(0.04)


def test_a_host_in_process_costs_nothing(db, admin, project, examples, champion):
    examples(train=30)
    laid = preview(db, admin, project.id, {"reward": "labels", "method": "grips", "seed": 1})
    assert (
        laid.spend.cost == 0 and laid.spend.tokens > 0 and "No host of it has a price." in laid.spend.source
    )


def test_the_page_shows_it_and_takes_the_limits(
    admin, db, project, examples, champion, reward_model, far, open_page
):
    from core.runs.service import list_runs

    examples(train=30)
    at = open_page(admin, "optimize.py", project)
    at.selectbox(key="optimize_host").set_value("far").run()
    cost = next(metric for metric in at.metric if metric.label == "Cost")
    assert cost.value.startswith("about 0.") and "tokens" in cost.delta
    at.number_input(key="optimize_max_tokens").set_value(50_000).run()
    at.number_input(key="optimize_max_cost").set_value(1.5).run()
    at.button(key="optimize_start").click().run()
    assert not at.exception
    [run] = list_runs(db, admin, project.id, kind="optimize")
    assert (run.config["stop"]["tokens"], run.config["stop"]["cost"]) == (50_000, 1.5)


def test_a_finished_search_says_what_it_spent(admin, project, examples, champion, search, open_page):
    examples(train=30)
    run = search()
    at = open_page(admin, "optimize.py", project)
    assert not at.exception
    shown = {metric.label: (metric.value, metric.delta) for metric in at.metric}
    assert shown["Calls"] == (f"{run.result['calls']:,}", "of 1,200")
    assert shown["Cost"] == ("0", "no limit") and {"Tokens", "At work"} <= set(shown)
