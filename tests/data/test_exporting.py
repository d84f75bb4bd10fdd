"""What goes out: preferences for TRL, and comparisons that come in again unchanged."""

import json
from collections import Counter

import krippendorff
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import select

from core import data, mapping
from core.access import Principal, Role
from core.annotation import votes
from core.errors import Forbidden, Invalid
from core.projects import create_project
from storage.exporting import Order
from storage.rows import renamed
from storage.tables import Annotator, Example, Pair, Prompt, Response, Vote
from tests.data.test_importing import PAIR, WHO, vote

TURNS = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "yes?"},
    {"role": "user", "content": "so?"},
]


def project_with(db, *rows, **values):
    project = create_project(db, WHO, **{"name": "p", "votes_per_pair": 2, **values})
    report = data.import_comparisons(db, WHO, project.id, list(rows))
    assert not report.skipped, report.skipped
    return project.id


def test_a_majority_becomes_a_preference(any_db):
    id_ = project_with(
        any_db,
        *(vote(name, "b", input="two to one") for name in "xy"), vote("z", "a", input="two to one"),
        vote("x", "a", input="even"), vote("y", "b", input="even"),
        vote("x", "a", input="a tie counts for neither"), vote("y", "tie", input="a tie counts for neither"),
        vote("x", "both_bad", input="bad"),
        {**PAIR, "input": "waits"},
    )  # fmt: skip
    rows = data.export(any_db, WHO, id_, "trl")
    assert sorted(rows, key=lambda row: row["prompt"]) == [
        {"prompt": "a tie counts for neither", "chosen": "one", "rejected": "two"},
        {"prompt": "two to one", "chosen": "two", "rejected": "one"},
    ]
    assert data.export_preview(any_db, WHO, id_, "trl", limit=1).total == 2


def test_conversations_go_out_as_messages_or_as_a_transcript_and_come_back(any_db):
    id_ = project_with(any_db, vote("x", "a", input=TURNS))
    (chat,) = data.export(any_db, WHO, id_, "trl-conversational")
    assert chat == {
        "prompt": TURNS,
        "chosen": [{"role": "assistant", "content": "one"}],
        "rejected": [{"role": "assistant", "content": "two"}],
    }
    (plain,) = data.export(any_db, WHO, id_, "trl")
    assert plain["prompt"] == "\n\nHuman: hi\n\nAssistant: yes?\n\nHuman: so?\n\nAssistant:"
    for row in (chat, plain):
        copy = project_with(any_db, row)
        assert data.export(any_db, WHO, copy, "trl-conversational") == [chat]


def test_simulated_votes_are_left_out_or_marked(any_db):
    robot = vote("robot", "a", simulated=True)
    id_ = project_with(
        any_db, robot, vote("x", "b", input="other"), vote("robot", "b", input="other", simulated=True)
    )
    assert [row["prompt"] for row in data.export(any_db, WHO, id_, "trl")] == ["other"]
    assert {row["annotator"] for row in data.export(any_db, WHO, id_, "comparisons")} == {"x"}
    for format_ in ("trl", "comparisons"):
        rows = data.export(any_db, WHO, id_, format_, include_simulated=True)
        assert data.export_preview(any_db, WHO, id_, format_, True).total == len(rows)
        assert Counter(row["simulated"] for row in rows)[True] == 2
    rows = data.export(any_db, WHO, id_, "comparisons", include_simulated=True)
    copy = project_with(any_db, *rows)
    assert data.counts(any_db, WHO, copy).simulated_votes == 2


def test_one_split_can_be_taken(any_db):
    id_ = project_with(
        any_db, *(vote("x", "a", input=f"input {i}") for i in range(30)), {**PAIR, "input": "w"}
    )
    splits = data.counts(any_db, WHO, id_).splits
    parts = {split: data.export(any_db, WHO, id_, "comparisons", split=split) for split in splits}
    assert {split: len(rows) for split, rows in parts.items()} == splits
    assert all(
        data.export_preview(any_db, WHO, id_, "comparisons", split=s).total == splits[s] for s in splits
    )
    assert sum(len(data.export(any_db, WHO, id_, "trl", split=split)) for split in splits) == 30


