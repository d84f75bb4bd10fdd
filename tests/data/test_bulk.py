"""Adding many rows at once: what is there stays, repeats are left out, a failure undoes all."""

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import func, select

from storage.bulk import insert_many
from storage.tables import Example, Vote


def votes(numbers):
    return [
        {"project_id": "p", "pair_id": f"pair {i}", "annotator_id": "somebody", "outcome": "tie"}
        for i in numbers
    ]


def count(db):
    with db.read() as session:
        return session.exec(select(func.count()).select_from(Vote)).one()


def test_what_is_there_or_repeated_is_left_out(db):
    # Every row has NULL in the unique column `lease`, which must not count as a repeat.
    assert db.write(lambda s: insert_many(s, Vote, votes(range(3000)))) == 3000
    again = votes([1, 2, 4000, 4000, 5000])
    assert db.write(lambda s: insert_many(s, Vote, again)) == 2
    assert count(db) == 3002


def test_a_clash_that_is_not_to_be_ignored_undoes_everything(db):
    db.write(lambda s: insert_many(s, Vote, votes([1])))

    def work(session):
        insert_many(session, Vote, votes([2]))
        insert_many(session, Vote, votes([1]), ignore_existing=False)

    with pytest.raises(IntegrityError):
        db.write(work)
    assert count(db) == 1


def test_instances_and_dicts_keep_their_values_and_defaults(db):
    example = Example(
        project_id="p", content_hash="1", fields={"a": [1, None, "ü"]}, messages=[{"role": "user"}]
    )
    rows = [example, {"project_id": "p", "content_hash": "2", "input": "text"}]
    assert db.write(lambda s: insert_many(s, Example, rows)) == 2
    with db.read() as session:
        first, second = session.exec(select(Example).order_by(Example.content_hash)).all()
    assert (first.id, first.fields, first.messages) == (example.id, example.fields, example.messages)
    assert first.created_at == example.created_at
    assert (second.split, second.fields, second.messages, second.reference) == ("train", {}, None, None)


def test_a_dict_without_a_required_field_is_named(db):
    with pytest.raises(ValueError, match=r"Vote\.outcome"):
        db.write(lambda s: insert_many(s, Vote, [{"project_id": "p", "pair_id": "x", "annotator_id": "y"}]))
    assert count(db) == 0
