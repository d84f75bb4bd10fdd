"""What runs beside the pages as long as the server does: the run supervisor, the sender of
webhooks, tokens asked for on the command line, the garbage collector; and a socket option."""

import gc
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.to_thread
import psutil

from core.annotation.front import FrontRow
from core.optimize.trial import TrialKeeper
from core.reward.client import stop_scorer
from core.reward.keeping import ScoreKeeper
from core.services import database
from core.settings import get_settings
from core.token import answer_requests
from core.warm import warm
from core.webhooks.sender import Sender
from storage.database import Database

_log = logging.getLogger("prefloop")
_GC_EVERY_S = 20.0
_REQUESTS_EVERY_S = 0.5
_SELECTION_EVERY_S = 5.0
_SCORES_EVERY_S = 10.0
_TRIALS_EVERY_S = 5.0
_WARM_AFTER_S = 5.0  # the first page comes first


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[dict[str, Any]]:
    from core.runs.supervisor import Supervisor

    settings = get_settings()
    db = await anyio.to_thread.run_sync(_open_database)
    supervisor = Supervisor(db, settings)
    await anyio.to_thread.run_sync(supervisor.start)
    sender = Sender(db, settings.webhook_private)
    sender.start()
    try:
        async with anyio.create_task_group() as tasks:
            # Streamlit would collect after every rerun, which is half of all its time.
            tasks.start_soon(_every, _GC_EVERY_S, gc.collect)
            tasks.start_soon(_no_delay)
            tasks.start_soon(_later, _WARM_AFTER_S, lambda: settle(db))
            tasks.start_soon(_every, _SELECTION_EVERY_S, FrontRow(db).refresh)
            tasks.start_soon(_every, _SCORES_EVERY_S, ScoreKeeper(db).refresh)
            tasks.start_soon(_every, _TRIALS_EVERY_S, TrialKeeper(db).refresh)
            tasks.start_soon(_every, _REQUESTS_EVERY_S, lambda: answer_requests(db, settings.data_dir))
            try:
                yield {}
            finally:
                tasks.cancel_scope.cancel()
    finally:
        for stop in (sender.stop, stop_scorer, supervisor.stop):
            with suppress(Exception):
                await anyio.to_thread.run_sync(stop)
        db.dispose()


def _open_database() -> Any:
    db = database()
    db.migrate()
    return db


def settle(db: Database) -> None:
    """Count ahead for large projects; then never again look for garbage among what is loaded by now.

    Some half a million objects, modules above all, live as long as the server. A full collection
    walks them all, for 0.2 s in which nothing else runs; many small requests bring one on every
    1.5 s, and each made every annotator wait. Without them it takes 0.02 s.
    """
    try:
        warm(db)
    finally:
        gc.collect()
        gc.freeze()


async def _every(seconds: float, work: Callable[[], object]) -> None:
    """Call `work` in a thread, again and again; what goes wrong is logged, not fatal."""
    while True:
        await anyio.sleep(seconds)
        try:
            await anyio.to_thread.run_sync(work)
        except Exception:
            _log.exception("a background task failed, and will be tried again")


async def _later(seconds: float, work: Callable[[], object]) -> None:
    """Call `work` in a thread, once; what goes wrong is logged, not fatal."""
    await anyio.sleep(seconds)
    try:
        await anyio.to_thread.run_sync(work)
    except Exception:
        _log.exception("a background task failed")


async def _no_delay() -> None:
    """Send small answers at once. Streamlit makes its listening socket in a way that
    asyncio does not recognise as TCP, and leaves Nagle's algorithm on: an answer of two
    small parts then waits some 40 ms for the client's delayed acknowledgement. Accepted
    sockets take the option over from the listening one."""
    for _ in range(100):
        await anyio.sleep(0.1)  # the server listens only after the lifespan has started
        with suppress(psutil.Error, OSError):
            listening = [
                item.fd
                for item in psutil.Process().net_connections(kind="tcp")
                if item.status == psutil.CONN_LISTEN and item.fd >= 0
            ]
            for handle in listening:
                with socket.socket(fileno=os.dup(handle)) as server:
                    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if listening:
                return
