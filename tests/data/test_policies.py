"""What becomes of ties, even votes and “both bad”, in every format, with the counts of what
is left out; known answers, and the counts against the rows for votes of any kind."""

import csv
import io
import json
from collections import Counter

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, update

from core import data
from core.errors import Invalid
from core.projects import create_project
from storage import exporting
from storage.exporting import Order
from storage.formats import FORMATS
from storage.ids import now
from storage.tables import Annotator, Demonstration
from tests.data.test_exporting import project_with
from tests.data.test_importing import PAIR, WHO, vote


@pytest.fixture
def project_id(any_db):
    """win: 2 to 1, clearly, slightly, significantly; bad: 1 to 2 both bad; even; tie; awful."""
    return project_with(
        any_db,
        vote("x", "a", input="win", strength="clearly"), vote("y", "a", input="win", strength="slightly"),
        vote("z", "b", input="win", strength="barely"), vote("w", "tie", input="win"),
        vote("x", "b", input="bad"), vote("y", "both_bad", input="bad"), vote("z", "both_bad", input="bad"),
        vote("x", "a", input="even"), vote("y", "b", input="even"),
        vote("x", "tie", input="tie"),
        vote("x", "both_bad", input="awful"),
        {**PAIR, "input": "waits"},
        vote("robot", "a", input="robots", simulated=True),
    )  # fmt: skip


def rows_of(db, project_id, format, **policy):
    return data.export(db, WHO, project_id, format, **policy)


def prompts(rows):
    return Counter(row["prompt"] for row in rows)


def test_preferences(any_db, project_id):
    def got(**policy):
        return prompts(rows_of(any_db, project_id, "trl", **policy))

    assert got() == got(ties="drop", both_bad="ignore") == {"win": 1, "bad": 1}
    assert got(both_bad="drop") == {"win": 1}
    assert got(ties="both") == {"win": 1, "bad": 1, "even": 2, "tie": 2}
    both = [row for row in rows_of(any_db, project_id, "dpo", ties="both") if row["prompt"] == "tie"]
    assert {(row["chosen"], row["rejected"]) for row in both} == {("one", "two"), ("two", "one")}


def test_margin_and_soft_label(any_db, project_id):
    rows = {row["prompt"]: row for row in rows_of(any_db, project_id, "trl-margin", ties="both")}
    win = rows["win"]
    # (2 + 1/2) / 4, and (2/3 + 1/3 - 0) / 4: the tie has no strength.
    assert (win["chosen"], win["q"], win["n"]) == ("one", 0.625, 4) and win["margin"] == pytest.approx(0.25)
    assert (rows["bad"]["chosen"], rows["bad"]["q"], rows["bad"]["n"]) == ("two", 1.0, 1)
    assert (rows["even"]["q"], rows["even"]["margin"]) == (0.5, 0.0)


def test_a_margin_is_never_below_zero(any_db):
    id_ = project_with(
        any_db, vote("x", "a", strength="barely"), vote("y", "a"), vote("z", "b", strength="significantly")
    )
    (row,) = rows_of(any_db, id_, "trl-margin")
    assert (row["chosen"], row["margin"], row["q"]) == ("one", 0.0, pytest.approx(2 / 3))


def test_unpaired(any_db, project_id):
    def got(**policy):
        rows = rows_of(any_db, project_id, "kto", **policy)
        return {(row["prompt"], row["completion"], row["label"]) for row in rows}

    win = {("win", "one", True), ("win", "two", False)}
    bad = {("bad", "one", False), ("bad", "two", True)}
    awful = {(name, text, False) for name in ("bad", "awful") for text in ("one", "two")}
    assert got() == win | awful
    assert got(both_bad="ignore") == win | bad
    assert got(both_bad="drop") == win
    assert got(ties="both") == win | awful | {(n, t, True) for n in ("even", "tie") for t in ("one", "two")}


