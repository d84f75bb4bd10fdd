"""Webhooks from the settings page, and over the REST API."""

from core.annotation import votes
from core.webhooks import EVENTS, manage
from core.webhooks.sender import Sender
from tests.annotation.conftest import make_world


def texts(at) -> str:
    return " ".join(
        str(item.value)
        for kind in (at.markdown, at.caption, at.info, at.success, at.error, at.code, at.subheader)
        for item in kind
    )


def button(at, label: str):
    [found] = [item for item in at.button if item.label == label]
    return found


def open_hooks(open_page, who, project):
    at = open_page(who, "project.py", project)
    at.session_state["settings_tab_next"] = "Webhooks"
    return at.run()


def test_made_tested_paused_and_deleted_from_the_page(db, person, project, open_page, receiver):
    lead = person("lead")
    at = open_hooks(open_page, lead, project)
    [address] = [item for item in at.text_input if item.label == "Address"]
    address.set_value("http://169.254.169.254/")
    at = button(at, "Add webhook").click().run()
    assert "never allowed" in texts(at)
    [address] = [item for item in at.text_input if item.label == "Address"]
    address.set_value(receiver.url)
    at = button(at, "Add webhook").click().run()
    assert not at.exception
    [hook] = manage.list_hooks(db, lead, project.id)
    assert hook.events == list(EVENTS) and "whsec_" in texts(at) and "not shown again" in texts(at)
    at = button(at, "I have it").click().run()
    assert "whsec_" not in texts(at)
    at = button(at, "Send a test event").click().run()
    assert "The receiver answered 200." in texts(at) and len(receiver.got) == 1
    receiver.statuses = [500]
    at = button(at, "Send a test event").click().run()
    assert "the receiver answered 500" in texts(at) and "1 given up" in texts(at)
    at = button(at, "Pause").click().run()
    assert not manage.list_hooks(db, lead, project.id)[0].active
    at = button(at, "Make a new secret").click().run()
    assert "24 hours more" in texts(at)
    at = button(at, "Delete this webhook").click().run()
    assert manage.list_hooks(db, lead, project.id) == [] and "None yet." in texts(at)


def test_deliveries_and_sending_again_on_the_page(db, person, open_page, receiver):
    lead, who = person("lead"), person("annotator")
    world = make_world(db, pairs=1, votes=1)
    receiver.statuses = [410]
    hook = manage.create(db, lead, world.project.id, receiver.url, ["vote.cast"]).hook
    claim = votes.claim(db, who, world.project.id)
    votes.cast(db, who, claim.pair_id, claim.lease, "tie")
    Sender(db, private=True).send_due()
    manage.change(db, lead, world.project.id, hook.id, active=True)
    at = open_hooks(open_page, lead, world.project)
    at.session_state[f"deliveries_{hook.id}"] = True
    at = at.run()
    [table] = at.dataframe
    row = table.value.iloc[0]
    assert (row["Event"], row["Status"], row["Tries"]) == ("vote.cast", "Given up", 1)
    assert "410" in row["Trouble"]
    at = button(at, "Send again what was given up (1)").click().run()
    assert not at.exception and "1 will be sent again" in texts(at)
    assert Sender(db, private=True).send_due() == 1 and receiver.events[-1][0] == "vote.cast"


def test_others_are_told_whose_it_is(person, project, open_page):
    at = open_hooks(open_page, person("engineer"), project)
    assert "A lead or admin sets up webhooks." in texts(at) and not at.exception


def test_rest(db, person, api, receiver):
    lead, who = person("lead"), person("annotator")
    world = make_world(db, pairs=1, votes=1)
    client, base = api(lead), f"/projects/{world.project.id}/webhooks"
    made = client.post(base, json={"url": receiver.url, "events": ["vote.cast", "pair.complete"]})
    assert made.status_code == 201 and made.json()["secret"].startswith("whsec_")
    one = f"{base}/{made.json()['id']}"
    [listed] = client.get(base).json()
    assert "secret" not in listed and listed["events"] == ["vote.cast", "pair.complete"] and listed["active"]
    tested = client.post(f"{one}/test").json()
    assert (tested["status"], tested["event"], tested["http_status"]) == ("delivered", "webhook.test", 200)
    changed = client.patch(one, json={"events": ["pair.complete"]}).json()
    assert changed["events"] == ["pair.complete"] and changed["url"] == receiver.url
    claim = votes.claim(db, who, world.project.id)
    votes.cast(db, who, claim.pair_id, claim.lease, "tie")
    waiting = client.get(f"{one}/deliveries", params={"status": "waiting"}).json()
    assert waiting["total"] == 1 and waiting["rows"][0]["event"] == "pair.complete"
    Sender(db, private=True).send_due()
    [done] = client.get(f"{one}/deliveries", params={"limit": 1}).json()["rows"]
    assert (done["status"], done["attempts"]) == ("delivered", 1)
    assert client.post(f"{one}/deliveries/{done['id']}/redeliver").json() == {"deliveries": 1}
    assert client.post(f"{one}/deliveries/none/redeliver").status_code == 404
    assert client.post(f"{one}/redeliver").json() == {"deliveries": 0}
    assert client.post(f"{one}/rotate").json()["secret"] != made.json()["secret"]
    assert client.post(base, json={"url": "ftp://x", "events": ["vote.cast"]}).status_code == 422
    assert client.patch(one, json={"events": ["nothing"]}).status_code == 422
    # Another project's address does not lead to it; other roles do not get in.
    other = make_world(db).project.id
    assert client.get(f"/projects/{other}/webhooks/{made.json()['id']}/deliveries").status_code == 404
    assert api(who).get(base).status_code == 403 and api(person("engineer")).get(base).status_code == 403
    assert client.delete(one).status_code == 204 and client.get(base).json() == []
    assert client.patch(one, json={"active": True}).status_code == 404
