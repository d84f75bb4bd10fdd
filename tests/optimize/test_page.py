"""The page: empty states, the form, a running search, a finished one."""

from dataclasses import replace

import pytest

from core.llm.registry import create_host
from core.optimize.methods import METHODS
from core.runs.service import get_run, list_runs
from pages.optimize_run import counted
from storage.tables import Run


def texts(at):
    kinds = ("caption", "subheader", "markdown", "warning", "error", "success")
    return " ".join(item.value for kind in kinds for item in getattr(at, kind))


def test_it_says_what_is_missing(admin, project, open_page, examples):
    assert "There are no examples" in texts(open_page(admin, "optimize.py", project))
    examples(labels=None)
    assert "There is nothing to optimise for yet" in texts(open_page(admin, "optimize.py", project))


def test_start_from_the_page(db, admin, project, open_page, examples, champion, reward_model):
    examples()
    at = open_page(admin, "optimize.py", project)
    assert not at.exception
    assert "70.0 % (60.0 to 80.0, n 80)" in texts(
        at
    ) and "50 % of the votes it learnt from are simulated" in texts(at)
    at.button(key="optimize_start").click().run()
    assert not at.exception
    (run,) = list_runs(db, admin, project.id, kind="optimize")
    assert run.config["budget"] == {"calls": 150} and run.config["start"]["prompt_id"] == champion.id
    assert any("Stop and keep the best" in button.label for button in at.button)
    at.button(key="optimize_cancel").click().run()
    assert get_run(db, admin, run.id).status == "cancelled"


def test_too_small_a_budget_is_said_and_cannot_be_started(admin, project, open_page, examples):
    examples()
    at = open_page(admin, "optimize.py", project)
    at.pills(key="optimize_preset_labels").set_value("Own").run()
    at.number_input(key="optimize_calls_labels").set_value(7).run()
    assert "7 calls are too few; the least is 16" in texts(at)
    assert at.button(key="optimize_start").disabled


@pytest.mark.parametrize("reward", ["labels", "reward_model"])
def test_a_finished_search(db, admin, project, open_page, examples, champion, reward_model, search, reward):
    examples(train=30)
    run = search(reward=reward)
    at = open_page(admin, "optimize.py", project)
    assert not at.exception
    said = texts(at)
    assert run.result["finish_words"] in said
    if reward == "labels":
        assert f"Candidate {run.result['best']['number']}" in said
        assert [metric.label for metric in at.metric][:3] == [
            "Start, on test",
            "Found, on test",
            "Gain on test",
        ]
        field = at.number_input(key=f"optimize_send_examples_{run.id}")
        assert (field.value, field.max) == (10, 10)  # what there is; no verdict comes from so few
        assert "no verdict comes from fewer than 20" in texts(at) and "Import more examples" in texts(at)
        examples(train=0, dev=0, test=300, fields="text")
        at = open_page(admin, "optimize.py", project)
        field = at.number_input(key=f"optimize_send_examples_{run.id}")
        assert (field.value, field.max) == (200, 200) and "no verdict" not in texts(at)
        assert "65 % of people prefer passes with a chance of 90 %, after 97 votes on average" in texts(at)
        field.set_value(60).run()
        assert "65 % of people prefer passes with a chance of 34 %, after 52 votes on average" in texts(at)
        at.button(key="optimize_send").click().run()
        assert list_runs(db, admin, project.id, kind="generate")[0].config["n_examples"] == 60
        assert not at.exception and "Sent to the annotators as Careful v2" in texts(at)
    assert len(at.dataframe[0].value) == run.result["candidates"]


def test_a_running_and_a_failed_search(db, admin, project, open_page, examples, champion, search):
    examples(train=30)
    run = search(end=False, kill_at=200)
    at = open_page(admin, "optimize.py", project)
    assert not at.exception and "Best so far" in texts(at)

    def fail(session):
        row = session.get(Run, run.id)
        row.status, row.error, row.hint = "failed", "The host is gone.", "Start it again."
        session.add(row)

    db.write(fail)
    at = open_page(admin, "optimize.py", project)
    assert not at.exception and "**The host is gone.** Start it again." in texts(at)
    assert any(button.key == "optimize_resume" for button in at.button)


def test_a_lead_looks_but_starts_nothing(person, project, open_page, examples, champion, search):
    examples(train=30)
    lead = person("lead")
    assert "No search was started yet" in texts(open_page(lead, "optimize.py", project))
    search()
    at = open_page(lead, "optimize.py", project)
    assert not at.exception and not [b for b in at.button if b.key in ("optimize_new", "optimize_send")]


