"""Judge runs from end to end: questions, votes, books; cancel, kill, resume."""

import json

import pytest
from sqlmodel import select

from core.annotation.judge import work as judge_work
from core.annotation.judge.figures import judges
from core.annotation.judge.runs import CHANGED
from core.errors import Invalid
from core.llm import registry
from core.runs.context import RunContext
from core.runs.service import run_folder, start_run
from storage.pairs import MACHINE_LEFT_OUT
from storage.tables import Annotator, LedgerEntry, Run, Slot, Vote
from tests.annotation.judge.conftest import books, far, prefers, sides
from tests.llm.servers import completion, serving


def by_text(first: str, second: str) -> str:
    """A judge without a pull: the text that comes first in the alphabet."""
    return "A" if first < second else "B"


def judged(place) -> dict[str, Vote]:
    return {vote.pair_id: vote for vote in place.rows(Vote) if vote.source == "machine"}


def test_a_judge_votes_and_its_votes_are_left_out(place):
    here = place()
    here.vote("Ann", {pair.id: "a" for pair in here.pairs[:4]})
    slots = [(slot.id, slot.status, slot.annotator_id) for slot in here.rows(Slot)]
    with serving(prefers(by_text)) as server:
        far(here, server.url, price_in=1e6)
        run = here.judge(host="far")
    assert run.status == "succeeded", run.error
    found = judged(here)
    assert set(found) == {pair.id for pair in here.pairs[:4]}  # voted on by people, by default
    for pair in here.pairs[:4]:
        first = here.texts[pair.response_a] < here.texts[pair.response_b]
        vote = found[pair.id]
        assert (vote.outcome, vote.winner) == ("win", pair.response_a if first else pair.response_b)
        assert (vote.simulated, vote.slot_id, vote.left, vote.duration_ms) == (False, None, None, None)
    (judge,) = [one for one in here.rows(Annotator) if one.machine]
    assert (
        judge.name == "far · m"
        and judge.excluded_at is not None
        and judge.excluded_reason == MACHINE_LEFT_OUT
    )
    assert [(slot.id, slot.status, slot.annotator_id) for slot in here.rows(Slot)] == slots
    result = run.result
    assert (result["judged"], result["wins"], result["inconsistent"], result["calls"]) == (4, 4, 0, 8)
    assert result["first_share"] == 0.5 and result["judge_id"] == judge.id
    (entry,) = here.rows(LedgerEntry)
    assert (entry.purpose, entry.calls, entry.tokens_in, entry.cost) == ("judge", 8, 56, 56.0)
    asked = [sides(body) for body in server.bodies]
    assert len(asked) == 8 and {(y, x) for x, y in asked} == set(asked)  # each pair in both orders
    content = server.bodies[0]["messages"][0]["content"]
    assert "Be kind." in content and "warm, short" in content and "Input " in content
    assert server.bodies[0]["temperature"] == 0


def test_who_changes_with_the_order_has_a_tie(place):
    here = place(pairs=3)
    with serving(prefers(lambda first, second: "A")) as server:
        far(here, server.url)
        run = here.judge(host="far", pairs="all")
    assert {vote.outcome for vote in judged(here).values()} == {"tie"}
    assert {vote.reason for vote in judged(here).values()} == {CHANGED}
    assert (run.result["inconsistent"], run.result["first_share"]) == (3, 1.0)
    assert run.result["orders"] == {"AA": 3}


def test_both_bad_in_both_orders_is_a_vote_for_neither(place):
    """One pair is bad in both orders, of one pair in one order only, of the third in none."""
    here = place(pairs=3)
    bad, once = (here.texts[pair.response_a] for pair in here.pairs[:2])

    def says(first: str, second: str) -> str:
        if bad in (first, second):
            return "[[D]]"
        return "both bad" if once == first else by_text(first, second)

    with serving(prefers(says)) as server:
        far(here, server.url)
        run = here.judge(host="far", pairs="all")
    found = judged(here)
    votes = [(found[pair.id].outcome, found[pair.id].reason) for pair in here.pairs]
    assert votes == [("both_bad", ""), ("tie", CHANGED), ("win", "")]
    assert found[here.pairs[0].id].winner is None
    result = run.result
    assert (result["both_bad"], result["ties"], result["wins"], result["inconsistent"]) == (1, 1, 1, 1)
    (judge,) = judges(here.db, here.who, here.project.id)
    assert (judge.both_bad.value, judge.ties.value, judge.first.n) == (1 / 3, 1 / 3, 3)
    assert judge.says_both_bad and run.config["both_bad"] is True


def test_a_prompt_that_does_not_speak_of_d_gets_no_d(place):
    here = place(pairs=2)
    shown = (
        "[Response A]\n{{response_a}}\n[End of response A]\n[Response B]\n{{response_b}}\n[End of response B]"
    )
    with serving(prefers(lambda first, second: "D")) as server:
        far(here, server.url)
        run = here.judge(host="far", pairs="all", prompt=shown + "\nA, B or C?")
    assert run.status == "failed" and "could be read as A, B or C." in run.error
    assert "A, B or C." in server.bodies[-1]["messages"][-1]["content"]


