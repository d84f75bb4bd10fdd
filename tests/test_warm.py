"""Large projects: the same figures, kept and counted ahead."""

import gc
import time

import pytest
from sqlmodel import select

from core import demo, overview
from core.annotation import leaderboard, quality
from core.annotation.annotators import leave_out
from core.kept import Kept
from core.projects import list_projects
from core.warm import warm
from storage import evidence
from storage.tables import Annotator, Vote
from web.background import settle


@pytest.fixture
def project(db, admin):
    demo.seed_once(db)
    return list_projects(db, admin)[0]


@pytest.fixture
def large(monkeypatch):
    """Call it, and every project of more than 100 votes is a large one."""

    def make() -> None:
        monkeypatch.setattr(evidence, "MANY", 100)
        for module in (quality, leaderboard, overview):
            monkeypatch.setattr(module, "_kept", Kept(pause_s=0))

    return make


def test_a_large_project_has_the_same_figures(db, admin, project, large):
    asked = (quality.quality, leaderboard.leaderboard, overview.loop_state)
    before = [ask(db, admin, project.id) for ask in asked]
    large()
    assert [ask(db, admin, project.id) for ask in asked] == before
    assert [ask(db, admin, project.id) for ask in asked] == before  # as kept


def test_new_votes_come_in_a_moment_later_and_who_is_left_out_at_once(db, admin, project, large):
    large()
    before = quality.quality(db, admin, project.id)["votes"]
    with db.read() as session:
        votes = session.exec(select(Vote).where(Vote.project_id == project.id).limit(20)).all()
        someone = session.exec(select(Annotator).where(Annotator.project_id == project.id)).first()
    more = [
        Vote(**{**vote.model_dump(), "id": f"new{place}", "annotator_id": f"x{place}", "lease": None})
        for place, vote in enumerate(votes)
    ]
    db.write(lambda session: session.add_all(more))
    end = time.monotonic() + 20
    while quality.quality(db, admin, project.id)["votes"] != before + 20 and time.monotonic() < end:
        time.sleep(0.02)
    assert quality.quality(db, admin, project.id)["votes"] == before + 20
    leave_out(db, admin, project.id, someone.id, "a test")
    assert quality.quality(db, admin, project.id)["votes"] < before + 20
    assert leaderboard.leaderboard(db, admin, project.id)["annotators"] > 0


def test_it_is_counted_ahead(db, admin, project, large, monkeypatch):
    large()
    monkeypatch.setattr("core.warm.MANY", 100)
    assert warm(db) == 1
    for module in (quality, leaderboard, overview):
        assert len(module._kept._found) == 1


def test_what_is_loaded_at_the_start_is_out_of_the_collectors_sight(db, monkeypatch):
    """Also when the counting fails. Modules alone are tens of thousands of objects."""
    monkeypatch.setattr("web.background.warm", lambda _db: (_ for _ in ()).throw(RuntimeError("planted")))
    before = gc.get_freeze_count()
    try:
        with pytest.raises(RuntimeError, match="planted"):
            settle(db)
        assert gc.get_freeze_count() > before + 10_000
    finally:
        gc.unfreeze()