def test_demonstrations_and_winners(any_db, project_id):
    ids = {row.input: row.id for row in data.list_examples(any_db, WHO, project_id).rows}

    def write(session):
        session.add(Demonstration(project_id=project_id, example_id=ids["awful"], author="x", text="mine"))
        gone = Demonstration(project_id=project_id, example_id=ids["bad"], author="x", text="gone")
        gone.deleted_at = gone.created_at
        session.add(gone)

    any_db.write(write)
    mine = {"prompt": "awful", "completion": "mine", "source": "demonstration", "author": "x"}
    assert rows_of(any_db, project_id, "sft") == [mine]
    won = {"prompt": "win", "completion": "one", "source": "chosen", "author": None}
    assert rows_of(any_db, project_id, "sft", chosen=True) == [mine, won]
    ignoring = rows_of(any_db, project_id, "sft", chosen=True, both_bad="ignore")
    assert prompts(ignoring) == {"awful": 1, "win": 1, "bad": 1}
    (row,) = rows_of(any_db, project_id, "sft-messages")
    assert row["messages"] == [{"role": "user", "content": "awful"}, {"role": "assistant", "content": "mine"}]
    # A response that lost a pair is no example, whatever it won.
    other = {"response_b": "three", "prompt_b": "R"}
    data.import_comparisons(any_db, WHO, project_id, [vote("x", "b", input="win", **other)])
    texts = {row["completion"] for row in rows_of(any_db, project_id, "sft", chosen=True)}
    assert texts == {"mine", "three"}


def test_the_account(any_db, project_id):
    found = data.export_preview(any_db, WHO, project_id, Order("trl", both_bad="drop")).account
    pairs = found.tally
    assert (found.rows, pairs.decided, pairs.even, pairs.bad) == (1, 1, 2, 2)
    assert (pairs.unheard, pairs.waiting) == (1, 1)
    assert (pairs.votes, pairs.simulated_votes, pairs.annotators, pairs.simulated_annotators) == (11, 0, 4, 0)
    pairs = data.export_preview(any_db, WHO, project_id, Order("trl", True)).account.tally
    assert (pairs.unheard, pairs.votes, pairs.simulated_votes, pairs.simulated_annotators) == (0, 12, 1, 1)


def test_votes_that_were_left_out_are_in_no_file(any_db, project_id):
    def leave_out(session):
        session.exec(update(Annotator).where(Annotator.name == "z").values(excluded_at=now()))

    any_db.write(leave_out)
    assert "z" not in {
        row["annotator"] for row in rows_of(any_db, project_id, "comparisons") if "annotator" in row
    }
    assert {row["prompt"]: row["n"] for row in rows_of(any_db, project_id, "trl-margin")} == {
        "win": 3,
        "bad": 1,
    }
    # One both bad against one vote is not more than half.
    assert prompts(rows_of(any_db, project_id, "trl", both_bad="drop")) == {"win": 1, "bad": 1}


CHOICES = st.sampled_from(["a", "b", "tie", "both_bad"])
VOTES = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["x", "y", "z", "robot"]), CHOICES), min_size=1, max_size=24
)
POLICIES = [
    (name, ties, bad)
    for name, described in FORMATS.items()
    for ties in described.ties or (None,)
    for bad in described.both_bad or (None,)
]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=VOTES,
    simulated=st.booleans(),
    split=st.sampled_from([None, "train"]),
    asked=st.lists(st.sampled_from(POLICIES), min_size=5, max_size=5),
)
def test_counts_are_those_of_the_rows(db, drawn, simulated, split, asked):
    project = create_project(db, WHO, name="p")
    rows = [vote(who, choice, input=f"input {i}", simulated=who == "robot") for i, who, choice in drawn]
    data.import_comparisons(db, WHO, project.id, [*rows, {**PAIR, "input": "waits"}])
    for name, ties, bad in asked:
        for chosen in (False, True) if FORMATS[name].family == "sft" else (False,):
            order = Order(name, simulated, split, ties, bad, chosen)
            found = data.export_preview(db, WHO, project.id, order)
            got = data.export(
                db, WHO, project.id, name, simulated, split, ties=ties, both_bad=bad, chosen=chosen
            )
            assert found.total == len(got), order
            assert all(set(row) <= set(order.described.schema(simulated).names) for row in got)
            pairs = found.account.tally
            there = {row["prompt"] for row in got if isinstance(row.get("prompt"), str)}
            assert len(there) <= pairs.decided + pairs.even + pairs.bad


