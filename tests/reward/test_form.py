"""The form: what is chosen on it is what the run is frozen with, and programs ask for the same."""

import pytest
from sqlmodel import select

from core.projects import update_project
from storage.tables import Run
from tests.reward.test_data import FIRST, Made
from tests.reward.test_pages import texts


@pytest.fixture
def voted(db, project):
    made = Made(db, project)
    made.pairs(25, "train", FIRST)
    made.pairs(8, "test", FIRST)
    return made


def queued(db):
    with db.read() as session:
        [run] = session.exec(select(Run))
    return run


def test_it_opens_on_a_preset_with_its_cost(voted, open_page, admin, project):
    at = open_page(admin, "reward_models.py", project)
    assert not at.exception and not at.error
    shown = texts(at)
    assert "Reads up to 256 tokens" in shown and "of memory" in shown and "on two processor cores" in shown
    assert "67 % of the layers frozen" in shown


def test_more_choices_reach_the_run_and_change_the_estimate(voted, db, open_page, admin, project):
    at = open_page(admin, "reward_models.py", project)
    before = texts(at)
    key = project.id
    at.selectbox(key=f"loss_{key}").set_value("davidson")
    at.selectbox(key=f"weights_{key}").set_value("skill")
    at.toggle(key=f"soft_{key}").set_value(False)
    at.number_input(key=f"smoothing_{key}").set_value(0.05)
    at.number_input(key=f"centre_{key}").set_value(0.01)
    at.number_input(key=f"members_{key}").set_value(3)
    at.number_input(key=f"early_{key}").set_value(2)
    at.number_input(key=f"length_{key}").set_value(64)
    at.number_input(key=f"accumulation_{key}").set_value(2)
    at.toggle(key=f"lora_{key}").set_value(True).run()
    assert not at.exception and not at.error
    at.number_input(key=f"rank_{key}").set_value(4)
    at.selectbox(key=f"average_{key}").set_value("warm").run()
    shown = texts(at)
    assert "64 tokens" in shown and "adapters trained" in shown and "3 members" in shown and shown != before
    at.button(key="train").click().run()
    assert not at.exception and not at.error
    config = queued(db).config
    assert config["objective"] == {
        "loss": "davidson", "margin": False, "soft": False, "label_smoothing": 0.05, "weights": "skill",
        "centre": 0.01, "tie": None,
    }  # fmt: skip
    assert (config["members"], config["average"], config["early_stopping"]) == (3, "warm", 2)
    assert config["lora"] == {"r": 4, "alpha": 32, "dropout": 0.0}
    assert (config["max_length"], config["accumulation"]) == (64, 2)
    assert config["estimate"]["seconds"] > 0 and config["estimate"]["bytes"] > 1e9


def test_wrong_choices_are_said_before_anything_starts(voted, open_page, admin, project):
    at = open_page(admin, "reward_models.py", project)
    assert not at.button(key="train").disabled
    at.text_input(key=f"backbone_{project.id}").set_value("/no/such/folder").run()
    assert "not known here yet" in texts(at) and not at.exception


def test_programs_are_told_which_field_is_wrong(voted, db, api, admin, project):
    update_project(db, admin, project.id, criteria=["kind", "safe"])
    client = api(admin)
    for config, said in (
        ({"objective": {"loss": "elo"}}, "objective.loss"),
        ({"criteria": ["brave"]}, "criteria: “brave” is no criterion"),
        ({"criteria": ["kind"]}, "criteria: “kind” was rated on 0 pairs"),
        ({"members": 9}, "members"),
        ({"report_to": "wandb"}, "report_to: wandb is not installed"),
        ({"heads": 2}, "heads: not a setting"),
    ):
        answer = client.post(f"/projects/{project.id}/runs", json={"kind": "reward_model", "config": config})
        assert answer.status_code == 422 and said in str(answer.json()["detail"]), answer.json()
    answer = client.post(
        f"/projects/{project.id}/runs",
        json={"kind": "reward_model", "config": {"members": 2, "precision": "fp32"}},
    )
    assert answer.status_code == 202, answer.json()
    config = queued(db).config
    assert config["members"] == 2 and config["precision"] == "fp32" and config["snapshot"]
