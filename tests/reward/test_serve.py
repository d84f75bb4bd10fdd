"""The resident scorer: a real process with a tiny model, asked at once by many, killed in the
middle, and by programs over HTTP."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from core.access import Scope
from core.errors import Unavailable
from core.reward import client as client_module
from core.reward.client import ScorerClient, stop_scorer
from core.reward.items import asked
from tests.annotation.conftest import make_person
from tests.reward.test_scoring import Shop, folders  # noqa: F401
from tests.reward.tiny import BAD, GOOD, PLAIN

WAIT = 120


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One scorer for the module: starting it takes seconds."""
    client = ScorerClient(600, tmp_path_factory.mktemp("scorer") / "scorer.log")
    yield client
    client.stop()


@pytest.fixture
def live_api(db, api, served, monkeypatch):
    """The API, with the module's scorer behind it."""
    monkeypatch.setattr(client_module, "_client", served)
    yield api
    monkeypatch.setattr(client_module, "_client", None)


def rows(count: int, seed: int) -> tuple[list[str], list[str]]:
    draw = np.random.default_rng(seed)
    words = [*GOOD, *BAD, *PLAIN]
    texts = [" ".join(draw.choice(words, size=draw.integers(2, 20))) for _ in range(2 * count)]
    return texts[:count], texts[count:]


def offline(folder, inputs, responses):
    from core.reward.score import RewardScorer

    return RewardScorer(folder).score(inputs, responses)


def test_requests_at_once_equal_the_offline_scores(served, folders):  # noqa: F811
    asked_for = [(folders[i % 2], rows(1 + i % 7, i)) for i in range(24)]
    with ThreadPoolExecutor(12) as pool:
        futures = list(pool.map(lambda one: served.submit(str(one[0]), *one[1]), asked_for))
    for (folder, (inputs, responses)), future in zip(asked_for, futures, strict=True):
        found = future.result(WAIT)
        # Raw scores, in bfloat16: texts that are batched otherwise differ by its rounding.
        raw = 0.02 * (np.array(found["score"]) - offline(folder, inputs, responses))
        assert np.abs(raw).max() < 0.02
        assert found["members"] == 1 and found["spread"] is None and set(found["cut"]) <= {0, 1, 2}


def test_a_killed_scorer_is_replaced_and_what_it_owed_is_answered(served, folders):  # noqa: F811
    inputs, responses = rows(3, 1)
    first = served.submit(str(folders[0]), inputs, responses).result(WAIT)
    before = served.pid
    os.kill(before, signal.SIGSTOP)  # so that the next request is surely in the middle
    owed = served.submit(str(folders[0]), inputs, responses)
    os.kill(before, signal.SIGKILL)
    assert owed.result(WAIT)["score"] == pytest.approx(first["score"])
    assert served.pid not in (None, before)
    assert served.submit(str(folders[0]), inputs, responses).result(WAIT)["score"] == pytest.approx(
        first["score"]
    )


def test_a_damaged_model_is_named_and_the_next_one_works(served, folders, tmp_path):  # noqa: F811
    (tmp_path / "reward.json").write_text("{}")
    with pytest.raises(Exception, match="does not hold a reward model"):
        served.submit(str(tmp_path), ["a"], ["b"]).result(WAIT)
    assert served.submit(str(folders[1]), ["a"], ["b"]).result(WAIT)["members"] == 1


def test_the_queue_is_bounded(folders, tmp_path):  # noqa: F811
    client = ScorerClient(600, tmp_path / "scorer.log", most_waiting=2)
    try:
        for _ in range(2):
            client.submit(str(folders[0]), ["a"], ["b"])
        with pytest.raises(Unavailable, match="2 requests wait") as problem:
            client.submit(str(folders[0]), ["a"], ["b"])
        assert problem.value.status == 503 and problem.value.retry_after > 0
    finally:
        pid = client.pid
        client.stop()
    assert client.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_idle_scorer_ends_and_comes_back(folders, tmp_path):  # noqa: F811
    client = ScorerClient(0.2, tmp_path / "scorer.log")
    try:
        client.submit(str(folders[0]), ["a"], ["b"]).result(WAIT)
        end = time.monotonic() + 20
        while client.pid is not None and time.monotonic() < end:
            time.sleep(0.05)
        assert client.pid is None
        assert client.submit(str(folders[0]), ["a"], ["b"]).result(WAIT)["cut"] == [0]
    finally:
        client.stop()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "items, pairs: send one of the two"),
        ({"items": []}, "items: it is empty"),
        ({"items": [{"input": "a", "response": "b"}, {"input": "a"}]}, "items[1].response: it is missing"),
        ({"items": [{"response": "b"}]}, "items[0].input: it is missing"),
        ({"items": [{"input": "a", "response": "  "}]}, "items[0].response: it is empty"),
        ({"items": ["text"]}, "items[0].row: it is not an object"),
        (
            {"pairs": [{"input": "a", "response_a": "b", "response_b": 3}]},
            "pairs[0].response_b: it is not a text",
        ),
        ({"items": [{"input": "a", "response": "b"}] * 257}, "items: 257 responses"),
        (
            {"items": [{"messages": [{"role": "bot", "content": "x"}], "response": "b"}]},
            "items[0].input: a message needs a role",
        ),
    ],
)
def test_bad_rows_are_named(live_api, db, folders, body, said):  # noqa: F811
    shop = Shop(db)
    shop.model(folders[0], "one", active=True)
    answer = live_api(shop.who).post(f"/projects/{shop.project.id}/score", json=body)
    assert answer.status_code == 422 and said in answer.json()["detail"]


