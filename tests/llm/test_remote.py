"""The host behind a URL: what is asked, what is tried again, and what each fault is called."""

import time

import pytest

from core.llm.hosts import open_host
from core.llm.protocol import HostSpec, Sampling
from core.runs.context import Cancelled, WorkError
from tests.llm.servers import completion, serving, slowly

ASK = [{"role": "user", "content": "Hello"}]
GREEDY = Sampling(max_new_tokens=5, temperature=0)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    """The client's pauses, shortened; how long they are is the client's own affair."""
    import openai._base_client

    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr(openai._base_client, "MAX_RETRY_DELAY", 0.02)


def spec(url: str, **values) -> HostSpec:
    return HostSpec(
        **{"kind": "openai", "model": "m", "name": "far", "base_url": url, "timeout_s": 5, **values}
    )


def fails(url: str, tmp_path, **values) -> WorkError:
    with pytest.raises(WorkError) as caught:
        open_host(spec(url, **values), tmp_path).generate([ASK], GREEDY)
    assert "far" in caught.value.message
    assert caught.value.hint
    return caught.value


def test_it_asks_at_once_and_answers_in_order(tmp_path):
    def behave(n, path, headers, body):
        time.sleep(0.05)
        return 200, completion(body["messages"][0]["content"].upper())

    with serving(behave) as server:
        host = open_host(spec(server.url, concurrency=4, price_in=1e6, price_out=2e6), tmp_path)
        seen = []
        requests = [[{"role": "user", "content": f"ask {i}"}] for i in range(12)]
        answers = host.generate(requests, Sampling(9, 0.5, 0.8, 17), lambda i, answer: seen.append(i))
    assert [answer.text for answer in answers] == [f"ASK {i}" for i in range(12)]
    assert sorted(seen) == list(range(12))
    assert 2 <= server.most_at_once <= 4
    body = server.bodies[0]
    assert (body["model"], body["max_tokens"], body["temperature"], body["top_p"], body["seed"]) == (
        "m", 9, 0.5, 0.8, 17,
    )  # fmt: skip
    one = answers[0]
    assert (one.tokens_in, one.tokens_out, one.cost, one.finish_reason) == (7, 3, 13.0, "stop")
    assert one.latency_ms >= 50


def test_the_key_comes_from_its_variable_and_no_other_key_is_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody-else")
    monkeypatch.setenv("FAR_KEY", "the-key")
    with serving(lambda *_: (200, completion())) as server:
        open_host(spec(server.url, api_key_env="FAR_KEY"), tmp_path).generate([ASK], GREEDY)
        open_host(spec(server.url), tmp_path).generate([ASK], GREEDY)
    sent = [headers for _, headers, _ in server.requests]
    assert sent[0]["authorization"] == "Bearer the-key"
    assert "somebody-else" not in str(sent)


def test_what_may_pass_is_tried_again(tmp_path):
    faults = iter([(429, {"error": {"message": "slow down"}}), (503, {}), (500, {})])
    with serving(lambda *_: next(faults, (200, completion()))) as server:
        answer = open_host(spec(server.url), tmp_path).generate([ASK], GREEDY)[0]
    assert (answer.text, len(server.requests)) == ("fine", 4)


def test_retry_after_is_honoured(tmp_path):
    def behave(n, *_):
        return (429, {}, {"retry-after-ms": "300"}) if n == 1 else (200, completion())

    with serving(behave) as server:
        started = time.monotonic()
        open_host(spec(server.url), tmp_path).generate([ASK], GREEDY)
    assert time.monotonic() - started >= 0.3


def test_one_request_that_fails_for_good_does_not_stop_the_others(tmp_path):
    def behave(n, path, headers, body):
        if body["messages"][0]["content"] == "bad":
            return 400, {"error": {"message": "This content is not allowed."}}
        return 200, completion()

    with serving(behave) as server:
        host = open_host(spec(server.url), tmp_path)
        bad, good = host.generate([[{"role": "user", "content": "bad"}], ASK], GREEDY)
    assert bad.error == "This content is not allowed." and bad.finish_reason == "error"
    assert good.text == "fine" and not good.error


def test_a_server_that_stays_busy_is_this_requests_error(tmp_path):
    with serving(lambda *_: (429, {"error": {"message": "slow down"}})) as server:
        answer = open_host(spec(server.url, params={"max_retries": 2}), tmp_path).generate([ASK], GREEDY)[0]
    assert answer.error == "429: slow down."
    assert len(server.requests) == 3


def test_a_timeout_is_this_requests_error(tmp_path):
    with serving(lambda *_: slowly(1.5)) as server:
        host = open_host(spec(server.url, timeout_s=0.2, params={"max_retries": 1}), tmp_path)
        answer = host.generate([ASK], GREEDY)[0]
    assert answer.error == "No answer within the time limit."
    assert len(server.requests) == 2


def test_a_wrong_key(tmp_path, monkeypatch):
    monkeypatch.setenv("FAR_KEY", "sk-very-secret-1234")
    said = {"error": {"message": "Incorrect API key provided: sk-very-secret-1234."}}
    with serving(lambda *_: (401, said)) as server:
        problem = fails(server.url, tmp_path, api_key_env="FAR_KEY")
    assert "refused the key" in problem.message and "FAR_KEY" in problem.hint
    assert "very-secret" not in str(problem)
    assert len(server.requests) == 1


