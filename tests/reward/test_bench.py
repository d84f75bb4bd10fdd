"""Pairwise benchmarks: files read or refused by row, scores per subset, kill, the routes."""

import gzip
import io
import json
from math import comb

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.access import Scope
from core.errors import Forbidden, Invalid, NotFound
from core.reward import bench, bench_work
from core.reward.bench_rows import read_bench
from core.reward.judgement.benchmark import SECTIONS, chance, credit, joined, summary
from core.runs.context import RunContext
from core.runs.service import run_folder, start_run
from core.stats import wilson
from storage.tables import Run
from tests.annotation.conftest import make_person
from tests.reward.test_scoring import Shop, folders  # noqa: F401
from tests.reward.tiny import BAD, GOOD, PLAIN
from tests.reward.trained import row as made_row
from tests.reward.trained import trained

MB = 2**20


def lines(*rows) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def row(i: int, subset: str = "one", rejected: int = 1) -> dict:
    draw = np.random.default_rng(i)

    def text(word: str) -> str:
        return " ".join([*draw.choice(PLAIN, 5), word, f"t{draw.integers(1_000_000)}"])

    chosen = text(str(draw.choice(GOOD)))
    bad = [text(str(draw.choice(BAD))) for _ in range(rejected)]
    return {
        "prompt": f"word{i % 30} ?",
        "chosen": chosen,
        "rejected": bad if rejected > 1 else bad[0],
        "subset": subset,
    }


# --- reading ------------------------------------------------------------------------------


def test_formats_and_shapes():
    plain = {"prompt": "p", "chosen": "good", "rejected": "bad", "subset": "s"}
    expected = {"subset": "s", "input": "p", "chosen": ["good"], "rejected": ["bad"]}
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([plain]), parquet)
    files = {
        "b.jsonl": lines(plain),
        "b.json": json.dumps([plain]).encode(),
        "b.csv": b"prompt,chosen,rejected,subset\np,good,bad,s\n",
        "b.jsonl.gz": gzip.compress(lines(plain)),
        "b.parquet": parquet.getvalue(),
    }
    for name, data in files.items():
        [found] = read_bench(name, data, MB)
        assert {key: found[key] for key in expected} == expected, name
    # RewardBench 2: best of four; in a CSV file the lists are JSON.
    [four] = read_bench("b.jsonl", lines({**plain, "chosen": ["a"], "rejected": ["b", "c", "d"]}), MB)
    assert four["rejected"] == ["b", "c", "d"]
    [four] = read_bench("b.csv", b'prompt,chosen,rejected\np,good,"[""b"",""c""]"\n', MB)
    assert four["rejected"] == ["b", "c"] and four["subset"] == "all"
    # Conversations: the prompt is what comes before the answer.
    told = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": "so?"},
    ]
    good, bad = ([*told, {"role": "assistant", "content": text}] for text in ("yes", "no"))
    [found] = read_bench("b.jsonl", lines({"chosen": good, "rejected": bad}), MB)
    assert found["input"] == "User: hi\n\nAssistant: ho\n\nUser: so?"
    assert (found["chosen"], found["rejected"]) == (["yes"], ["no"])
    [found] = read_bench("b.jsonl", lines({"prompt": told, "chosen": "yes", "rejected": "no"}), MB)
    assert found["input"] == "User: hi\n\nAssistant: ho\n\nUser: so?"
    [found] = read_bench("b.jsonl", lines({**plain, "chosen": "[sic] good"}), MB)
    assert found["chosen"] == ["[sic] good"]  # a bracket alone is no list


