"""Imports on both databases: nothing twice, nothing half, a reason for what is not taken,
and slots that fit."""

import pytest
from sqlmodel import func, select

from core import data
from core.access import Principal, Role
from core.errors import Forbidden, NotFound
from core.projects import create_project
from storage import plan as planning
from storage.tables import Annotator, AuditEntry, Example, Pair, Prompt, Response, Slot, Vote

WHO = Principal("u", "somebody", Role.ENGINEER)
TABLES = (Example, Prompt, Response, Pair, Slot, Annotator, Vote)


def vote(annotator, choice, **more):
    row = {"input": "in", "response_a": "one", "response_b": "two", "prompt_a": "P", "prompt_b": "Q"}
    return row | {"annotator": annotator, "choice": choice} | more


PAIR = vote(None, None)


@pytest.fixture
def place(any_db):
    project = create_project(any_db, WHO, name="A project", votes_per_pair=3)

    class Place:
        db, id = any_db, project.id

        def put(self, *rows, **more):
            return data.import_comparisons(any_db, WHO, project.id, list(rows), **more)

        def count(self):
            with any_db.read() as session:
                return [session.exec(select(func.count()).select_from(table)).one() for table in TABLES]

        def slots(self):
            with any_db.read() as session:
                return sorted(session.exec(select(Slot.status)))

        def votes(self):
            with any_db.read() as session:
                query = select(Vote, Response.text).join(Response, Response.id == Vote.winner, isouter=True)
                return {(v.annotator_id, v.outcome, text) for v, text in session.exec(query)}

    return Place()


def test_votes_point_to_responses_whichever_is_named_first(place):
    turned = {"response_a": "two", "response_b": "one", "prompt_a": "Q", "prompt_b": "P"}
    report = place.put(vote("x", "a", left="b"), vote("y", "b", **turned, left="a"), vote("z", "b", left="a"))
    assert (report.imported, report.pairs, report.votes, report.responses) == (3, 1, 3, 2)
    assert sorted(text for _, _, text in place.votes()) == ["one", "one", "two"]
    with place.db.read() as session:
        votes = session.exec(select(Vote)).all()
        texts = dict(session.exec(select(Response.id, Response.text)).all())
    assert {texts[v.left] for v in votes if texts[v.winner] == "one"} == {"two"}
    assert {texts[v.left] for v in votes if texts[v.winner] == "two"} == {"one"}


def test_the_same_again_adds_nothing(place):
    rows = [vote("x", "a"), vote("y", "tie", reason="because"), PAIR, {**PAIR, "input": {"q": 1}}]
    first = place.put(*rows)
    # The pair of the third row came with the first.
    assert (first.imported, first.duplicates, first.skipped) == (3, 1, [])
    before = place.count()
    again = place.put(*rows)
    assert (again.imported, again.duplicates, again.skipped) == (0, 4, [])
    assert place.count() == before
    assert not any(again.counts.values())


def test_who_votes_otherwise_a_second_time_is_skipped_with_the_reason(place):
    place.put(vote("x", "a", strength="clearly"))
    report = place.put(
        vote("x", "b"), vote("x", "a"), vote("x", "a", strength="slightly"), vote("x", "a", left="a")
    )
    assert report.duplicates == 1 and report.imported == 0
    assert [row for row, _ in report.skipped] == [0, 2, 3]
    reasons = [reason for _, reason in report.skipped]
    assert reasons[0].startswith("choice: “x” has already judged this pair")
    assert reasons[1].startswith("strength: ") and reasons[2].startswith("left: ")


def test_every_row_is_accounted_for(place):
    report = place.put(vote("x", "a"), "no row", vote("x", "a"), vote("y", "c"), vote("x", "b"))
    assert (report.imported, report.duplicates) == (1, 1)
    assert [row for row, _ in report.skipped] == [1, 3, 4]


def test_slots_are_what_the_pair_lacks_of_its_votes(place):
    place.put(PAIR)
    assert place.slots() == ["open"] * 3
    place.put(vote("x", "a"))
    assert place.slots() == ["closed", "open", "open"]
    place.put(*(vote(name, "a") for name in "yzv"))
    assert place.slots() == ["closed"] * 3
    other = {"input": "other"}
    place.put(vote("x", "a", **other), vote("y", "b", **other))
    assert place.slots() == ["closed"] * 3 + ["open"]


def test_a_slot_that_somebody_has_open_is_left_to_them(place):
    place.put(PAIR)

    def lease(session):
        for slot in session.exec(select(Slot)):
            slot.status = "leased"

    place.db.write(lease)
    place.put(*(vote(name, "a") for name in "wxyz"))
    assert place.slots() == ["leased"] * 3


def test_a_dry_run_says_the_same_and_writes_nothing(place):
    rows = [vote("x", "a"), PAIR, vote("x", "b"), {"input": "?"}]
    before = place.count()
    planned = place.put(*rows, dry_run=True)
    assert place.count() == before
    assert planned == place.put(*rows)


def test_a_failed_import_leaves_nothing_behind(place, monkeypatch):
    place.put(vote("x", "a"))
    before = place.count()

    def fail(*_args):
        raise RuntimeError("in the last step")

    monkeypatch.setattr(planning, "adjust_slots", fail)
    with pytest.raises(RuntimeError):
        place.put(vote("y", "b"), vote("z", "tie", input="new", response_a="new"))
    assert place.count() == before
    with place.db.read() as session:
        actions = session.exec(select(AuditEntry.action)).all()
    assert actions.count("data.import_comparisons") == 1


