"""The page Machine judges, and the same over HTTP."""

import pytest

from core.annotation.annotators import take_back
from storage.tables import Annotator, Run
from tests.annotation.judge.conftest import far, prefers
from tests.annotation.judge.test_run import by_text
from tests.llm.servers import serving


@pytest.fixture
def judged_place(place):
    here = place(pairs=6)
    for name in ("Ann", "Bob"):
        here.vote(name, {pair.id: "ab"[i % 2] for i, pair in enumerate(here.pairs)})
    with serving(prefers(by_text)) as server:
        far(here, server.url)
        run = here.judge(host="far")
    return here, run


def text_of(at) -> str:
    return " ".join(
        str(item.value) for kind in ("markdown", "caption", "info", "text") for item in at.get(kind)
    )


def test_the_page_starts_a_run(place, open_page):
    here = place(pairs=4)
    at = open_page(here.who, "judges.py", here.project)
    assert not at.exception
    assert "No model has judged pairs" in text_of(at) + " ".join(one.value for one in at.subheader)
    at.selectbox(key=f"judge_pairs_{here.project.id}").set_value("all").run()
    at.number_input(key=f"judge_limit_{here.project.id}").set_value(3).run()
    assert "3 pairs, 6 questions" in text_of(at) and "1 pairs more" in text_of(at)
    at.text_area(key=f"judge_prompt_{here.project.id}").set_value("{{response_a}} {{response_b}}?").run()
    at.button(key="judge").click().run()
    assert not at.exception
    (run,) = here.rows(Run)
    assert (run.kind, run.config["n_pairs"], run.config["pairs"]) == ("judge", 3, "all")
    assert run.config["prompt"] == "{{response_a}} {{response_b}}?"
    at = open_page(here.who, "judges.py", here.project)
    assert "Waiting for its turn" in text_of(at)


def test_a_wrong_prompt_is_said(place, open_page):
    here = place(pairs=2)
    at = open_page(here.who, "judges.py", here.project)
    at.text_area(key=f"judge_prompt_{here.project.id}").set_value("Which?").run()
    assert "response\\_a" in at.error[0].value and not at.exception


def test_a_lead_counts_its_votes_and_leaves_them_out(judged_place, open_page, person):
    here, run = judged_place
    lead = person("lead")
    at = open_page(lead, "judges.py", here.project)
    assert not at.exception
    assert "count nowhere until a lead" in text_of(at) and "Engineers and admins" in text_of(at)
    judge = run.result["judge_id"]
    at.button(key=f"in_{judge}").click().run()
    at.button(key="count_yes").click().run()
    assert not at.exception
    (found,) = [one for one in here.rows(Annotator) if one.machine]
    assert found.excluded_at is None
    at = open_page(lead, "judges.py", here.project)
    at.button(key=f"out_{judge}").click().run()
    (found,) = [one for one in here.rows(Annotator) if one.machine]
    assert found.excluded_at is not None
    engineer = open_page(person("engineer"), "judges.py", here.project)
    assert f"in_{judge}" not in {button.key for button in engineer.button}


def test_names_are_not_markdown(place, open_page):
    here = place(pairs=2)
    with serving(prefers(by_text)) as server:
        far(here, server.url, name="**far** $x$")
        here.judge(host="**far** $x$", pairs="all")
    at = open_page(here.who, "judges.py", here.project)
    assert r"\*\*far\*\* \$x\$" in text_of(at)


def test_over_http(judged_place, api, person):
    here, run = judged_place
    client = api(person("engineer"))
    (judge,) = client.get(f"/projects/{here.project.id}/judges").json()
    assert (judge["name"], judge["votes"], judge["counts"], judge["calls"]) == ("far · m", 6, False, 12)
    people = judge["agreement"]["people_share"]
    assert (people["value"], people["high"], people["n"]) == (1.0, 1.0, 6) and people["low"] < 0.7
    assert judge["first"]["value"] == 0.5 and judge["inconsistent"]["n"] == 6
    started = client.post(
        f"/projects/{here.project.id}/runs",
        json={"kind": "judge", "config": {"host_id": "embedded", "limit": 2}},
    )
    assert started.status_code == 202 and started.json()["config"]["n_pairs"] == 2
    wrong = client.post(
        f"/projects/{here.project.id}/runs", json={"kind": "judge", "config": {"pairs": "none"}}
    )
    assert wrong.status_code == 422 and "voted, unvoted, all" in wrong.json()["detail"]
    refused = client.post(f"/projects/{here.project.id}/annotators/{judge['id']}/include")
    assert refused.status_code == 403
    assert api(person("annotator")).get(f"/projects/{here.project.id}/judges").status_code == 403
    take_back(here.db, here.who, here.project.id, judge["id"])
    assert client.get(f"/projects/{here.project.id}/judges").json()[0]["counts"] is True
    assert run.result["judge_id"] == judge["id"]
