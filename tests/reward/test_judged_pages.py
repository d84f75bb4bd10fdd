"""The page of one reward model, its comparison and promotion, and its mistakes."""

import pytest
from sqlmodel import select

from core.reward import mistakes
from storage.tables import AuditEntry, Slot
from tests.reward.judgement_sample import judgement, mistake
from tests.reward.test_comparing import TEST, two
from tests.reward.test_data import FIRST, Made
from tests.reward.test_pages import texts
from tests.reward.trained import row, trained

TABS = ["Summary", "Where it is good", "What it goes by", "More votes", "Mistakes", "Compare", "Training"]


@pytest.fixture
def world(db, project):
    """Pairs with people's votes in the database, and a model that is wrong about all of them."""
    made = Made(db, project)
    made.pairs(25, "train", FIRST)
    pairs = made.pairs(
        8, "test", [("win", 0, "clearly"), ("win", 0, None)], texts=("**kind** words", "rude words")
    )
    rows, scores, wrong = [row("train", "train")], {"train": 0.0}, []
    for place, (pair_id, ids) in enumerate(pairs):
        q = 1.0 if ids[0] < ids[1] else 0.0
        rows.append(row(pair_id, q=q, n=2, response_a="**kind** <script>"))
        scores[pair_id] = -1.0 if q else 1.0
        wrong.append(mistake(pair_id, 0.1 + place / 100, q))
    return made, pairs, trained(db, project, rows, scores, judgement(wrong), accuracy=0.66, n_test=40)


def opened(open_page, who, project, model, tab):
    at = open_page(who, "reward_models.py", project)
    at.session_state[f"reward_tab_{model.id}"] = tab
    return at.run()


SAYS = {
    "Summary": "a person agrees with the others in 72 %",
    "Where it is good": "1 differ, marked red",
    "What it goes by": "learnt a shortcut",
    "More votes": "500 more votes should bring +1.5 points",
    "Mistakes": "worst first",
    "Compare": "no other model",
    "Training": "Backbone",
}


def each_tab(open_page, who, project, model):
    """The page with each tab open, one after the other."""
    at = open_page(who, "reward_models.py", project)
    for tab in TABS:
        at.session_state[f"reward_tab_{model.id}"] = tab
        at.run()
        assert not at.exception and not at.error, tab
        yield tab, at


def test_every_tab_draws_a_judged_model(open_page, admin, project, world):
    _, _, model = world
    for tab, at in each_tab(open_page, admin, project, model):
        assert "It goes by length further than people do." in " ".join(item.value for item in at.warning)
        shown = texts(at) + " ".join(str(item.value.to_dict()) for item in at.dataframe)
        assert "66.0 %" in shown and "59.0 to 73.0 % · n 40 pairs" in shown
        assert SAYS[tab] in shown, tab


@pytest.mark.parametrize("file", [None, {"format": 1, "skipped": [{"part": "curve", "reason": "Too few."}]}])
def test_every_tab_draws_a_model_of_which_little_is_known(db, open_page, admin, project, file):
    Made(db, project).pairs(25, "train", FIRST)
    rows = [row("train", "train"), row("a")]
    model = trained(db, project, rows, {"a": 1.0}, file, accuracy=1.0, n_test=1)
    for tab, at in each_tab(open_page, admin, project, model):
        if tab == "More votes":
            assert ("Too few." if file else "made before models were judged") in texts(at)


def test_two_models_are_compared_and_one_is_promoted_with_a_reason(db, open_page, admin, project):
    Made(db, project).pairs(25, "train", FIRST)
    first, second = two(db, project, TEST[:16], TEST[:18], accuracy=0.55, n_test=40)
    at = opened(open_page, admin, project, first, "Compare")  # the active one is shown at first
    assert not at.exception
    assert "cannot be told apart from" in texts(at) and "Both right 22" in texts(at)
    assert "McNemar" in texts(at)
    # Select the other one: the button asks, with the warning, and wants a reason.
    at.selectbox(key=f"model_{project.id}").set_value(second.id).run()
    at.button(key=f"activate_{second.id}").click().run()
    assert any("not shown to be better" in item.value for item in at.warning)
    assert at.text_input(key=f"reason_{second.id}").label == "Reason"
    assert at.button(key=f"activate_now_{second.id}").label == "Make it active all the same"


def test_mistakes_are_read_chosen_and_sent_back(db, open_page, admin, person, project, world):
    _, pairs, model = world
    with db.read() as session:
        before = len(list(session.exec(select(Slot))))
    at = opened(open_page, admin, project, model, "Mistakes")
    assert "person 0" in texts(at) and "clearly" in texts(at)
    html = " ".join(item.proto.body for item in at.get("html"))
    assert "<strong>kind</strong> &lt;script&gt;" in html
    at.button(key=f"choose_five_{model.id}").click().run()
    at.button(key=f"send_back_{model.id}").click().run()
    assert not at.exception and not at.error
    assert "5 on their way to annotators" in texts(at)
    found = mistakes.worst(db, admin, model.id)
    assert [item.waiting for item in found] == [True] * 5 + [False] * 3
    with db.read() as session:
        assert len(list(session.exec(select(Slot)))) == before + 5
        [entry] = session.exec(select(AuditEntry).where(AuditEntry.action == "reward.send_back"))
    assert entry.detail["pairs"] == [pair_id for pair_id, _ in pairs[:5]]
    lead = opened(open_page, person("lead"), project, model, "Mistakes")
    assert not lead.button(key=f"choose_five_{model.id}").disabled
