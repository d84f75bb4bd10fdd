"""One try to deliver one event: what is sent, and what the answer means."""

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx

from core.webhooks.addresses import Refused, resolved
from core.webhooks.signing import as_bytes, headers
from storage.ids import now

TIMEOUT_S = 10.0
TRIES = 8
# 10 s, 50 s, 4 min, 21 min, 1.7 h, 8.7 h, 12 h: about a day in all, each a fifth more or less.
FIRST_WAIT_S, FACTOR, LONGEST_S, JITTER = 10.0, 5.0, 12 * 3600.0, 0.2
MOST_RETRY_AFTER_S = 24 * 3600.0
MAX_ERROR = 300


@dataclass(frozen=True)
class Answer:
    """`status`: of HTTP, where there was an answer at all. `error`: why it is no success.
    `final`: trying again is no use. `gone`: the receiver wants no more of these, ever."""

    status: int | None = None
    error: str | None = None
    final: bool = False
    gone: bool = False
    retry_after_s: float | None = None

    @property
    def delivered(self) -> bool:
        return self.error is None


def wait_s(failures: int, retry_after_s: float | None = None) -> float:
    """Seconds until the next try after so many failures (1, 2, …)."""
    planned = min(LONGEST_S, FIRST_WAIT_S * FACTOR ** (failures - 1))
    planned *= random.uniform(1 - JITTER, 1 + JITTER)
    return max(planned, min(retry_after_s or 0.0, MOST_RETRY_AFTER_S))


def settled(answer: Answer, attempts: int, tries: int, at: datetime) -> dict[str, Any]:
    """The columns of a delivery after its `attempts`-th try."""
    values: dict[str, Any] = {"attempts": attempts, "http_status": answer.status, "error": answer.error}
    if answer.delivered:
        return values | {"status": "delivered", "next_at": None, "delivered_at": at}
    if answer.final or attempts >= tries:
        return values | {"status": "given_up", "next_at": None}
    return values | {"next_at": at + timedelta(seconds=wait_s(attempts, answer.retry_after_s))}


async def attempt(
    client: httpx.AsyncClient, url: str, secrets: str, message_id: str, body: dict[str, Any], private: bool
) -> Answer:
    """Post it once; never raises for what the network or the receiver does."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _post(client, url, secrets, message_id, as_bytes(body), private)
    except TimeoutError:
        return Answer(error=f"no answer within {TIMEOUT_S:.0f} s")
    except Refused as problem:
        return Answer(error=str(problem)[:MAX_ERROR], final=True)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as problem:
        return Answer(error=(str(problem) or type(problem).__name__)[:MAX_ERROR])


async def _post(
    client: httpx.AsyncClient, url: str, secrets: str, message_id: str, body: bytes, private: bool
) -> Answer:
    there = httpx.URL(url)
    address = await resolved(urlsplit(url), private)
    request = client.build_request(
        "POST",
        there.copy_with(host=address),
        content=body,
        headers={**headers(secrets, message_id, now(), body), "host": there.netloc.decode("ascii")},
        # The certificate is the name's, wherever the name led to.
        extensions={"sni_hostname": there.raw_host.decode("ascii")},
    )
    answer = await client.send(request, stream=True)
    await answer.aclose()  # the body is of no interest, however long it is
    return read(answer.status_code, answer.headers.get("retry-after"))


def read(status: int, retry_after: str | None = None) -> Answer:
    """What a status means (the specification, "Delivery success and failure")."""
    if 200 <= status < 300:
        return Answer(status)
    if status == 410:
        return Answer(status, "410: the receiver wants no more events; the webhook was paused", True, True)
    if 300 <= status < 400:
        return Answer(status, f"{status}: a redirect, which is not followed; give the address itself")
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return Answer(status, f"the receiver answered {status}", retry_after_s=seconds)


def new_client() -> httpx.AsyncClient:
    """No redirects, and no proxy of the environment: it would connect to the name itself."""
    return httpx.AsyncClient(
        follow_redirects=False, trust_env=False, timeout=TIMEOUT_S, limits=httpx.Limits(max_connections=32)
    )
