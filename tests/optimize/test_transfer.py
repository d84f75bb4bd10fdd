"""Found prompts on other hosts: what is scored, on which examples, once."""

import json

import numpy as np
import pytest
from sqlmodel import select

from core.errors import Conflict, Invalid
from core.llm.registry import create_host
from core.optimize import transfer_work, work
from core.optimize.transfer import transfers_of
from core.runs.context import RunContext
from core.runs.ingest import finish, ingest
from core.runs.service import get_run, run_folder, start_run
from storage.ids import now
from storage.tables import Candidate, Prompt, Run
from tests.optimize.fakes import FakeHost, FakeScorer, Killed


@pytest.fixture
def hosts(db, admin, tmp_path):
    """Two more hosts in process, by name."""
    for name in ("near", "other"):
        create_host(db, admin, name=name, kind="local", model=str(tmp_path / name))


@pytest.fixture
def score(db, admin, project, monkeypatch):
    """`score(run, …)` starts a transfer and works it on fake hosts, which it answers with the run;
    `again=` goes on with one that was killed."""
    opened: dict[str, FakeHost] = {}

    def go(search, again=None, kill_at=None, cancel_at=None, **config):
        opened.clear()
        run = again or start_run(db, admin, project.id, "transfer", {"run": search.id, **config})
        folder = run_folder(run.id)
        (folder.path / "cancel").unlink(missing_ok=True)

        def open_(spec, models_dir):
            host = opened[spec.name] = FakeHost(spec, kill_at)
            answer = host.label_logprobs

            def asked(requests, labels):
                if cancel_at == len(opened):
                    folder.request_cancel()
                found = answer(requests, labels)
                return found if spec.name != "other" else -2.0 - found  # it prefers the wrong label

            host.label_logprobs = asked
            return host

        monkeypatch.setattr(transfer_work, "open_host", open_)
        monkeypatch.setattr(work, "open_scorer", lambda folder: FakeScorer())

        def running(session):
            row = session.get(Run, run.id)
            row.status, row.started_at = "running", now()
            session.add(row)

        db.write(running)
        context = RunContext(folder)
        try:
            outcome = {"status": "succeeded", "result": transfer_work.run(context)}
        finally:
            context.close()
        while ingest(db, run.id, folder):
            pass
        finish(db, run.id, folder, outcome)
        return get_run(db, admin, run.id), dict(opened)

    return go


@pytest.fixture
def done(examples, champion, hosts, search):
    examples(train=30, test=20)
    run = search()
    assert run.result["improved"]
    return run


def test_a_table_of_prompts_and_hosts_with_paired_differences(db, admin, project, done, score):
    manual = Prompt(project_id=project.id, name="manual", system="Read the review. Positive or negative?",
                    user="{{input}}")  # fmt: skip
    db.write(lambda session: session.add(manual))
    run, opened = score(done, hosts=["embedded", "near", "other"], prompts=["manual"])
    n = done.config["plan"]["test"]
    best = done.result["best"]
    cells = {(cell.host, cell.prompt): cell for cell in transfers_of(db, admin, done.id).cells}
    assert len(cells) == 9 and {cell.split for cell in cells.values()} == {"test"}
    # On the host it was searched on nothing is asked again, and the figures are the search's own.
    own = cells["embedded", f"Candidate {best['number']}"]
    assert own.own and own.scores == best["test"]
    assert own.gain == pytest.approx(done.result["gain"])
    assert opened["embedded"].calls == n  # the written prompt alone
    assert opened["near"].calls == opened["other"].calls == 3 * n
    assert (run.result["calls"], run.result["free_answers"]) == (7 * n, 2 * n)
    # The same rule on the near host; on the other one right and wrong change places.
    near, other = (cells[host, f"Candidate {best['number']}"] for host in ("near", "other"))
    assert near.scores["accuracy"] == own.scores["accuracy"]
    assert other.scores["accuracy"] == pytest.approx(1 - own.scores["accuracy"])
    assert other.gain["score"] < 0 < near.gain["score"] and near.gain["n"] == n
    for (host, name), cell in cells.items():
        assert (cell.gain is None) == name.startswith("The start")
        if cell.gain:
            start = next(c for (h, p), c in cells.items() if h == host and p.startswith("The start"))
            assert cell.gain["score"] == pytest.approx(cell.scores["score"] - start.scores["score"])
    assert cells["near", "manual v1"].prompt_id == manual.id


def test_each_prompt_is_read_once_on_a_host(db, admin, done, score):
    first, _ = score(done, hosts=["near"])
    again, opened = score(done, hosts=["near", "other"])
    assert opened["near"].calls == 0 and opened["other"].calls > 0
    of = lambda run, host: [c["scores"] for c in run.result["cells"] if c["host"] == host]  # noqa: E731
    assert of(first, "near") == of(again, "near")
    assert len(transfers_of(db, admin, done.id).cells) == 4


def test_the_test_split_is_sealed_for_candidates_that_lost(db, admin, project, done, score):
    chosen = done.result["best"]["number"]
    lost = next(number for number in range(1, done.result["candidates"]) if number != chosen)

    def ask(**config):
        return start_run(db, admin, project.id, "transfer", {"run": done.id, "hosts": ["near"], **config})

    with pytest.raises(
        Invalid, match=f"candidate {lost} was not the chosen one, and the test split is sealed"
    ):
        ask(candidates=[lost])
    run, _ = score(done, hosts=["near"], candidates=[lost, chosen], split="dev")
    assert {cell["split"] for cell in run.result["cells"]} == {"dev"} and len(run.result["cells"]) == 3
    for config, said in (
        ({"candidates": [999]}, "no candidate 999"),
        ({"candidates": ["1"]}, "a list of candidate numbers"),
        ({"candidates": []}, "nothing to put beside the start"),
        ({"split": "train"}, "split"),
        ({"hosts": []}, "hosts"),
        ({"prompts": ["nobody"]}, "no prompt “nobody”"),
        ({"run": None}, "the id of a search"),
        ({"what": 1}, "what: not a setting"),
    ):
        with pytest.raises(Invalid, match=said):
            ask(**config)


