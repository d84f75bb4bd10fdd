"""A whole run from its folder, with a fake host: budget, resume, finish, cancel."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.llm.protocol import HostSpec
from core.optimize import work
from core.optimize.protocol import FINISH_WORDS
from core.runs.context import Cancelled, RunContext, WorkError
from tests.optimize.fakes import FakeHost, FakeScorer, Killed, make_folder


@pytest.fixture
def host(monkeypatch):
    """`host(kill_at=…)` makes the host that the next run opens."""
    made = []

    def use(**options):
        one = FakeHost(**options)
        made.append(one)
        monkeypatch.setattr(work, "open_host", lambda spec, models_dir: one)
        return one

    monkeypatch.setattr(work, "open_scorer", lambda folder: FakeScorer())
    use()
    yield use


def run(folder):
    context = RunContext(folder)
    try:
        return work.run(context)
    finally:
        context.close()


def candidates(folder):
    """As the ingester keeps them: by number, the last word counts."""
    events, _ = folder.read_events()
    return {event["data"]["number"]: event["data"] for event in events if event["type"] == "candidate"}


def stable(result):
    return {name: value for name, value in result.items() if name not in ("seconds", "lost_calls")}


@pytest.mark.parametrize("reward", ["labels", "reward_model"])
def test_a_run_finds_something_better_and_says_so(tmp_path, host, reward):
    fake = host()
    folder = make_folder(tmp_path / "r", reward=reward, calls=900)
    result = run(folder)
    assert result["best"]["text"] != result["start"]["text"]
    assert result["best"]["train"]["score"] > result["start"]["train"]["score"]
    for split, n in (("train", 12), ("dev", 6), ("test", 8)):
        assert result["best"][split]["n"] == n
        assert result["best"][split]["low"] <= result["best"][split]["score"] <= result["best"][split]["high"]
    gain = result["gain"]
    assert gain["score"] == pytest.approx(result["best"]["test"]["score"] - result["start"]["test"]["score"])
    assert gain["low"] <= gain["score"] <= gain["high"]
    assert result["finish_reason"] in FINISH_WORDS and result["finish_words"]
    assert result["calls"] == fake.calls <= 900
    assert result["calls_by_purpose"]["target"] + result["calls_by_purpose"]["optimizer"] == fake.calls
    assert result["candidates"] == len(candidates(folder))
    json.dumps(result, allow_nan=False)


def test_the_chosen_one_has_the_best_dev_score_and_only_it_and_the_start_see_test(tmp_path, host):
    folder = make_folder(tmp_path / "r", calls=900)
    result = run(folder)
    found = candidates(folder)
    on_dev = {number: c["scores"]["dev"]["score"] for number, c in found.items() if "dev" in c["scores"]}
    assert set(on_dev) == {0, *result["finalists"]} and len(result["finalists"]) == 3
    assert on_dev[result["best"]["number"]] == max(on_dev.values())
    assert {number for number, c in found.items() if "test" in c["scores"]} == {0, result["best"]["number"]}
    assert found[result["best"]["number"]]["scores"]["test"] == result["best"]["test"]


def test_events_tell_the_story(tmp_path, host):
    folder = make_folder(tmp_path / "r", calls=500)
    result = run(folder)
    events, _ = folder.read_events()
    ledger = {e["data"]["purpose"]: e["data"] for e in events if e["type"] == "ledger"}
    assert {purpose: line["calls"] for purpose, line in ledger.items()} == result["calls_by_purpose"]
    best = [e["data"]["best"] for e in events if e["type"] == "metric"]
    assert best == sorted(best)
    fractions = [e["data"]["fraction"] for e in events if e["type"] == "progress"]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.integers(80, 700), seed=st.integers(0, 50), edits=st.integers(1, 2))
def test_the_budget_is_never_overrun_and_the_end_is_always_paid(tmp_path_factory, host, calls, seed, edits):
    fake = host()
    folder = make_folder(tmp_path_factory.mktemp("r") / "r", calls=calls, seed=seed, edits=edits)
    result = run(folder)
    assert result["calls"] == fake.calls <= calls
    assert result["candidates"] >= 2
    assert result["best"]["test"]["n"] == 8 and result["gain"] is not None
    if result["finish_reason"] == "budget":  # it stopped because one more did not fit
        reserve = 6 * (len(result["finalists"]) + 1) + 8 * (1 + result["improved"])
        assert calls - (fake.calls - reserve) < folder.spec["config"]["plan"]["reserve"] + 12 + 12


@pytest.mark.parametrize("reward", ["labels", "reward_model"])
def test_killed_anywhere_it_resumes_to_the_same_end(tmp_path, host, reward):
    host()
    whole_folder = make_folder(tmp_path / "whole", reward=reward, calls=420)
    whole = run(whole_folder)
    folder = make_folder(tmp_path / "killed", reward=reward, calls=420)
    result, kills, reach = None, 0, 7
    while result is None:
        host(kill_at=reach)
        try:
            result = run(folder)
        except Killed:
            kills += 1
            reach = 7 + kills * 9
    assert kills > 3
    assert result["lost_calls"] > 0
    assert stable(result) == stable(whole)
    assert candidates(folder) == candidates(whole_folder)


def test_half_a_line_of_a_killed_writer_is_dropped(tmp_path, host):
    host(kill_at=100)
    folder = make_folder(tmp_path / "killed", calls=420)
    with pytest.raises(Killed):
        run(folder)
    with (folder.state / "answers.jsonl").open("a") as file:
        file.write('{"purpose": "target", "answ')
    host()
    result = run(folder)
    host()
    assert stable(result) == stable(run(make_folder(tmp_path / "whole", calls=420)))


def test_calls_lost_on_a_paid_host_count_against_the_budget(tmp_path, host):
    spec = HostSpec(kind="openai", name="paid")
    folder = make_folder(tmp_path / "r", calls=300, host=spec)
    spent = 0
    for _ in range(3):
        fake = host(spec=spec, kill_at=60)
        with pytest.raises(Killed):
            run(folder)
        spent += fake.calls
    fake = host(spec=spec)
    result = run(folder)
    assert result["lost_calls"] > 0
    assert result["calls"] == spent + fake.calls + result["lost_calls"] <= 300


def test_cancel_keeps_the_best_so_far_and_resume_goes_on(tmp_path, host):
    host()
    whole = run(make_folder(tmp_path / "whole", calls=600))
    folder = make_folder(tmp_path / "r", calls=600)
    fake = host()
    answer = fake.label_logprobs

    def asked(requests, labels):
        if fake.calls > 100:
            folder.request_cancel()
        return answer(requests, labels)

    fake.label_logprobs = asked
    result = run(folder)
    assert (result["finish_reason"], result["partial"]) == ("cancelled", True)
    assert result["best"]["test"] is None and result["gain"] is None
    assert result["best"]["train"]["score"] >= result["start"]["train"]["score"]
    assert fake.calls < 100 + 2 * 70  # the iteration in hand is finished, and no other begun
    (folder.path / "cancel").unlink()
    host()
    assert stable(run(folder)) == stable(whole)


@pytest.mark.parametrize("after", [0, 100, -30])  # in the search, and while choosing on dev
def test_pause_ends_after_the_step_in_hand_and_resume_goes_on(tmp_path, host, after):
    host()
    whole = run(make_folder(tmp_path / "whole", calls=600))
    folder = make_folder(tmp_path / "r", calls=600)
    fake = host()
    answer = fake.label_logprobs

    def asked(requests, labels):
        if fake.calls >= (after if after >= 0 else whole["calls"] + after):
            folder.request_pause()
        return answer(requests, labels)

    fake.label_logprobs = asked
    result = run(folder)
    assert (result["finish_reason"], result["partial"]) == ("paused", True)
    assert result["best"]["test"] is None and result["start"]["train"]["n"] == 12
    paid = fake.calls
    (folder.path / "pause").unlink()
    again = host()
    assert stable(run(folder)) == stable(whole)
    assert paid + again.calls == whole["calls"]  # nothing was paid for twice, nothing thrown away


def test_cancelled_before_anything_was_scored(tmp_path, host):
    folder = make_folder(tmp_path / "r")
    folder.request_cancel()
    with pytest.raises(Cancelled):
        run(folder)


@pytest.mark.parametrize(
    ("stop", "reason"),
    [({"target": 1.0}, "target"), ({"no_improvement": 1}, "no_improvement"), ({"seconds": 1e-9}, "time")],
)
def test_stop_conditions(tmp_path, host, stop, reason):
    result = run(with_stop(make_folder(tmp_path / "r", calls=900), **stop))
    assert result["finish_reason"] == reason
    assert result["best"]["test"] is not None


def with_stop(folder, **stop):
    spec = folder.spec
    spec["config"]["stop"] = stop
    (folder.path / "spec.json").write_text(json.dumps(spec))
    return folder


def priced(fake, cost=0.002):
    """The host's answers cost this much each."""
    generate = fake.generate
    fake.generate = lambda *asked, **more: [replace(answer, cost=cost) for answer in generate(*asked, **more)]
    return fake


