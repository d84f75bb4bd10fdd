"""Scoring a file: formats, pairs, rows that cannot be read, a killed worker, the result, the page."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.access import Scope
from core.errors import Invalid
from core.reward import files, files_work
from core.reward.upload import staging
from core.runs.context import RunContext
from core.runs.service import run_folder
from tests.reward.test_pages import texts
from tests.reward.test_scoring import Shop, folders  # noqa: F401

ROWS = [
    {"prompt": f"word{i} word{i + 1}", "answer": f"{word} word{i}"}
    for i, word in enumerate(["kind", "rude", "clear", "vague", "warm", "cold", "honest", "false"])
]


@pytest.fixture
def shop(db, folders) -> Shop:  # noqa: F811
    shop = Shop(db)
    shop.model(folders[0], "one", active=True)
    return shop


def lines(rows) -> bytes:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()


def as_csv(rows) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def as_parquet(rows) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def start(shop, data: bytes, name: str, **more):
    return files.score_file(shop.db, shop.who, shop.project.id, name, iter([data]), **more)


def result(shop, run, as_="jsonl"):
    return b"".join(files.result_file(shop.db, shop.who, run.id, as_)[1])


@pytest.mark.parametrize(("name", "make"), [("a.jsonl", lines), ("a.csv", as_csv), ("a.parquet", as_parquet)])
def test_each_format_gives_the_scores_of_the_model(shop, folders, name, make):  # noqa: F811
    from core.reward.score import RewardScorer

    run = shop.carry_on(start(shop, make(ROWS), name).id)
    assert run.status == "succeeded", run.error
    assert (run.result["rows"], run.result["unreadable"], run.result["scale"]) == (8, 0, "training")
    found = [json.loads(line) for line in result(shop, run).splitlines()]
    scorer = RewardScorer(folders[0])
    expected = scorer.score([row["prompt"] for row in ROWS], [row["answer"] for row in ROWS])
    assert [row["reward"] for row in found] == pytest.approx(expected, rel=1e-2, abs=1)
    first = 2 if name.endswith(".csv") else 1
    assert [row["row"] for row in found] == list(range(first, first + 8))
    assert {row["error"] for row in found} == {None} and found[0]["response"] == ROWS[0]["answer"]
    assert list(staging().iterdir()) == []


def test_pairs_get_probabilities_on_the_scale_of_the_project(shop, folders):  # noqa: F811
    from core.reward.score import RewardScorer

    scale = next(iter(shop.score(scope="all").result["normalisation"].values()))
    turns = [{"role": "user", "content": "word1"}, {"role": "assistant", "content": "word2"},
             {"role": "user", "content": "word3"}]  # fmt: skip
    rows = [
        {"messages": json.dumps(turns), "chosen": "kind word4", "rejected": "rude word5"},
        {"messages": json.dumps(turns), "chosen": "", "rejected": "x"},
    ]
    run = shop.carry_on(start(shop, as_csv(rows), "b.csv").id)
    assert run.status == "succeeded", run.error
    assert (run.result["pairs"], run.result["unreadable"]) == (True, 1)
    assert run.result["notes"] == ["Line 3: response_a: it is empty."]
    first, second = (json.loads(line) for line in result(shop, run).splitlines())
    scorer = RewardScorer(folders[0])
    said = ["User: word1\n\nAssistant: word2\n\nUser: word3"]
    assert first["input"] == said[0]
    assert first["p"] == pytest.approx(scorer.preference(said, ["kind word4"], ["rude word5"])[0], abs=2e-2)
    reward = (scorer.score(said, ["kind word4"])[0] - scale["mean"]) / scale["std"]
    assert first["reward_a"] == pytest.approx(reward, abs=2e-2)
    assert (second["row"], second["p"], second["error"]) == (3, None, "response_a: it is empty")


def test_the_result_is_safe_to_open_in_a_spreadsheet(shop):
    run = shop.carry_on(start(shop, lines([{"input": "a", "response": "=1+1"}]), "c.jsonl").id)
    text = result(shop, run, "csv").decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["response"] == "'=1+1" and float(row["reward"]) and row["row"] == "1"
    table = pq.read_table(io.BytesIO(result(shop, run, "parquet")))
    assert table.column_names == ["row", "input", "response", "reward", "spread", "cut", "error"]


def test_what_cannot_be_read_is_named(shop):
    run = shop.carry_on(start(shop, lines([*ROWS[:2], "{broken", {"prompt": "x"}, ["y"]]), "d.jsonl").id)
    assert run.status == "succeeded" and run.result["unreadable"] == 3
    assert [note.split(":")[0] for note in run.result["notes"]] == ["Line 3", "Line 4", "Line 5"]
    for data, name, said in (
        (lines([{"a": 1}]), "e.jsonl", "No column for: Input, Response"),
        (lines([{"input": "", "response": "x"}]), "e.jsonl", "line 1: input: it is empty"),
        (b"", "e.jsonl", "The file is empty"),
        (b"PK\x03\x04", "e.csv", "a zip archive or a spreadsheet"),
    ):
        with pytest.raises(Invalid, match=said):
            start(shop, data, name)
    with pytest.raises(Invalid, match=r"columns.input: the file has no column “nothing”"):
        start(shop, lines(ROWS), "e.jsonl", columns={"input": ["nothing"], "response": ["answer"]})
    with pytest.raises(Invalid, match="there is no reward model x"):
        start(shop, lines(ROWS), "e.jsonl", model_id="x")
    assert list(staging().iterdir()) == []


def test_a_killed_worker_scores_nothing_twice(shop, monkeypatch):
    monkeypatch.setattr(files_work, "PART", 3)
    run = start(shop, lines(ROWS), "f.jsonl")
    asked: list[int] = []
    real = files_work.scored

    def dying(scorer, inputs, responses):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(len(inputs))
        return real(scorer, inputs, responses)

    context = RunContext(run_folder(run.id))
    with monkeypatch.context() as patch:
        patch.setattr(files_work, "scored", dying)
        with pytest.raises(KeyboardInterrupt):
            files_work.run(context)
    context.close()
    monkeypatch.setattr(files_work, "scored", lambda *args: asked.append(len(args[1])) or real(*args))
    ended = shop.carry_on(run.id)
    assert ended.status == "succeeded" and asked == [3, 3, 2]
    assert len(result(shop, ended).splitlines()) == 8


def test_programs_send_a_file_and_fetch_it(shop, api, person):
    client = api(shop.who)
    path = f"/projects/{shop.project.id}/score-files"
    answer = client.post(path, params={"name": "g.jsonl"}, content=lines(ROWS))
    assert answer.status_code == 202 and answer.json()["kind"] == "score_file", answer.text
    key = answer.json()["id"]
    assert client.get(f"/runs/{key}/scores").status_code == 409
    shop.carry_on(key)
    found = client.get(f"/runs/{key}/scores", params={"as": "csv"})
    assert 'filename="g-scored.csv"' in found.headers["content-disposition"]
    assert len(found.text.splitlines()) == 9
    assert client.get(f"/runs/{key}/scores", params={"as": "xls"}).status_code == 422
    assert api(person("lead")).post(path, params={"name": "g.jsonl"}, content=b"{}").status_code == 403
    assert api(shop.who, Scope.READ).get(f"/runs/{key}/scores").status_code == 200


def test_programs_read_the_scores_of_all_responses(shop, api, person):
    client = api(shop.who)
    base = f"/projects/{shop.project.id}"
    assert client.get(f"{base}/scores").json() == []
    assert client.get(f"{base}/leaderboard-by-reward").status_code == 404
    assert client.get(f"{base}/scores/standing").json()["missing"] == 24
    assert client.put(f"{base}/scores/keep", json={"keep": True}).json()["keep"] is True
    assert api(person("lead")).put(f"{base}/scores/keep", json={"keep": True}).status_code == 403
    shop.score(scope="all")
    answer = client.get(f"{base}/scores", params={"limit": 5, "order": "lowest"})
    assert answer.headers["X-Total-Count"] == "24" and len(answer.json()) == 5
    rewards = [row["reward"] for row in answer.json()]
    assert rewards == sorted(rewards)
    found = client.get(f"{base}/leaderboard-by-reward").json()
    assert len(found["items"]) == 3 and found["items"][0]["reward"]["n"] > 1


def test_the_page_scores_a_file(shop, open_page):
    at = open_page(shop.who, "reward_scores.py", shop.project)
    at.segmented_control(key="scores_view").set_value("file").run()
    assert not at.exception and "Score a file" in texts(at)
    run = start(shop, lines(ROWS), "h.jsonl")
    at.run()
    assert at.button(key=f"cancel_{run.id}")
    shop.carry_on(run.id)
    at.run()
    assert not at.exception and "8 rows · mean reward" in texts(at)
