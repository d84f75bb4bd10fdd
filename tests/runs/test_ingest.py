"""Taking events into the database: however the file is cut and re-read, the rows are the
same."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlmodel import select

from core.runs.context import RunContext
from core.runs.folder import RunFolder, plain
from core.runs.ingest import CannotTake, finish, ingest, take
from storage.ids import id_of
from storage.tables import Candidate, LedgerEntry, Run, RunEvent

TEXT = st.text(max_size=12)
EVENT = st.one_of(
    st.builds(lambda t: ("log", {"text": t}), TEXT),
    st.builds(lambda f, m: ("progress", {"fraction": f, "message": m}), st.floats(0, 1), TEXT),
    st.builds(
        lambda n, t, c: ("candidate", {"number": n, "text": t, "calls": c, "accepted": c % 2 == 0}),
        st.integers(0, 3), TEXT, st.integers(0, 99),
    ),
    st.builds(
        lambda h, c: ("ledger", {"host": h, "purpose": "target", "calls": c, "cost": c / 2}),
        st.sampled_from("ab"), st.integers(0, 99),
    ),
)  # fmt: skip


def running(db, tmp_path: Path, project_id="p") -> tuple[Run, RunFolder]:
    run = Run(project_id=project_id, kind="sum", status="running")
    db.write(lambda session: session.add(run))
    folder = RunFolder(tmp_path / run.id)
    spec = {
        "run_id": run.id,
        "project_id": project_id,
        "kind": "sum",
        "config": {},
        "seed": 0,
        "models_dir": "/",
    }
    folder.create(spec)
    return run, folder


def rows(db, run_id):
    """Everything the events made, without what differs between two runs by nature."""
    with db.read() as session:
        run = session.get(Run, run_id)
        events = session.exec(select(RunEvent).where(RunEvent.run_id == run_id).order_by(RunEvent.number))
        candidates = session.exec(
            select(Candidate).where(Candidate.run_id == run_id).order_by(Candidate.number)
        ).all()
        ledger = session.exec(select(LedgerEntry).where(LedgerEntry.run_id == run_id)).all()
        assert all(one.id == id_of("candidate", run_id, str(one.number)) for one in candidates)
        return (
            [(event.number, event.type, event.data) for event in events],
            [(one.number, one.text, one.calls, one.accepted) for one in candidates],
            sorted((one.host, one.purpose, one.calls, one.cost) for one in ledger),
            (run.progress, run.message, run.eta_s, run.last_event, run.event_offset),
        )


@hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(EVENT, min_size=1, max_size=14), st.data())
def test_any_cut_of_the_file_and_any_re_reading_gives_the_same_rows(db, tmp_path, events, data):
    whole, folder = running(db, tmp_path)
    context = RunContext(folder)
    for type, values in events:
        context.emit(type, **values)
    context.close()
    content = folder.events.read_bytes()
    while ingest(db, whole.id, folder):
        pass
    expected = rows(db, whole.id)
    assert [number for number, *_ in expected[0]] == list(range(1, len(events) + 1))

    cut, other = running(db, tmp_path)
    places = data.draw(st.lists(st.integers(0, len(content)), max_size=6).map(sorted))
    starts = [0] + [end for _, end in folder.events_from(0, None)]
    for place in [*places, len(content)]:
        other.events.write_bytes(content[:place])  # a cut may go through a line, even through a letter
        limit = data.draw(st.integers(1, 4))
        while ingest(db, cut.id, other, limit):
            pass
        if data.draw(st.booleans()):  # a reader that had forgotten its place
            start = data.draw(st.sampled_from(starts))
            if lines := other.events_from(start, None):
                db.write(lambda session, lines=lines: take(session, cut.id, other, lines))
    assert rows(db, cut.id) == expected


def test_on_both_databases(any_db, tmp_path):
    """Events, upserts, hostile text, and an end."""
    run, folder = running(any_db, tmp_path)
    context = RunContext(folder)
    context.emit(
        "candidate", number=1, text="a\x00b \ud83d", parent=None, scores={"dev": {"mean": float("nan")}}
    )
    for calls in (1, 2):
        context.emit("ledger", host="h", purpose="target", calls=calls, cost=0.5)
    context.emit("candidate", number=1, accepted=True)
    assert ingest(any_db, run.id, folder) == 4 and ingest(any_db, run.id, folder) == 0
    finish(any_db, run.id, folder, {"status": "cancelled", "result": None})
    finish(any_db, run.id, folder, {"status": "succeeded", "result": None})  # it has ended already
    with any_db.read() as session:
        one = session.exec(select(Candidate)).one()
        assert (one.text, one.accepted, one.scores) == ("a�b ?", True, {"dev": {"mean": None}})
        assert session.exec(select(LedgerEntry.calls)).one() == 2
        ended = session.get(Run, run.id)
        assert (ended.status, ended.last_event) == ("cancelled", 4)


def test_events_before_the_one_that_cannot_be_taken_are_kept(db, tmp_path):
    run, folder = running(db, tmp_path)
    context = RunContext(folder)
    context.log("fine")
    context.emit("candidate", number="not a number")
    context.log("after")
    with pytest.raises(CannotTake, match="event 2"):
        ingest(db, run.id, folder)
    assert [number for number, *_ in rows(db, run.id)[0]] == [1]


def test_an_artifact_outside_the_folder_is_refused(db, tmp_path):
    run, folder = running(db, tmp_path)
    context = RunContext(folder)
    context.emit("artifact", kind="prompt", path="../../secret.json")
    with pytest.raises(CannotTake, match="outside"):
        ingest(db, run.id, folder)


def test_a_damaged_file_is_read_as_far_as_it_goes(db, tmp_path):
    """After a power cut: a garbled line, then a file shorter than what was read."""
    run, folder = running(db, tmp_path)
    context = RunContext(folder)
    for text in "abc":
        context.log(text)
    context.close()
    lines = folder.events.read_bytes().splitlines(keepends=True)
    folder.events.write_bytes(lines[0] + b"\x00\x00garbage\n" + lines[1] + lines[2])
    ingest(db, run.id, folder)
    assert [number for number, *_ in rows(db, run.id)[0]] == [1, 2, 3]
    folder.events.write_bytes(lines[0] + lines[1][:9])
    again = RunContext(folder)
    again.number = 3  # as the supervisor does when it writes down the interruption
    again.log("d")
    ingest(db, run.id, folder)
    assert [data["text"] for _, _, data in rows(db, run.id)[0]] == ["a", "b", "c", "d"]


def test_half_a_line_of_a_killed_worker_is_taken_away(tmp_path):
    folder = RunFolder(tmp_path / "r")
    folder.create({"config": {}, "seed": 0, "models_dir": "/"})
    context = RunContext(folder)
    context.log("one")
    context.close()
    with folder.events.open("ab") as file:
        file.write(b'{"n": 2, "at": "2026')
    context = RunContext(folder)
    assert context.log("two") is None and context.number == 2
    assert [json.loads(line)["n"] for line in folder.events.read_text().splitlines()] == [1, 2]


def test_values_become_plain_json():
    import numpy as np

    given = {"a": np.float32(0.5), "b": np.arange(2), "c": float("inf"), 4: (1, {"x": Path("p")}), "t": True}
    assert plain(given) == {"a": 0.5, "b": [0, 1], "c": None, "4": [1, {"x": "p"}], "t": True}
