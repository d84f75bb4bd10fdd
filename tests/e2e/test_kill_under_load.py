"""Kill -9 of the server at random moments while annotators vote: twice here, a hundred
times in benchmarks/kill_under_load.py."""

import pytest

from benchmarks.kill_under_load import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_every_acknowledged_vote_is_there_and_none_twice(tmp_path):
    found = run(kills=2, annotators=6, votes=2_000, seed=7, folder=tmp_path / "data")
    assert found["acknowledged"] > 20, found
    wrong = {key: found[key] for key in ("lost", "twice_by_one_annotator", "over_the_cap", "refused")}
    assert not any(wrong.values()), found