def test_a_key_that_is_not_set(tmp_path, monkeypatch):
    monkeypatch.delenv("FAR_KEY", raising=False)
    problem = fails("http://127.0.0.1:9/v1", tmp_path, api_key_env="FAR_KEY")
    assert "FAR_KEY, which is not set" in problem.message


def test_a_server_that_wants_a_key(tmp_path):
    with serving(lambda *_: (401, {"detail": "Unauthorized"})) as server:
        assert "wants a key" in fails(server.url, tmp_path).message


def test_a_model_the_server_does_not_know(tmp_path):
    def behave(n, path, headers, body):
        if path.endswith("/models"):
            return 200, {
                "object": "list",
                "data": [{"id": "other", "object": "model", "created": 0, "owned_by": "x"}],
            }
        return 404, {"error": {"message": "The model `m` does not exist.", "code": "model_not_found"}}

    with serving(behave) as server:
        problem = fails(server.url, tmp_path)
    assert "does not know the model “m”" in problem.message
    assert problem.hint == "It has: other."


def test_a_url_that_is_no_api(tmp_path):
    with serving(lambda *_: (404, "<html>nothing here</html>")) as server:
        assert "/v1" in fails(server.url, tmp_path).hint
    with serving(lambda *_: (200, "<html>welcome</html>")) as server:
        problem = fails(server.url, tmp_path)
        assert "did not answer like an OpenAI-compatible server" in problem.message


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x/v1"])
def test_a_url_that_is_none(url, tmp_path):
    assert "no usable URL" in fails(url, tmp_path).message


def test_nobody_listens(tmp_path):
    problem = fails("http://127.0.0.1:9/v1", tmp_path, params={"max_retries": 1})
    assert "cannot be reached" in problem.message and "server runs" in problem.hint


def test_no_credit_left(tmp_path):
    said = {"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}
    with serving(lambda *_: (429, said)) as server:
        assert "billing" in fails(server.url, tmp_path, params={"max_retries": 0}).hint


def test_parameters_a_server_refuses_are_left_out(tmp_path):
    def behave(n, path, headers, body):
        for name in ("seed", "max_tokens"):
            if name in body:
                return 400, {"error": {"message": f"Unsupported parameter: '{name}'.", "param": name}}
        return 200, completion()

    with serving(behave) as server:
        host = open_host(spec(server.url, concurrency=1), tmp_path)
        answers = host.generate([ASK, ASK], GREEDY)
    assert [answer.text for answer in answers] == ["fine", "fine"]
    assert server.bodies[-1]["max_completion_tokens"] == 5
    assert len(server.bodies) == 4  # learnt once


def test_an_answer_that_was_begun_is_gone_on_with_where_the_server_can(tmp_path):
    begun = [*ASK, {"role": "assistant", "content": "<INS>"}]
    with serving(lambda *_: (200, completion("go on"))) as server:
        host = open_host(spec(server.url, params={"extra_body": {"top_k": 5}}), tmp_path)
        assert host.generate([begun], GREEDY)[0].text == "go on"
        host.generate([ASK], GREEDY)
    first, second = server.bodies
    assert first["messages"][-1]["content"] == "<INS>" and first["top_k"] == 5
    assert (first["continue_final_message"], first["add_generation_prompt"]) == (True, False)
    assert second["top_k"] == 5 and "continue_final_message" not in second

    def refuse(n, path, headers, body):
        if "continue_final_message" in body:
            return 400, {"error": {"message": "Unrecognized request argument: continue_final_message"}}
        return 200, completion("<INS>anew</INS>")

    with serving(refuse) as server:
        host = open_host(spec(server.url, concurrency=1), tmp_path)
        assert [one.text for one in host.generate([begun] * 2, GREEDY)] == ["<INS>anew</INS>"] * 2
    assert len(server.bodies) == 3 and "add_generation_prompt" not in server.bodies[-1]


def test_a_fault_of_the_host_stops_the_rest(tmp_path):
    with serving(lambda *_: (401, {})) as server, pytest.raises(WorkError):
        open_host(spec(server.url, concurrency=2), tmp_path).generate([ASK] * 50, GREEDY)
    assert len(server.requests) <= 6


def test_giving_up_keeps_what_is_under_way(tmp_path):
    with serving(lambda *_: slowly(0.1)) as server:
        host, kept = open_host(spec(server.url, concurrency=3), tmp_path), []

        def on_done(i, answer):
            kept.append(i)
            if len(kept) >= 3:
                raise Cancelled

        with pytest.raises(Cancelled):
            host.generate([ASK] * 40, GREEDY, on_done)
    assert 3 <= len(kept) == len(server.requests) <= 9


def test_labels_are_refused(tmp_path):
    host = open_host(spec("http://127.0.0.1:9/v1"), tmp_path)
    assert host.access == {"text"}
    with pytest.raises(WorkError, match="text only"):
        host.label_logprobs([ASK], ["a", "b"])
