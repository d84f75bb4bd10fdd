"""Promotion by a blind comparison, what people's votes decide, and the way back."""

from datetime import timedelta

import pytest
from sqlmodel import select

from core.errors import Conflict, Forbidden, Invalid
from core.optimize import champion
from core.optimize.trial import TrialKeeper, queue_more, trial_of
from core.prompts.versions import create_prompt
from storage.ids import now
from storage.pairs import NewPair, add_pairs, annotators_named, pair_id_of
from storage.tables import AuditEntry, Example, Project, Prompt, Response, Slot, Vote


class Met:
    """Two prompts with a pair on each of `n` held-out examples, then on `seen` of train, and votes."""

    def __init__(self, db, project, n=60, seen=0):
        self.db, self.project, self.n, self.votes = db, project, n, 0
        self.old = Prompt(project_id=project.id, name="old", system="Say it.", user="{{input}}")
        self.new = Prompt(
            project_id=project.id, name="new", system="Say it well.", user="{{input}}", run_id="r"
        )

        def work(session):
            row = session.get(Project, project.id)
            row.champion_prompt_id, row.votes_per_pair = self.old.id, 2
            session.add_all([row, self.old, self.new])
            pairs = []
            for i in range(n + seen):
                split = "test" if i < n else "train"
                example = Example(project_id=project.id, content_hash=f"h{i}", input=f"{i}", split=split)
                session.add(example)
                for prompt in (self.old, self.new):
                    key = f"{prompt.name} {i}"
                    session.add(
                        Response(id=key, project_id=project.id, example_id=example.id, prompt_id=prompt.id,
                                 text=key, cache_key=key)
                    )  # fmt: skip
                pairs.append(NewPair(example.id, f"new {i}", f"old {i}", source="optimize"))
            session.flush()
            add_pairs(session, row, pairs)

        db.write(work)

    def vote(self, *said, start=0, by="Ada", simulated=False, machine=False, source="page"):
        """On examples from `start`: "+" for the new one, "-" for the old, "=" for neither."""

        def work(session):
            judge = annotators_named(session, self.project.id, {by}, simulated=simulated, machine=machine)[by]
            for i, sign in enumerate("".join(said), start):
                pair = pair_id_of(f"new {i}", f"old {i}")
                query = select(Slot).where(Slot.pair_id == pair, Slot.status == "open")
                slot = session.exec(query.order_by(Slot.position)).first()
                slot.status = "voted"
                self.votes += 1
                winner = {"+": f"new {i}", "-": f"old {i}", "=": None}[sign]
                session.add_all([slot, Vote(
                    project_id=self.project.id, pair_id=pair, annotator_id=judge.id, slot_id=slot.id,
                    outcome="win" if winner else "tie", winner=winner, simulated=simulated, source=source,
                    created_at=now() + timedelta(seconds=self.votes),
                )])  # fmt: skip

        self.db.write(work)


@pytest.fixture
def met(db, project):
    return Met(db, project)


def test_people_decide_and_each_example_counts_once(any_db, person_on):
    admin, project = person_on(any_db, "admin")
    db, met = any_db, Met(any_db, project)
    met.vote("+-=" * 4, "+" * 8)
    met.vote("-" * 20, by="Bob")  # second votes on the same examples
    met.vote("+" * 30, start=20, by="robot", simulated=True)
    met.vote("-" * 5, start=50, by="judge", machine=True)
    met.vote("-" * 5, start=55, by="old tool", source="import")
    found = trial_of(db, admin, met.new.id)
    people = found.people
    assert (people.n, people.won, people.even, people.lost) == (20, 12, 4, 4)
    assert people.share == 0.7 and people.verdict == "undecided" and people.low < 0.5 < people.high
    assert found.simulated.verdict == "better" and found.simulated.n == 30
    assert found.votes == {"people": 40, "simulated": 30} and not found.passed  # judges are left out at first
    assert (found.examples, found.waiting) == (60, 40)
    assert trial_of(db, admin, met.old.id) is None


def test_a_found_prompt_is_promoted_when_it_has_passed(db, admin, person, project, met):
    engineer, lead = person("engineer"), person("lead")
    met.vote("+" * 19)
    with pytest.raises(Conflict, match="has not passed the blind comparison with old v1: undecided after 19"):
        champion.promote(db, lead, met.new.id)
    with pytest.raises(Forbidden, match="Only a lead or an admin"):
        champion.promote(db, engineer, met.new.id, "I like it")
    met.vote("+", start=19)
    assert trial_of(db, admin, met.new.id).passed
    assert champion.promote(db, engineer, met.new.id).champion_prompt_id == met.new.id
    [reign] = champion.history(db, admin, project.id)
    assert (reign.name, reign.by, reign.how, reign.before_id) == ("new v1", "engineer", "test", met.old.id)
    assert reign.figures["won"] == reign.figures["n"] == 20 and reign.figures["low"] > 0.5