def test_a_host_that_cannot_serve_the_reward_is_refused(db, admin, project, done):
    create_host(db, admin, name="far", kind="openai", model="m", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(Invalid, match="“far” gives no log-probabilities of labels"):
        start_run(db, admin, project.id, "transfer", {"run": done.id, "hosts": ["far"]})


def test_a_soft_prompt_is_bound_to_its_model(db, admin, project, done):
    def soften(session):
        row = session.exec(select(Candidate).where(Candidate.run_id == done.id, Candidate.number == 1)).one()
        row.text = "⟦soft prompt 3f2a91c0d4e5b6a7⟧"
        session.add(row)

    db.write(soften)
    asked = {"run": done.id, "hosts": ["near"], "candidates": [1], "split": "dev"}
    with pytest.raises(Invalid, match="candidate 1 is a soft prompt"):
        start_run(db, admin, project.id, "transfer", asked)


def test_killed_it_goes_on_and_cancelled_it_keeps_what_is_done(db, admin, project, done, score):
    whole, _ = score(done, hosts=["near", "other"])
    for run in transfers_of(db, admin, done.id).runs:  # as if it had never been
        db.write(lambda session, run=run: session.delete(session.get(Run, run.id)))
    run = start_run(db, admin, project.id, "transfer", {"run": done.id, "hosts": ["near", "other"]})
    reach = 12
    while True:
        try:
            end, _ = score(done, again=run, kill_at=reach)
            break
        except Killed:
            reach += 23
    assert end.result["cells"] == whole.result["cells"] and end.result["calls"] == whole.result["calls"]
    for run in transfers_of(db, admin, done.id).runs:
        db.write(lambda session, run=run: session.delete(session.get(Run, run.id)))
    stopped, _ = score(done, hosts=["near", "other"], cancel_at=2)
    assert stopped.result["partial"]
    assert [cell["host"] for cell in stopped.result["cells"]] == ["near", "near", "other"]


def test_only_an_ended_search(db, admin, project, examples, champion, hosts, search):
    examples(train=30)
    running = search(end=False, kill_at=100)
    with pytest.raises(Conflict, match="not at its end"):
        start_run(db, admin, project.id, "transfer", {"run": running.id, "hosts": ["near"]})


def test_real_models_as_hosts(db, admin, project, examples, champion, search, tmp_path):
    """Two tiny models: the table has what each of them says when it is asked by hand."""
    from core.llm.local import LocalHost
    from core.llm.registry import host_spec
    from tests.llm.tiny import build

    examples(train=30)
    done = search()
    for name, seed in (("tiny", 0), ("other tiny", 1)):
        build(tmp_path / name, seed=seed, context=512)
        create_host(db, admin, name=name, kind="local", model=str(tmp_path / name),
                    params={"dtype": "float32", "device": "cpu"})  # fmt: skip
    run = start_run(db, admin, project.id, "transfer", {"run": done.id, "hosts": ["tiny", "other tiny"]})
    context = RunContext(run_folder(run.id))
    result = transfer_work.run(context)
    context.close()
    assert result["tokens_in"] > 0 and len(result["cells"]) == 4
    rows = work.read_rows(run_folder(run.id).inputs / "examples.parquet")["test"]
    words = done.config["words"]
    for cell in result["cells"]:
        with db.read() as session:
            host = LocalHost(host_spec(session, cell["host"]), tmp_path)
        text = done.result["best" if cell["candidate"] else "start"]["system"]
        asked = [
            [{"role": "system", "content": text}, {"role": "user", "content": row["input"]}] for row in rows
        ]
        chosen = host.label_logprobs(asked, list(words.values())).argmax(axis=1)
        right = np.mean([list(words)[c] == row["reference"] for c, row in zip(chosen, rows, strict=True)])
        assert cell["scores"]["accuracy"] == pytest.approx(right)


def test_over_the_api_and_on_the_page(db, admin, api, project, done, score, open_page):
    at = open_page(admin, "optimize.py", project)
    assert not at.exception
    at.multiselect(key=f"transfer_hosts_{done.id}").set_value(["near"]).run()
    at.button(key=f"transfer_start_{done.id}").click().run()
    assert not at.exception and at.button(key="transfer_cancel")
    [queued] = transfers_of(db, admin, done.id).runs
    assert queued.config["hosts"] == ["near"] and queued.status == "queued"
    score(done, again=queued)
    at = open_page(admin, "optimize.py", project)
    said = " ".join(item.value for item in at.caption)
    assert (not at.exception and "1 of 1 differences" in said) or "0 of 1 differences" in said
    shown = next(frame.value for frame in at.dataframe if "near" in frame.value.columns)
    assert list(shown["Prompt"])[1] == f"Candidate {done.result['best']['number']}"
    found = api(admin).get(f"/runs/{done.id}/transfer").json()
    assert found["runs"] == [queued.id] and len(found["cells"]) == 2 and found["cells"][1]["gain"]["n"]
    json.dumps(found)