def test_the_form_shows_a_method_s_own_settings(db, admin, project, open_page, examples, champion):
    examples(train=30)
    at = open_page(admin, "optimize.py", project)
    assert any(box.key == "optimize_grips_granularity" for box in at.selectbox)
    at.selectbox(key="optimize_method").set_value("ppo").run()
    rate = at.number_input(key="optimize_ppo_learning_rate")
    assert not at.exception and rate.value == rate.proto.step == 0.0005 and rate.proto.format == "%g"
    at.selectbox(key="optimize_method").set_value("rlprompt").run()
    rate = at.number_input(key="optimize_rlprompt_learning_rate")
    assert not at.exception and rate.value == 5e-5 and any(b.key == "optimize_proposer" for b in at.selectbox)
    at.selectbox(key="optimize_method").set_value("autoprompt").run()
    assert not at.exception and at.selectbox(key="optimize_autoprompt_loss").value == "labels"
    assert not any(b.key == "optimize_proposer" for b in at.selectbox)  # it asks no language model
    at.selectbox(key="optimize_method").set_value("opro").run()
    assert not at.exception and "Yang et al. 2023" in texts(at)
    assert not any(box.key == "optimize_grips_granularity" for box in at.selectbox)
    at.number_input(key="optimize_opro_proposals").set_value(4).run()
    at.button(key="optimize_start").click().run()
    assert not at.exception
    (run,) = list_runs(db, admin, project.id, kind="optimize")
    assert run.config["method"] == "opro" and run.config["options"]["proposals"] == 4
    assert run.config["optimizer_host"] == "embedded" and run.name.startswith("OPRO on Careful v1")


def test_a_method_that_the_host_cannot_serve_says_why(db, admin, project, open_page, examples, monkeypatch):
    examples()
    create_host(db, admin, name="far", kind="openai", model="m", base_url="http://127.0.0.1:9/v1")
    steep = replace(METHODS["random"], title="Steep", needs=frozenset({"gradients"}))
    monkeypatch.setitem(METHODS, "steep", steep)
    at = open_page(admin, "optimize.py", project)
    at.selectbox(key="optimize_host").set_value("far").run()
    assert "Steep (not on this host)" in at.selectbox(key="optimize_method").options
    at.selectbox(key="optimize_method").set_value("steep").run()
    assert "Steep needs gradients, and “far” gives only generated text." in texts(at)
    assert at.button(key="optimize_start").disabled


@pytest.mark.parametrize("method", ["ape", "gepa", "best_of_n"])
def test_a_finished_search_of_another_method(admin, project, open_page, examples, champion, search, method):
    examples(train=30)
    run = search(method=method)
    assert run.status == "succeeded", run.error
    at = open_page(admin, "optimize.py", project)
    assert not at.exception and run.result["finish_words"] in texts(at)
    for figure in run.result["figures"]:
        assert figure["label"] in [metric.label for metric in at.metric]
    assert bool(run.result["figures"]) == (method != "ape")


def test_the_way_to_the_best_with_its_words(admin, project, open_page, examples, champion, search):
    examples(train=30)
    run = search()
    at = open_page(admin, "optimize.py", project)
    assert not at.exception
    way = at.selectbox(key=f"optimize_way_{run.id}")
    assert f"→ {way.value}**" in texts(at)
    way.set_value(0).run()
    assert not at.exception and "This is the start itself." in texts(at)


def test_a_structure_and_one_section_of_it(db, admin, project, open_page, examples, champion):
    examples(train=30)
    at = open_page(admin, "optimize.py", project)
    assert at.selectbox(key="optimize_section_").options == ["The whole instruction"]  # free text
    at.selectbox(key="optimize_framework").set_value("risen").run()
    part = at.selectbox(key="optimize_section_role_instructions_steps_end_goal_narrowing")
    assert part.options[:2] == ["The whole instruction", "Section Role"] and not at.exception
    part.set_value("steps").run()
    assert "The section Steps of Careful v1 as RISEN, which is edited; the rest of the prompt" in texts(at)
    assert at.code[0].value.startswith("Read the text carefully.\nWeigh")
    at.button(key="optimize_start").click().run()
    assert not at.exception
    (run,) = list_runs(db, admin, project.id, kind="optimize")
    assert (run.config["framework"], run.config["section"]) == ("risen", "steps")
    assert run.config["start"]["place"] == "section:steps"


def test_parents_that_were_crossed_are_told(admin, project, open_page, examples, champion, search):
    examples(train=30)
    run = search(method="evoprompt_ga", population=4, generations=2, budget={"calls": 900})
    at = open_page(admin, "optimize.py", project)
    assert not at.exception and "Dashed: from a further parent it was crossed with." in texts(at)
    crossed = [c for c in range(run.result["candidates"]) if c > 4]
    at.selectbox(key=f"optimize_way_{run.id}").set_value(crossed[-1]).run()
    assert not at.exception and "its words against its first parent's" in texts(at)


