"""The annotate, leaderboard and quality pages, pressed as a person would."""

from sqlmodel import select

from core.annotation.demonstrations import write
from core.annotation.desk import Desk, desk_of, set_desk
from core.annotation.marks import marks_of
from core.annotation.mine import my_votes_of
from storage.tables import Pair, Prompt, Response, Slot
from tests.annotation.conftest import make_person, make_world
from tests.annotation.test_figures import simulate, vote_on_everything


def test_the_annotate_page_is_a_frame_for_the_desk(db, open_page):
    """What the desk does is tested over HTTP (test_desk.py) and in Chromium (tests/e2e)."""
    made = make_world(db, pairs=1)
    for role in ("annotator", "lead"):
        at = open_page(make_person(db, role, role), "annotate.py", made.project)
        assert not at.exception and [item.value for item in at.title] == ["Annotate"]


def test_my_work_shows_ones_votes_and_changes_one(db, open_page):
    made, who, lead = make_world(db, pairs=3), make_person(db), make_person(db, "lead", "lead")
    at = open_page(who, "my_work.py", made.project)
    assert not at.exception and "You have not voted here yet." in [item.value for item in at.subheader]
    vote_on_everything(db, made, who, "left")
    vote_on_everything(db, made, lead, "tie")
    set_desk(db, lead, made.project.id, show_agreement=True, daily_goal=4, scales={"helpful": "1-5"})
    at = open_page(who, "my_work.py", made.project)
    assert not at.exception
    assert [item.value for item in at.metric] == ["3 of 4", "3", at.metric[2].value, "0.0 %"]
    assert len(at.expander) == 3
    [newest, *_] = my_votes_of(db, who, made.project.id).rows
    at.session_state[f"vote_{newest.vote.id}"] = True
    at = at.run()
    assert not at.exception
    next(item for item in at.get("button_group") if item.label == "Vote").set_value("right")
    next(item for item in at.get("button_group") if item.label == "helpful, A").set_value(5)
    next(item for item in at.text_area if item.label == "Reason").set_value("on second thought")
    at = next(item for item in at.button if item.label == "Save the change").click().run()
    assert not at.exception
    [changed] = [v for v in my_votes_of(db, who, made.project.id).rows if v.versions]
    assert (marks_of(changed.vote), changed.vote.reason) == ({"helpful": {"left": 5}}, "on second thought")
    at = at.text_input[0].set_value("second thought").run()
    assert not at.exception and len(at.expander) == 1
    write(db, who, changed.vote.pair_id, "A better one.")
    at = open_page(who, "my_work.py", made.project)
    assert not at.exception and "A better one." in [item.value for item in at.text_area]


def test_a_lead_sets_how_annotators_work(db, open_page):
    made, lead = make_world(db, pairs=1), make_person(db, "lead", "lead")
    at = open_page(lead, "project.py", made.project)
    next(item for item in at.multiselect if item.label.startswith("Criteria rated")).set_value(["helpful"])
    next(item for item in at.number_input if item.label.startswith("Goal")).set_value(25)
    next(item for item in at.checkbox if item.label.startswith("Annotators see")).check()
    at = next(item for item in at.button if item.label == "Save labelling").click().run()
    assert not at.exception
    assert desk_of(db, lead, made.project.id) == Desk(
        scales={"helpful": "1-5"}, daily_goal=25, show_agreement=True
    )


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
