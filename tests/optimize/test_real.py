"""With real models: a worker killed with -9 goes on to the same end, and a search on SST-2
with the embedded model does something sensible."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from core.llm.protocol import HostSpec
from core.optimize import work
from core.optimize.methods import METHODS
from core.optimize.protocol import FINISH_WORDS
from core.runs.context import RunContext
from core.runs.folder import write_json
from tests.conftest import ROOT, SHARED_DATA
from tests.optimize.fakes import make_folder


def worker(folder, **kwargs):
    return subprocess.Popen(
        [sys.executable, "-m", "core.runs.worker", str(folder.path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **kwargs,
    )


# A search by edits, one with vectors of its own, and one that trains a writer: its options, its calls, and after how many lines of the books it is killed.
KILLED = {
    "grips": ({"operations": ["delete", "swap", "substitute"]}, 300, 9),
    "prompt_tuning": ({"batch": 4, "every": 2, "steps": 30}, 700, 14),
    "ppo": ({"batch": 3, "minibatch": 2, "tokens": 8, "finals": 1, "every": 2, "rank": 2}, 500, 40),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLED)
def test_a_worker_killed_with_9_goes_on_to_the_same_end(tmp_path, name):
    """The same candidates with the same scores, vectors to the bit, and the same result."""
    from tests.llm.tiny import build

    options, calls, lines = KILLED[name]
    model = build(tmp_path / "tiny", context=512)
    spec = HostSpec(model=str(model), name="tiny", params={"dtype": "float32", "device": "cpu"})

    def new(path):
        return make_folder(tmp_path / path, method=name, calls=calls, host=spec, **options)

    whole, killed = new("whole"), new("killed")
    process = worker(killed)
    answers, steps = killed.state / "answers.jsonl", killed.state / "search.json"
    until = time.monotonic() + 120
    while time.monotonic() < until and not (
        steps.exists() and answers.exists() and answers.read_text().count("\n") >= lines
    ):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert killed.result is None and steps.exists()  # it was killed at work, not before or after it
    last = worker(whole), worker(killed)
    assert [process.wait(240) for process in last] == [0, 0]

    def end(folder):
        result = folder.result["result"]
        return {name: result[name] for name in result if name not in ("seconds", "lost_calls")}

    def candidates(folder):
        """By number, as they were told last; when a line was lost, it was told again."""
        events = [json.loads(line) for line in (folder.path / "events.jsonl").read_text().splitlines()]
        told = [event["data"] for event in events if event["type"] == "candidate"]
        return {one["number"]: one for one in told}

    assert candidates(killed) == candidates(whole) and len(candidates(whole)) > 2
    assert end(killed) == end(whole)
    assert vectors(killed) == vectors(whole)


def vectors(folder):
    """The files of soft prompts that a search trained: their names are hashes of what they hold."""
    return {path.name: path.read_bytes() for path in (folder.artifacts / "soft").glob("*.safetensors")}


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED_DATA / "sst2").exists(), reason="needs the SST-2 data beside the checkout")
def test_sst2_with_the_embedded_model(tmp_path):
    """GrIPS's own setting in small: 16 examples a label, SmolLM2-135M. Its numbers are
    noisy; that the books are right and that nothing gets worse on train is not."""
    folder = make_folder(tmp_path / "r", calls=150, sizes=(16, 8, 16), finalists=1, host=HostSpec())
    sst2_inputs(folder, {"train": 16, "dev": 8, "test": 16})
    context = RunContext(folder)
    result = work.run(context)
    context.close()
    assert result["calls"] <= 150 and result["candidates"] >= 4
    assert result["best"]["train"]["score"] >= result["start"]["train"]["score"]
    for split, n in (("train", 16), ("test", 16)):
        assert result["best"][split]["n"] == n
        assert 0 <= result["start"][split]["accuracy"] <= 1
    # A general instruction already tells the labels apart: better than one label for all.
    assert result["start"]["train"]["entropy"] > 0


def sst2_inputs(folder, sizes):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for split, count in sizes.items():
        with (SHARED_DATA / "sst2" / f"{split}.tsv").open(encoding="utf-8") as file:
            there = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        for label in ("0", "1"):
            for i, row in enumerate([row for row in there if row["label"] == label][: count // 2]):
                fields = json.dumps({"input": row["sentence"]})
                rows.append(
                    {"id": f"{split}-{label}-{i}", "split": split, "input": row["sentence"], "fields": fields,
                     "messages": None, "reference": label}
                )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder.inputs / "examples.parquet")
    write_json(folder.inputs / "host.json", HostSpec().as_dict())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random model of a few thousand weights: what it says makes no sense, and that is
    what a method has to live with."""
    from tests.llm.tiny import build

    folder = build(tmp_path_factory.mktemp("tiny") / "model", context=2_048)
    return HostSpec(model=str(folder), name="tiny", params={"dtype": "float32", "device": "cpu"})


SMALL = {
    "gepa": {"reflection_tokens": 32, "iterations": 4},
    "ape": {"subsets": 1, "per_subset": 4, "rounds": 3},
    **{
        name: {"batch": 3, "minibatch": 2, "tokens": 8, "finals": 1, "every": 2}
        for name in ("ppo", "grpo", "rloo")
    },
    "rlprompt": {"prompts": 2, "batch": 3},
    "autoprompt": {"batch": 3, "accumulate": 1, "candidates": 2},
}


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_ends_on_a_real_model(tmp_path, tiny, name):
    folder = make_folder(
        tmp_path / "r", method=name, calls=90, sizes=(6, 3, 4), finalists=1, host=tiny, **SMALL.get(name, {})
    )
    # Words the wrong way round: the tiny model happens to have the others right, and a method
    # that learns from mistakes would have none to learn from.
    words = {"0": "positive", "1": "negative"}
    write_json(folder.inputs / "reward.json", {"kind": "labels", "words": words})
    context = RunContext(folder)
    result = work.run(context)
    context.close()
    assert result["finish_reason"] in FINISH_WORDS and result["calls"] <= 90
    assert result["best"]["test"]["n"] == 4 and result["gain"] is not None
    events, _ = folder.read_events()
    found = {event["data"]["number"]: event["data"] for event in events if event["type"] == "candidate"}
    assert any(number and one["scores"]["train"]["n"] == 6 for number, one in found.items())