GOOD_ROW = {"prompt": "p", "chosen": "good", "rejected": "bad"}


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({**GOOD_ROW, "chosen": " "}, "Line 2: chosen is empty"),
        ({**GOOD_ROW, "rejected": []}, "Line 2: rejected is empty"),
        ({**GOOD_ROW, "rejected": ["bad", None]}, "Line 2: rejected is empty, or not text"),
        ({**GOOD_ROW, "prompt": None}, "Line 2: there is no prompt"),
        ({**GOOD_ROW, "prompt": {"a": 1}}, "Line 2: prompt is neither text nor"),
        ({**GOOD_ROW, "rejected": "good"}, "Line 2: the same text is chosen and rejected"),
        (
            {**GOOD_ROW, "chosen": [{"role": "user", "content": "x"}]},
            "Line 2: chosen does not end with the assistant",
        ),
        ({**GOOD_ROW, "chosen": ["x"] * 65}, "Line 2: chosen has 65 responses"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(second, said):
    with pytest.raises(Invalid) as problem:
        read_bench("b.jsonl", lines(GOOD_ROW, second), MB)
    assert problem.value.message.startswith(said)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("b.jsonl", b"", "is empty"),
        ("b.jsonl", lines(GOOD_ROW) + b"\n{broken", "Line 2: broken JSON"),
        ("b.csv", b"prompt,chosen\np,good\n", "no column “rejected”"),
        ("b.parquet", b"not parquet", "is not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(name, data, said):
    with pytest.raises(Invalid, match=said):
        read_bench(name, data, MB)


# --- figures ------------------------------------------------------------------------------


def test_credit_by_hand():
    assert credit([2.0], [1.0]) == 1 and credit([1.0], [2.0]) == 0 and credit([1.0], [1.0]) == 0.5
    assert credit([2.0], [2.0, 1.0, 2.0]) == pytest.approx(1 / 3)  # three share the top
    assert credit([3.0, 2.0], [1.0, 1.5]) == 1 and credit([3.0, 1.2], [1.0, 1.5]) == 0
    assert chance(1, 3) == 0.25 and chance(1, 1) == 0.5 and chance(2, 3) == 1 / comb(5, 2)


def test_means_over_rows_and_over_subsets():
    rows = [
        {"subset": s, "input": f"{s}{i}", "chosen": ["x"], "rejected": ["y"]}
        for s, n in (("a", 80), ("b", 20))
        for i in range(n)
    ]
    credits = np.array([1.0] * 60 + [0.0] * 20 + [1.0] * 5 + [0.0] * 15)
    found = summary(rows, credits)
    assert [of["name"] for of in found["subsets"]] == ["a", "b"]
    assert found["weighted"]["value"] == pytest.approx(0.65) and found["mean"]["value"] == pytest.approx(0.5)
    (al, ah), (bl, bh) = wilson(60, 80), wilson(5, 20)
    assert found["mean"]["low"] == pytest.approx(0.5 - np.hypot(0.75 - al, 0.25 - bl) / 2)
    assert found["mean"]["high"] == pytest.approx(0.5 + np.hypot(ah - 0.75, bh - 0.25) / 2)
    alone = found["subsets"][0]["accuracy"]
    assert joined([alone], [1.0]) == pytest.approx(alone)


def test_the_joined_interval_covers_the_truth():
    rng, inside = np.random.default_rng(2), 0
    truths, sizes = np.array([0.9, 0.6, 0.75]), [40, 200, 80]
    for _ in range(400):
        rights = rng.binomial(sizes, truths)
        figures = [
            {"value": k / n, "low": wilson(k, n)[0], "high": wilson(k, n)[1], "n": n}
            for k, n in zip(rights, sizes, strict=True)
        ]
        found = joined(figures, [1, 1, 1])
        inside += found["low"] <= truths.mean() <= found["high"]
    assert 0.92 <= inside / 400 <= 0.98


def test_sections_of_rewardbench_weigh_mathematics_like_code():
    rows, credits = [], []
    for subset in SECTIONS["Reasoning"]:
        for i in range(2 if subset == "math-prm" else 3):
            rows.append({"subset": subset, "input": f"{subset}{i}", "chosen": ["x"], "rejected": ["y"]})
            credits.append(1.0 if subset == "math-prm" else 0.0)
    found = summary(rows, np.array(credits))
    assert [of["name"] for of in found["sections"]] == ["Reasoning"]  # the others are not whole
    assert found["sections"][0]["accuracy"]["value"] == pytest.approx(0.5)


# --- runs ---------------------------------------------------------------------------------


@pytest.fixture
def shop(db) -> Shop:
    return Shop(db, pairs=2)


def test_a_run_scores_what_the_model_scores(shop, folders):  # noqa: F811
    from core.reward.score import RewardScorer

    model = shop.model(folders[0], "one", active=True)
    rows = [row(i, "pairs") for i in range(30)] + [row(100 + i, "best of four", 3) for i in range(20)]
    queued = bench.start(shop.db, shop.who, model, "set.jsonl", lines(*rows))
    assert queued.config["rows"] == 50 and queued.config["subsets"] == 2 and "set.jsonl" in queued.name
    run = shop.carry_on(queued.id)
    assert run.status == "succeeded", run.error
    scorer, right = RewardScorer(folders[0]), []
    for of in rows:
        rejected = of["rejected"] if isinstance(of["rejected"], list) else [of["rejected"]]
        good, *bad = scorer.score([of["prompt"]] * (1 + len(rejected)), [of["chosen"], *rejected])
        right.append(good > max(bad))
    by = {of["name"]: of for of in run.result["subsets"]}
    assert by["pairs"]["accuracy"]["value"] == pytest.approx(np.mean(right[:30]), abs=0.04)
    assert by["best of four"]["accuracy"]["value"] == pytest.approx(np.mean(right[30:]), abs=0.06)
    assert by["best of four"]["chance"] == 0.25 and by["best of four"]["best_of"] == [4]
    kept = pq.read_table(run_folder(run.id).artifacts / "bench.parquet").to_pylist()
    assert [of["row"] for of in kept] == list(range(1, 51))
    # The same file again is kept once, and can be asked of another model.
    other = shop.model(folders[1], "two")
    again = bench.start(shop.db, shop.who, other, "copy.jsonl", lines(*rows))
    assert again.config["file"] == queued.config["file"]
    assert [r.id for r in bench.bench_runs(shop.db, shop.who, other)] == [again.id]


def test_killed_half_way_it_scores_nothing_twice(shop, folders, monkeypatch):  # noqa: F811
    model = shop.model(folders[0], "one", active=True)
    monkeypatch.setattr(bench_work, "PART", 8)
    queued = bench.start(shop.db, shop.who, model, "set.jsonl", lines(*[row(i) for i in range(30)]))
    parts, write = [], bench_work._write

    def fragile(path, rows):
        if len(parts) == 2:
            raise RuntimeError("killed")
        parts.append(path.name)
        write(path, rows)

    monkeypatch.setattr(bench_work, "_write", fragile)
    with pytest.raises(RuntimeError):
        bench_work.run(RunContext(run_folder(queued.id)))
    monkeypatch.setattr(bench_work, "_write", lambda path, rows: (parts.append(path.name), write(path, rows)))
    run = shop.carry_on(queued.id)
    assert run.status == "succeeded" and run.result["n"] == 30
    assert len(parts) == len(set(parts)) == 5  # four parts, and the whole


def test_what_cannot_be_started_says_so(shop, folders):  # noqa: F811
    model = shop.model(folders[0], "one", active=True)
    with pytest.raises(NotFound):
        bench.start(shop.db, shop.who, "nothing", "a.jsonl", lines(GOOD_ROW))
    with pytest.raises(Forbidden):
        bench.start(shop.db, make_person(shop.db, "lead", "lead"), model, "a.jsonl", lines(GOOD_ROW))
    for config, said in (
        ({"file": "../../etc/passwd"}, "file: there is no such"),
        ({"file": "0" * 24, "model": "x"}, "model: there is no"),
        ({"rows": 1, "what": 2}, "what: a benchmark run has no such field"),
    ):
        with pytest.raises(Invalid, match=said):
            start_run(shop.db, shop.who, shop.project.id, "reward_bench", config)


def test_programs_send_a_file_and_read_the_result(shop, folders, api):  # noqa: F811
    model = shop.model(folders[0], "one", active=True)
    client = api(shop.who)
    path = f"/reward-models/{model}/bench"
    assert client.get(path).json() == []
    refused = client.post(
        path, content=lines(GOOD_ROW, {**GOOD_ROW, "chosen": ""}), params={"name": "b.jsonl"}
    )
    assert refused.status_code == 422 and "Line 2: chosen is empty" in refused.json()["detail"]
    sent = client.post(path, content=lines(*[row(i) for i in range(12)]), params={"name": "b.jsonl"})
    assert sent.status_code == 202 and sent.json()["status"] == "queued" and sent.json()["rows"] == 12
    run = shop.carry_on(sent.json()["run_id"])
    [found] = client.get(path).json()
    assert found["status"] == "succeeded" and found["result"]["weighted"] == run.result["weighted"]
    assert api(shop.who, scope=Scope.READ).get(path).status_code == 200
    assert (
        api(shop.who, scope=Scope.READ).post(path, content=b"x", params={"name": "b.jsonl"}).status_code
        == 403
    )


def test_subsets_are_shown_with_intervals_and_chance():
    from pages.reward_bench import table_of

    found = summary(
        [
            {"subset": s, "input": f"{s}{i}", "chosen": ["x"], "rejected": ["y", "z", "u"]}
            for s in ("a", "b")
            for i in range(10)
        ],
        np.array([1.0] * 12 + [0.0] * 8),
    )
    table = table_of(found)
    assert list(table["Subset"]) == ["a", "b"] and list(table["By chance"]) == ["25.0 %", "25.0 %"]
    assert (
        table["Accuracy (95 % interval)"][0].startswith("100.0 % (72")
        and "n 10)" in table["Accuracy (95 % interval)"][0]
    )


def test_the_page_takes_a_file_and_shows_what_was_found(db, project, admin, person, open_page):
    model = trained(db, project, [made_row("p", split="train"), made_row("q")], {"q": 1.0})
    key = f"reward_tab_{model.id}"

    def opened(who):
        at = open_page(who, "reward_models.py", project)
        at.session_state[key] = "Benchmarks"
        return at.run()

    at = opened(admin)
    assert not at.exception and "has not been asked about a benchmark file yet" in at.info[0].value
    assert at.button(key=f"bench_start_{model.id}").disabled  # no file yet
    assert "Engineers and admins can send one." in opened(person("lead")).info[0].value
    run = bench.start(db, admin, model.id, "a :red[set].jsonl", lines(*[row(i) for i in range(4)]))
    at = opened(admin)
    assert not at.exception and at.button(key=f"bench_cancel_{run.id}")
    rows = [
        {"subset": s, "input": f"{s}{i}", "chosen": ["x"], "rejected": ["y"]}
        for s in ("a", "b")
        for i in range(10)
    ]

    def work(session):
        there = session.get(Run, run.id)
        there.status, there.result = "succeeded", summary(rows, np.array([1.0] * 12 + [0.0] * 8))

    db.write(work)
    at = opened(admin)
    assert not at.exception
    (table,) = (frame.value for frame in at.dataframe if "Subset" in frame.value)
    assert table["Subset"].tolist() == ["a", "b"]
    assert [metric.value for metric in at.metric].count("60.0 %") == 2
    assert any(r"a \:red" in expander.label for expander in at.expander)  # a file's name is not Markdown
