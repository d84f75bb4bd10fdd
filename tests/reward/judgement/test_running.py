"""A judgement at the end of a real (tiny) training: what stands beside the model, and planted
cheats as a whole run finds them."""

import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.reward.judgement import running
from core.runs.context import RunContext
from core.runs.folder import RunFolder
from tests.reward.test_work import learn_fast
from tests.reward.tiny import PLAIN, pair_rows, run_folder, tiny_backbone


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def fast_learning(monkeypatch):
    learn_fast(monkeypatch)


def train(folder: RunFolder, context=RunContext):
    from core.reward.work import run

    made = context(folder)
    try:
        return run(made)
    finally:
        made.close()


def judgement(folder: RunFolder):
    return json.loads((folder.artifacts / "judgement.json").read_text())


def votes_of(rows):
    return [
        {
            "pair_id": row["pair_id"],
            "annotator": f"w{j}",
            "outcome": "a" if row["q"] > 0.5 else "b",
            "left": "ab"[j % 2],
        }
        for row in rows
        for j in range(3)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, backbone):
    patch = pytest.MonkeyPatch()
    learn_fast(patch)
    rows = pair_rows(240)
    folder = run_folder(tmp_path_factory.mktemp("runs") / "whole", rows, backbone)
    pq.write_table(pa.Table.from_pylist(votes_of(rows)), folder.inputs / "votes.parquet")
    result = train(folder)
    patch.undo()
    return folder, result, rows


def test_what_is_said_is_of_the_model_that_was_kept(trained):
    from core.reward.score import RewardScorer

    folder, result, rows = trained
    found = judgement(folder)
    assert found["accuracy"]["value"] == pytest.approx(result["accuracy"])
    assert found["accuracy"]["n"] == result["n_test"] and found["n"]["votes"] == found["n"]["test"]
    after = found["calibration"]["after"]
    assert after["log_loss"]["value"] == pytest.approx(result["log_loss"], abs=1e-3)
    assert after["ece"]["value"] == pytest.approx(result["ece"], abs=1e-3)
    assert found["calibration"]["temperature"]["value"] == pytest.approx(result["temperature"])
    assert found["people"]["one_out"]["value"] == 1.0 and found["people"]["several"] == 36
    scorer, test = RewardScorer(folder.artifacts / "model"), [row for row in rows if row["split"] == "test"]
    d = np.subtract(
        *(scorer.score([r["input"] for r in test], [r[f"response_{s}"] for r in test]) for s in "ab")
    )
    kept = pq.read_table(folder.artifacts / "test_pairs.parquet").to_pylist()
    assert [row["pair_id"] for row in kept] == [row["pair_id"] for row in test]
    assert [row["d"] for row in kept] == pytest.approx(d.tolist(), abs=0.05)


def test_the_run_says_where_it_is_and_how_it_went(trained):
    folder, result, _ = trained
    short = result["judgement"]
    assert short["path"] == "artifacts/judgement.json" and short["seconds"] > 0
    assert short["people"]["n"] > 0 and "more votes should bring" in short["more_votes"]
    events = folder.read_events()[0]
    shares = [event["data"]["fraction"] for event in events if event["type"] == "progress"]
    assert shares == sorted(shares)
    said = {event["data"]["message"] for event in events if event["type"] == "progress"}
    assert {"scoring edited responses", "refitting on parts of the data"} <= said
    assert any(event["type"] == "artifact" and event["data"]["kind"] == "judgement" for event in events)


def test_a_planted_length_cheat_is_learnt_and_named(tmp_path, backbone):
    draw = random.Random(1)
    rows = pair_rows(240, seed=3)
    for row in rows:
        for side in "ab":
            row[f"response_{side}"] = " ".join(draw.choice(PLAIN) for _ in range(draw.randint(3, 40)))
        row["q"] = float(len(row["response_a"]) > len(row["response_b"]))
    folder = run_folder(tmp_path / "run", rows, backbone)
    result = train(folder)
    assert result["accuracy"] > 0.85  # it looks like a good model
    assert {"length_labels", "length_cheat"} <= set(result["judgement"]["codes"])
    assert any(
        text.startswith("Length cheat: the reward goes up for longer")
        for text in result["judgement"]["warnings"]
    )


def test_a_planted_leak_is_named(tmp_path, backbone):
    rows = pair_rows(120)
    test = [row for row in rows if row["split"] == "test"]
    rows += [{**row, "split": "train", "pair_id": f"again {row['pair_id']}"} for row in test[:9]]
    result = train(run_folder(tmp_path / "run", rows, backbone))
    [said] = [text for text in result["judgement"]["warnings"] if text.startswith("Leak:")]
    assert said.startswith("Leak: 9 of 18 test pairs have text that the model was trained on")


def test_a_failing_judgement_does_not_take_the_model_away(tmp_path, backbone, monkeypatch):
    def broken(*_args, **_options):
        raise ZeroDivisionError("a figure")

    monkeypatch.setattr(running, "judge_model", broken)
    folder = run_folder(tmp_path / "run", pair_rows(60), backbone)
    result = train(folder)
    assert (folder.artifacts / "model" / "reward.json").exists()
    assert result["judgement"]["path"] is None and "could not be judged" in result["judgement"]["error"]
    assert any(
        "ZeroDivisionError" in e["data"].get("text", "")
        for e in folder.read_events()[0]
        if e["type"] == "log"
    )


class Cancelled(RunContext):
    """A person asks to stop when the edits begin."""

    def progress(self, fraction, message=""):
        super().progress(fraction, message)
        if message == "scoring edited responses":
            self.folder.request_cancel()


def test_asked_to_stop_while_it_is_judged_the_run_keeps_model_and_figures(tmp_path, backbone):
    folder = run_folder(tmp_path / "run", pair_rows(120), backbone)
    result = train(folder, Cancelled)
    assert result["partial"] is False  # the training was whole
    found = judgement(folder)
    assert {row["part"] for row in found["skipped"]} == {"clusters", "sensitivity", "curve"} or {
        row["part"] for row in found["skipped"]
    } == {"sensitivity", "curve"}
    assert found["accuracy"]["n"] == 18 and result["judgement"]["path"]


def test_scores_that_are_known_are_not_asked_for_again():
    asked = []

    class Model:
        std, temperature = 1.0, 1.0

        def score(self, inputs, responses):
            asked.extend(responses)
            return np.array([float(len(text)) for text in responses])

    rows = [{"input": "i", "response_a": "aa", "response_b": "b"}]
    scorer = running.Remembered(Model(), running.known_scores(rows, np.array([[7.0, 8.0]])))
    assert scorer.score(["i", "i", "i", "j"], ["aa", "new", "new", "aa"]).tolist() == [7.0, 3.0, 3.0, 2.0]
    assert asked == ["new", "aa"]  # each once; the other input is another text
