"""Several votes as one soft preference: known answers, and that training reads them."""

import numpy as np
import pytest
from sqlmodel import select

from core.annotation.aggregation import (
    BRADLEY_TERRY,
    MAJORITY,
    METHODS,
    SKILL,
    effects,
    effects_of,
    labels,
    set_method,
    soft_labels,
)
from core.errors import Forbidden, Invalid
from core.reward.data import summary, training_row, voted_pairs
from core.reward.runs import prepare
from storage.ballots import Ballots, Judge
from storage.ids import id_of, new_id
from storage.judgements import Which
from storage.tables import Annotator, AuditEntry, Pair, Project, Vote
from tests.annotation.conftest import make_person, make_world
from tests.annotation.test_skill import crowd


def as_ballots(made, prompts: int = 2) -> Ballots:
    size, votes = made.pairs, len(made.pair)
    zeros = np.zeros(size)
    return Ballots(
        np.array([f"{i:05}" for i in range(size)]), np.array(["import"] * size), tuple("pqrs"[:prompts]),
        np.zeros(size, int), np.ones(size, int), zeros, zeros,
        tuple(Judge(str(j), str(j), False) for j in range(made.judges)),
        made.pair, made.judge, made.choice, made.a_left, np.zeros(votes), np.full(votes, np.nan), np.arange(votes),
    )  # fmt: skip


def test_majority_is_the_share_with_ties_as_halves():
    made = crowd(0, [0.7] * 6, pairs=200)
    found = labels(as_ballots(made), MAJORITY)
    counts = np.bincount(made.pair * 4 + made.choice, minlength=800).reshape(-1, 4)
    share = (counts[:, 0] + counts[:, 2] / 2) / counts[:, :3].sum(1)
    assert found.q == pytest.approx(share) and (found.n == counts[:, :3].sum(1)).all()
    assert effects_of(as_ballots(made))[0].flipped == 0


def test_skill_weights_bring_the_labels_nearer_to_the_truth():
    made = crowd(1, [0.9, 0.85, 0.9, 0.02, 0.02, 0.02], pairs=800)
    votes = as_ballots(made)
    decided = made.truth < 2
    right = {}
    for method in (MAJORITY, SKILL):
        q = labels(votes, method).q
        good = np.where(np.abs(q - 0.5) < 1e-9, 0.5, (q > 0.5) == (made.truth == 0))  # even: a coin
        right[method] = good[decided].mean()
    assert right[SKILL] > right[MAJORITY] + 0.05
    effect = {item.method: item for item in effects_of(votes)}
    assert effect[SKILL].flipped > 20 and effect[SKILL].moved > 0.05
    assert effect[SKILL].pairs == 800 and effect[SKILL].decided > effect[MAJORITY].decided


def test_equal_skill_is_the_majority():
    made = crowd(2, [0.8, 0.8], pairs=100, votes=1)  # nobody to compare with: no skill known
    votes = as_ballots(made)
    assert labels(votes, SKILL).q == pytest.approx(labels(votes, MAJORITY).q)


def test_bradley_terry_draws_few_votes_towards_the_ratings():
    """Prompt p wins 80 % of the pairs, and pairs do not differ beyond that: votes are coin
    flips with 0.8, so a label should be about 0.8 whatever its one vote says."""
    rng = np.random.default_rng(0)
    size = 1_500
    made = crowd(0, [0.5] * 5, pairs=size, votes=3)
    made.choice = (rng.random(len(made.pair)) > 0.8).astype(int)
    found = labels(as_ballots(made), BRADLEY_TERRY)
    assert found.prior > 30 and np.abs(found.q - 0.8).max() < 0.1
    # And where all votes on a pair agree, they are believed.
    made.choice = (np.arange(size) % 5 == 0).astype(int)[made.pair]
    found = labels(as_ballots(made), BRADLEY_TERRY)
    assert found.prior < 0.5 and ((found.q > 0.5) == (np.arange(size) % 5 != 0)).all()