def test_searches_on_one_chart(admin, project, open_page, examples, champion, search):
    examples(train=30)
    search()
    at = open_page(admin, "optimize.py", project)
    assert not any(button.key == "optimize_compare" for button in at.button)  # one alone
    search(method="random", source="edits", candidates=8)
    at = open_page(admin, "optimize.py", project)
    at.button(key="optimize_compare").click().run()
    assert not at.exception
    table = at.dataframe[0].value
    assert list(table["Search"]) == ["Random search, seed 5", "GrIPS, seed 5"]
    assert any(name.startswith("Train, at ") for name in table.columns)
    at.button(key="optimize_compare").click().run()
    assert not at.exception and "As a table" in [tab.label for tab in at.tabs]


@pytest.mark.parametrize(
    ("other", "said"),
    [({}, False), ({"seed": 6}, True), ({"examples": {"train": 12, "dev": 8, "test": 10}}, True)],
)
def test_other_examples_are_said_beside_the_comparison(
    admin, project, open_page, examples, champion, search, other, said
):
    examples(train=30)
    search()
    search(method="random", source="edits", candidates=8, **other)
    at = open_page(admin, "optimize.py", project)
    at.button(key="optimize_compare").click().run()
    advice = "Start them with one seed and the same numbers of examples to take that away."
    assert not at.exception and (advice in texts(at)) is said


def test_many_searches_stay_readable(db, admin, project, open_page, examples, champion, search):
    """Twenty in history: the picker tells them apart, the table has a row for each."""
    examples(train=30)
    done = search()
    config = {**done.config}
    older = [
        Run(project_id=project.id, kind="optimize", name=done.name, config={**config, "method": method}, seed=seed,
            status=status, result=done.result if status == "succeeded" else None, progress=0.4)
        for seed, (method, status) in enumerate(
            [("opro", "succeeded"), ("grips", "failed"), ("random", "paused"), ("gepa", "cancelled")] * 5
        )
    ]  # fmt: skip
    db.write(lambda session: session.add_all(older))
    at = open_page(admin, "optimize.py", project)
    picker = next(box for box in at.selectbox if box.label == "Search")
    assert len(set(picker.options)) == 21
    assert any(label.startswith("OPRO · gained +") and "seed 0" in label for label in picker.options)
    at.button(key="optimize_all").click().run()
    assert not at.exception
    table = at.dataframe[0].value
    assert len(table) == 21 and {"Paused", "Failed"} <= {state[0] for state in table["State"]}
    gain = done.result["gain"]
    assert f"{gain['score']:+.3g} ({gain['low']:+.3g} to" in table["Gain on test"].iloc[-1]
    at.button_group(key="optimize_history_methods").set_value(["GrIPS"]).run()
    assert not at.exception and set(at.dataframe[0].value["Search"]) == {"GrIPS"}
    at.button(key="optimize_all").click().run()
    at.button(key="optimize_compare").click().run()
    assert not at.exception


def test_pause_and_resume_from_the_page(db, admin, project, open_page, examples, champion, search):
    examples(train=30)
    run = search(end=False, kill_at=200)
    at = open_page(admin, "optimize.py", project)
    at.button(key="optimize_pause").click().run()
    assert not at.exception and at.button(key="optimize_pause").disabled  # after the step in hand

    def ended(session):
        row = session.get(Run, run.id)
        row.status = "paused"
        session.add(row)

    db.write(ended)
    at = open_page(admin, "optimize.py", project)
    assert not at.exception and not [b for b in at.button if b.key == "optimize_pause"]
    at.button(key="optimize_resume").click().run()
    assert get_run(db, admin, run.id).status == "queued"
    at = open_page(admin, "optimize.py", project)
    at.button(key="optimize_pause").click().run()
    assert get_run(db, admin, run.id).status == "paused"  # a waiting one at once


def test_what_a_search_did_is_counted_in_words():
    result = {
        "candidates": 2, "accepted": 1, "calls": 1_200, "budget": 2_000, "improved": False, "best": {"dev": None},
        "dropped": {"too long": 1}, "infeasible": 1, "failed_calls": 1, "free_answers": 1, "lost_calls": 1,
    }  # fmt: skip
    assert counted(result) == (
        "1 candidate, 0 of them accepted, 1,200 of 2,000 calls. 1 proposal was dropped (1 too long). "
        "1 candidate breaks a constraint and cannot be chosen. 1 call failed and counted as an empty answer. "
        "1 answer was known from earlier runs, and not asked for again. 1 call was lost when the worker was stopped."
    )
    many = {**result, "candidates": 3, "dropped": {"too long": 1, "duplicate": 2}, "lost_calls": 16}
    assert "2 candidates, " in counted(many) and "16 calls were lost" in counted(many)
    assert "3 proposals were dropped (1 too long, 2 duplicate)" in counted(many)
