"""A pair of reward models on two halves of the votes: from the button on a search's page to a search
that is rewarded by one and watched by the other. Everything is trained, on tiny models."""

import pytest
from sqlmodel import select

from core import data
from core.errors import Conflict, Invalid
from core.llm.registry import create_host
from core.optimize.gold import pairs_of, watcher
from core.optimize.halves import halves_of, reward_by_half, train_halves
from core.reward import work as training
from core.runs.context import RunContext
from core.runs.ingest import finish, ingest
from core.runs.service import get_run, list_runs, run_folder
from storage.ids import now
from storage.tables import Candidate, Prompt, Run
from tests.llm.conftest import local_spec
from tests.llm.tiny import build
from tests.optimize.conftest import add
from tests.reward.tiny import pair_rows, tiny_backbone


@pytest.fixture
def voted(db, admin, project, settings, tmp_path, monkeypatch):
    """A project with votes of people, and a tiny model to train reward models on."""
    monkeypatch.setattr(settings, "reward_backbone", str(tiny_backbone(tmp_path / "backbone")))
    rows = [
        {"input": f"{row['input']} {i}", "response_a": row["response_a"], "response_b": row["response_b"],
         "prompt_a": "one", "prompt_b": "two", "annotator": "Ada", "choice": "a" if row["q"] > 0.5 else "b"}
        for i, row in enumerate(pair_rows(110, seed=4))
    ]  # fmt: skip
    assert data.import_comparisons(db, admin, project.id, rows).imported == 110
    return rows


@pytest.fixture
def train(db, admin):
    """`train(run)` does what a worker and the supervisor would."""

    def go(run):
        def running(session):
            row = session.get(Run, run.id)
            row.status, row.started_at = "running", now()
            session.add(row)

        db.write(running)
        folder = run_folder(run.id)
        context = RunContext(folder)
        result = training.run(context)
        context.close()
        while ingest(db, run.id, folder):
            pass
        finish(db, run.id, folder, {"status": "succeeded", "result": result})
        return get_run(db, admin, run.id)

    return go


def said(at):
    kinds = ("caption", "subheader", "markdown", "warning", "error", "success", "info")
    return " ".join(item.value for kind in kinds for item in getattr(at, kind))


def test_from_the_button_to_a_search_that_is_watched(
    db, admin, project, voted, train, search, open_page, tmp_path, reward_model, settings
):
    tiny = local_spec(build(tmp_path / "tiny", context=512))
    create_host(db, admin, name="tiny", kind="local", model=tiny.model, params=tiny.params)
    db.write(lambda session: session.add(
        Prompt(project_id=project.id, name="Careful", system="tell me was it good and clear", user="{{input}}")
    ))  # fmt: skip
    # The active one, and what is known of its training: its score is played.
    alike = {"preset": "quick", "backbone": settings.reward_backbone, "max_length": 48}
    add(
        db,
        Run(id="r1", project_id=project.id, kind="reward_model", name="R", status="succeeded", config=alike),
    )
    asked = {"real": True, "reward": "reward_model", "host": "tiny", "method": "random", "source": "edits",
             "budget": {"calls": 150}, "examples": {"train": 6, "dev": 4, "test": 6}, "max_new_tokens": 8}  # fmt: skip
    search(**asked)
    at = open_page(admin, "optimize.py", project)
    assert "There is no gold reward model beside this reward" in said(at)
    at.button(key="optimize_new").click().run()
    assert "No reward model of other votes is there" in said(at)  # and the form offers the same
    at.button(key="optimize_halves").click().run()
    assert not at.exception
    first, second = (half.run for half in halves_of(db, admin, project.id))
    assert [run.config["half"] for run in (first, second)] == ["first", "second"]
    for run in (first, second):  # as the active one was trained, but for the votes
        assert {name: run.config[name] for name in alike} == alike
    assert not [button for button in at.button if button.key == "optimize_halves"]  # once is enough
    with pytest.raises(Conflict, match="in training"):
        train_halves(db, admin, project.id)
    with pytest.raises(Conflict, match="no trained pair"):
        reward_by_half(db, admin, project.id)

    train(first)
    at = open_page(admin, "optimize.py", project)
    assert not at.exception and "Reward model 2, first half is trained" in said(at)
    train(second)
    one, two = (half.model for half in halves_of(db, admin, project.id))
    assert (one.name, two.name) == ("Reward model 2, first half", "Reward model 3, second half")
    assert pairs_of(one) and pairs_of(two) and not pairs_of(one) & pairs_of(two)
    assert watcher(db, admin, project.id) is None  # both share votes with the active one
    at = open_page(admin, "optimize.py", project)
    at.button(key="optimize_halves_use").click().run()
    assert not at.exception and "is watched by “Reward model 3, second half”" in said(at)
    assert watcher(db, admin, project.id).id == two.id
    at.button(key="optimize_new").click().run()
    assert not at.exception and "“Reward model 3, second half” watches the active reward model" in said(at)

    run = search(**asked, scored=True)
    assert run.config["reward_model"]["id"] == one.id and run.config["watch"]["gold"] == two.id
    assert set(run.result["agreement"]) == {one.name, two.name}
    with db.read() as session:
        found = [c.scores["train"] for c in session.exec(select(Candidate).where(Candidate.run_id == run.id))]
    scored = [of for of in found if of["n"] == 6]
    assert len(scored) > 2 and all(of["watch"]["gold"]["n"] == 6 for of in scored)
    assert any(of["watch"]["gold"]["score"] != pytest.approx(of["score"]) for of in scored)
    at = open_page(admin, "optimize.py", project)
    assert not at.exception and "Gold is a reward model that learned from other votes" in said(at)
    assert f"“{one.name}”" in said(at) and f"“{two.name}”" in said(at)


def test_too_few_votes_in_one_half_start_neither(db, admin, project, voted, monkeypatch):
    from core.reward import runs

    halved = runs.halved
    monkeypatch.setattr(
        runs,
        "halved",
        lambda pairs, votes, half: ([], []) if half == "second" else halved(pairs, votes, half),
    )
    with pytest.raises(Invalid, match="half: the second half has 0 decided pairs"):
        train_halves(db, admin, project.id)
    assert list_runs(db, admin, project.id, kind="reward_model") == []
