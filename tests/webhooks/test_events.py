"""What is told, and that it is told with the vote or not at all."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event
from sqlmodel import select

from core import webhooks
from core.annotation import votes
from core.errors import Forbidden, Invalid
from core.projects import update_project
from core.webhooks import manage
from core.webhooks.events import EVENTS
from storage.database import Database
from storage.tables import Delivery
from tests.annotation.conftest import make_person, make_world

ALL = list(EVENTS)


def told(db: Database) -> list[tuple[str, str]]:
    with db.read() as session:
        return [(row.event, row.entity_id) for row in session.exec(select(Delivery).order_by(Delivery.id))]


def vote_all(db: Database, who, project_id: str) -> list[str]:
    """The ids of the votes, until nothing is left."""
    done = []
    while claim := votes.claim(db, who, project_id):
        done.append(votes.cast(db, who, claim.pair_id, claim.lease, "left").id)
    return done


def test_votes_pairs_and_the_project_are_told_once_each(any_db):
    lead = make_person(any_db, "lead", "lead")
    world = make_world(any_db, pairs=2, votes=2)
    manage.create(any_db, lead, world.project.id, "https://example.org/hooks", ALL)
    first, second = make_person(any_db, "a"), make_person(any_db, "b")
    cast = vote_all(any_db, first, world.project.id)
    assert told(any_db) == [("vote.cast", vote) for vote in cast]
    cast += vote_all(any_db, second, world.project.id)
    found = told(any_db)
    assert sorted(entity for name, entity in found if name == "vote.cast") == sorted(cast)
    assert sorted(entity for name, entity in found if name == "pair.complete") == sorted(
        f"{pair}:2" for pair in world.pairs
    )
    assert [entity for name, entity in found if name == "project.complete"] == [f"{world.project.id}:4"]
    assert found[-1][0] == "project.complete", "in the order in which it happened"
    # Taken back and voted again: another vote, and nothing else is new.
    votes.undo(any_db, second, cast[-1])
    again = vote_all(any_db, second, world.project.id)
    assert told(any_db) == [*found, ("vote.cast", again[0])]
    # More votes are asked for: complete is told again when they are there.
    update_project(any_db, lead, world.project.id, votes_per_pair=3)
    vote_all(any_db, make_person(any_db, "c"), world.project.id)
    assert [entity for name, entity in told(any_db) if name == "project.complete"] == [
        f"{world.project.id}:4",
        f"{world.project.id}:6",
    ]


def test_a_body_has_ids_and_no_texts_and_no_names(any_db):
    lead, who = make_person(any_db, "lead", "lead"), make_person(any_db, "Marie Curie")
    world = make_world(any_db, pairs=1, votes=1)
    manage.create(any_db, lead, world.project.id, "https://example.org/hooks", ["vote.cast"])
    claim = votes.claim(any_db, who, world.project.id)
    vote = votes.cast(any_db, who, claim.pair_id, claim.lease, "right", reason="private words")
    with any_db.read() as session:
        [row] = session.exec(select(Delivery))
    assert row.body["type"] == "vote.cast" and row.body["timestamp"].endswith("+00:00")
    assert row.body["data"] == {
        "project_id": world.project.id, "vote_id": vote.id, "pair_id": claim.pair_id,
        "annotator_id": vote.annotator_id, "outcome": "win", "winner": vote.winner, "strength": None,
        "source": "page",
    }  # fmt: skip
    assert not any(text in str(row.body) for text in ("Marie", "private words", "Response "))


def test_only_what_was_asked_for_by_active_webhooks_of_the_project(any_db):
    lead, who = make_person(any_db, "lead", "lead"), make_person(any_db)
    world, other = make_world(any_db, pairs=1, votes=1), make_world(any_db, pairs=1, votes=1)
    make = lambda project, events: manage.create(any_db, lead, project, "https://example.org", events).hook  # noqa: E731
    pairs = make(world.project.id, ["pair.complete"])
    paused = make(world.project.id, ALL)
    gone = make(world.project.id, ALL)
    make(other.project.id, ALL)
    manage.change(any_db, lead, world.project.id, paused.id, active=False)
    manage.delete(any_db, lead, world.project.id, gone.id)
    vote_all(any_db, who, world.project.id)
    with any_db.read() as session:
        rows = list(session.exec(select(Delivery)))
    assert [(row.webhook_id, row.event) for row in rows] == [(pairs.id, "pair.complete")]


def test_nothing_is_told_of_what_was_not_kept(any_db):
    lead = make_person(any_db, "lead", "lead")
    world = make_world(any_db)
    manage.create(any_db, lead, world.project.id, "https://example.org", ["gold.failed"])

    def fails(session):
        webhooks.emit(session, world.project.id, "gold.failed", "one", {})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        any_db.write(fails)
    assert told(any_db) == []
    for _ in range(2):  # the same again is the same
        any_db.write(lambda session: webhooks.emit(session, world.project.id, "gold.failed", "one", {}))
    assert told(any_db) == [("gold.failed", "one")]


def test_a_project_without_a_webhook_pays_one_query_for_a_batch(any_db):
    world = make_world(any_db)
    asked = []

    @event.listens_for(any_db.engine, "before_cursor_execute")
    def _count(_connection, _cursor, statement, *_):
        asked.append(statement)

    def work(session):
        for i in range(5):
            webhooks.emit(session, world.project.id, "vote.cast", str(i), {})

    any_db.write(work)
    assert len(asked) == 1 and "webhook.project_id" in asked[0]


def test_last_votes_at_the_same_moment_complete_the_pair_and_the_project_once(any_db):
    lead = make_person(any_db, "lead", "lead")
    world = make_world(any_db, pairs=2, votes=6)
    manage.create(any_db, lead, world.project.id, "https://example.org", ALL)
    people = [make_person(any_db, f"p{i}") for i in range(6)]
    start = threading.Barrier(6)

    def label(who):
        held = votes.claim_some(any_db, who, world.project.id, 2)
        start.wait()
        for claim in held:
            votes.cast(any_db, who, claim.pair_id, claim.lease, "left")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(label, people))
    names = [name for name, _ in told(any_db)]
    assert (names.count("vote.cast"), names.count("pair.complete"), names.count("project.complete")) == (
        12, 2, 1,
    )  # fmt: skip


def test_who_may_and_what_is_wrong(any_db):
    world = make_world(any_db)
    lead = make_person(any_db, "lead", "lead")
    for role in ("annotator", "engineer"):
        for work in (
            lambda who: manage.list_hooks(any_db, who, world.project.id),
            lambda who: manage.create(any_db, who, world.project.id, "https://example.org", ALL),
        ):
            with pytest.raises(Forbidden):
                work(make_person(any_db, f"{role} {id(work)}", role))
    for url in (
        "ftp://example.org", "example.org", "https://", "https://a:b@example.org", "https://example.org/#x",
        "https://exa mple.org", "https://example.org:port", "file:///etc/passwd", "https://" + "a" * 2_000,
        "http://169.254.169.254/latest/meta-data", "http://127.0.0.1:8501/", "http://[::1]/", "http://10.0.0.1/",
        "http://[fe80::1]/", "http://[::ffff:169.254.169.254]/", "http://0.0.0.0/",
    ):  # fmt: skip
        with pytest.raises(Invalid, match="url"):
            manage.create(any_db, lead, world.project.id, url, ALL)
    for events in ([], ["vote"], ["vote.cast", "webhook.test"]):
        with pytest.raises(Invalid, match="events"):
            manage.create(any_db, lead, world.project.id, "https://example.org", events)