def test_what_cannot_be_read_is_asked_once_more_and_never_guessed(place):
    here = place(pairs=3)
    stubborn = here.texts[here.pairs[0].response_a]
    slow = here.texts[here.pairs[1].response_a]

    def behave(n, path, headers, body):
        first, second = sides(body)
        again = len(body["messages"]) > 1
        if first == stubborn or (first == slow and not again):
            return 200, completion("Well, both have their merits.")
        return 200, completion(by_text(first, second))

    with serving(behave) as server:
        far(here, server.url)
        run = here.judge(host="far", pairs="all")
        assert run.status == "succeeded"
        assert set(judged(here)) == {pair.id for pair in here.pairs[1:]}
        result = run.result
        assert (result["judged"], result["unparsable"], result["unparsable_answers"]) == (2, 1, 1)
        assert (result["asked_again"], result["calls"]) == (2, 8)
        before = len(server.bodies)
        again = [body for body in server.bodies if len(body["messages"]) == 3]
        assert len(again) == 2 and again[0]["messages"][1]["content"] == "Well, both have their merits."
        # Another run asks about what is not judged, and only that.
        run = here.judge(host="far", pairs="all")
        assert run.status == "failed" and "Well, both have their merits." in run.error
        assert len(server.bodies) - before == 3


def test_the_same_judge_is_asked_once_and_another_prompt_is_another_judge(place):
    here = place(pairs=4)
    with serving(prefers(by_text)) as server:
        far(here, server.url)
        here.judge(host="far", pairs="unvoted", limit=3)
        run = here.judge(host="far", pairs="all")
        assert run.result["judged"] == 1
        with pytest.raises(Invalid, match="has judged every pair"):
            here.judge(host="far", pairs="all")
        other = "[Response A]\n{{response_a}}\n[End of response A]\n[Response B]\n{{response_b}}\n[End of response B]"
        run = here.judge(host="far", pairs="all", prompt=other)
        assert run.result["judged"] == 4
    names = {one.name for one in here.rows(Annotator) if one.machine}
    assert len(names) == 2 and "far · m" in names and any(" · prompt " in name for name in names)
    assert len(judged(here)) == 4 and len(here.rows(Vote)) == 8


def test_pairs_are_chosen_by_votes_of_people_limit_and_seed(place):
    here = place()
    assert start_run(here.db, here.who, here.project.id, "judge", {}).config["pairs"] == "all"
    here.vote("Ann", {pair.id: "tie" for pair in here.pairs[:3]})
    here.vote("Sim", {here.pairs[4].id: "a"}, simulated=True)

    def frozen(**config) -> list[str]:
        import pyarrow.parquet as pq

        run = start_run(here.db, here.who, here.project.id, "judge", config)
        return pq.read_table(run_folder(run.id).inputs / "pairs.parquet")["pair_id"].to_pylist()

    ids = [pair.id for pair in here.pairs]
    assert frozen() == ids[:3]
    assert frozen(pairs="unvoted") == ids[3:]
    assert frozen(pairs="all") == ids
    two = frozen(pairs="all", limit=2, seed=5)
    assert two == frozen(pairs="all", limit=2, seed=5) and len(two) == 2
    assert len({tuple(frozen(pairs="all", limit=2, seed=seed)) for seed in range(6)}) > 1


def test_wrong_configs_are_named(place):
    here = place(pairs=2)
    for config, said in (
        ({"pairs": "some"}, "pairs: there is no “some”"),
        ({"limit": 0}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"host": "nowhere"}, "host: there is no host"),
        ({"host": 3}, "host: the id"),
        ({"prompt": "Which?"}, "response_a"),
        ({"max_new_tokens": -1}, "max_new_tokens"),
        ({"temperature": 1}, "temperature: a judge run has no such field"),
        ({"pairs": "voted"}, "has judged every pair that people have voted on, or there is none"),
    ):
        with pytest.raises(Invalid, match=said):
            start_run(here.db, here.who, here.project.id, "judge", config)
    assert here.rows(Run) == []


def test_a_local_model_answers_by_the_likelihood_of_the_letters(place, letters):
    here = place(pairs=5)
    registry.create_host(
        here.db, here.who, name="tiny", kind="local", model=str(letters),
        params={"dtype": "float32", "device": "cpu"},
    )  # fmt: skip
    run = here.judge(host="tiny", pairs="all")
    assert run.status == "succeeded", run.error
    assert (run.result["judged"], run.result["calls"], run.result["unparsable"]) == (5, 10, 0)
    assert run.result["tokens_in"] > 1_000 and run.result["tokens_out"] == 10

    from core.llm.hosts import open_host
    from core.llm.registry import host_spec

    with here.db.read() as session:
        host = open_host(host_spec(session, "tiny"), letters.parent)
    template = json.loads((run_folder(run.id).inputs / "judge.json").read_text())
    for pair in here.pairs:
        two = here.texts[pair.response_a], here.texts[pair.response_b]
        with here.db.read() as session:
            from storage.tables import Example

            template["input"] = session.get(Example, pair.example_id).input
        said = [
            "ABCD"[
                host.label_logprobs(
                    [judge_work.question(template["template"], template, *order)], "ABCD"
                ).argmax()
            ]
            for order in (two, two[::-1])
        ]
        winner = {"AB": pair.response_a, "BA": pair.response_b}.get("".join(said))
        assert judged(here)[pair.id].winner == winner


