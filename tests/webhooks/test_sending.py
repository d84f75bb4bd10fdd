"""Delivery to a real HTTP server: signed, retried, in order, once, and after a restart."""

import base64
import hashlib
import hmac
import threading
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from core import webhooks
from core.settings import get_settings
from core.webhooks import attempt, manage, sender, signing
from core.webhooks.sender import Sender
from storage import webhooks as stored
from storage.database import Database
from storage.ids import now
from storage.tables import AuditEntry, Delivery, Webhook
from tests.annotation.conftest import make_person, make_world
from tests.webhooks.receiver import Received, Receiver


def is_signed(item: Received, secret: str) -> bool:
    """Computed from the specification, with the standard library alone."""
    key = base64.b64decode(secret.split("_", 1)[1])
    content = b".".join(
        [item.headers["webhook-id"].encode(), item.headers["webhook-timestamp"].encode(), item.body]
    )
    wanted = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    fresh = abs(time.time() - int(item.headers["webhook-timestamp"])) < 300
    return fresh and f"v1,{wanted}" in item.headers["webhook-signature"].split(" ")


class Setup:
    def __init__(self, db: Database, url: str) -> None:
        self.db = db
        self.lead = make_person(db, "lead", "lead")
        self.project_id = make_world(db).project.id
        made = manage.create(db, self.lead, self.project_id, url, list(webhooks.EVENTS))
        self.hook, self.secret = made.hook, made.secret

    def tell(self, *names: str) -> None:
        for name in names:
            self.db.write(
                lambda session, name=name: webhooks.emit(
                    session, self.project_id, "gold.failed", name, {"name": name}
                )
            )

    def rows(self) -> list[Delivery]:
        with self.db.read() as session:
            return list(session.exec(select(Delivery).order_by(Delivery.id)))

    def until_settled(self, *senders: Sender, seconds: float = 10) -> list[Delivery]:
        for one in senders:
            one.start()
        end = time.monotonic() + seconds
        while any(row.status == "waiting" for row in self.rows()) and time.monotonic() < end:
            time.sleep(0.02)
        for one in senders:
            one.stop()
        return self.rows()


