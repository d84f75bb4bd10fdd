"""The annotate, leaderboard and quality pages, pressed as a person would."""

import time

import pytest
from sqlmodel import select

from core.annotation import marks, votes
from storage.tables import Pair, Prompt, Response, Skip, Slot, Vote, VoteHistory
from tests.annotation.conftest import make_person, make_world
from tests.annotation.test_figures import simulate, vote_on_everything


@pytest.fixture
def desk(db, open_page):
    """Open the annotate page on a world of one's own: (world, person, page)."""

    def open_(role="annotator", **values):
        made = make_world(db, guidelines="Prefer the *shorter* one.", **values)
        who = make_person(db, role, role)
        return made, who, open_page(who, "annotate.py", made.project)

    return open_


def table(db, kind):
    with db.read() as session:
        return list(session.exec(select(kind)))


def button(at, label):
    return next(item for item in at.button if item.label == label)


def press(at, label):
    time.sleep(0.26)
    return button(at, label).click().run()


def html(at):
    return "\n".join(item.proto.body for item in at.get("html"))


def test_a_pair_is_shown_and_every_key_votes(db, desk):
    _made, _who, at = desk(pairs=5, votes=1)
    assert not at.exception
    assert "Prefer the <em>shorter</em> one." in html(at)  # open until the first vote
    assert "prompt 0" not in html(at)  # blind
    for label in ("A is better", "Tie", "B is better", "Both bad"):
        assert "Response" in html(at)
        at = press(at, label)
        assert not at.exception
    assert [marks.choice_of(vote) for vote in table(db, Vote)] == ["left", "tie", "right", "both_bad"]
    assert all(vote.duration_ms >= 250 for vote in table(db, Vote))
    assert "Prefer" not in html(at)
    at = press(press(at, "Guidelines"), "Tie")
    assert not at.exception and "Nothing is left for you." in [item.value for item in at.subheader]


def test_strength_and_reason_go_with_the_vote_and_are_reset(db, desk):
    _made, _who, at = desk(pairs=3)
    at.get("button_group")[0].set_value("clearly")
    at.text_input[0].set_value("it is right")
    at = press(at, "B is better")
    at = press(at, "A is better")
    first, second = table(db, Vote)
    assert (first.strength, first.reason) == ("clearly", "it is right")
    assert (second.strength, second.reason) == (None, "")


def test_a_press_that_comes_too_soon_does_not_count(db, desk):
    _made, _who, at = desk(pairs=4)
    at = press(at, "Tie")
    before = html(at)
    at = button(at, "A is better").click().run()  # at once: nobody has read the pair
    assert len(table(db, Vote)) == 1 and html(at) == before
    at = press(at, "A is better")
    assert len(table(db, Vote)) == 2 and not at.exception


def test_a_vote_in_another_window_is_said_and_the_next_pair_comes(db, desk):
    made, who, at = desk(pairs=4)
    claim = votes.claim(db, who, made.project.id)
    votes.cast(db, who, claim.pair_id, claim.lease, "left")
    before = html(at)
    at = press(at, "B is better")
    assert "another choice" in at.warning[0].value and len(table(db, Vote)) == 1
    assert html(at) != before


def test_undo_brings_the_vote_back_and_skip_passes_on(db, desk):
    _made, _who, at = desk(pairs=3, votes=1)
    assert button(at, "Undo").disabled
    at.text_input[0].set_value("first thought")
    at.get("button_group")[1].set_value("right")
    shown = html(at)
    at = press(at, "A is better")
    at = press(at, "Undo")
    assert table(db, Vote) == [] and len(table(db, VoteHistory)) == 1
    assert html(at) in shown or shown.endswith(html(at))
    assert at.text_input[0].value == "first thought"
    at = press(at, "B is better")
    assert marks.marks_of(table(db, Vote)[0]) == {"helpful": "right"}
    at = press(at, "Skip")
    assert len(table(db, Vote)) == 1 and len(table(db, Skip)) == 1
    at = press(at, "Tie")
    at = press(at, "Show the 1 you skipped")
    at = press(at, "Tie")
    assert len(table(db, Vote)) == 3 and not at.exception


def test_opening_the_page_again_keeps_the_pair(db, desk, open_page):
    made, who, at = desk(pairs=4)
    again = open_page(who, "annotate.py", made.project)
    assert html(at) == html(again)
    assert [slot.status for slot in table(db, Slot)].count("leased") == 1


def test_an_empty_project_says_what_to_do(db, desk):
    for role, words in (("annotator", "Come back"), ("engineer", "Import")):
        _made, _who, at = desk(role, pairs=0)
        assert not at.exception and words in " ".join(item.value for item in at.markdown)


def test_leaderboard_and_quality_with_simulated_and_human_votes(db, open_page):
    made = make_world(db, pairs=6, votes=2, prompts=3)
    lead = make_person(db, "lead", "lead")
    for page in ("leaderboard.py", "quality.py"):
        at = open_page(lead, page, made.project)
        assert not at.exception and "There are no votes yet." in [item.value for item in at.subheader]
    simulate(db, made)
    for page in ("leaderboard.py", "quality.py"):
        at = open_page(lead, page, made.project)
        assert not at.exception and any("simulated" in item.value for item in at.info)
    vote_on_everything(db, made, make_person(db), "left")
    at = open_page(lead, "leaderboard.py", made.project)
    assert not at.exception and not [item for item in at.info if "simulated" in item.value]
    assert any(item.value.startswith("6 votes by 1 annotators on 3 prompts") for item in at.caption)
    assert list(at.dataframe[0].value["Votes"]) == [4, 4, 4]
    at = at.get("button_group")[0].set_value("include").run()
    assert not at.exception and any("18 of the 24 votes" in item.value for item in at.info)
    at = open_page(lead, "quality.py", made.project)
    assert not at.exception
    assert [item.value for item in at.metric][:3] == ["6", "—", "100.0 %"]
    assert any("lean to the left" in item.value for item in at.warning)
    at = at.get("button_group")[0].set_value("only").run()
    assert not at.exception and at.metric[0].value == "18"


def test_prompts_that_never_met_are_said(db, open_page):
    lead = make_person(db, "lead", "lead")
    made, apart = make_world(db, pairs=2, votes=1), make_world(db, pairs=2, votes=1, name="Apart")

    def join(session):  # one project, two prompts each that met only each other
        for kind in (Slot, Pair, Prompt, Response):
            for item in session.exec(select(kind).where(kind.project_id == apart.project.id)):
                if kind is Prompt:
                    item.name += " apart"
                item.project_id = made.project.id
                session.add(item)

    db.write(join)
    vote_on_everything(db, made, make_person(db), "tie")
    at = open_page(lead, "leaderboard.py", made.project)
    assert not at.exception and "2 groups that never met" in at.warning[0].value