def test_an_override_keeps_its_reason_and_the_way_back_is_open(db, admin, person, project, met):
    lead = person("lead")
    with pytest.raises(Invalid, match="at most 500"):
        champion.promote(db, lead, met.new.id, "x" * 501)
    champion.promote(db, lead, met.new.id, "  A law   asks for it. ")
    with pytest.raises(Conflict, match="champion before this one is old v1"):
        champion.roll_back(db, lead, project.id, "no", to=met.new.id)
    assert champion.roll_back(db, lead, project.id, to=met.old.id).champion_prompt_id == met.old.id
    back, override = champion.history(db, admin, project.id)
    assert (override.how, override.reason) == ("override", "A law asks for it.")
    assert (back.how, back.reason, back.before_id) == ("rollback", "", met.new.id)
    with pytest.raises(Conflict, match="before this one is new v1"):  # the second of two who press
        champion.roll_back(db, lead, project.id, to=met.old.id)
    with db.read() as session:
        kept = [
            e.detail for e in session.exec(select(AuditEntry).where(AuditEntry.action == "prompt.promote"))
        ]
    assert [entry["how"] for entry in kept] == ["override", "rollback"]
    assert kept[0]["comparison"]["verdict"] == "undecided"


def test_what_a_person_wrote_is_chosen_freely(db, person, project, met):
    written = Prompt(project_id=project.id, name="mine", user="{{input}}")
    db.write(lambda session: session.add(written))
    engineer = person("engineer")
    champion.promote(db, engineer, written.id, "It is shorter.")
    assert champion.history(db, engineer, project.id)[0].how == "free"
    with pytest.raises(Conflict, match="There is no earlier"):
        fresh = Project(name="P")
        db.write(lambda session: session.add(fresh))
        champion.roll_back(db, engineer, fresh.id)


def test_an_edit_or_a_copy_of_a_found_prompt_is_no_way_around_the_comparison(db, person, project, met):
    engineer = person("engineer")

    def made(name, system, parent=None):
        return create_prompt(db, engineer, project.id, name, system, "{{input}}", parent_id=parent).id

    edited = made("new", "Say it very well.")  # a version of its name: edited from the found one
    again = made("third", "Say it ever so well.", edited)
    copied = made("mine", "Say it well.")
    for prompt in (edited, again, copied):
        with pytest.raises(Conflict, match="not passed"):
            champion.promote(db, engineer, prompt)
    assert trial_of(db, engineer, edited).people.n == 0  # it has a comparison of its own
    # What people have accepted is common ground: an edit of it is a person's own again.
    met.vote("+" * 20)
    champion.promote(db, engineer, met.new.id)
    after = made("fourth", "Say it well, and briefly.", met.new.id)
    assert champion.promote(db, engineer, after).champion_prompt_id == after
    assert champion.promote(db, engineer, again).champion_prompt_id == again


def test_pairs_leave_the_queue_once_the_verdict_is_in(any_db, person_on):
    admin, project = person_on(any_db, "admin")
    db, met = any_db, Met(any_db, project)
    keeper = TrialKeeper(db, clock=lambda: 0.0)
    met.vote("+" * 10)
    keeper.refresh()
    assert trial_of(db, admin, met.new.id).waiting == 60  # two votes are wanted of each pair
    met.vote("+" * 10, start=10)

    def claim(session):  # somebody has one of the others on their desk
        slot = session.exec(select(Slot).where(Slot.pair_id == pair_id_of("new 30", "old 30"))).first()
        slot.status, slot.annotator_id, slot.lease = "leased", "somebody", "l"
        session.add(slot)

    db.write(claim)
    keeper.refresh()
    found = trial_of(db, admin, met.new.id)
    assert found.people.verdict == "better" and found.waiting == 21  # those begun are finished
    with db.read() as session:
        closed = session.exec(select(Slot).where(Slot.status == "closed")).all()
        assert len(closed) == 2 * 39 and {slot.pair_id for slot in closed}.isdisjoint(
            {pair_id_of(f"new {i}", f"old {i}") for i in [*range(20), 30]}
        )
    with pytest.raises(Conflict, match="is over: better"):
        queue_more(db, admin, met.new.id)


def test_after_a_long_look_the_keeper_rests(db, met, monkeypatch):
    now, looks = [0.0], []

    def look(self):
        looks.append(now[0])
        now[0] += 3.0 if len(looks) == 1 else 0.1

    monkeypatch.setattr(TrialKeeper, "_look_at_all", look)
    keeper = TrialKeeper(db, clock=lambda: now[0])
    while now[0] < 75:
        keeper.refresh()
        now[0] += 5.0
    assert len(looks) == 4 and looks[0] == 0.0 and looks[1] >= 60.0  # 20 times the three seconds
    assert looks[3] - looks[2] == looks[2] - looks[1] == pytest.approx(5.1)


