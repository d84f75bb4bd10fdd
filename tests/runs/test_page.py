"""The page of runs, as people of several roles see it."""

from datetime import timedelta

from core.projects import create_project
from core.runs.results import described, key_figures, remarks
from core.runs.service import cancel_run, get_run, list_runs, sampled_events, start_run
from storage.ids import now
from storage.tables import Run, RunEvent


def words(at) -> str:
    """Everything that is to be read on the page."""
    parts = [element.value for kind in ("title", "caption", "text", "markdown", "subheader", "error", "code", "info") for element in at.get(kind)]  # fmt: skip
    return "\n".join(map(str, parts))


def opened(open_page, who, project, run=None):
    at = open_page(who, "", project)
    if run is not None:
        at.query_params["run"] = run.id
    at = at.switch_page("runs.py").run()
    assert not at.exception, at.exception
    return at


def add(db, project, **values) -> Run:
    run = Run(**{"project_id": project.id, "kind": "sum", "name": "Add up", **values})
    db.write(lambda session: session.add(run))
    return run


def button(at, label):
    return next(one for one in at.button if one.label == label)


def test_an_empty_project_says_what_runs_are(open_page, admin, project):
    at = opened(open_page, admin, project)
    assert "Nothing has run" in words(at)


def test_the_list_and_its_filters(open_page, db, admin, project):
    for number in range(30):
        add(db, project, name=f"Run {number}", status="succeeded", progress=1.0)
    add(db, project, name="Bad one", status="failed", created_by=admin.user_id)
    add(db, project, name="Live", status="running", progress=0.4, eta_s=80, started_at=now())
    at = opened(open_page, admin, project)
    frame = at.dataframe[0].value
    assert list(frame["Run"][:3]) == ["Live", "Bad one", "Run 29"] and len(frame) == 25
    assert frame["Status"][0] == ["Running"] and frame["Left"][0] == "about 1 min 20 s"
    assert frame["Started by"][1] == "admin"
    assert "1 at work" in words(at)
    button(at, "Show more (7 older)").click().run()
    assert len(at.dataframe[0].value) == 32
    at.pills[0].set_value(["Failed"]).run()
    assert list(at.dataframe[0].value["Run"]) == ["Bad one"]
    at.selectbox(key=f"runs_kind_{project.id}").set_value("generate").run()
    assert "No run matches" in words(at) and not at.exception


def test_a_failed_run_says_why_and_can_be_resumed_or_repeated(open_page, db, admin, project, wait):
    run = start_run(db, admin, project.id, "sum", {"at": {"2": "work_error"}, "seed": 4})
    wait(run, "failed")
    at = opened(open_page, admin, project, run)
    assert "The key was refused." in words(at) and "Set another key." in words(at)
    assert "work begins" in words(at)  # the log
    assert "Traceback" in at.code[0].value
    button(at, "Resume").click().run()
    assert get_run(db, admin, run.id).status == "queued" and not at.exception
    button(at, "Cancel").click().run()
    assert get_run(db, admin, run.id).status == "cancelled"
    button(at, "Run again").click().run()
    newest = list_runs(db, admin, project.id)[0]
    assert newest.id != run.id and newest.seed == 4 and newest.config["at"] == {"2": "work_error"}
    assert newest.id in at.query_params["run"]
    button(at, "All runs").click().run()
    assert "run" not in at.query_params and len(at.dataframe[0].value) == 2


def test_a_run_at_work_shows_progress_and_can_be_cancelled(open_page, db, admin, project):
    run = add(db, project, status="running", progress=0.25, eta_s=90.0, message="step *1*", started_at=now())
    from core.runs.service import run_folder

    run_folder(run.id).create({"config": {}, "seed": 0, "models_dir": "/"})
    at = opened(open_page, admin, project, run)
    assert at.get("progress")[0].proto.text == "25 % · about 1 min 30 s left"
    assert "step *1*" in [text.value for text in at.text]
    button(at, "Cancel").click().run()
    assert run_folder(run.id).cancel_requested and button(at, "Stopping…").disabled


