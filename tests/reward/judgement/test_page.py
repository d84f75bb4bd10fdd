"""Planted cheats are named by the page, where its reader sees them first."""

from tests.reward.judgement.made import Made, Scores
from tests.reward.judgement.test_judge import judge, kind
from tests.reward.trained import trained


def warned(open_page, admin, db, project, found, rows):
    """The page's words for a model with this judgement."""
    scores = {row["pair_id"]: 1.0 for row in rows}
    trained(db, project, rows, scores, judgement=found)
    at = open_page(admin, "reward_models.py", project)
    assert not at.exception
    return " ".join(item.value.replace("\\", "") for item in at.warning)


def test_a_length_cheat_and_a_leak_are_named_on_the_page(tmp_path, open_page, admin, db, project):
    made = Made(2, prefer=lambda a, b: 0.97 if len(a) > len(b) else 0.03)
    kept = []

    def plant(train, _dev, test):
        for i in range(12):
            train[i] |= {key: test[i][key] for key in ("input", "response_a", "response_b", "q")}
        kept.extend([*train, *test])

    found = judge(tmp_path, made, Scores(lambda text: len(text) / 80), change=plant)
    said = warned(open_page, admin, db, project, found, kept)
    assert "Length cheat: the reward goes up for longer responses" in said
    assert "The votes follow length" in said
    assert "Leak: 12 of 80 test pairs have text that the model was trained on" in said


def test_an_honest_model_is_accused_of_nothing_on_the_page(tmp_path, open_page, admin, db, project):
    kept = []
    found = judge(tmp_path, Made(1), Scores(kind), change=lambda *splits: kept.extend(splits[0] + splits[2]))
    assert warned(open_page, admin, db, project, found, kept) == ""
