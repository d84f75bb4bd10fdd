"""Whole runs from their folders, with the tiny model as target and as writer."""

import json

import pytest
import torch
from safetensors.torch import load_file

from core.llm.protocol import HostSpec
from core.optimize import work
from tests.optimize.fakes import Killed, make_folder
from tests.optimize.test_run import candidates, run, stable

OPTIONS = {
    "batch": 3, "minibatch": 4, "steps": 3, "every": 2, "finals": 1, "epochs": 2, "tokens": 10, "rank": 2,
    "learning_rate": 0.01, "exemplars": 1,
}  # fmt: skip


@pytest.fixture
def opened(tiny, monkeypatch):
    """`opened(kill_at)`: the next run opens a host of its own, which dies when it is asked to
    score for the n-th time."""
    from core.llm.local import LocalHost

    spec = HostSpec(model=tiny.spec.model, name="tiny", params={"dtype": "float32", "device": "cpu"})

    def use(kill_at=None):
        def open_host(spec, models_dir):
            host = LocalHost(spec, models_dir)
            score, asked = host.label_logprobs, []

            def label_logprobs(requests, labels):
                asked.append(len(requests))
                if len(asked) == kill_at:
                    raise Killed
                return score(requests, labels)

            host.label_logprobs = label_logprobs
            return host

        monkeypatch.setattr(work, "open_host", open_host)
        return spec

    return use


def figures(folder):
    """What a policy said of its steps: step -> (calls, figures); what was told first counts."""
    events, _ = folder.read_events()
    told = [event["data"] for event in events if event["type"] == "policy"]
    return {one["step"]: (one["calls"], one["figures"]) for one in reversed(told)}


def test_a_step_whose_line_was_lost_with_the_process_is_told_again(tmp_path, opened):
    folder = make_folder(tmp_path / "r", method="ppo", calls=600, finalists=1, host=opened(5), **OPTIONS)
    with pytest.raises(Killed):
        run(folder)
    before = figures(folder)
    lines = folder.events.read_text().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if '"policy"' in line)
    folder.events.write_text("".join(lines[:last]))
    opened()
    run(folder)
    after = figures(folder)
    assert sorted(before) == [1, 2] and sorted(after) == [1, 2, 3]
    assert after[1] == before[1] and after[2][1] == before[2][1]


@pytest.mark.parametrize("name", ["ppo", "grpo", "rloo"])
def test_killed_in_a_step_it_ends_with_the_same_candidates_books_and_weights(tmp_path, opened, name):
    def folder(place):
        return make_folder(tmp_path / place, method=name, calls=600, finalists=1, host=opened(), **OPTIONS)

    whole = folder("whole")
    end = run(whole)
    assert end["candidates"] >= 2 and end["finish_reason"] == "iterations"
    assert end["calls_by_purpose"]["optimizer"] == 3 * 3 * 9
    assert {"KL to the reference (nats a prompt)", "Degenerate prompts"} <= {
        f["label"] for f in end["figures"]
    }
    killed = folder("killed")
    opened(5)  # in the third step, after the round of the second
    with pytest.raises(Killed):
        run(killed)
    assert json.loads((killed.state / "search.json").read_text())["optimizer"]["trained"] == 2
    opened()
    assert stable(run(killed)) == stable(end)
    assert candidates(killed) == candidates(whole)
    assert figures(killed) == figures(whole) and sorted(figures(whole)) == [1, 2, 3]
    assert [of["kl"]["n"] for _, of in figures(whole).values()] == [3, 3, 3]
    kept = [load_file(next(one.state.glob("*.safetensors"))) for one in (whole, killed)]
    assert kept[0].keys() == kept[1].keys()
    assert all(torch.equal(kept[0][key], kept[1][key]) for key in kept[0])
    assert not [file for file in killed.state.rglob("*") if file.suffix in (".pt", ".bin", ".pkl", ".pth")]
