"""Training on a tiny random model: it learns, says what it did, is the same again, and
goes on after a kill to the same weights."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from core.reward import presets
from core.runs.context import Cancelled, RunContext, WorkError
from tests.conftest import ROOT
from tests.reward.tiny import pair_rows, run_folder, tiny_backbone


class Killed(Exception):
    pass


class FragileContext(RunContext):
    """Dies, as a killed process does, when the loss of a step is about to be told."""

    die_at: int | None = None
    cancel_at: int | None = None

    def metric(self, step: int, **values: float) -> None:
        if self.die_at is not None and step >= self.die_at:
            raise Killed
        super().metric(step, **values)
        if self.cancel_at is not None and step >= self.cancel_at:
            self.folder.request_cancel()


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("tiny"))


def learn_fast(patch):
    """A random model of 32 dimensions needs larger steps than a pre-trained one, and no
    second thread."""
    import torch

    for name, preset in presets.PRESETS.items():
        patch.setitem(presets.PRESETS, name, replace(preset, learning_rate=3e-3, frozen=0.0, epochs=2))
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def fast_learning(monkeypatch):
    learn_fast(monkeypatch)


def train(folder, context=RunContext, **attributes):
    from core.reward.work import run

    made = context(folder)
    for name, value in attributes.items():
        setattr(made, name, value)
    try:
        return run(made)
    finally:
        made.close()


def weights(folder):
    return load_file(folder.artifacts / "model" / "model.safetensors")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, backbone):
    """One whole training that several tests look at."""
    patch = pytest.MonkeyPatch()
    learn_fast(patch)
    folder = run_folder(tmp_path_factory.mktemp("runs") / "whole", pair_rows(400), backbone)
    result = train(folder)
    patch.undo()
    return folder, result


def test_it_learns_and_says_what_it_did(trained):
    folder, result = trained
    assert result["accuracy"] > 0.9 and result["n_test"] == 60
    assert result["accuracy_low"] < result["accuracy"] <= result["accuracy_high"]
    assert (result["n_train"], result["n_dev"]) == (280, 60)
    assert result["log_loss"] < 0.4 and 0 <= result["brier"] < 0.25 and 0 <= result["ece"] < 0.5
    assert set(result["baselines"]) == {"longer", "shorter", "left"}
    assert result["settings"]["max_length"] == 128 and result["settings"]["steps"] > 0
    assert result["partial"] is False and result["seconds"] > 0
    events = folder.read_events()[0]
    losses = [e["data"]["loss"] for e in events if e["type"] == "metric" and "loss" in e["data"]]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.2
    shares = [e["data"]["fraction"] for e in events if e["type"] == "progress"]
    assert shares == sorted(shares) and shares[-1] == 1.0
    files = {path.name for path in (folder.artifacts / "model").iterdir()}
    assert {"model.safetensors", "reward.json", "tokenizer.json", "config.json"} <= files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pth", ".pkl"))]


def test_scores_are_normalised_and_tokenised_as_in_training(trained):
    from core.reward.score import RewardScorer

    folder, result = trained
    scorer = RewardScorer(folder.artifacts / "model")
    rows = [row for row in pair_rows(400) if row["split"] == "train"]
    inputs = [row["input"] for row in rows]
    a = scorer.score(inputs, [row["response_a"] for row in rows])
    b = scorer.score(inputs, [row["response_b"] for row in rows])
    both = np.concatenate([a, b])
    assert both.shape == (2 * len(rows),)
    # Half of the responses were drawn to fit this, so not exactly.
    assert abs(both.mean()) < 0.1 and abs(both.std() - 1) < 0.1
    test = [row for row in pair_rows(400) if row["split"] == "test"]
    p = scorer.preference(
        [row["input"] for row in test],
        [row["response_a"] for row in test],
        [row["response_b"] for row in test],
    )
    agreed = np.mean((p > 0.5) == np.array([row["q"] > 0.5 for row in test]))
    assert agreed == pytest.approx(result["accuracy"], abs=1e-9)
    # Alone or in company, first or last: padding changes nothing but the rounding.
    alone = scorer.score(inputs[:1], [rows[0]["response_a"]])
    assert alone[0] == pytest.approx(a[0], abs=0.02)
    assert scorer.score([], []).shape == (0,) and scorer.cut_share == 0.0
    scorer.score(["word1 " * 300], ["word2"])
    assert scorer.cut_share > 0


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path, backbone):
    rows = pair_rows(120, soft=True)
    folders = [
        run_folder(tmp_path / name, rows, backbone, seed=seed)
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    ]
    results = [train(folder) for folder in folders]
    one, again, other = map(weights, folders)
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert results[0]["log_loss"] == results[1]["log_loss"]
    assert any(not np.array_equal(one[name], other[name]) for name in one)
    assert results[0]["n_test_ties"] > 0  # ties count for the loss, not for the accuracy
    assert results[0]["n_test"] + results[0]["n_test_ties"] == results[0]["n_test_pairs"]


def test_killed_and_resumed_equals_uninterrupted(tmp_path, backbone):
    rows = pair_rows(120)
    whole = run_folder(tmp_path / "whole", rows, backbone, checkpoint_s=0)
    expected = train(whole)
    total = expected["settings"]["steps"]
    killed = run_folder(tmp_path / "killed", rows, backbone, checkpoint_s=0)
    for die_at in (total // 3, 2 * total // 3):  # twice: once before and once after the best state
        with pytest.raises(Killed):
            train(killed, FragileContext, die_at=die_at)
        assert list(killed.state.rglob("checkpoint-*"))
        assert not [p for p in killed.state.rglob("*") if p.suffix in (".pt", ".pth", ".bin", ".pkl")]
    result = train(killed)
    assert any("Going on from step" in e["data"].get("text", "") for e in killed.read_events()[0])
    one, other = weights(whole), weights(killed)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert result["settings"] == expected["settings"]
    for name in ("accuracy", "log_loss", "temperature"):
        assert result[name] == pytest.approx(expected[name], abs=1e-5)


def test_cancelled_half_way_keeps_what_there_is_and_can_go_on(tmp_path, backbone):
    rows = pair_rows(120)
    whole = run_folder(tmp_path / "whole", rows, backbone)
    expected = train(whole)
    folder = run_folder(tmp_path / "stopped", rows, backbone)
    result = train(folder, FragileContext, cancel_at=10)
    assert result["partial"] is True and result["settings"]["steps"] < expected["settings"]["steps"]
    assert (folder.artifacts / "model" / "reward.json").exists()
    (folder.path / "cancel").unlink()
    finished = train(folder)
    assert finished["partial"] is False
    one, other = weights(whole), weights(folder)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_cancelled_before_it_began_keeps_nothing(tmp_path, backbone):
    folder = run_folder(tmp_path / "run", pair_rows(60), backbone)
    folder.request_cancel()
    with pytest.raises(Cancelled):
        train(folder)
    assert not (folder.artifacts / "model").exists()


def test_a_backbone_that_is_not_there_is_named(tmp_path):
    folder = run_folder(tmp_path / "run", pair_rows(60), tmp_path / "nowhere")
    with pytest.raises(WorkError, match="nowhere") as problem:
        train(folder)
    assert "embedded" in problem.value.hint


def test_few_test_pairs_and_simulated_votes_are_said(tmp_path, backbone):
    rows = pair_rows(60)
    for row in rows[::2]:
        row["n_simulated"] = row["n"]
    result = train(run_folder(tmp_path / "run", rows, backbone, simulated_by_default=True))
    assert result["n_test"] == 9
    assert result["simulated_share"] == pytest.approx(0.5)
    said = " ".join(result["notes"])
    assert "Only 9 decided test pairs" in said and "50 % of the votes are simulated" in said
    assert result["human_test"]["n"] < result["n_test"]
    assert result["temperature"] == 1.0  # nine dev pairs say nothing about it


def test_without_dev_pairs_it_is_trained_and_not_calibrated(tmp_path, backbone):
    rows = [row for row in pair_rows(80, seed=3) if row["split"] != "dev"]
    result = train(run_folder(tmp_path / "run", rows, backbone))
    assert (result["n_dev"], result["temperature"]) == (0, 1.0) and result["n_test"] == 12
    assert any("Only 0 dev pairs" in note for note in result["notes"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_minus_nine_of_the_worker(tmp_path, backbone):
    """A real worker process, a real SIGKILL in its second member, and to the bit the weights of
    a worker that was left alone; with kept activations, accumulation and an ensemble."""
    rows = pair_rows(60)
    options = {"members": 2, "accumulation": 2, "checkpoint_s": 0}
    whole, folder = (run_folder(tmp_path / name, rows, backbone, **options) for name in ("whole", "killed"))

    def start(of):
        return [sys.executable, "-m", "core.runs.worker", str(of.path)]

    silent = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    alone = subprocess.Popen(start(whole), **silent)
    steps = 11 * 4  # of a member: 42 pairs, 4 at a time, four passes

    def steps_told() -> int:
        return max((e["data"]["step"] for e in folder.read_events()[0] if e["type"] == "metric"), default=0)

    worker = subprocess.Popen(start(folder), **silent)
    until = time.monotonic() + 300
    while steps_told() < steps + 8 and worker.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert folder.result is None and list(folder.state.rglob("checkpoint-*"))
    done = subprocess.run(start(folder), cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    assert folder.result["status"] == "succeeded", folder.result
    assert alone.wait(timeout=400) == 0 and whole.result["result"]["settings"]["steps"] == steps
    assert whole.result["result"]["settings"]["kept_activations"]
    numbers = [e["n"] for e in folder.read_events()[0]]
    assert numbers == list(range(1, len(numbers) + 1))
    told = [e["data"].get("text", "") for e in folder.read_events()[0]]
    assert any("Going on from step" in text and "member 2" in text for text in told)
    for place in ("model.safetensors", "members/1/model.safetensors"):
        one, other = (load_file(of.artifacts / "model" / place) for of in (whole, folder))
        assert all(np.array_equal(one[name], other[name]) for name in one), place
    assert folder.result["result"]["accuracy"] == whole.result["result"]["accuracy"]


@pytest.mark.slow
def test_the_embedded_backbone_learns_what_the_votes_say(tmp_path, monkeypatch):
    """MiniLM with the real presets, on pairs of kind and rude words among others."""
    import torch

    from core.reward.score import RewardScorer

    monkeypatch.undo()  # the real presets
    torch.set_num_threads(2)
    folder = run_folder(tmp_path / "run", pair_rows(100), "embedded", max_length=64)
    result = train(folder)
    assert result["accuracy"] >= 0.9, result
    assert result["settings"]["frozen_layers"] == 4 and result["settings"]["layers"] == 6
    assert result["settings"]["max_length"] == 64
    scorer = RewardScorer(folder.artifacts / "model")
    kind, rude = scorer.score(["word3 word4"] * 2, ["a kind and honest answer", "a rude and false answer"])
    assert kind > rude
