"""The front row: what a strategy chose is claimed first, on both databases, and the cap on
votes holds as ever."""

import numpy as np
import pytest
from sqlmodel import select

from core.annotation import votes
from core.annotation.front import FrontRow
from core.annotation.selection import STRATEGIES
from core.errors import Invalid
from core.projects import update_project
from storage import selection
from storage.importing import check_comparisons, store_comparisons
from storage.judgements import Which
from storage.tables import Prompt, Slot


def comparisons(n: int = 6) -> list[dict]:
    """Three prompts: a and b met `n` times with votes, c never; n open pairs of each two."""
    rows = []
    for i in range(n):
        for x, y in (("a", "b"), ("a", "c"), ("b", "c")):
            row = {
                "input": f"question {i}", "prompt_a": x, "prompt_b": y,
                "response_a": f"{x} says {i}", "response_b": f"{y} says {i}",
            }  # fmt: skip
            rows.append(row)
            if (x, y) == ("a", "b"):
                rows.append({**row, "annotator": "Old", "choice": "a" if i % 2 else "b"})
    return rows


@pytest.fixture
def shop(any_db, person_on):
    lead, project = person_on(any_db, "lead")
    update_project(any_db, lead, project.id, votes_per_pair=2)

    def work(session):
        from storage.tables import Project

        report = store_comparisons(
            session, session.get(Project, project.id), check_comparisons(comparisons())
        )
        assert not report.skipped

    any_db.write(work)
    return any_db, lead, project


def prompts_of(db, claim) -> set[str]:
    return {claim.left.split()[0], claim.right.split()[0]}


def test_what_is_read(shop):
    db, _, project = shop
    with db.read() as session:
        open_ = selection.open_slots(session, project.id, 100)
        names = {p.id: p.name for p in session.exec(select(Prompt).where(Prompt.project_id == project.id))}
        met = selection.wins_between(session, Which(project.id))
    kinds = [("".join(sorted(names[s.prompt_a] + names[s.prompt_b])), s.votes) for s in open_]
    assert sorted(kinds) == [("ab", 1)] * 6 + [("ac", 0)] * 6 + [("bc", 0)] * 6
    assert len({s.slot_id for s in open_}) == 18
    assert sum(n for *_, n in met) == 6 and sum(won for *_, won, _ in met) == pytest.approx(3, abs=3)


@pytest.mark.parametrize("strategy", ["information", "rating_uncertainty"])
def test_the_newcomer_is_asked_about_first(shop, strategy):
    db, lead, project = shop
    update_project(db, lead, project.id, selection=strategy)
    FrontRow(db, seed=1).refresh()
    with db.read() as session:
        front = session.exec(select(Slot).where(Slot.project_id == project.id, Slot.front.is_not(None))).all()
    assert len(front) == 18
    assert "c" in prompts_of(db, votes.claim(db, lead, project.id))


def test_the_champion_comes_first(shop):
    db, lead, project = shop

    def crown(session):
        from storage.tables import Project

        b = session.exec(select(Prompt).where(Prompt.project_id == project.id, Prompt.name == "b")).one()
        session.get(Project, project.id).champion_prompt_id = b.id

    db.write(crown)
    update_project(db, lead, project.id, selection="champion")
    FrontRow(db, seed=1).refresh()
    for _ in range(12):  # six pairs of a and b, six of b and c
        claim = votes.claim(db, lead, project.id)
        assert "b" in prompts_of(db, claim)
        votes.cast(db, lead, claim.pair_id, claim.lease, "tie")
    claim = votes.claim(db, lead, project.id)
    assert prompts_of(db, claim) == {"a", "c"}


def test_back_to_the_default_empties_the_row(shop):
    db, lead, project = shop
    row = FrontRow(db, seed=1)
    update_project(db, lead, project.id, selection="random")
    row.refresh()
    update_project(db, lead, project.id, selection="fewest_votes")
    row.refresh()
    with db.read() as session:
        assert selection.watched(session) == [(project.id, "fewest_votes", None, 0)]


def test_a_new_row_only_after_new_votes(shop, monkeypatch):
    db, lead, project = shop
    update_project(db, lead, project.id, selection="information")
    row, made = FrontRow(db, seed=1), []
    real = row.row
    monkeypatch.setattr(row, "row", lambda *args: made.append(args) or real(*args))
    row.refresh()
    row.refresh()
    assert len(made) == 1
    claim = votes.claim(db, lead, project.id)
    votes.cast(db, lead, claim.pair_id, claim.lease, "left")
    row.refresh()
    assert len(made) == 2  # the row is short, and something was learned


def test_a_leased_slot_keeps_its_holder_and_no_pair_gets_a_vote_too_many(shop):
    db, lead, project = shop
    update_project(db, lead, project.id, selection="random")
    row = FrontRow(db, seed=2)
    seen = []
    while (claim := votes.claim(db, lead, project.id)) is not None:
        row.refresh()
        assert votes.claim(db, lead, project.id).lease == claim.lease
        votes.cast(db, lead, claim.pair_id, claim.lease, "both_bad")
        seen.append(claim.pair_id)
    assert len(seen) == len(set(seen)) == 18


def test_an_unknown_strategy_is_named(shop):
    db, lead, project = shop
    with pytest.raises(Invalid, match="selection: one of fewest_votes"):
        update_project(db, lead, project.id, selection="magic")


def test_every_strategy_has_a_sentence():
    assert all(rule.about.endswith(".") and rule.title for rule in STRATEGIES.values())
    assert np.all([rule.key == key for key, rule in STRATEGIES.items()])
