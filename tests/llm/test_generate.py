"""Generate runs from end to end: plan, work on a folder, ingestion, pairs; resume, cancel,
reuse. The worker's code runs here, in this process, on a run folder made by start_run."""

import json

import pyarrow.parquet as pq
import pytest
from sqlmodel import select

from core.errors import Invalid
from core.llm import generate_work, registry
from core.llm.generate import estimate
from core.optimize.champion import promote
from core.prompts.versions import create_prompt
from core.runs.context import RunContext, WorkError
from core.runs.folder import write_json
from core.runs.ingest import finish, ingest
from core.runs.service import get_run, run_folder, start_run
from core.runs.worker import perform
from storage.tables import Example, Host, LedgerEntry, Pair, Prompt, Response, Run, Slot
from tests.llm.servers import completion, serving

QUICK = {"host": "tiny", "params": {"max_new_tokens": 6, "temperature": 0.9}}


@pytest.fixture
def loop(db, admin, project, tiny):
    """A project with six examples, two prompts, one known by name only, and the tiny host."""
    rows = [
        Example(
            project_id=project.id, content_hash=f"h{i}", input=f"how to cook soup {'cat ' * i}",
            fields={"input": f"how to cook soup {'cat ' * i}"}, split=("train", "train", "dev")[i % 3],
        )
        for i in range(6)
    ]  # fmt: skip
    db.write(lambda session: session.add_all([*rows, Prompt(project_id=project.id, name="imported")]))
    create_prompt(db, admin, project.id, "plain", user="tell me {{input}}")
    create_prompt(db, admin, project.id, "kind", system="please not boring", user="{{input}}")
    registry.create_host(
        db, admin, name="tiny", kind="local", model=str(tiny), params={"dtype": "float32", "device": "cpu"}
    )
    return rows


@pytest.fixture
def work(db, admin, project):
    """Start a run, do its work here, take it in; answers the run as it ended."""

    def do(kind="generate", before=None, **config):
        run = start_run(db, admin, project.id, kind, config)
        return carry_on(run.id, before)

    def carry_on(run_id, before=None):
        folder = run_folder(run_id)

        def begin(session):
            run = session.get(Run, run_id)
            run.status = "running"
            session.add(run)

        db.write(begin)
        context = RunContext(folder)
        if before:
            before(context)
        outcome = perform(context, [])
        context.close()
        write_json(folder.path / "result.json", outcome)
        while ingest(db, run_id, folder):
            pass
        finish(db, run_id, folder, outcome)
        return get_run(db, admin, run_id)

    do.carry_on = carry_on
    return do


def rows(db, table):
    with db.read() as session:
        return list(session.exec(select(table)))


def test_prompts_times_examples_become_responses_and_pairs(db, loop, work, project):
    run = work(**QUICK)
    assert run.status == "succeeded", run.error
    result = run.result
    assert (result["responses"], result["reused"], result["failed"], result["pairs"]) == (12, 0, 0, 6)
    assert result["calls"] == 12 and result["tokens_per_s"] > 0
    responses = rows(db, Response)
    assert len(responses) == 12
    assert sum(r.tokens_out for r in responses) == result["tokens_out"] > 0
    assert {r.host_id for r in responses} == {host.id for host in rows(db, Host)}
    assert all(r.run_id == run.id and r.params == QUICK["params"] | {"top_p": 0.95} for r in responses)
    by_id = {r.id: r for r in responses}
    for pair in rows(db, Pair):
        a, b = by_id[pair.response_a], by_id[pair.response_b]
        assert a.example_id == b.example_id == pair.example_id
        assert a.prompt_id != b.prompt_id and a.text != b.text
        assert (pair.source, pair.run_id) == ("generate", run.id)
    assert len(rows(db, Slot)) == 6 * project.votes_per_pair
    (entry,) = rows(db, LedgerEntry)
    assert (entry.host, entry.purpose, entry.calls, entry.tokens_out) == (
        "tiny",
        "target",
        12,
        result["tokens_out"],
    )


def test_the_same_again_asks_nothing_and_pairs_nothing_twice(db, admin, loop, work, project):
    first = work(**QUICK)
    plan = estimate(db, admin, project.id, QUICK)
    assert (plan.calls, plan.reused, plan.prompts, plan.examples, plan.pairs) == (0, 12, 2, 6, 6)
    again = work(**QUICK)
    assert again.status == "succeeded"
    assert (again.result["responses"], again.result["reused"], again.result["calls"]) == (0, 12, 0)
    assert (again.result["pairs"], again.result["pairs_there"]) == (0, first.result["pairs"])
    assert len(rows(db, Response)) == 12
    more = work(**QUICK, seed=1)
    assert (more.result["responses"], more.result["reused"]) == (12, 0)
    changed = estimate(db, admin, project.id, {**QUICK, "temperature": 0.5})
    assert changed.calls == 12