def test_what_a_search_has_seen_decides_nothing(any_db, person_on):
    """A prompt that wins every train example, and loses those it never saw."""
    admin, project = person_on(any_db, "admin")
    db, met = any_db, Met(any_db, project, n=30, seen=40)
    met.vote("+" * 40, start=30)
    found = trial_of(db, admin, met.new.id)
    assert (found.people.n, found.people.verdict, found.votes, found.seen) == (0, "undecided", {}, 40)
    assert (found.held_out, found.asked, found.examples, found.waiting) == (30, 30, 30, 30)
    met.vote("-" * 20)
    found = trial_of(db, admin, met.new.id)
    assert (found.people.verdict, found.people.n, found.seen) == ("worse", 20, 40)
    TrialKeeper(db).refresh()
    with db.read() as session:  # pairs of train may be there to train a reward model: they stay
        slots = session.exec(select(Slot)).all()
    closed = {slot.pair_id for slot in slots if slot.status == "closed"}
    assert closed == {pair_id_of(f"new {i}", f"old {i}") for i in range(20, 30)}
    assert sum(slot.status == "open" for slot in slots) == 20 + 40  # second votes on what was begun


def test_a_comparison_is_enlarged_as_long_as_there_are_examples(db, admin, project, met):
    def more(count, split):
        rows = [
            Example(project_id=project.id, content_hash=f"{split} {i}", input=f"{split} {i}", split=split)
            for i in range(count)
        ]
        db.write(lambda session: session.add_all(rows))

    more(5, "train")  # no search's test
    with pytest.raises(Conflict, match=r"All 60 held-out examples have been answered\. Import") as problem:
        queue_more(db, admin, met.new.id)
    assert "Import more examples" in problem.value.hint
    more(5, "test")
    run = queue_more(db, admin, met.new.id)
    assert (run.kind, run.config["pairs"], run.config["n_examples"]) == ("generate", "champion", 65)
    assert run.config["examples"] == {"split": "test", "limit": 120}
    assert set(run.config["prompts"]) == {met.old.id, met.new.id}


def test_over_the_api(db, admin, api, person, project, met):
    client = api(admin)
    met.vote("+" * 15)
    found = client.get(f"/prompts/{met.new.id}/comparison").json()
    assert (found["people"]["n"], found["people"]["needed"], found["passed"]) == (15, 5, False)
    assert (found["held_out"], found["asked"], found["seen"]) == (60, 60, 0)
    assert [(item["share"], item["examples"]) for item in found["expected"]] == [
        (0.6, 60),
        (0.65, 60),
        (0.7, 60),
    ]
    assert 0.33 < found["expected"][1]["better"] < 0.35
    assert client.get(f"/prompts/{met.old.id}/comparison").status_code == 409
    assert client.post(f"/prompts/{met.new.id}/promote").status_code == 409
    done = client.post(f"/prompts/{met.new.id}/promote", json={"reason": "A trial of the override."})
    assert done.json()["champion_prompt_id"] == met.new.id
    assert [row["how"] for row in client.get(f"/projects/{project.id}/champions").json()] == ["override"]
    back = client.post(f"/projects/{project.id}/champions/rollback", json={"prompt_id": met.old.id})
    assert back.json()["champion_prompt_id"] == met.old.id
    assert api(person("annotator")).post(f"/projects/{project.id}/champions/rollback").status_code == 403


def test_on_the_page(db, admin, person, project, open_page, met):
    met.vote("+" * 19)
    met.vote("-" * 8, start=20, by="robot", simulated=True)

    def open_(who):
        at = open_page(who, "prompts.py", project)
        at.session_state[f"prompt_of_{project.id}"] = met.new.id
        return at.run()

    at = open_(person("engineer"))
    said = " ".join(item.value for item in at.caption)
    assert not at.exception and "Simulated votes decide nothing" in said and "1 more in a row" in said
    assert at.button(key=f"prompt_promote_off_{met.new.id}").disabled
    assert [item.value for item in at.info if "60 held-out examples" in item.value and "34 %" in item.value]
    assert not [button for button in at.button if "override" in (button.key or "")]
    at = open_(admin)
    assert at.button(key=f"prompt_override_{met.new.id}").disabled
    met.vote("+", start=19)
    at = open_(admin)
    at.button(key=f"prompt_promote_{met.new.id}").click().run()
    assert not at.exception
    at = open_(admin)
    at.button(key=f"champion_back_{project.id}").click().run()
    assert not at.exception
    with db.read() as session:
        assert session.get(Project, project.id).champion_prompt_id == met.old.id
