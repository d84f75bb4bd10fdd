"""The remote host against a real OpenAI-compatible server: `transformers serve`."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from core.llm import registry
from core.llm.hosts import open_host
from core.llm.protocol import HostSpec, Sampling
from core.runs.context import WorkError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tiny, tmp_path_factory):
    """The tiny model behind `transformers serve`; answers its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(tiny), "--device", "cpu"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=out, stderr=out, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if process.poll() is not None:
                pytest.fail(f"the server ended: {log.read_text()[-2000:]}")
            try:
                if httpx.get(url + "/health", timeout=1).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        else:
            pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")
        yield url + "/v1"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def test_it_answers_as_the_same_model_in_process_does(server, tiny, host):
    far = open_host(
        HostSpec(kind="openai", model=str(tiny), name="served", base_url=server, concurrency=2), tiny.parent
    )
    requests = [
        [{"role": "user", "content": text}] for text in ("the cat", "tell me how to make soup", "salt ?")
    ]
    sampling = Sampling(max_new_tokens=6, temperature=0)
    served, own = far.generate(requests, sampling), host.generate(requests, sampling)
    assert [answer.text for answer in served] == [answer.text for answer in own]
    assert [answer.tokens_in for answer in served] == [answer.tokens_in for answer in own]
    assert all(not answer.error and answer.tokens_out for answer in served)


def test_a_model_it_does_not_serve_is_named(server, tiny):
    far = open_host(
        HostSpec(kind="openai", model="another-model", name="served", base_url=server), tiny.parent
    )
    with pytest.raises(WorkError, match="does not know the model “another-model”"):
        far.generate([[{"role": "user", "content": "the cat"}]], Sampling(4, 0))


def test_a_url_without_its_end_is_explained(server, tiny):
    spec = HostSpec(kind="openai", model=str(tiny), name="served", base_url=server.removesuffix("/v1") + "/x")
    with pytest.raises(WorkError) as caught:
        open_host(spec, tiny.parent).generate([[{"role": "user", "content": "the cat"}]], Sampling(4, 0))
    assert "ends in /v1" in caught.value.hint


def test_the_test_of_the_page_passes(server, tiny, db, admin):
    registry.create_host(db, admin, name="served", kind="openai", model=str(tiny), base_url=server)
    tried = registry.test_host(db, admin, "served")
    assert tried.ok, tried
