"""What holds for every method: the table, seeds, state, kills, budgets."""

import json

import pytest

from core.errors import Invalid
from core.llm.protocol import HostSpec
from core.llm.registry import create_host
from core.optimize import methods, work
from core.optimize.method import TRAINER, Method, why_not
from core.optimize.methods import METHODS
from core.optimize.protocol import FINISH_WORDS
from core.optimize.view import preview
from core.runs.service import start_run
from tests.optimize.conftest import add  # noqa: F401
from tests.optimize.fakes import START, FakeHost, Killed, chance, make_folder, proposed
from tests.optimize.rules import Refused, RuleEvaluator, run
from tests.optimize.test_run import candidates, host, stable  # noqa: F401
from tests.optimize.test_run import run as work_on

SMALL = {
    "grips": {"iterations": 4},
    "ape": {"subsets": 2, "per_subset": 5, "batch": 3, "rounds": 5, "arms": 4},
    "opro": {"iterations": 4, "proposals": 4},
    "evoprompt_ga": {"population": 4, "generations": 3},
    "evoprompt_de": {"population": 4, "generations": 3},
    "gepa": {"iterations": 8},
    "mipro": {"instructions": 4, "sets": 3, "demonstrations": 2, "trials": 8, "batch": 3, "full_every": 3},
    "random": {"candidates": 12, "batch": 5},
    "best_of_n": {"n": 12, "batch": 5},
}
every_method = pytest.mark.parametrize("name", list(METHODS))
# What works on weights needs a model in process: it has the same tests beside its own.
in_text = pytest.mark.parametrize(
    "name", [name for name, method in METHODS.items() if "gradients" not in method.needs | method.trains]
)


def made(name, seed=4):
    method = METHODS[name]
    return method.make(START, seed, {**method.checked_options(SMALL[name])})


def evaluator(**options):
    def answer(key, request):
        return proposed(request, len(key) * 31 + sum(map(ord, key))) or f"perhaps {key}"

    return RuleEvaluator(
        lambda text: 100 * chance(text), answer, n=6, spread=lambda text, j: chance(text, str(j)), **options
    )


def told(optimizer):
    return [candidate.as_dict() for candidate in optimizer.candidates], optimizer.finished, optimizer.dropped


@every_method
def test_it_says_what_it_is_and_its_defaults_are_allowed(name):
    method = METHODS[name]
    assert method.sentence and method.source and method.title
    assert method.checked_options({}) == {option.name: option.default for option in method.options}
    assert method.group in method.checked_options({})
    optimizer = method.make(START, 1, method.checked_options({}))
    assert optimizer.name == name and optimizer.candidates == []


@in_text
def test_one_seed_one_search_and_another_seed_another(name):
    ends = []
    for seed in (4, 4, 5):
        optimizer = made(name, seed)
        run(optimizer, evaluator())
        ends.append(told(optimizer))
    assert ends[0] == ends[1]
    assert ends[0][1] in FINISH_WORDS
    if name in ("grips", "opro", "ape"):  # the script answers by key: only own draws differ
        assert ends[0] != ends[2]


@in_text
def test_state_goes_through_json_after_every_step(name):
    whole = made(name)
    run(whole, evaluator())
    one, books = made(name), evaluator()
    while not one.finished:
        one.step(books)
        state = json.loads(json.dumps(one.state_dict(), allow_nan=False))
        one = made(name)
        one.load_state_dict(state)
    assert told(one) == told(whole)
    assert one.figures() == whole.figures()


@in_text
def test_a_step_that_is_cut_short_changes_nothing(name):
    whole, books = made(name), evaluator()
    run(whole, books)
    optimizer, cut = made(name), evaluator()
    for refuse_after in [*range(0, books.calls, 7), None]:
        cut.refuse_after = refuse_after
        try:
            run(optimizer, cut)
        except Refused:
            continue
    assert told(optimizer)[1:] == told(whole)[1:]
    assert [c.text for c in optimizer.candidates] == [c.text for c in whole.candidates]
    assert [c.scores for c in optimizer.candidates] == [c.scores for c in whole.candidates]
    assert cut.calls == books.calls