def test_a_new_prompt_is_paired_with_answers_that_were_there(db, admin, loop, work, project):
    work(**QUICK, pairs="none")
    assert rows(db, Pair) == []
    prompts = {p.name: p for p in rows(db, Prompt)}
    promote(db, admin, prompts["plain"].id)
    new = create_prompt(db, admin, project.id, "new", user="please {{input}}")
    run = work(**QUICK, prompts=["new"], pairs="champion", priority=2.0, votes=1)
    assert (run.result["responses"], run.result["reused"], run.result["pairs"]) == (6, 6, 6)
    by_id = {r.id: r for r in rows(db, Response)}
    for pair in rows(db, Pair):
        both = {by_id[pair.response_a].prompt_id, by_id[pair.response_b].prompt_id}
        assert both == {new.id, prompts["plain"].id}
        assert pair.priority == 2.0
    assert len(rows(db, Slot)) == 6


def test_a_champion_known_by_name_only_is_met_by_its_imported_responses(db, admin, loop, work, project):
    champion = next(p for p in rows(db, Prompt) if p.name == "imported")
    given = [
        Response(
            project_id=project.id, example_id=e.id, prompt_id=champion.id, text="well", cache_key=f"import {e.id}"
        )
        for e in loop[:2]
    ]  # fmt: skip
    db.write(lambda session: session.add_all(given))
    promote(db, admin, champion.id)
    run = work(**QUICK, prompts=["plain"], pairs="champion")
    assert (run.result["responses"], run.result["pairs"]) == (6, 2)
    ids = {r.id for r in given}
    assert all({p.response_a, p.response_b} & ids for p in rows(db, Pair))


def test_examples_are_chosen_by_split_limit_and_id(db, admin, loop, project):
    def examples(asked):
        return estimate(db, admin, project.id, {**QUICK, "examples": asked}).examples

    assert examples({"split": "dev"}) == 2
    assert examples({"limit": 5}) == examples(5) == 5
    assert examples([loop[0].id]) == examples({"ids": [loop[0].id], "split": "train"}) == 1


def test_pairs_may_be_named_and_capped(db, admin, loop, work, project):
    create_prompt(db, admin, project.id, "third", user="{{input}} ?")
    assert estimate(db, admin, project.id, QUICK).pairs == 18
    assert estimate(db, admin, project.id, {**QUICK, "pairs_per_example": 2}).pairs == 12
    run = work(**QUICK, prompts=["third"], pairs=[["third", "plain v1"]], pairs_per_example=1)
    assert run.result["responses"] == 12  # both sides are asked
    assert run.result["pairs"] <= 6
    names = {p.id: p.name for p in rows(db, Prompt)}
    by_id = {r.id: names[r.prompt_id] for r in rows(db, Response)}
    assert {frozenset((by_id[p.response_a], by_id[p.response_b])) for p in rows(db, Pair)} == {
        frozenset(("third", "plain"))
    }


def test_answers_that_read_the_same_are_not_paired(db, admin, loop, work, project):
    with serving(lambda *_: (200, completion("the same"))) as server:
        registry.create_host(db, admin, name="far", model="m", base_url=server.url)
        run = work(host="far", examples=2)
    assert (run.result["responses"], run.result["pairs"]) == (4, 0)


@pytest.fixture
def wrong_configs():
    return [
        ({"prompts": ["nobody"]}, "prompts: there is no prompt “nobody”"),
        ({"prompts": ["imported"]}, "known by name only"),
        ({"prompts": []}, "prompts: a list"),
        ({"examples": {"split": "validation"}}, "examples.split"),
        ({"examples": {"limit": 0}}, "examples.limit"),
        ({"examples": {"split": "test"}}, "no examples in the test split"),
        ({"examples": {"ids": ["x"]}}, "examples.ids"),
        ({"examples": {"count": 3}}, "examples: an object"),
        ({"host": "nowhere"}, "host: there is no host “nowhere”"),
        ({"params": {"temperature": -1}}, "temperature"),
        ({"params": {"top_k": 1}}, "params.top_k"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"top_p": 0}, "top_p"),
        ({"pairs": "some"}, "pairs: there is no “some”"),
        ({"pairs": "champion"}, "no champion"),
        ({"pairs": [["plain", "plain"]]}, "not compared with itself"),
        ({"pairs_per_example": 0}, "pairs_per_example"),
        ({"votes": 1.5}, "votes"),
        ({"tempreature": 1}, "tempreature: a generate run has no such field"),
    ]


def test_a_wrong_config_is_refused_and_leaves_nothing(db, admin, loop, project, settings, wrong_configs):
    for config, said in wrong_configs:
        with pytest.raises(Invalid, match=said):
            start_run(db, admin, project.id, "generate", config)
    assert rows(db, Run) == []
    assert not settings.runs_dir.exists() or list(settings.runs_dir.iterdir()) == []