def test_simulated_votes_stay_apart_from_peoples(place):
    place.put(vote("robot", "a", simulated=True), vote("x", "a"))
    with place.db.read() as session:
        found = session.exec(select(Vote.source, Vote.simulated, Annotator.name, Annotator.simulated).join(
            Annotator, Annotator.id == Vote.annotator_id)).all()  # fmt: skip
    assert set(found) == {("simulated", True, "robot", True), ("import", False, "x", False)}
    report = place.put(vote("robot", "a", input="other"), vote("x", "b", input="other", simulated=True))
    assert report.imported == 0
    assert "is simulated here" in report.skipped[0].reason and "is a person here" in report.skipped[1].reason


def test_a_prompt_is_found_by_its_name_and_version(place):
    place.db.write(
        lambda s: s.add_all(
            [
                Prompt(project_id=place.id, name="P", id="p1"),
                Prompt(project_id=place.id, name="P", version=2, id="p2"),
            ]
        )
    )
    report = place.put(vote("x", "a", prompt_a="P", prompt_b="P v2"))
    assert report.prompts == 0
    with place.db.read() as session:
        assert set(session.exec(select(Response.prompt_id))) == {"p1", "p2"}


def test_a_text_that_a_host_gave_twice_is_found_in_its_pair(place):
    """Two seeds, one text: the row of an export must find the pair that was labelled."""
    from storage.inputs import as_input
    from storage.pairs import NewPair, add_pairs
    from storage.plan import new_example
    from storage.tables import Project

    def generated(session):
        example = new_example(place.id, as_input("in"))
        session.add(example)
        session.add_all([Prompt(id=name, project_id=place.id, name=name.upper()) for name in "pq"])
        for id_, prompt, text in (("r1", "p", "one"), ("r2", "p", "one"), ("r3", "q", "two")):
            session.add(
                Response(
                    id=id_,
                    project_id=place.id,
                    example_id=example.id,
                    prompt_id=prompt,
                    text=text,
                    cache_key=id_,
                )
            )
        session.flush()
        add_pairs(session, session.get(Project, place.id), [NewPair(example.id, "r2", "r3")])

    place.db.write(generated)
    report = place.put(vote("x", "a"))
    assert (report.imported, report.pairs, report.responses) == (1, 0, 0)
    assert place.put(PAIR).duplicates == 1


# --- examples ---


def test_examples_are_found_again_by_their_content(place):
    def put(*rows):
        return data.import_examples(place.db, WHO, place.id, list(rows))

    report = put(
        "text", {"input": "text"}, {"q": "a", "c": "b"}, {"split": "dev", "input": "to dev"}, {"input": ""}
    )
    assert (report.imported, report.duplicates, report.examples) == (3, 1, 3)
    assert report.skipped == [(4, "input: it is empty")]
    assert place.put(vote("x", "a", input="text")).examples == 0
    # A reference is added where there was none, and never changed.
    report = put({"input": "text", "reference": "1"}, {"input": "text", "reference": "1"})
    assert (report.imported, report.completed, report.duplicates, report.examples) == (1, 1, 1, 0)
    report = put({"input": "text", "reference": "2"}, {"input": "to dev", "split": "test"})
    assert report.imported == 0
    assert "another one ('1')" in report.skipped[0].reason and "in dev already" in report.skipped[1].reason
    page = data.list_examples(place.db, WHO, place.id)
    first = page.rows[0]
    assert (first.input, first.reference, first.external_id) == ("text", "1", None)
    assert data.counts(place.db, WHO, place.id).splits["dev"] >= 1


def test_search_finds_what_is_written_and_no_patterns(place):
    data.import_examples(place.db, WHO, place.id, ["100 % sure", "100 people", "a_b", "axb"])
    found = {
        search: [row.input for row in data.list_examples(place.db, WHO, place.id, search).rows]
        for search in ("100 %", "A_B", "100", "%")
    }
    assert found["100 %"] == ["100 % sure"] and found["A_B"] == ["a_b"] and found["%"] == ["100 % sure"]
    assert len(found["100"]) == 2
    page = data.list_examples(place.db, WHO, place.id, limit=1, offset=3)
    assert page.total == 4 and len(page.rows) == 1


def test_pairs_are_listed_with_their_votes(place):
    place.put(vote("x", "a"), vote("y", "tie"), {**PAIR, "input": "unjudged"})
    judged = data.list_pairs(place.db, WHO, place.id, state="judged")
    assert judged.total == 1
    row = judged.rows[0]
    wins = {row.response_a: row.tally.a_wins, row.response_b: row.tally.b_wins}
    assert wins == {"one": 1, "two": 0} and row.tally.ties == 1 and row.tally.votes == 2
    assert {row.prompt_a: row.response_a, row.prompt_b: row.response_b} == {"P": "one", "Q": "two"}
    assert (row.open_slots, row.source) == (1, "import")
    assert data.list_pairs(place.db, WHO, place.id, state="waiting").total == 2
    assert data.list_pairs(place.db, WHO, place.id, search="unjudged").total == 1


def test_only_staff_imports_and_only_into_projects_that_are_there(place):
    annotator = Principal("a", "a", Role.ANNOTATOR)
    for action in (data.import_comparisons, data.import_examples):
        with pytest.raises(Forbidden):
            action(place.db, annotator, place.id, [PAIR])
        with pytest.raises(NotFound):
            action(place.db, WHO, "nowhere", [PAIR])
