"""A project an optimiser can work on, and searches that really ran, on a fake host."""

import pyarrow.parquet as pq
import pytest

from core.llm.protocol import HostSpec
from core.optimize import work
from core.runs.context import RunContext
from core.runs.ingest import finish, ingest
from core.runs.service import get_run, run_folder, start_run
from storage.ids import content_hash, now
from storage.tables import Example, Project, Prompt, RewardModel, Run
from tests.optimize.fakes import START, FakeHost, FakeScorer


def add(db, *rows):
    db.write(lambda session: session.add_all(rows))


@pytest.fixture
def examples(db, project):
    """`examples(train=…, dev=…, test=…, labels=…)` puts examples into the project."""

    def make(train=20, dev=8, test=10, labels=("negative", "positive"), fields="input"):
        rows = []
        for split, count in (("train", train), ("dev", dev), ("test", test)):
            for i in range(count):
                text = f"{split} review {i}: {'good' if i % 2 else 'bad'}"
                rows.append(
                    Example(
                        project_id=project.id,
                        content_hash=content_hash([text, fields]),
                        input=text,
                        fields={fields: text},
                        reference=labels[i % len(labels)] if labels else None,
                        split=split,
                    )
                )
        add(db, *rows)
        return rows

    return make


@pytest.fixture
def champion(db, project):
    prompt = Prompt(project_id=project.id, name="Careful", system=START, user="{{input}}")

    def work(session):
        session.add(prompt)
        row = session.get(Project, project.id)
        row.champion_prompt_id = prompt.id
        session.add(row)

    db.write(work)
    return prompt


@pytest.fixture
def becomes_active(db, settings, project):
    """`becomes_active(number, accuracy, …)`: another reward model takes the place of the last."""

    def go(number, accuracy, **more):
        folder = settings.data_dir / "runs" / f"r{number}" / "artifacts" / "model"
        folder.mkdir(parents=True)
        (folder / "reward.json").write_text("{}")
        interval = {"accuracy_low": accuracy - 0.1, "accuracy_high": accuracy + 0.1}
        model = RewardModel(
            project_id=project.id, run_id=f"r{number}", name=f"Reward model {number}",
            folder=f"runs/r{number}/artifacts/model",
            metrics={"accuracy": accuracy, **interval, "n_test": 80}, **more,
        )  # fmt: skip

        def work(session):
            session.add(model)
            row = session.get(Project, project.id)
            row.reward_model_id = model.id
            session.add(row)

        db.write(work)
        return model

    return go


@pytest.fixture
def reward_model(becomes_active):
    return becomes_active(1, 0.7, simulated_share=0.5)


@pytest.fixture
def search(db, admin, project, monkeypatch):
    """`search(reward=…, …)` starts a run, works it on a fake host (or the `real` one that the
    config names) with a fake reward model (or, with `scored`, those it names), and takes in its end."""

    open_scorer = work.open_scorer

    def go(end=True, kill_at=None, real=False, scored=False, **config):
        host = FakeHost(kill_at=kill_at)
        if not real:
            monkeypatch.setattr(work, "open_host", lambda spec, models_dir: host)
        played = lambda folder: FakeScorer()  # noqa: E731
        monkeypatch.setattr(work, "open_scorer", open_scorer if scored else played)
        asked = {"reward": "labels", "budget": {"calls": 1_200}, "seed": 5, **config}
        run = start_run(db, admin, project.id, "optimize", asked)
        folder = run_folder(run.id)

        def running(session):
            row = session.get(Run, run.id)
            row.status, row.started_at = "running", now()
            session.add(row)

        db.write(running)
        context = RunContext(folder)
        outcome = None
        try:
            outcome = {"status": "succeeded", "result": work.run(context)}
        except BaseException:
            if end:
                raise
        context.close()
        while ingest(db, run.id, folder):
            pass
        if end:
            finish(db, run.id, folder, outcome)
        return get_run(db, admin, run.id)

    return go


@pytest.fixture(scope="session")
def tiny_host(tmp_path_factory):
    """A random model of a few thousand weights in process, in double precision."""
    from core.llm.local import LocalHost
    from tests.llm.tiny import build

    folder = build(tmp_path_factory.mktemp("tokens") / "tiny", context=512)
    spec = HostSpec(model=str(folder), name="tiny", params={"dtype": "float64", "device": "cpu"})
    return LocalHost(spec, folder)


@pytest.fixture
def frozen(db, admin, project):
    """`frozen(scored=…, **config)`: rows that a run which starts now knows, with their scores or
    without; `None` for all."""

    def go(scored=True, into=None, **config):
        asked = {"reward": "reward_model", "seed": 5, "budget": {"calls": 300}, **config}
        run = start_run(db, admin, (into or project).id, "optimize", asked)
        path = run_folder(run.id).inputs / "known.parquet"
        rows = pq.read_table(path).to_pylist() if path.exists() else []
        return [row for row in rows if scored is None or row["scored"] is scored]

    return go


@pytest.fixture
def retrained(becomes_active):
    return lambda: becomes_active(2, 0.8)
