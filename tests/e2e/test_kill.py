"""Kill -9 of the whole web process while a real model generates: after the restart the run
is shown with nothing missing and nothing doubled; then the same to its worker."""

import os
import signal
import time

import psutil
import pytest

from tests.server import Prefloop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ENDS = ("succeeded", "failed", "cancelled")


def watch(api, run: str, until) -> dict:
    end = time.monotonic() + 200
    while time.monotonic() < end:
        state = api.get(f"/runs/{run}").json()
        if until(state):
            return state
        time.sleep(0.2)
    raise AssertionError(state)


def worker_of(run: str) -> psutil.Process:
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "core.runs.worker" in command and any(run in part for part in command):
            return process
    raise AssertionError(f"no worker of {run}")


def test_the_web_process_and_then_the_worker(tmp_path, models_dir):
    server = Prefloop(tmp_path / "data", PREFLOOP_MODELS=str(models_dir)).start()
    try:
        token = server.token()
        with server.api(token) as api:
            project = api.get("/projects").json()[0]["id"]
            prompts = [row["id"] for row in api.get(f"/projects/{project}/prompts").json()][:2]
            config = {
                "prompts": prompts,
                "examples": {"limit": 10},
                "params": {"max_new_tokens": 24},
                "seed": 5,
            }
            body = {"kind": "generate", "config": config}
            run = api.post(f"/projects/{project}/runs", json=body).json()["id"]
            watch(api, run, lambda state: state["status"] == "running" and state["progress"] > 0)
        worker = worker_of(run)
        server.kill()
        assert worker.is_running(), "the worker does not notice"
        worker.suspend()  # so that there is work left to be killed in, on a fast machine too
        server.start()
        with server.api(token) as api:
            state = api.get(f"/runs/{run}").json()
            assert (state["status"], state["attempt"]) == ("running", 1)
            os.kill(worker.pid, signal.SIGKILL)
            seen = watch(api, run, lambda state: state["status"] != "running")
            assert seen["status"] == "interrupted" and seen["error"]
            state = watch(api, run, lambda state: state["status"] in ENDS)
            assert state["status"] == "succeeded", state
            assert state["attempt"] == 2 and state["result"]["responses"] == 20
            numbers = [row["number"] for row in api.get(f"/runs/{run}/events", params={"limit": 1000}).json()]
            assert numbers == list(range(1, len(numbers) + 1)), "every event once"
    finally:
        server.stop()