def test_what_is_wrong_is_said_before_the_first_row(db, admin, project):
    with pytest.raises(Invalid, match="format"):
        data.export_stream(db, admin, project.id, "csv")
    with pytest.raises(Invalid, match="split"):
        data.export_stream(db, admin, project.id, "trl", split="all")
    with pytest.raises(Forbidden):
        data.export_stream(db, Principal("a", "a", Role.ANNOTATOR), project.id, "trl")
    assert "".join(data.as_list(iter([]))) == "[]"


# --- there and back ---

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)
INPUTS = st.one_of(
    WORDS.filter(str.strip),
    st.sampled_from(["=SUM(A1)", "'=x", '{"q": "?"}', '["a"]', '"said"', "+1", " [\n", "a,b;c"]),
    st.dictionaries(st.sampled_from(["q", "input", "c"]), WORDS.filter(str.strip), min_size=1),
    st.just(TURNS),
    st.builds(lambda text: {"messages": TURNS, "topic": text}, WORDS),
)
MARKS = st.one_of(
    st.integers(1, 5),
    st.sampled_from(["a", "b", "same"]),
    st.fixed_dictionaries({"a": st.integers(1, 5), "b": st.integers(1, 5)}),
)
VOTES = st.fixed_dictionaries(
    {
        "input": st.shared(st.lists(INPUTS, min_size=1, max_size=3), key="inputs").flatmap(st.sampled_from),
        "response_a": st.sampled_from(["", "one", "two", " <b>three</b>\n"]),
        "response_b": st.sampled_from(["", "one", "two"]),
        "prompt_a": st.sampled_from(["P", "Q", "R v2"]),
        "prompt_b": st.sampled_from(["P", "Q"]),
        "who": st.sampled_from([None, "x", "y", "z", "robot"]),
        "choice": st.sampled_from(["a", "b", "tie", "both_bad"]),
    },
    optional={
        "left": st.sampled_from(["a", "b"]),
        "strength": st.sampled_from(["significantly", "barely"]),
        "reason": st.one_of(WORDS, st.sampled_from(["=1+1", "'=1", "''-", '-\n,"', "\r@", "[1]"])),
        "criteria": st.dictionaries(WORDS, MARKS, max_size=2),
        "created_at": st.datetimes().map(lambda t: t.replace(year=2000 + t.year % 30).isoformat() + "Z"),
        "duration_ms": st.integers(0, 10**6),
        "external_id": WORDS,
    },
)


def as_row(drawn):
    row = dict(drawn)
    who, choice = row.pop("who"), row.pop("choice")
    return row if who is None else {**row, "annotator": who, "choice": choice, "simulated": who == "robot"}


def summary(db, project_id):
    """All that a project's votes say, without its ids."""
    with db.read() as session:

        def of(table):
            return {row.id: row for row in session.exec(select(table).where(table.project_id == project_id))}

        examples, prompts, responses, pairs = of(Example), of(Prompt), of(Response), of(Pair)
        annotators, votes = of(Annotator), of(Vote)

    def side(id_):
        return id_ and (prompts[responses[id_].prompt_id].name, responses[id_].text)

    def marks(criteria):
        return str(
            sorted(
                (name, str(renamed({"": mark}, {id_: str(side(id_)) for id_ in responses})))
                for name, mark in criteria.items()
            )
        )

    def named(pair):
        return (
            examples[pair.example_id].content_hash,
            frozenset((side(pair.response_a), side(pair.response_b))),
        )

    said = {
        (named(pairs[v.pair_id]), annotators[v.annotator_id].name, v.outcome, side(v.winner), side(v.left), v.strength,
         v.reason, marks(v.criteria), v.duration_ms, v.external_id, v.simulated, v.created_at)
        for v in votes.values()
    }  # fmt: skip
    decisive = [v for v in votes.values() if v.outcome == "win" and v.left]
    return {
        "votes": said,
        "pairs": {named(pair) for pair in pairs.values()},
        "splits": {
            (e.content_hash, e.split, json.dumps(e.fields, sort_keys=True)) for e in examples.values()
        },
        "left": (sum(v.winner == v.left for v in decisive), len(decisive)),
        "wins": Counter((side(v.winner)[0]) for v in votes.values() if v.winner),
        "alpha": alpha(votes.values(), {id_: named(pair) for id_, pair in pairs.items()}, side),
    }