def test_a_pair_too_long_for_the_model_is_that_pairs_error(place, letters):
    here = place(pairs=3)
    long = here.pairs[1].response_b

    def stretch(session) -> None:
        from storage.tables import Response

        session.get(Response, long).text = "soup " * 2_000

    here.db.write(stretch)
    registry.create_host(here.db, here.who, name="tiny", kind="local", model=str(letters))
    run = here.judge(host="tiny", pairs="all")
    assert (run.result["judged"], run.result["failed"], run.result["calls"]) == (2, 1, 4)
    assert "more than the 1,024 that the model takes" in run.result["errors"][0]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["answers", "judgements", "artifact"])
def test_a_killed_worker_pays_nothing_twice(place, moment, monkeypatch):
    """The worker dies after answers were written, after judgements were, or just before they
    are announced."""
    here = place(pairs=12)
    with serving(prefers(by_text)) as server:
        far(here, server.url, concurrency=1)  # eight pairs a batch
        run = start_run(here.db, here.who, here.project.id, "judge", {"host": "far", "pairs": "all"})
        context = RunContext(run_folder(run.id))
        with monkeypatch.context() as patch:
            if moment == "artifact":
                patch.setattr(context, "artifact", lambda *args, **more: (_ for _ in ()).throw(Killed))
            else:
                real = judge_work._Work._write

                def write(self, name, *args):
                    path = real(self, name, *args)
                    if name == moment:
                        raise Killed
                    return path

                patch.setattr(judge_work._Work, "_write", write)
            with pytest.raises(Killed):
                judge_work.run(context)
        context.close()
        assert len(server.bodies) == 16
        ended = here.carry_on(run.id)
    assert ended.status == "succeeded", ended.error
    assert len(server.bodies) == 24 and ended.result["calls"] == 24 == books(run.id)["calls"]
    assert ended.result["judged"] == 12 and len(judged(here)) == 12
    (entry,) = here.rows(LedgerEntry)
    assert (entry.calls, entry.tokens_in) == (24, 24 * 7)


def test_a_cancel_keeps_what_was_judged_and_a_resume_asks_for_the_rest(place):
    here = place(pairs=12)
    from core.runs.service import resume_run

    with serving(prefers(by_text)) as server:
        far(here, server.url, concurrency=1)

        def cancel_after_the_first_file(context):
            real = context.artifact

            def artifact(kind, path, **detail):
                real(kind, path, **detail)
                context.folder.request_cancel()

            context.artifact = artifact

        run = here.judge(cancel_after_the_first_file, host="far", pairs="all")
        assert (run.status, run.result["judged"], run.result["partial"]) == ("cancelled", 8, True)
        assert len(judged(here)) == 8
        resume_run(here.db, here.who, run.id)
        ended = here.carry_on(run.id)
    assert (ended.status, ended.result["judged"], ended.result["calls"]) == ("succeeded", 12, 24)
    assert len(server.bodies) == 24 and len(judged(here)) == 12


def test_failed_requests_are_the_pairs_and_are_asked_again_by_a_resume(place):
    here = place(pairs=2)
    broken = {"on": True}
    bad = here.texts[here.pairs[0].response_b]

    def behave(n, path, headers, body):
        first, second = sides(body)
        if broken["on"] and first == bad:
            return 400, {"error": {"message": "not today"}}
        return 200, completion(by_text(first, second))

    with serving(behave) as server:
        far(here, server.url)
        run = here.judge(host="far", pairs="all")
        assert (run.result["judged"], run.result["failed"], run.result["errors"]) == (1, 1, ["not today."])
        broken["on"] = False
        rest = here.judge(host="far", pairs="all")
        assert rest.result["judged"] == 1 and len(judged(here)) == 2


def test_a_host_that_answers_nothing_fails_the_run_with_the_reason(place):
    here = place(pairs=2)
    with serving(lambda *_: (400, {"error": {"message": "broken inside"}})) as server:
        far(here, server.url)
        run = here.judge(host="far", pairs="all")
    assert run.status == "failed" and "None of the 2 pairs was judged by “far”: broken inside" in run.error
    assert judged(here) == {}


def test_a_judge_that_counts_goes_on_counting(place):
    """A lead took its votes in: votes of its later runs count at once, as with people."""
    from core.annotation.annotators import take_back

    here = place(pairs=4)
    with serving(prefers(by_text)) as server:
        far(here, server.url)
        first = here.judge(host="far", pairs="all", limit=2)
        take_back(here.db, here.who, here.project.id, first.result["judge_id"])
        here.judge(host="far", pairs="all")
    (judge,) = [one for one in here.rows(Annotator) if one.machine]
    assert judge.excluded_at is None
    with here.db.read() as session:
        assert len(session.exec(select(Vote).where(Vote.annotator_id == judge.id)).all()) == 4
