"""The one thread that looks after runs: starts what waits, reads what workers say, ends
what has ended, notices what died.

It keeps nothing that matters in memory: what it knows is in the database and in the run
folders, so it may be killed at any moment and another one takes over. Workers do not
notice. One supervises per data folder; further ones wait for its lock.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from sqlmodel import Session, col, select

from core.runs import ingest, locks
from core.runs.executors import Executor, Handle, LocalExecutor
from core.runs.failures import explain
from core.runs.folder import RunFolder
from core.runs.states import AUTOMATIC_RESUMES, append_state, interruptions, move, requeued
from core.settings import Settings
from storage.database import Database
from storage.ids import now
from storage.tables import Run

log = logging.getLogger(__name__)

_GIVE_UP_AFTER = 20  # ticks in a row that failed for one run while the database answers
_READ_FOR_S = 1.0  # per run and tick, so that one chatty run does not hold up the others


class Supervisor:
    """`interval`: seconds between two looks. `resume_after`: how long an interruption
    stays in view before the run goes on by itself. `grace`, `kill_after`: how long a
    cancelled worker has to end by itself, and then after SIGTERM."""

    def __init__(
        self,
        db: Database,
        settings: Settings,
        executor: Executor | None = None,
        *,
        interval: float = 0.4,
        resume_after: float = 5.0,
        grace: float = 20.0,
        kill_after: float = 10.0,
    ) -> None:
        self.db, self.settings = db, settings
        self.interval, self.resume_after = interval, resume_after
        self.grace, self.kill_after = grace, kill_after
        self._executor = executor
        self._slots: dict[str, int] = {}  # run id -> slot
        self._doomed: dict[str, tuple[Handle | None, float]] = {}  # to be stopped: since when
        self._failures: dict[str, int] = {}
        self._final: set[tuple[str, int]] = set()  # (run, attempt) that waits for a person
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock: IO[bytes] | None = None

    # --- its life ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to supervise in a thread, or wait until the one that does is gone."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._stop.clear()
        self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Workers go on; the next supervisor finds them."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(30)
            self._thread = None

    @property
    def supervising(self) -> bool:
        return self._lock is not None

    def _loop(self) -> None:
        try:
            while True:
                try:
                    if self._lock is None:
                        self._lock = locks.take(self.settings.data_dir / "supervisor.lock")
                    if self._lock is not None:
                        self.tick()
                except Exception:
                    # A look that failed is no reason to stop looking; the next may succeed.
                    log.exception("the supervisor's look at the runs failed")
                    self._stop.wait(2.0)
                if self._stop.wait(self.interval):
                    return
        finally:
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    @property
    def executor(self) -> Executor:
        if self._executor is None:  # asks for GPUs, which takes time: not when the app starts
            self._executor = LocalExecutor(self.settings)
        return self._executor

    # --- one look ------------------------------------------------------------------------

    def tick(self) -> None:
        """Look once at every run that is not at an end."""
        with self.db.read() as session:
            query = select(Run).where(col(Run.status).in_(("queued", "running", "interrupted")))
            runs = list(session.exec(query.order_by(col(Run.id))))
        by_status: dict[str, list[Run]] = {"queued": [], "running": [], "interrupted": []}
        for run in runs:
            by_status[run.status].append(run)
        self._let_go_of_missing({run.id for run in by_status["running"]})
        for run in by_status["running"]:
            self._guarded(run, self._follow)
        for run in by_status["interrupted"]:
            self._guarded(run, self._take_up)
        self._stop_doomed()
        self._start_waiting(by_status["queued"])

    def _guarded(self, run: Run, step: Callable[[Run], None]) -> None:
        """One run's trouble is not the others'. What fails again and again, while the
        database answers, ends the run with a reason instead of being tried for ever."""
        try:
            step(run)
            self._failures.pop(run.id, None)
        except Exception as error:
            count = self._failures[run.id] = self._failures.get(run.id, 0) + 1
            log.exception("run %s: attempt %d to look after it failed", run.id, count)
            if count >= _GIVE_UP_AFTER and self.db.ping():
                message, hint = explain(error)
                self._fail(run, message, hint)

    def folder(self, run_id: str) -> RunFolder:
        return RunFolder(self.settings.runs_dir.resolve() / run_id)

    # --- running -------------------------------------------------------------------------

    def _follow(self, run: Run) -> None:
        folder = self.folder(run.id)
        if not folder.path.exists():
            self._fail(run, "The run's folder is gone.", "Start the run again.")
            return
        outcome = folder.result  # before the events: what is in the file then is all of it
        if not self._read(run, folder):
            return
        handle = _handle(run)
        if outcome is None and not self.executor.alive(folder, handle):
            outcome = folder.result  # it may have ended between the two looks
            if outcome is None:
                self._died(run, folder, handle)
                return
            if not self._read(run, folder):
                return
        if outcome is not None:
            if outcome.get("signal") and folder.pause_requested and not self._cancel_was_asked(run.id):
                outcome = {**outcome, "status": "paused"}
            elif outcome.get("signal") and not self._cancel_was_asked(run.id):
                reason = f"The worker was told to stop ({outcome['signal']}), as when a machine shuts down."
                self._interrupt(run, folder, reason, "")
                return
            ingest.finish(self.db, run.id, folder, outcome)
            self._slots.pop(run.id, None)
        elif run.cancel_requested:
            self._enforce_cancel(run, folder, handle)

    def _read(self, run: Run, folder: RunFolder) -> bool:
        """Take in what is new; True when all that there is has been read."""
        until = time.monotonic() + _READ_FOR_S
        try:
            while ingest.ingest(self.db, run.id, folder):
                if time.monotonic() > until:
                    return False
        except ingest.CannotTake as problem:
            self._fail(run, problem.message, problem.hint)
            return False
        return True

    def _cancel_was_asked(self, run_id: str) -> bool:
        with self.db.read() as session:
            return bool(session.exec(select(Run.cancel_requested).where(Run.id == run_id)).first())

    def _fail(self, run: Run, message: str, hint: str) -> None:
        """End the run for a reason of our own, and its worker with it."""
        ingest.fail(self.db, run.id, message, hint)
        self._doom(run.id, _handle(run))

    def _doom(self, run_id: str, handle: Handle | None) -> None:
        folder = self.folder(run_id)
        if folder.path.exists():
            folder.request_cancel()
        self._doomed[run_id] = (handle, time.monotonic())
        self._slots.pop(run_id, None)

    def _stop_doomed(self) -> None:
        for run_id, (handle, since) in list(self._doomed.items()):
            folder = self.folder(run_id)
            if not self.executor.alive(folder, handle):
                del self._doomed[run_id]
            else:
                self.executor.stop(folder, handle, hard=time.monotonic() - since > self.kill_after)

    def _let_go_of_missing(self, running: set[str]) -> None:
        """Stop workers whose run was taken out of the database (with its project, say)."""
        for run_id in [known for known in self._slots if known not in running]:
            del self._slots[run_id]
            worker = self.folder(run_id).worker
            with self.db.read() as session:
                if session.get(Run, run_id) is None:
                    handle = Handle(worker["pid"], worker["started"]) if worker else None
                    self._doom(run_id, handle)

    def _enforce_cancel(self, run: Run, folder: RunFolder, handle: Handle | None) -> None:
        folder.request_cancel()
        since = time.time() - (folder.cancel_requested_at or time.time())
        if since > self.grace:
            self.executor.stop(folder, handle, hard=since > self.grace + self.kill_after)

    # --- died ----------------------------------------------------------------------------

    def _died(self, run: Run, folder: RunFolder, handle: Handle | None) -> None:
        if self._cancel_was_asked(run.id):
            stopped = {"status": "cancelled", "result": None, "error": None}
            hint = "It did not stop by itself and was ended; Resume goes on from its last checkpoint."
            ingest.finish(self.db, run.id, folder, {**stopped, "hint": hint})
            self._slots.pop(run.id, None)
            return
        if folder.pause_requested:  # it died in the step after which it was to pause
            ingest.finish(self.db, run.id, folder, {"status": "paused", "result": None})
            self._slots.pop(run.id, None)
            return
        self._interrupt(run, folder, *self.executor.post_mortem(handle))

    def _interrupt(self, run: Run, folder: RunFolder, reason: str, advice: str) -> None:
        lock = locks.take(folder.lock)
        if lock is None:
            return  # a worker is there after all
        with lock:
            with self.db.read() as session:
                last = session.exec(select(Run.last_event).where(Run.id == run.id)).one()
            append_state(folder, last, status="interrupted", reason=reason)
        if not self._read(run, folder):
            return

        def work(session: Session) -> bool:
            count = interruptions(session, run.id)
            if count <= AUTOMATIC_RESUMES:
                hint = "It goes on by itself in a few seconds, from its last checkpoint."
            else:
                hint = (
                    f"{advice} It was interrupted {count} times and does not go on by itself: press Resume."
                )
            return move(
                session,
                run.id,
                ("running",),
                status="interrupted",
                error=reason,
                hint=hint.strip(),
                finished_at=now(),
                eta_s=None,
                pid=None,
                pid_started=None,
            )

        self.db.write(work)
        self._slots.pop(run.id, None)

    def _take_up(self, run: Run) -> None:
        """Queue an interrupted run again, unless that happened too often."""
        if (run.id, run.attempt) in self._final:
            return
        if run.finished_at is not None and (now() - run.finished_at).total_seconds() < self.resume_after:
            return
        with self.db.read() as session:
            if interruptions(session, run.id) > AUTOMATIC_RESUMES:
                self._final.add((run.id, run.attempt))
                return
        folder = self.folder(run.id)
        if not (folder.path / "spec.json").exists():
            self._final.add((run.id, run.attempt))
            return
        lock = locks.take(folder.lock)
        if lock is None:  # it lives: it had just been started when it was thought dead
            values: dict[str, Any] = {**requeued(), "status": "running"}
            self.db.write(lambda session: move(session, run.id, ("interrupted",), **values))
            return
        with lock:
            folder.clear_end()
            values = {**requeued(), "message": "Goes on after an interruption"}
            self.db.write(lambda session: move(session, run.id, ("interrupted",), **values))

    # --- queued --------------------------------------------------------------------------

    def _start_waiting(self, waiting: list[Run]) -> None:
        """Start the oldest ones in the slots that are free."""
        if not waiting:
            return
        with self.db.read() as session:
            running = list(session.exec(select(Run.id).where(Run.status == "running")))
        for run_id in running:
            if run_id not in self._slots:  # started by a supervisor before us
                self._slots[run_id] = int((self.folder(run_id).worker or {}).get("slot", 0))
        taken = set(self._slots.values())
        free = [slot for slot in range(self.executor.slots) if slot not in taken]
        free = free[: max(0, self.executor.slots - len(running))]
        for run, slot in zip(waiting, free, strict=False):
            self._guarded(run, lambda run, slot=slot: self._start(run, slot))  # type: ignore[misc]

    def _start(self, run: Run, slot: int) -> None:
        folder = self.folder(run.id)
        if not (folder.path / "spec.json").exists():
            ingest.fail(self.db, run.id, "The run's folder is gone.", "Start the run again.")
            return
        began = {
            **requeued(),
            "status": "running",
            "message": "Starting",
            "started_at": now(),
            "attempt": run.attempt + 1,
        }
        if not self.db.write(lambda session: move(session, run.id, ("queued",), **began)):
            return  # cancelled in this moment
        self._slots[run.id] = slot
        try:
            handle = self.executor.start(folder, slot)
        except OSError as error:
            message, hint = explain(error)
            ingest.fail(self.db, run.id, f"The worker could not be started. {message}", hint)
            self._slots.pop(run.id, None)
            return
        self.db.write(
            lambda session: move(session, run.id, ("running",), pid=handle.pid, pid_started=handle.started)
        )


def _handle(run: Run) -> Handle | None:
    if run.pid is None or run.pid_started is None:
        return None
    return Handle(run.pid, run.pid_started)