def test_inputs_are_read_as_in_training():
    turns = [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}]
    last = {"role": "user", "content": "Three"}
    rendered = "User: One\n\nAssistant: Two\n\nUser: Three"
    for row in (
        {"input": "Three", "messages": turns},
        {"messages": [*turns, last]},
        {"input": [*turns, last]},
        {"prompt": [*turns, last]},
    ):
        assert asked([{**row, "response": "x"}], None, 9).inputs == [rendered]
    pairs = asked(None, [{"input": {"a": "1", "b": "2"}, "response_a": "x", "response_b": "y"}], 9)
    assert pairs.inputs == ["a: 1\n\nb: 2"] * 2 and pairs.responses == ["x", "y"]


def test_programs_score_items_and_pairs(live_api, db, folders):  # noqa: F811
    from core.reward.score import RewardScorer

    shop = Shop(db)
    client = live_api(shop.who, Scope.READ)
    path = f"/projects/{shop.project.id}/score"
    one = {"input": "word1 word2", "response": "kind clear word3"}
    missing = client.post(path, json={"items": [one]})
    assert missing.status_code == 409 and "no active reward model" in missing.json()["detail"]
    key = shop.model(folders[0], "one", active=True)
    answer = client.post(path, json={"items": [one]})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    scorer = RewardScorer(folders[0])
    score = scorer.score([one["input"]], [one["response"]])[0]
    assert told["model"] == {"id": key, "name": "one", "active": True}
    assert told["scale"] == {"kind": "training"} and "pairs" not in told
    assert told["items"] == [{"reward": pytest.approx(score, abs=2e-2), "spread": None, "cut": None}]
    run = shop.score(scope="all")
    pair = {"input": "word1", "response_a": "kind warm", "response_b": "rude cold " * 40}
    told = client.post(path, json={"pairs": [pair]}).json()
    kept = run.result["normalisation"][key]
    assert told["scale"] == {"kind": "project", **kept}
    (found,) = told["pairs"]
    a, _b = scorer.score(["word1"] * 2, [pair["response_a"], pair["response_b"]])
    assert found["reward_a"] == pytest.approx((a - kept["mean"]) / kept["std"], abs=2e-2)
    chance = scorer.preference(["word1"], [pair["response_a"]], [pair["response_b"]])[0]
    assert found["p"] == pytest.approx(chance, abs=2e-2) and (found["cut_a"], found["cut_b"]) == (
        None,
        "response",
    )
    # Another model becomes active: the next answer is by it.
    other = shop.model(folders[1], "two", active=True)
    assert client.post(path, json={"items": [one]}).json()["model"]["id"] == other
    assert client.post(path, json={"items": [one], "model": key}).json()["model"]["active"] is False
    assert client.post(path, json={"items": [one], "model": "none"}).status_code == 404


def test_who_may_score(live_api, db, folders):  # noqa: F811
    shop = Shop(db)
    shop.model(folders[0], "one", active=True)
    path = f"/projects/{shop.project.id}/score"
    body = {"items": [{"input": "a", "response": "b"}]}
    assert live_api(make_person(db, "ann", "annotator")).post(path, json=body).status_code == 403
    assert live_api(shop.who, Scope.ANNOTATE).post(path, json=body).status_code == 403
    assert live_api().post(path, json=body).status_code == 401
    assert live_api(make_person(db, "lea", "lead"), Scope.READ).post(path, json=body).status_code == 200


def test_a_busy_or_slow_scorer_answers_503(live_api, db, folders, settings, served, monkeypatch):  # noqa: F811
    shop = Shop(db)
    shop.model(folders[0], "one", active=True)
    client, path = live_api(shop.who), f"/projects/{shop.project.id}/score"
    body = {"items": [{"input": "a", "response": "b"}]}
    assert client.post(path, json=body).status_code == 200
    monkeypatch.setattr(settings, "scorer_timeout_s", 0.5)
    os.kill(served.pid, signal.SIGSTOP)
    try:
        late = client.post(path, json=body)
        assert late.status_code == 503 and late.headers["Retry-After"] and "longer than" in late.text
        monkeypatch.setattr(served, "most_waiting", 0)
        busy = client.post(path, json=body)
        assert busy.status_code == 503 and busy.headers["Retry-After"]
    finally:
        os.kill(served.pid, signal.SIGCONT)
    monkeypatch.setattr(served, "most_waiting", 64)
    monkeypatch.setattr(settings, "scorer_timeout_s", 60)
    assert client.post(path, json=body).status_code == 200


def test_stopping_is_safe_without_one():
    stop_scorer()
    stop_scorer()