@in_text
@pytest.mark.parametrize("reward", ["labels", "reward_model"])
def test_killed_anywhere_it_resumes_to_the_same_end(tmp_path, host, name, reward):  # noqa: F811
    """A whole run: worker, books, dev and test."""
    options = {**SMALL[name]}
    host()
    whole = make_folder(tmp_path / "whole", method=name, reward=reward, calls=420, **options)
    end = work_on(whole)
    folder = make_folder(tmp_path / "killed", method=name, reward=reward, calls=420, **options)
    result, kills = None, 0
    while result is None:
        host(kill_at=20 + kills * 23)
        try:
            result = work_on(folder)
        except Killed:
            kills += 1
    assert kills > 0 and stable(result) == stable(end)
    assert candidates(folder) == candidates(whole)
    assert end["calls"] <= 420 and end["best"]["test"]["n"] == 8


@in_text
@pytest.mark.parametrize("calls", [75, 110, 205])
def test_the_budget_holds_and_the_end_is_paid(tmp_path, host, name, calls):  # noqa: F811
    fake = host()
    result = work_on(make_folder(tmp_path / "r", method=name, calls=calls, finalists=1, **SMALL[name]))
    assert result["calls"] == fake.calls <= calls
    assert result["gain"] is not None and result["best"]["test"]["n"] == 8


# --- hosts -------------------------------------------------------------------------------------


def test_the_optimiser_s_model_may_be_another_and_is_counted_apart(tmp_path, monkeypatch):
    specs = {"target": HostSpec(name="target"), "writer": HostSpec(name="writer", kind="openai")}
    hosts = {name: FakeHost(spec) for name, spec in specs.items()}
    monkeypatch.setattr(work, "open_host", lambda spec, models_dir: hosts[spec.name])
    folder = make_folder(
        tmp_path / "r", method="opro", calls=300, host=specs["target"], optimizer_host=specs["writer"]
    )
    result = work_on(folder)
    events, _ = folder.read_events()
    lines = {
        (e["data"]["host"], e["data"]["purpose"]): e["data"]["calls"] for e in events if e["type"] == "ledger"
    }
    assert lines == {
        ("target", "target"): hosts["target"].calls,
        ("writer", "optimizer"): hosts["writer"].calls,
    }
    assert hosts["writer"].calls > 0 and result["calls"] == sum(lines.values())


def test_a_config_names_both_hosts(db, admin, project, examples):
    examples()
    create_host(db, admin, name="writer", kind="openai", model="m", base_url="http://127.0.0.1:9/v1")
    config = {"method": "opro", "reward": "labels", "optimizer_host": "writer"}
    made = start_run(db, admin, project.id, "optimize", config)
    assert (made.config["host"], made.config["optimizer_host"]) == ("embedded", "writer")
    with pytest.raises(Invalid, match="optimizer_host: there is no host “nobody”"):
        start_run(db, admin, project.id, "optimize", {**config, "optimizer_host": "nobody"})


def test_a_method_that_a_host_cannot_serve_is_refused_with_the_reason(
    db, admin, project, examples, monkeypatch, api
):
    steep = Method(
        "Steep", "Steep: by gradients", "Follows gradients.", "nobody", "none:None",
        METHODS["random"].options, "batch", needs=frozenset({"gradients"}),
    )  # fmt: skip
    monkeypatch.setitem(METHODS, "steep", steep)
    far = HostSpec(name="far", kind="openai")
    reason = "Steep: by gradients needs gradients, and “far” gives only generated text."
    assert why_not(steep, far) == reason and why_not(steep, HostSpec()) is None
    assert why_not(METHODS["opro"], far) is None
    create_host(db, admin, name="far", kind="openai", model="m", base_url="http://127.0.0.1:9/v1")
    client = api(admin)
    rows = {row["name"]: row for row in client.get("/optimizers", params={"host": "far"}).json()}
    assert rows["steep"]["unavailable"] == reason and rows["opro"]["unavailable"] is None
    answer = client.post(
        f"/projects/{project.id}/runs",
        json={"kind": "optimize", "config": {"method": "steep", "reward": "active", "host": "far"}},
    )
    assert answer.status_code == 422 and "Steep: by gradients needs gradients" in str(answer.json())