def test_both_bad_alone_is_no_label():
    made = crowd(0, [0.5] * 4, pairs=50)
    made.choice[made.pair == 7] = 3
    for method in METHODS:
        found = labels(as_ballots(made), method)
        assert found.n[7] == 0 and np.isnan(found.q[7]) and np.isfinite(np.delete(found.q, 7)).all()


def fill(db, made, seed=0, pairs_each=None) -> None:
    """Four annotators on every pair, the last two at random."""
    rng = np.random.default_rng(seed)

    def work(session):
        judges = [
            Annotator(id=id_of(made.project.id, str(j)), project_id=made.project.id, name=f"annotator {j}")
            for j in range(4)
        ]
        session.add_all(judges)
        for number, pair_id in enumerate(made.pairs):
            pair = session.get(Pair, pair_id)
            for j, judge in enumerate(judges):
                good = pair.response_a if number % 3 else pair.response_b
                sides = [pair.response_a, pair.response_b]
                winner = good if j < 2 else sides[rng.integers(2)]
                session.add(
                    Vote(
                        id=new_id(), project_id=made.project.id, pair_id=pair_id, annotator_id=judge.id,
                        outcome="win", winner=winner, left=sides[rng.integers(2)], source="import",
                    )
                )  # fmt: skip

    db.write(work)


def test_reward_training_reads_the_way_that_was_chosen(any_db):
    made, lead = make_world(any_db, pairs=90, votes=1, prompts=3), make_person(any_db, "lead", "lead")
    fill(any_db, made)
    with any_db.read() as session:
        plain = {
            pair.pair_id: pair.people.q for pair in voted_pairs(session, made.project.id, with_text=False)
        }
    before = summary(any_db, lead, made.project.id)["exclude"].decided
    for method in (SKILL, BRADLEY_TERRY, MAJORITY):
        assert set_method(any_db, lead, made.project.id, method) == method
        with any_db.read() as session:
            rows = {
                pair.pair_id: training_row(pair, pair.people)["q"]
                for pair in voted_pairs(session, made.project.id, with_text=False)
            }
            expected = soft_labels(session, Which(made.project.id, "exclude"), method)
        assert rows == pytest.approx(dict(expected))
        assert (rows == plain) == (method == MAJORITY)
        if method == SKILL:
            assert summary(any_db, lead, made.project.id)["exclude"].decided > before
            found = {item.method: item for item in effects(any_db, lead, made.project.id)}
            assert found[SKILL].settled == found[SKILL].decided - before > 0
    with any_db.read() as session:
        log = [e.detail for e in session.exec(select(AuditEntry)) if e.action == "project.aggregation"]
    assert [item["after"] for item in log] == [SKILL, BRADLEY_TERRY, MAJORITY]
    with pytest.raises(Invalid):
        set_method(any_db, lead, made.project.id, "best")
    with pytest.raises(Forbidden):
        set_method(any_db, make_person(any_db, "engineer", "engineer"), made.project.id, SKILL)


def test_a_run_is_frozen_with_the_labels_of_its_day(db):
    made, lead = make_world(db, pairs=60, votes=1, prompts=3), make_person(db, "lead", "lead")
    fill(db, made)

    def spread(session):
        from storage.tables import Example

        for number, example in enumerate(session.exec(select(Example))):
            example.split = "test" if number % 5 == 0 else "dev" if number % 5 == 1 else "train"
            session.add(example)

    db.write(spread)
    set_method(db, lead, made.project.id, SKILL)
    with db.read() as session:
        project = session.get(Project, made.project.id)
        prepared = prepare(session, project, {}, 0)
        expected = soft_labels(session, Which(project.id, "exclude"), SKILL)
    assert prepared.config["aggregation"] == SKILL
    frozen = {row["pair_id"]: row["q"] for row in prepared.tables["pairs"]}
    assert frozen == pytest.approx({key: expected[key] for key in frozen}) and len(frozen) == 60