def test_every_state_and_view_opens(open_page, db, admin, person, project, wait):
    done = start_run(db, admin, project.id, "sum", {"effects": True})
    wait(done, "succeeded")
    at = opened(open_page, admin, project, done)
    figures = {metric.label: metric.value for metric in at.metric}
    assert figures["Steps"] == "3"
    for view in ("Curves", "Events", "Log", "Settings", "Result"):
        at.button_group(key=f"view_{done.id}_succeeded").set_value(view).run()
        assert not at.exception, view
    at.button_group(key=f"view_{done.id}_succeeded").set_value("Events").run()
    assert len(at.dataframe[0].value) == get_run(db, admin, done.id).last_event
    lead = person("lead")
    for status in ("running", "failed", "interrupted"):
        run = add(db, project, status=status, error="why *so*", hint="do this", kind="gone")
        at = opened(open_page, lead, project, run)
        assert [one.label for one in at.button] == ["All runs"]  # a lead only looks
        assert ("why *so*" in words(at)) == (status != "running")


def test_links_lead_into_the_runs_project_and_choosing_a_project_leads_out(open_page, db, admin, project):
    other = create_project(db, admin, name="Other")
    run = add(db, other, status="cancelled", finished_at=now() + timedelta(seconds=1))
    at = opened(open_page, admin, project, run)
    assert at.selectbox[0].value == other.id and "Add up" in words(at)
    at.selectbox[0].set_value(project.id).run()
    assert at.selectbox[0].value == project.id and "Nothing has run" in words(at)
    at.query_params["run"] = "unknown"
    at.run()
    assert not at.exception and "Nothing has run" in words(at)


def test_curves_span_the_whole_run(db, admin, project):
    run = add(db, project)
    rows = [
        RunEvent(run_id=run.id, number=n, type="metric" if n % 2 else "log", data={"step": n})
        for n in range(1, 200)
    ]
    db.write(lambda session: session.add_all(rows))
    events, total = sampled_events(db, admin, run.id, "metric", at_most=30)
    assert total == 100 and [event.number for event in events] == list(range(1, 200, 8))
    assert len(sampled_events(db, admin, run.id, "metric")[0]) == 100
    assert sampled_events(db, admin, run.id, "ledger") == ([], 0)


def test_results_have_their_n_and_interval():
    result = {
        "accuracy": 0.612, "accuracy_low": 0.57, "accuracy_high": 0.653, "n_test": 512, "n_train": 2000,
        "baselines": {"longer": {"accuracy": 0.44, "n": 500}}, "notes": ["Few pairs."], "seconds": 61.25,
    }  # fmt: skip
    found = {figure.label: (figure.value, figure.detail) for figure in key_figures("reward_model", result)}
    assert found["Held-out accuracy"] == ("61.2 %", "57.0 to 65.3 %, n 512")
    assert found["Baseline: longer"] == ("44.0 %", "39.7 to 48.4 %, n 500")
    assert remarks(result) == ["Few pairs."]
    score = {"mean": 0.5, "low": 0.25, "high": 0.75, "n": 16}
    best = {"best": {"text": "Do it.", "test": score}, "calls": 120, "candidates": 4, "partial": True}
    assert key_figures("optimize", best)[0].detail == "0.25 to 0.75, n 16"
    assert "stopped before the end" in remarks(best)[0]
    lines = dict(described({**result, **best, "rows": [{}], "names": ["a", "b"], "ok": True, "none": None}))
    assert lines["Best › Test"] == "0.5 (0.25 to 0.75, n 16)"
    assert (lines["Rows"], lines["Names"], lines["Ok"], lines["None"]) == ("1 entries", "a, b", "yes", "—")
    assert lines["Seconds"] == "61.2 s"
    assert lines["Accuracy"] == "0.612 (0.57 to 0.653)" and "Accuracy low" not in lines
    assert lines["Baselines › Longer"] == "0.44 (n 500)"


def test_cancel_from_elsewhere_is_seen(open_page, db, admin, project):
    run = start_run(db, admin, project.id, "sum", {})
    at = opened(open_page, admin, project, run)
    cancel_run(db, admin, run.id)
    at.run()
    assert "Cancelled" in words(at) and not at.exception
