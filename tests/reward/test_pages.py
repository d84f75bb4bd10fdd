"""The page and the routes, with rows as a finished training leaves them."""

import json

import pytest

from core.reward import runs
from core.runs.folder import RunFolder
from core.settings import get_settings
from storage.tables import Project, Run, RunEvent
from tests.reward.test_data import FIRST, Made

RESULT = {
    "accuracy": 0.64, "accuracy_low": 0.58, "accuracy_high": 0.70, "n_test": 250, "n_test_ties": 12,
    "n_test_pairs": 262, "n_train": 1400, "n_dev": 200, "log_loss": 0.65, "brier": 0.23, "ece": 0.04,
    "temperature": 1.3, "preset": "standard", "backbone": "embedded", "simulated_share": 0.4,
    "partial": False, "seconds": 200.0, "model": "artifacts/model",
    "baselines": {
        "longer": {"accuracy": 0.44, "low": 0.38, "high": 0.5, "n": 250, "unit": "pairs"},
        "shorter": {"accuracy": 0.56, "low": 0.5, "high": 0.62, "n": 250, "unit": "pairs"},
        "left": {"accuracy": None, "low": 0.0, "high": 1.0, "n": 0, "unit": "votes"},
    },
    "reliability": [
        {"from": 0.5, "to": 0.55, "confidence": 0.53, "accuracy": 0.52, "low": 0.4, "high": 0.6, "n": 100},
        {"from": 0.6, "to": 0.65, "confidence": 0.62, "accuracy": 0.66, "low": 0.5, "high": 0.8, "n": 150},
    ],
    "length": {
        "spearman": -0.4,
        "preferred_longer": {"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 110},
        "preferred_shorter": {"accuracy": 0.75, "low": 0.66, "high": 0.82, "n": 140},
    },
    "settings": {"max_length": 256, "steps": 88, "batch_size": 16, "epochs": 1, "best_step": 66},
    "notes": ["40 % of the votes are simulated."],
}  # fmt: skip


def finished(db, project, **changes):
    run = Run(project_id=project.id, kind="reward_model", status="succeeded", config={"preset": "standard"})
    folder = RunFolder(get_settings().runs_dir / run.id)
    (folder.artifacts / "model").mkdir(parents=True)
    (folder.artifacts / "model" / "reward.json").write_text("{}")

    def work(session):
        run.result = json.loads(json.dumps({**RESULT, **changes}))
        session.add(run)
        for number in range(1, 6):
            data = {"step": number * 10, "loss": 0.7 - number / 50, "lr": 1e-4}
            session.add(RunEvent(run_id=run.id, number=number, type="metric", data=data))
        dev = {"step": 50, "dev_loss": 0.65}
        session.add(RunEvent(run_id=run.id, number=6, type="metric", data=dev))
        runs.finish(session, run, folder, run.result)

    db.write(work)
    return run


def texts(at):
    shown = [*at.text, *at.markdown, *at.caption, *at.subheader, *at.error, *at.metric]
    return " ".join(f"{getattr(item, 'label', '')} {item.value}" for item in shown)


def test_without_votes_it_says_where_to_get_them(open_page, admin, project):
    at = open_page(admin, "reward_models.py", project)
    assert not at.exception
    assert "no votes to learn from" in texts(at)
    # One that was trained elsewhere can be taken in; there is nothing to train here.
    assert [button.label for button in at.button] == ["Take it in"]


def test_too_few_votes_say_how_many_more(db, open_page, admin, project):
    Made(db, project).pairs(5, "train", FIRST)
    at = open_page(admin, "reward_models.py", project)
    assert not at.exception
    assert "at least 20" in texts(at) and "Label about" in texts(at)
    assert at.button(key="train").disabled


def test_the_button_starts_a_run_with_what_was_chosen(db, open_page, admin, person, project):
    made = Made(db, project)
    made.pairs(25, "train", FIRST)
    made.pairs(8, "test", FIRST)
    made.pairs(20, "train", FIRST, simulated=True)
    lead = open_page(person("lead"), "reward_models.py", project)
    assert lead.button(key="train").disabled  # leads look, engineers train
    at = open_page(admin, "reward_models.py", project)
    assert not at.exception
    assert "Only 8 decided pairs to judge by" in texts(at) and "two processor cores" in texts(at)
    at.segmented_control(key=f"preset_{project.id}").set_value("quick")
    at.segmented_control(key=f"votes_{project.id}").set_value("exclude").run()
    at.button(key="train").click().run()
    assert not at.exception and not at.error
    with db.read() as session:
        from sqlmodel import select

        [run] = session.exec(select(Run))
    assert run.status == "queued" and run.config["preset"] == "quick"
    assert run.config["simulated"] == "exclude"
    assert "Waiting for its turn" in texts(at) and at.button(key=f"cancel_{run.id}")
    at.button(key=f"cancel_{run.id}").click().run()
    with db.read() as session:
        assert session.get(Run, run.id).status == "cancelled"


def test_models_are_shown_beside_their_baselines_and_activated(db, open_page, admin, project):
    Made(db, project).pairs(25, "train", FIRST)
    finished(db, project)
    finished(db, project, simulated_share=0.0, notes=[])
    at = open_page(admin, "reward_models.py", project)
    assert not at.exception
    table = at.dataframe[0].value
    assert list(table["Model"]) == ["Reward model 2", "Reward model 1"]
    assert table["Accuracy (95 % interval)"][0] == "64.0 % (58.0 to 70.0, n 250)"
    assert table["Best baseline"][0] == "56.0 %" and list(table["Votes"]) == ["by people", "40 % simulated"]
    shown = texts(at)
    assert "40 % of the votes are simulated." in shown  # the active one, with its note
    assert "58.0 to 70.0 % · n 250 · 12 ties left out" in shown
    with db.read() as session:
        first = session.get(Project, project.id).reward_model_id
    from core.reward import registry

    other = next(m for m in registry.list_models(db, admin, project.id) if m.id != first)
    registry.activate(db, admin, other.id, "newer votes")
    at = at.run()
    assert list(at.dataframe[0].value["Stage"]) == ["Active", "Candidate"]


def test_a_failed_training_says_why_and_can_be_resumed(db, open_page, admin, project):
    Made(db, project).pairs(25, "train", FIRST)
    run = Run(
        project_id=project.id,
        kind="reward_model",
        status="failed",
        error="Memory ran out.",
        hint="Use quick.",
    )
    db.write(lambda session: session.add(run))
    at = open_page(admin, "reward_models.py", project)
    assert not at.exception
    assert "Memory ran out. Use quick." in texts(at)
    at.button(key=f"resume_{run.id}").click().run()
    assert not at.exception and "folder is gone" in at.error[0].value


def test_no_web_module_brings_torch():
    import subprocess
    import sys

    from tests.conftest import ROOT

    code = (
        "import sys, core.reward.runs, core.reward.registry, core.reward.data, core.reward.metrics, "
        "api.reward_models, pages.reward_charts; "
        "print([m for m in ('torch', 'transformers', 'trl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("role, status", [("engineer", 200), ("lead", 403)])
def test_programs_list_and_activate(db, api, person, project, role, status):
    finished(db, project)
    second = finished(db, project)
    client = api(person(role))
    found = client.get(f"/projects/{project.id}/reward-models").json()
    assert [model["active"] for model in found] == [False, True]
    assert found[0]["run_id"] == second.id and found[0]["metrics"]["accuracy"] == 0.64
    answer = client.post(f"/reward-models/{found[0]['id']}/activate", json={"reason": "newer votes"})
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["active"] is True
        listed = client.get(f"/projects/{project.id}/reward-models", params={"limit": 1}).json()
        assert [model["active"] for model in listed] == [True]
        assert client.post("/reward-models/nothing/activate").status_code == 404
