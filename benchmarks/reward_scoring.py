"""How fast the resident scorer answers: `POST /api/v1/projects/{id}/score` over real HTTP, on the
demo project's responses, by a reward model on the embedded MiniLM.

cold   the first request: the process starts, torch is imported, the model loaded
warm   one after another, of 1, 8 and 64 responses
many   8 clients at once, 1 response each: requests that wait are scored together

Started alone it makes a Prefloop of its own and trains the quick preset (minutes). With --url and
--token it asks one that runs.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.server import Prefloop  # noqa: E402

OUT = ROOT / "benchmarks" / "results" / "reward_scoring.json"
REPEATS = 60


def trained(api: httpx.Client, project: str) -> None:
    config = {"kind": "reward_model", "config": {"preset": "quick"}}
    run = api.post(f"/projects/{project}/runs", json=config).json()["id"]
    while (state := api.get(f"/runs/{run}").json())["status"] in ("queued", "running", "interrupted"):
        time.sleep(2)
    assert state["status"] == "succeeded", state["error"]


def items_of(api: httpx.Client, project: str) -> list[dict[str, str]]:
    pairs = api.get(f"/projects/{project}/pairs", params={"limit": 128}).json()
    return [{"input": pair["input"], "response": pair["response_a"]} for pair in pairs]


def timed(api: httpx.Client, path: str, items: list[dict[str, str]]) -> float:
    began = time.perf_counter()
    answer = api.post(path, json={"items": items})
    assert answer.status_code == 200, answer.text
    return 1000 * (time.perf_counter() - began)


def figures(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "p50_ms": round(statistics.median(ordered), 1),
        "p95_ms": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
        "n": len(ordered),
    }


def measure(api: httpx.Client, project: str) -> dict[str, object]:
    path = f"/projects/{project}/score"
    items = items_of(api, project)
    found: dict[str, object] = {"cold_ms": round(timed(api, path, items[:1]))}
    for count in (1, 8, 64):
        repeats = REPEATS if count < 64 else REPEATS // 4
        some = [[items[(i + k) % len(items)] for k in range(count)] for i in range(repeats)]
        found[f"warm_{count}"] = figures([timed(api, path, one) for one in some])
    with ThreadPoolExecutor(8) as pool:
        began = time.perf_counter()
        times = list(pool.map(lambda i: timed(api, path, [items[i % len(items)]]), range(4 * REPEATS)))
        seconds = time.perf_counter() - began
    found["eight_at_once"] = figures(times) | {"responses_per_s": round(len(times) / seconds, 1)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--token")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = None
        if asked.url:
            headers = {"Authorization": f"Bearer {asked.token}"}
            api = httpx.Client(base_url=f"{asked.url}/api/v1", headers=headers, timeout=120)
        else:
            server = Prefloop(Path(folder) / "data").start()
            api = server.api()
        try:
            project = api.get("/projects").json()[0]["id"]
            if server:
                trained(api, project)
            found = measure(api, project)
        finally:
            api.close()
            if server:
                server.stop()
    found["load_average"] = round(os.getloadavg()[0], 1)  # what else the machine was doing
    print(json.dumps(found, indent=1))
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