def alpha(votes, pairs, side):
    """Nominal alpha over the choices, each pair's sides in an order of their own."""
    table = {}
    for v in votes:
        first = min(pairs[v.pair_id][1])
        value = {"tie": 2, "both_bad": 3}.get(v.outcome, int(side(v.winner) == first) if v.winner else 0)
        table.setdefault(v.pair_id, Counter())[value] += 1
    counts = np.array([[one[value] for value in range(4)] for one in table.values()])
    if len(counts) == 0 or (counts > 0).any(axis=0).sum() < 2 or counts.sum(axis=1).max() < 2:
        return None
    found = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
    return None if np.isnan(found) else round(found, 9)


def carried(rows, as_):
    """Rows as the import page has them, once they were a file."""
    order = Order("comparisons", include_simulated=True)
    table = data.read_upload(f"x.{as_}", b"".join(rows(order, as_)))
    assert mapping.guess_kind(table.columns) == "comparisons" and not table.broken
    guessed = mapping.guess_mapping("comparisons", table.columns)
    return mapping.apply("comparisons", guessed, table.rows)


@pytest.mark.parametrize("as_", ["json", "jsonl", "csv", "parquet"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(VOTES, min_size=1, max_size=14))
def test_an_export_imported_into_a_fresh_project_says_the_same(db, as_, drawn):
    first = create_project(db, WHO, name="first", votes_per_pair=2)
    taken = data.import_comparisons(db, WHO, first.id, [as_row(one) for one in drawn])
    if not taken.imported:
        return  # an empty table is no file
    out = carried(lambda order, as_: data.export_file(db, WHO, first.id, order, as_), as_)
    second = create_project(db, WHO, name="second", votes_per_pair=2)
    report = data.import_comparisons(db, WHO, second.id, out)
    assert (report.imported, report.skipped) == (len(out), [])
    assert summary(db, first.id) == summary(db, second.id)
    # And into the project it came from, it adds nothing.
    again = data.import_comparisons(db, WHO, first.id, out)
    assert (again.imported, again.duplicates, again.skipped) == (0, len(out), [])
    opened = [data.counts(db, WHO, project.id).open_slots for project in (first, second)]
    assert opened[0] == opened[1]


def test_marks_that_people_gave_go_out_as_sides_and_come_back(any_db, person):
    """A mark is kept as a response id: in another project it is another response's."""
    project = create_project(any_db, WHO, name="first", criteria=["kind", "short"], votes_per_pair=1)
    data.import_comparisons(any_db, WHO, project.id, [PAIR])
    claim = votes.claim(any_db, WHO, project.id)
    votes.cast(any_db, WHO, claim.pair_id, claim.lease, "left", criteria={"kind": "right", "short": "same"})
    (row,) = data.export(any_db, WHO, project.id, "comparisons")
    assert row["left"] == row["choice"]
    assert row["criteria"] == {"kind": "b" if row["left"] == "a" else "a", "short": "same"}
    copy = create_project(any_db, WHO, name="second")
    assert not data.import_comparisons(any_db, WHO, copy.id, [row]).skipped
    (back,) = data.export(any_db, WHO, copy.id, "comparisons")
    for one, other in ((row, back), (back, row)):
        assert one[f"response_{one['left']}"] == other[f"response_{other['left']}"]
        assert one[f"response_{one['criteria']['kind']}"] == other[f"response_{other['criteria']['kind']}"]