@every_method
@pytest.mark.parametrize(
    "hosts", [("embedded", None), ("far", None), ("far", "embedded"), ("embedded", "far")]
)
def test_what_a_method_is_said_to_need_is_what_a_search_refuses(
    db, admin, project, examples, champion, reward_model, api, name, hosts
):
    """One answer, in the list of methods and when a search is laid out."""
    examples(train=30)
    create_host(db, admin, name="far", kind="openai", model="m", base_url="http://127.0.0.1:9/v1")
    target, writer = hosts
    method, asked = METHODS[name], {"host": target, **({"optimizer_host": writer} if writer else {})}
    said = {row["name"]: row for row in api(admin).get("/optimizers", params=asked).json()}[name]
    reward = "labels" if method.by_labels else "reward_model"
    config = {"method": name, "reward": reward, **(asked if method.asks else {"host": target})}
    try:
        preview(db, admin, project.id, config)
        refused = None
    except Invalid as problem:
        refused = f"{problem.message} {problem.hint}"
    assert (said["unavailable"] is None) == (refused is None), (said["unavailable"], refused)
    trained = writer if writer and method.asks else target
    assert (refused is None) == (
        "far" not in ({target} if method.needs else set()) | ({trained} if method.trains else set())
    )
    if refused and not method.by_labels:
        sentence = said["unavailable"].removesuffix(TRAINER).strip()
        assert sentence in refused and "“far” gives only generated text" in sentence


def test_the_table_as_the_api_tells_it(admin, api):
    rows = {row["name"]: row for row in api(admin).get("/optimizers").json()}
    assert list(rows) == list(METHODS) and all(row["unavailable"] is None for row in rows.values())
    option = next(option for option in rows["grips"]["options"] if option["name"] == "candidates")
    assert (option["default"], option["low"], option["high"]) == (5, 1, 100)
    assert rows["random"]["baseline"] and not rows["opro"]["baseline"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"method": "opro", "patience": 3}, "patience: not a setting of a run with OPRO"),
        ({"method": "opro", "proposals": 0}, "proposals: a whole number from 1"),
        ({"method": "opro", "temperature": 9}, "temperature: a number from 0 to 2"),
        ({"method": "random", "source": "magic"}, "source: there is no “magic”"),
        ({"method": "grips", "annealing": "yes"}, "annealing: true or false"),
    ],
)
def test_options_are_checked(db, admin, project, examples, config, message):
    examples()
    with pytest.raises(Invalid, match=message):
        start_run(db, admin, project.id, "optimize", {"reward": "labels", **config})


def test_no_method_imports_torch_to_be_shown():
    assert "torch" not in vars(methods)


def test_the_form_says_which_methods_these_hosts_can_serve(
    db, admin, project, examples, champion, reward_model, open_page
):
    examples(train=30)
    create_host(db, admin, name="far", kind="openai", model="m", base_url="http://127.0.0.1:9/v1")
    at = open_page(admin, "optimize.py", project)

    def refused():
        return {
            option.split(" (")[0]
            for option in at.selectbox(key="optimize_method").options
            if "(not on" in option
        }

    assert refused() == set()
    at.selectbox(key="optimize_host").set_value("far").run()
    trained = {METHODS[name].title.split(" (")[0] for name in METHODS if METHODS[name].trains}
    bound = {METHODS[name].title.split(" (")[0] for name in METHODS if METHODS[name].needs}
    assert refused() == trained | bound and trained and bound
    at.selectbox(key="optimize_proposer").set_value("embedded").run()
    assert not at.exception and refused() == bound