def test_the_specifications_own_example():
    """The secret, id, time and body of the reference implementations' tests, and their signature."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    found = signing.signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(max_size=200), st.integers(0, 2**33), st.text("abcdef0123456789-", min_size=1, max_size=40))
def test_signatures_as_computed_independently(body, timestamp, message_id):
    secret = signing.new_secret()
    key = base64.b64decode(secret[6:])
    assert 24 <= len(key) <= 64
    wanted = hmac.new(key, b"%s.%d.%s" % (message_id.encode(), timestamp, body), hashlib.sha256).digest()
    assert signing.signature(secret, message_id, timestamp, body) == "v1," + base64.b64encode(wanted).decode()


def test_delivered_signed_in_order_and_as_it_was_written(any_db, receiver):
    setup = Setup(any_db, receiver.url)
    setup.tell("ä “quoted”", "b", "c")
    rows = setup.until_settled(Sender(any_db, private=True))
    assert [row.status for row in rows] == ["delivered"] * 3 and {row.http_status for row in rows} == {200}
    assert [item.event["data"]["name"] for item in receiver.got] == ["ä “quoted”", "b", "c"]
    assert [item.headers["webhook-id"] for item in receiver.got] == [row.id for row in rows]
    assert [item.event for item in receiver.got] == [row.body for row in rows]
    assert all(is_signed(item, setup.secret) for item in receiver.got)
    assert not is_signed(receiver.got[0], signing.new_secret())
    assert {item.headers["content-type"] for item in receiver.got} == {"application/json"}
    assert {item.path for item in receiver.got} == {"/hooks?from=prefloop"}


def test_retried_until_it_is_taken_with_the_same_id_and_a_new_time(any_db, receiver):
    receiver.statuses = [500, 503, 404, 302]
    setup = Setup(any_db, receiver.url)
    setup.tell("one")
    [row] = setup.until_settled(Sender(any_db, private=True))
    assert (row.status, row.attempts, row.error) == ("delivered", 5, None)
    assert len({item.headers["webhook-id"] for item in receiver.got}) == 1 and len(receiver.got) == 5
    assert all(is_signed(item, setup.secret) for item in receiver.got)


def test_given_up_visibly_and_sent_again_by_hand(any_db, receiver):
    receiver.statuses = [500] * attempt.TRIES
    setup = Setup(any_db, receiver.url)
    setup.tell("one")
    [row] = setup.until_settled(Sender(any_db, private=True))
    assert (row.status, row.attempts, row.http_status) == ("given_up", attempt.TRIES, 500)
    assert "500" in row.error and row.next_at is None
    [hook] = manage.list_hooks(any_db, setup.lead, setup.project_id)
    assert (hook.tally.given_up, hook.tally.waiting, hook.tally.delivered) == (1, 0, 0)
    assert manage.redeliver(any_db, setup.lead, setup.project_id, setup.hook.id) == 1
    [row] = setup.until_settled(Sender(any_db, private=True))
    assert (row.status, row.attempts, row.error) == ("delivered", 1, None)
    assert len(receiver.events) == 1


def test_waits_grow_for_about_a_day_with_jitter():
    waits = [[attempt.wait_s(n) for n in range(1, attempt.TRIES)] for _ in range(200)]
    plan = [10, 50, 250, 1_250, 6_250, 31_250, 43_200]
    for row in waits:
        assert all(0.8 * want <= got <= 1.2 * want for got, want in zip(row, plan, strict=True))
    totals = [sum(row) / 3600 for row in waits]
    assert min(totals) > 18 and max(totals) < 28 and len(set(totals)) > 100
    assert attempt.wait_s(1, 600) == 600 and attempt.wait_s(1, 1e9) == 24 * 3600


def test_statuses():
    assert attempt.read(204).delivered and attempt.read(200).delivered
    assert attempt.read(503, "120").retry_after_s == 120
    assert attempt.read(503, "Wed, 21 Oct 2026 07:28:00 GMT").retry_after_s is None
    assert attempt.read(410).gone and attempt.read(410).final and not attempt.read(404).final


def test_gone_pauses_the_webhook(any_db, receiver):
    receiver.statuses = [410]
    setup = Setup(any_db, receiver.url)
    setup.tell("one", "two")
    assert Sender(any_db, private=True).send_due() == 0
    first, second = setup.rows()
    assert (first.status, second.status, second.attempts) == ("given_up", "waiting", 0)
    with any_db.read() as session:
        assert not session.get(Webhook, setup.hook.id).active
        assert session.exec(
            select(AuditEntry.user_name).where(AuditEntry.action == "webhook.pause")
        ).all() == ["system"]
    assert Sender(any_db, private=True).send_due() == 0 and len(receiver.got) == 1
    manage.change(any_db, setup.lead, setup.project_id, setup.hook.id, active=True)
    assert Sender(any_db, private=True).send_due() == 1


def test_what_waits_does_not_spend_its_tries_on_a_receiver_that_is_down(any_db, receiver, monkeypatch):
    monkeypatch.setattr(sender, "REST_S", 60.0)
    receiver.statuses = [500] * 100
    setup = Setup(any_db, receiver.url)
    setup.tell(*"abcdef")
    one = Sender(any_db, private=True)
    for _ in range(5):
        one.send_due()
    assert [row.attempts for row in setup.rows()] == [1, 0, 0, 0, 0, 0]


def test_one_slow_receiver_does_not_hold_up_the_others(any_db, receiver):
    setup = Setup(any_db, receiver.url)
    with Receiver(hold=threading.Event()) as slow:
        manage.create(any_db, setup.lead, setup.project_id, slow.url, ["gold.failed"])
        setup.tell("one", "two")
        one = Sender(any_db, private=True)
        one.start()
        end = time.monotonic() + 5
        while len(receiver.got) + len(slow.got) < 3 and time.monotonic() < end:
            time.sleep(0.02)
        assert len(receiver.got) == 2 and len(slow.got) == 1
        # A stop does not wait for it; what it had is sent later.
        before = time.monotonic()
        one.stop()
        assert time.monotonic() - before < 3
    waiting = [row for row in setup.rows() if row.status == "waiting"]
    assert len(waiting) == 2 and all(row.next_at <= now() and row.attempts == 0 for row in waiting)


def test_after_a_kill_a_new_server_sends_what_waits(any_db, receiver):
    """The first sender dies with a claim in its hands: nothing of it is written down."""
    setup = Setup(any_db, receiver.url)
    setup.tell("one", "two")
    until = now() + timedelta(seconds=0.4)
    any_db.write(lambda session: stored.claim(session, setup.hook.id, now(), until, 50))
    again = Database(any_db.url) if not any_db.is_duckdb else any_db
    assert Sender(again, private=True).send_due() == 0, "claimed by somebody who may still be at it"
    rows = setup.until_settled(Sender(again, private=True))
    assert [row.status for row in rows] == ["delivered"] * 2 and len(receiver.got) == 2
    if again is not any_db:
        again.dispose()


def test_who_comes_back_late_does_not_write_over_who_took_over(any_db, receiver):
    setup = Setup(any_db, receiver.url)
    setup.tell("one")
    past = now() - timedelta(seconds=1)
    [late] = any_db.write(lambda session: stored.claim(session, setup.hook.id, now(), past, 50))
    assert Sender(any_db, private=True).send_due() == 1
    assert not any_db.write(lambda session: stored.settle(session, late, status="given_up"))
    assert setup.rows()[0].status == "delivered"


def test_several_senders_on_one_database_deliver_each_event_once(any_db, receiver):
    setup = Setup(any_db, receiver.url)
    setup.tell(*(str(i) for i in range(60)))
    # On PostgreSQL each has a pool of its own, as another process would.
    databases = [any_db] * 3 if any_db.is_duckdb else [Database(any_db.url) for _ in range(3)]
    rows = setup.until_settled(*(Sender(db, private=True) for db in databases), seconds=20)
    assert {row.status for row in rows} == {"delivered"} and {row.attempts for row in rows} == {1}
    ids = [item.headers["webhook-id"] for item in receiver.got]
    assert len(ids) == 60 == len(set(ids))
    for db in databases:
        if db is not any_db:
            db.dispose()


def test_a_rotation_signs_with_both_secrets_for_a_day(any_db, receiver):
    setup = Setup(any_db, receiver.url)
    new = manage.rotate(any_db, setup.lead, setup.project_id, setup.hook.id).secret
    assert new != setup.secret
    setup.tell("one")
    setup.until_settled(Sender(any_db, private=True))
    [item] = receiver.got
    assert is_signed(item, new) and is_signed(item, setup.secret)
    assert len(item.headers["webhook-signature"].split()) == 2
    with any_db.read() as session:
        kept = session.get(Webhook, setup.hook.id).secret
    assert signing.signing(kept, now() + timedelta(hours=25)) == [new]
    # Rotated twice: the first of three no longer signs.
    third, _ = signing.rotated(kept, now())
    assert setup.secret not in signing.signing(third, now()) and len(signing.signing(third, now())) == 2


def test_a_test_event_is_sent_at_once_and_only_once(any_db, receiver):
    setup = Setup(any_db, receiver.url)
    done = manage.send_test(any_db, setup.lead, setup.project_id, setup.hook.id)
    assert (done.status, done.http_status, done.event) == ("delivered", 200, "webhook.test")
    assert is_signed(receiver.got[0], setup.secret)
    receiver.statuses = [500]
    done = manage.send_test(any_db, setup.lead, setup.project_id, setup.hook.id)
    assert (done.status, done.attempts, done.error) == ("given_up", 1, "the receiver answered 500")
    assert Sender(any_db, private=True).send_due() == 0 and len(receiver.got) == 2


def test_the_setting_is_asked_when_something_is_sent(any_db, receiver, monkeypatch):
    setup = Setup(any_db, receiver.url)
    setup.tell("one")
    monkeypatch.setenv("PREFLOOP_WEBHOOK_PRIVATE", "false")
    get_settings.cache_clear()
    assert Sender(any_db, private=get_settings().webhook_private).send_due() == 0
    [row] = setup.rows()
    assert row.status == "given_up" and "PREFLOOP_WEBHOOK_PRIVATE" in row.error and receiver.got == []


def test_what_is_settled_is_forgotten_after_a_week(any_db, receiver):
    setup = Setup(any_db, receiver.url)
    setup.tell("one", "two")
    setup.until_settled(Sender(any_db, private=True))
    setup.tell("three")
    forget = lambda: any_db.write(lambda session: stored.forget(session, now() - sender.KEPT))  # noqa: E731
    assert forget() == 0

    def age(session):
        for row in session.exec(select(Delivery)):
            row.created_at = now() - timedelta(days=8)
            session.add(row)

    any_db.write(age)
    assert forget() == 2 and [row.status for row in setup.rows()] == ["waiting"]


@pytest.mark.parametrize("what", ["delete"])
def test_what_waits_for_a_deleted_webhook_is_given_up_and_its_secret_is_gone(any_db, receiver, what):
    setup = Setup(any_db, receiver.url)
    setup.tell("one")
    manage.delete(any_db, setup.lead, setup.project_id, setup.hook.id)
    assert Sender(any_db, private=True).send_due() == 0 and receiver.got == []
    assert setup.rows()[0].status == "given_up"
    with any_db.read() as session:
        assert session.get(Webhook, setup.hook.id).secret == ""
