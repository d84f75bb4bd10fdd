"""Many annotators at the same moment, in threads, on both databases."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from sqlmodel import select

from core.annotation import marks, votes
from core.errors import Conflict
from storage.tables import Slot, Vote
from tests.annotation.conftest import make_person, make_world

ANNOTATORS, PAIRS, VOTES = 16, 12, 3


def test_never_one_vote_too_many_and_nothing_left_over(any_db):
    made = make_world(any_db, pairs=PAIRS, votes=VOTES)
    people = [make_person(any_db, f"p{i}") for i in range(ANNOTATORS)]
    start = threading.Barrier(ANNOTATORS)

    def label(i):
        start.wait()
        seen = []
        while (claim := votes.claim(any_db, people[i], made.project.id)) is not None:
            seen.append(claim.pair_id)
            first = votes.cast(any_db, people[i], claim.pair_id, claim.lease, marks.CHOICES[len(seen) % 4])
            again = votes.cast(any_db, people[i], claim.pair_id, claim.lease, marks.CHOICES[len(seen) % 4])
            assert first.id == again.id
        return seen

    with ThreadPoolExecutor(ANNOTATORS) as pool:
        seen = list(pool.map(label, range(ANNOTATORS)))
    assert all(len(set(mine)) == len(mine) for mine in seen)
    with any_db.read() as session:
        cast = list(session.exec(select(Vote)))
        assert {slot.status for slot in session.exec(select(Slot))} == {"voted"}
    assert Counter(vote.pair_id for vote in cast) == dict.fromkeys(made.pairs, VOTES)
    assert sum(map(len, seen)) == len(cast) == PAIRS * VOTES


def test_one_person_in_many_windows(any_db):
    """The same person claiming and voting in eight windows holds one pair at a time."""
    made, who = make_world(any_db, pairs=8, votes=3), make_person(any_db)
    start = threading.Barrier(8)

    def window(i):
        start.wait()
        done = 0
        while (claim := votes.claim(any_db, who, made.project.id)) is not None:
            try:
                votes.cast(any_db, who, claim.pair_id, claim.lease, ("left", "right")[i % 2])
                done += 1
            except Conflict:  # another window voted with this lease first, otherwise
                pass
        return done

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(window, range(8)))
    with any_db.read() as session:
        cast = list(session.exec(select(Vote)))
    assert Counter(vote.pair_id for vote in cast) == dict.fromkeys(made.pairs, 1)
    with any_db.read() as session:
        assert Counter(slot.status for slot in session.exec(select(Slot))) == {"voted": 8, "open": 16}


def test_a_double_click_is_one_vote(any_db):
    made, who = make_world(any_db, pairs=1, votes=2), make_person(any_db)
    claim = votes.claim(any_db, who, made.project.id)
    start = threading.Barrier(8)

    def click(_):
        start.wait()
        return votes.cast(any_db, who, claim.pair_id, claim.lease, "left").id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(click, range(8)))) == 1
