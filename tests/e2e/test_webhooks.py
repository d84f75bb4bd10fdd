"""Kill -9 of the whole app while a webhook's receiver is down: after the restart everything
that was acknowledged is told, each event once and signed."""

import time

import pytest

from tests.server import Prefloop
from tests.webhooks.receiver import Receiver
from tests.webhooks.test_sending import is_signed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
PAIRS = 4


def test_what_waits_is_told_after_a_kill(tmp_path):
    server = Prefloop(
        tmp_path / "data", PREFLOOP_DEMO="false", PREFLOOP_WEBHOOK_PRIVATE="true", PREFLOOP_LEASE_MINUTES="5"
    ).start()
    try:
        token = server.token()
        with Receiver(statuses=[503] * 100) as receiver:
            with server.api(token) as api:
                project = api.post("/projects", json={"name": "Told", "votes_per_pair": 1}).json()["id"]
                rows = [
                    {"input": f"q {i}", "response_a": f"a {i}", "response_b": f"b {i}"} for i in range(PAIRS)
                ]
                api.post(f"/projects/{project}/comparisons", json=rows).raise_for_status()
                hooks = f"/projects/{project}/webhooks"
                events = ["vote.cast", "project.complete"]
                made = api.post(hooks, json={"url": receiver.url, "events": events}).json()
                votes = []
                for _ in range(PAIRS):
                    claim = api.post(f"/projects/{project}/pairs/claim").json()
                    body = {"lease": claim["lease"], "choice": "left"}
                    votes.append(api.post(f"/pairs/{claim['pair_id']}/votes", json=body).json()["id"])
                end = time.monotonic() + 20
                while not receiver.got and time.monotonic() < end:
                    time.sleep(0.05)
                assert receiver.got, "the first try"
            server.kill()
            receiver.statuses.clear()  # it is up again
            server.start()
            with server.api(token) as api:
                found = f"{hooks}/{made['id']}/deliveries"
                # What had failed once has its time of 10 s; the claim of the dead, CLAIM_S.
                end = time.monotonic() + 90
                while api.get(found, params={"status": "delivered"}).json()["total"] < PAIRS + 1:
                    assert time.monotonic() < end, api.get(found).json()
                    time.sleep(0.2)
            told = [item for item in receiver.got if item.status == 200]
            assert sorted(
                item.event["data"]["vote_id"] for item in told if item.event["type"] == "vote.cast"
            ) == sorted(votes)
            assert [item.event["type"] for item in told].count("project.complete") == 1
            assert all(is_signed(item, made["secret"]) for item in receiver.got)
    finally:
        server.stop()