def test_slots_an_example_lacks_are_named_with_the_example(db, admin, loop, project):
    row = Prompt(project_id=project.id, name="old", user="{{topic}}")
    db.write(lambda session: session.add(row))
    with pytest.raises(Invalid, match=r"old v1 does not fit the example.*topic"):
        start_run(db, admin, project.id, "generate", {"prompts": ["old"]})


def test_a_cancel_keeps_what_was_answered_and_pairs_it(db, admin, loop, work, monkeypatch):
    monkeypatch.setattr(generate_work, "_CPU_BATCH", 4)

    def cancel_after_two_files(context):
        real = context.artifact

        def artifact(kind, path, **detail):
            real(kind, path, **detail)
            if path.name.endswith("00002.parquet"):
                context.folder.request_cancel()

        context.artifact = artifact

    run = work(before=cancel_after_two_files, **QUICK)
    assert run.status == "cancelled"
    assert (run.result["responses"], run.result["partial"], run.result["pairs"]) == (8, True, 4)
    assert len(rows(db, Response)) == 8 and len(rows(db, Pair)) == 4
    rest = work(**QUICK)
    assert (rest.result["responses"], rest.result["reused"], rest.result["pairs"]) == (4, 8, 2)


def test_a_killed_worker_goes_on_where_it_stopped(db, admin, loop, work, project, monkeypatch):
    """The worker dies right after a file was renamed and before it was announced."""
    monkeypatch.setattr(generate_work, "_CPU_BATCH", 4)

    class Killed(BaseException):
        pass

    def kill_at_the_second_file(context):
        real = context.artifact

        def artifact(kind, path, **detail):
            if path.name.endswith("00002.parquet"):
                raise Killed
            real(kind, path, **detail)

        context.artifact = artifact

    run = start_run(db, admin, project.id, "generate", QUICK)
    folder = run_folder(run.id)
    context = RunContext(folder)
    kill_at_the_second_file(context)
    with pytest.raises(Killed):
        generate_work.run(context)
    context.close()
    assert len(list(folder.artifacts.glob("*.parquet"))) == 2

    ended = work.carry_on(run.id)
    assert ended.status == "succeeded"
    assert (ended.result["responses"], ended.result["calls"]) == (12, 12)
    assert len(rows(db, Response)) == 12
    keys = [
        row["key"] for path in folder.artifacts.glob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    assert len(keys) == len(set(keys)) == 12


def test_failed_requests_are_counted_named_and_asked_again(db, admin, loop, work):
    broken = {"on": True}

    def behave(n, path, headers, body):
        if broken["on"] and "cat cat cat" in body["messages"][-1]["content"]:
            return 400, {"error": {"message": "too many cats"}}
        return 200, completion(f"answer {n}")

    with serving(behave) as server:
        registry.create_host(db, admin, name="far", model="m", base_url=server.url, price_out=1e6)
        run = work(host="far")
        assert run.status == "succeeded"
        assert (run.result["responses"], run.result["failed"]) == (6, 6)
        assert run.result["errors"] == ["too many cats."]
        assert run.result["cost"] == 18.0
        assert (run.result["tokens_in"], run.result["pairs"]) == (42, 3)
        broken["on"] = False
        again = work(host="far")
        assert (again.result["responses"], again.result["reused"], again.result["pairs"]) == (6, 6, 3)


def test_a_host_that_answers_nothing_fails_the_run_with_the_reason(db, admin, loop, work):
    with serving(lambda *_: (400, {"error": {"message": "broken inside"}})) as server:
        registry.create_host(db, admin, name="far", model="m", base_url=server.url)
        run = work(host="far", examples=2)
    assert run.status == "failed"
    assert "None of the 4 requests was answered by “far”: broken inside" in run.error
    assert "resume" in run.hint


def test_no_key_is_written_into_the_run(db, admin, loop, work, monkeypatch):
    monkeypatch.setenv("FAR_KEY", "a-most-secret-key")
    with serving(lambda *_: (200, completion())) as server:
        registry.create_host(db, admin, name="far", model="m", base_url=server.url, api_key_env="FAR_KEY")
        run = work(host="far", examples=1)
        assert server.requests[0][1]["authorization"] == "Bearer a-most-secret-key"
    folder = run_folder(run.id).path
    for path in folder.rglob("*"):
        if path.is_file():
            assert b"a-most-secret-key" not in path.read_bytes(), path
    assert json.loads((folder / "inputs" / "host.json").read_text())["api_key_env"] == "FAR_KEY"


def test_a_missing_model_is_a_reason_a_person_can_act_on(db, admin, loop, work):
    registry.create_host(db, admin, name="gone", kind="local", model="/nowhere")
    run = work(host="gone")
    assert run.status == "failed"
    assert "could not load the model “/nowhere”" in run.error and run.hint
    assert WorkError.__name__ not in run.error