@pytest.mark.parametrize("name", FORMATS)
def test_every_file_says_the_same(db, name):
    id_ = project_with(db, vote("x", "a", input="=1+1", reason="-"), vote("y", "both_bad", input="[2]"))
    order = Order(name, chosen=FORMATS[name].family == "sft")
    read = {as_: b"".join(data.export_file(db, WHO, id_, order, as_)) for as_ in FORMATS[name].encodings}
    rows = json.loads(read["json"])
    assert [json.loads(line) for line in read["jsonl"].splitlines()] == rows
    assert rows
    if "parquet" in read:
        table = pq.read_table(io.BytesIO(read["parquet"]))
        assert table.schema.names == order.described.schema(False).names
        if name != "comparisons":
            assert table.to_pylist() == rows
    if "csv" in read:
        lines = list(csv.DictReader(io.StringIO(read["csv"].decode("utf-8-sig"), newline="")))
        assert len(lines) == len(rows)
        # No cell that a spreadsheet would take for a formula.
        assert not [cell for line in lines for cell in line.values() if cell[:1] in ("=", "+", "-", "@")]
        assert any(cell == "'=1+1" for line in lines for cell in line.values())


@pytest.mark.parametrize(
    "policy", [{"ties": "keep"}, {"both_bad": "reject"}, {"chosen": True}, {"split": "all"}]
)
def test_a_policy_that_a_format_has_not_is_refused(db, admin, project, policy):
    with pytest.raises(Invalid):
        data.export_stream(db, admin, project.id, "trl", **policy)


def test_an_empty_project_gives_empty_files(db, admin, project):
    for name, described in FORMATS.items():
        for as_ in described.encodings:
            file = b"".join(data.export_file(db, admin, project.id, Order(name), as_))
            assert bool(file) == (as_ != "jsonl")


def test_over_the_api(api, admin, person, project):
    client = api(admin)
    url = f"/projects/{project.id}"
    rows = [vote("x", "a", input="one"), vote("y", "tie", input="two"), vote("z", "both_bad", input="three")]
    client.post(f"{url}/comparisons", json=rows)
    kept = client.get(f"{url}/export?format=kto&ties=both&as=parquet")
    assert kept.headers["content-type"] == "application/vnd.apache.parquet"
    assert kept.headers["content-disposition"].endswith('-kto.parquet"')
    assert pq.read_table(io.BytesIO(kept.content)).num_rows == 6
    said = client.get(f"{url}/export/account?format=kto&ties=both").json()
    assert (said["rows"], said["decided"], said["even"], said["both_bad"], said["votes"]) == (6, 1, 1, 1, 3)
    assert client.get(f"{url}/export?format=trl&as=hf").content[:2] == b"PK"
    for query in ("format=trl&both_bad=reject", "format=trl-conversational&as=csv", "format=trl&as=xml"):
        assert client.get(f"{url}/export?{query}").status_code == 422, query
    outsider = api(person("annotator"))
    assert outsider.get(f"{url}/export/account?format=trl").status_code == 403


def test_the_page_chooses_the_policy(db, admin, project, open_page):
    rows = [vote("x", "a", input="one"), vote("y", "tie", input="two"), vote("z", "both_bad", input="three")]
    data.import_comparisons(db, admin, project.id, rows)
    at = open_page(admin, "data.py", project)
    at.session_state["data_view"] = "Export"
    at.session_state["export_purpose"] = "kto"
    at.run()
    assert not at.exception, at.exception

    def figures():
        return {metric.label: metric.value for metric in at.metric}

    assert figures() == {
        "Rows": "4", "Pairs with a preference": "1", "Neither preferred, left out": "1", "Both bad, kept": "1",
    }  # fmt: skip
    next(box for box in at.selectbox if box.label == "Neither preferred").select("both").run()
    next(box for box in at.selectbox if box.label == "Both bad").select("drop").run()
    assert not at.exception
    assert figures() == {
        "Rows": "4", "Pairs with a preference": "1", "Neither preferred, kept": "1", "Both bad, left out": "1",
    }  # fmt: skip
    assert "ties=both&both_bad=drop" in at.code[0].value


@pytest.mark.parametrize("name", ["comparisons", "trl-margin", "kto", "sft"])
def test_rows_come_in_batches_from_the_database(any_db, name):
    """No result of a large project is here whole: rows are asked for a thousand at a time."""
    id_ = project_with(any_db, vote("x", "a"), {**PAIR, "input": "waits"})
    asked = []
    with any_db.read() as session:
        event.listen(
            session,
            "do_orm_execute",
            lambda state: asked.append((state.execution_options.get("yield_per"), str(state.statement))),
        )
        rows = list(exporting.export_rows(session, id_, Order(name, chosen=name == "sft")))
    assert rows
    # Whatever brings a response's text.
    texts = [size for size, statement in asked if "text" in statement.split("FROM")[0]]
    assert texts and set(texts) == {1_000}