@pytest.mark.parametrize("limit", [2_000, 4_000, 9_000])
@pytest.mark.parametrize("kind", ["local", "openai"])
def test_a_limit_on_tokens_is_overrun_by_one_batch_at_most(tmp_path, host, limit, kind):
    spec = HostSpec(kind=kind, name="h")
    host(spec=spec)
    folder = with_stop(
        make_folder(tmp_path / "r", reward="reward_model", calls=900, method="random", host=spec),
        tokens=limit,
    )
    result = run(folder)
    spent = result["tokens_in"] + result["tokens_out"]
    batch = (32 if kind == "local" else 16) * 70  # the longest answers are proposals, of 70 tokens
    assert result["finish_reason"] == "tokens" and spent < limit + batch
    if limit > 2_000:  # the end was set aside: chosen on dev, reported on test
        assert result["best"]["dev"]["n"] == 6 and result["best"]["test"]["n"] == 8


def test_a_limit_on_cost_holds_over_kills_and_names_itself(tmp_path, host):
    priced(host())
    folder = with_stop(
        make_folder(tmp_path / "whole", reward="reward_model", calls=900, method="opro"), cost=0.35
    )
    whole = run(folder)
    assert whole["finish_reason"] == "cost" and whole["cost"] < 0.35 + 32 * 0.002
    assert "limit on cost" in whole["finish_words"]
    folder = with_stop(
        make_folder(tmp_path / "killed", reward="reward_model", calls=900, method="opro"), cost=0.35
    )
    priced(host(kill_at=90))
    with pytest.raises(Killed):
        run(folder)
    priced(host())
    assert stable(run(folder)) == stable(whole)


