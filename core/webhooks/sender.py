"""Sends what waits, as long as the server runs.

Any number of web processes may each run one: a delivery is claimed before it is sent. A
webhook's events go one after the other, the oldest first; after a failure the webhook rests a
while, so that what waits behind does not spend its tries on a receiver that is down.
Webhooks do not wait for each other. What was claimed by a process
that died is due again CLAIM_S later: a receiver may then get an event twice, with the same
`webhook-id`.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

import httpx
from sqlmodel import Session

from core import audit
from core.webhooks.attempt import TRIES, Answer, attempt, new_client, settled
from storage import webhooks
from storage.database import Database
from storage.ids import now
from storage.tables import Webhook
from storage.webhooks import Waiting

EVERY_S = 1.0
AT_ONCE = 16  # webhooks
BATCH = 50  # deliveries of one webhook in one claim
BATCH_S = 20.0  # then the rest of a batch is given back
CLAIM_S = 35.0  # longer than a batch and one timeout
KEPT = timedelta(days=7)  # how long what is settled is kept to be looked at
FORGET_EVERY_S = 3600.0
REST_S, LONGEST_REST_S = 1.0, 60.0  # between tries at a receiver that fails, doubling

log = logging.getLogger(__name__)


class Sender:
    def __init__(self, db: Database, private: bool) -> None:
        self.db = db
        self.private = private
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: asyncio.Task[int] | None = None
        self._forgot_at = float("-inf")
        self._failed: dict[str, tuple[int, float]] = {}  # webhook: failures in a row, rests until

    # --- as long as the server runs -----------------------------------------------------

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._thread.start()

    def stop(self, wait_s: float = 5.0) -> None:
        """What is on its way is broken off, given back, and sent after the next start."""
        self._stop.set()
        loop, work = self._loop, self._work
        if loop is not None and work is not None and not loop.is_closed():
            loop.call_soon_threadsafe(work.cancel)
        if self._thread is not None:
            self._thread.join(wait_s)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                while self.send_due() and not self._stop.is_set():
                    pass
                self._forget()
            except Exception:
                log.exception("webhooks could not be sent, and will be tried again")

    def _forget(self) -> None:
        if time.monotonic() - self._forgot_at > FORGET_EVERY_S:
            self.db.write(lambda session: webhooks.forget(session, now() - KEPT))
            self._forgot_at = time.monotonic()

    # --- one round ----------------------------------------------------------------------

    def send_due(self) -> int:
        """Send what is due now; answers how many deliveries succeeded."""
        resting = [key for key, (_, until) in self._failed.items() if until > time.monotonic()]
        with self.db.read() as session:
            ids = webhooks.due(session, now(), AT_ONCE, resting) if webhooks.any_live(session) else []
        if not ids:
            return 0
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            try:
                return runner.run(self._all(ids))
            except asyncio.CancelledError:
                return 0
            finally:
                self._loop = self._work = None

    async def _all(self, ids: Sequence[str]) -> int:
        self._work = asyncio.current_task()
        async with new_client() as client:
            return sum(await asyncio.gather(*(self._one(client, webhook_id) for webhook_id in ids)))

    async def _one(self, client: httpx.AsyncClient, webhook_id: str) -> int:
        """A batch of one webhook's deliveries, until one fails."""
        at = now()
        until = at + timedelta(seconds=CLAIM_S)

        def take(session: Session) -> tuple[Webhook | None, list[Waiting]]:
            hook = session.get(Webhook, webhook_id)
            if hook is None or not hook.active or hook.deleted_at is not None:
                return None, []
            return hook, webhooks.claim(session, webhook_id, at, until, BATCH)

        hook, claimed = await asyncio.to_thread(self.db.write, take)
        if hook is None:
            return 0
        answers: list[Answer] = []
        started = time.monotonic()
        try:
            for item in claimed:
                answer = await attempt(client, hook.url, hook.secret, item.id, item.body, self.private)
                answers.append(answer)
                if not answer.delivered or time.monotonic() - started > BATCH_S:
                    break
        finally:
            # Also when this is broken off: what was sent is written down, the rest is due again.
            self.db.write(lambda session: _write_down(session, hook, claimed, answers))
        if answers:
            self._note(webhook_id, answers[-1].delivered)
        return sum(answer.delivered for answer in answers)

    def _note(self, webhook_id: str, delivered: bool) -> None:
        failures, _ = self._failed.pop(webhook_id, (0, 0.0))
        if not delivered:
            rest = min(LONGEST_REST_S, REST_S * 2.0**failures)
            self._failed[webhook_id] = (failures + 1, time.monotonic() + rest)


def _write_down(
    session: Session, hook: Webhook, claimed: Sequence[Waiting], answers: Sequence[Answer]
) -> None:
    at = now()
    for place, item in enumerate(claimed):
        if place < len(answers):
            webhooks.settle(session, item, **settled(answers[place], item.attempts + 1, TRIES, at))
        else:
            webhooks.settle(session, item, next_at=at)
    if any(answer.gone for answer in answers):
        pause(session, hook.id)


def pause(session: Session, webhook_id: str) -> None:
    """The receiver answered 410: it is not asked again until somebody says so."""
    hook = session.get(Webhook, webhook_id)
    if hook is not None and hook.active:
        hook.active = False
        session.add(hook)
        audit.record(
            session,
            None,
            "webhook.pause",
            "webhook",
            hook.id,
            hook.project_id,
            why="the receiver answered 410",
        )
