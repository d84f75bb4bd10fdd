"""What runs beside the pages as long as the server does: the run supervisor, tokens asked
for on the command line, and the garbage collector."""

import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.to_thread

from core.services import database
from core.settings import get_settings
from core.token import answer_requests

_log = logging.getLogger("prefloop")
_GC_EVERY_S = 20.0
_REQUESTS_EVERY_S = 0.5


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[dict[str, Any]]:
    from core.runs.supervisor import Supervisor

    settings = get_settings()
    db = await anyio.to_thread.run_sync(_open_database)
    supervisor = Supervisor(db, settings)
    await anyio.to_thread.run_sync(supervisor.start)
    try:
        async with anyio.create_task_group() as tasks:
            # Streamlit would collect after every rerun, which is half of all its time.
            tasks.start_soon(_every, _GC_EVERY_S, gc.collect)
            tasks.start_soon(_every, _REQUESTS_EVERY_S, lambda: answer_requests(db, settings.data_dir))
            try:
                yield {}
            finally:
                tasks.cancel_scope.cancel()
    finally:
        with suppress(Exception):
            await anyio.to_thread.run_sync(supervisor.stop)
        db.dispose()


def _open_database() -> Any:
    db = database()
    db.migrate()
    return db


async def _every(seconds: float, work: Callable[[], object]) -> None:
    """Call `work` in a thread, again and again; what goes wrong is logged, not fatal."""
    while True:
        await anyio.sleep(seconds)
        try:
            await anyio.to_thread.run_sync(work)
        except Exception:
            _log.exception("a background task failed, and will be tried again")