def test_a_limit_that_does_not_score_the_start_says_so(tmp_path, host):
    spec = HostSpec(kind="openai", name="h")
    host(spec=spec)
    folder = make_folder(tmp_path / "r", reward="reward_model", calls=900, sizes=(40, 6, 8), host=spec)
    with pytest.raises(WorkError, match="did not score the start"):
        run(with_stop(folder, tokens=10))


def test_nothing_better_is_said_to_be_nothing_better(tmp_path, host):
    fake = host()
    fake.label_logprobs = lambda requests, labels: np.zeros((len(requests), 2))
    result = run(make_folder(tmp_path / "r", calls=900))
    assert result["improved"] is False and result["best"]["number"] == 0
    assert result["finish_reason"] == "patience"
    assert (result["gain"]["score"], result["gain"]["low"], result["gain"]["high"]) == (0, 0, 0)


def test_a_host_that_answers_nothing_is_a_reason_to_act_on(tmp_path, host):
    from core.llm.protocol import Completion

    fake = host()
    fake.generate = lambda requests, sampling, on_done=None: [Completion("", error="503") for _ in requests]
    folder = make_folder(tmp_path / "r", reward="reward_model")
    with pytest.raises(WorkError, match="answered none of 12 requests: 503"):
        run(folder)
    host()
    assert run(folder)["best"]["test"]  # the failures were not kept as answers


def test_a_host_without_label_probabilities_is_refused(tmp_path, host):
    host().access = frozenset({"text"})
    with pytest.raises(WorkError, match="gives no label_logprobs"):
        run(make_folder(tmp_path / "r"))
