"""How a search ends: what was paid for is not thrown away, whatever it ends by, and a search that was
killed on the way to its end comes to the same one."""

import json
from pathlib import Path

import pytest

from core.errors import Invalid
from core.llm.protocol import Completion, HostSpec
from core.optimize import work
from core.optimize.methods import METHODS
from core.optimize.pacing import Pacing
from core.optimize.plan import plan
from core.optimize.search import Search
from core.runs.service import start_run
from tests.optimize.fakes import Killed, make_folder
from tests.optimize.test_methods import SMALL as SMALL_TEXT
from tests.optimize.test_run import candidates, host, run, stable, with_stop  # noqa: F401

WRITER = {"batch": 3, "minibatch": 4, "every": 3, "finals": 2, "tokens": 8, "rank": 2}
SOFT = {"batch": 3, "every": 4}
SMALL = {
    **SMALL_TEXT,
    "ppo": WRITER, "grpo": WRITER, "rloo": WRITER,
    "rlprompt": {"length": 2, "prompts": 3, "batch": 3, "evaluate_every": 5, "iterations": 50},
    "autoprompt": {"tokens": 3, "candidates": 4, "batch": 4, "accumulate": 1},
    "prompt_tuning": SOFT, "p_tuning": SOFT, "prefix_tuning": SOFT,
}  # fmt: skip
IN_TEXT = [name for name, method in METHODS.items() if "gradients" not in method.needs | method.trains]
SIZES = (12, 6, 8)

every_method = pytest.mark.parametrize("name", list(METHODS))


@pytest.fixture
def opened(host, tiny_host, monkeypatch):  # noqa: F811
    """`opened(name)`: the next run of this method opens the fake host, or the tiny model, anew."""
    from core.llm.local import LocalHost
    from tests.optimize.fakes import FakeHost

    def use(name, **options):
        made = (
            FakeHost(**options) if name in IN_TEXT else LocalHost(tiny_host.spec, Path(tiny_host.spec.model))
        )
        monkeypatch.setattr(work, "open_host", lambda spec, models_dir: made)
        return made

    return use


def folder_of(path, name, opened_host, **options):
    return make_folder(
        path, method=name, sizes=SIZES, host=opened_host.spec, **{"calls": 400, **SMALL[name], **options}
    )


def something_tried(optimizer):
    """Whether a method has come to something that only its own end would score in full."""
    if optimizer.name == "autoprompt":
        return bool(optimizer.accepted)
    if optimizer.name in ("ppo", "grpo", "rloo"):
        return bool(optimizer.pool)
    if hasattr(optimizer, "scored_at"):
        return optimizer.steps > 0
    return len(optimizer.candidates) > 1


def stop_when(monkeypatch, reason, when=something_tried):
    """The search stops for this reason as soon as something was tried: between two steps, and
    before the method scores it in full by itself."""
    monkeypatch.setattr(
        work,
        "stop_condition",
        lambda config, context, optimizer: lambda now: reason if when(optimizer) else None,
    )


def in_full(found):
    return [number for number, one in found.items() if number and one["scores"]["train"]["n"] == SIZES[0]]


# --- what was tried is scored in full ------------------------------------------------------------


REASONS = ("time", "target", "no_improvement", "gold_falls")
ALIKE = ("grpo", "rloo", "p_tuning", "prefix_tuning")  # end as their siblings do: one reason is enough


@pytest.mark.parametrize(
    ("name", "reason"),
    [(name, reason) for name in METHODS for reason in (REASONS[:1] if name in ALIKE else REASONS)],
)
def test_a_search_that_is_stopped_scores_in_full_what_it_found(tmp_path, opened, monkeypatch, name, reason):
    stop_when(monkeypatch, reason)
    folder = folder_of(tmp_path / "r", name, opened(name))
    result = run(folder)
    assert result["finish_reason"] == reason
    assert in_full(candidates(folder)), "what was paid for was thrown away"
    assert result["calls"] <= 400 and result["best"]["test"]["n"] == 8 and result["gain"] is not None


PROPOSERS = ["opro", "evoprompt_ga", "evoprompt_de", "random", "best_of_n"]


@pytest.mark.parametrize("name", PROPOSERS)
def test_proposals_that_were_paid_for_are_scored_when_time_is_up(tmp_path, opened, monkeypatch, name):
    stop_when(monkeypatch, "time", when=lambda optimizer: len(optimizer.candidates) and optimizer.queue)
    whole = folder_of(tmp_path / "whole", name, opened(name))
    result = run(whole)
    assert result["finish_reason"] == "time" and in_full(candidates(whole)), "they were thrown away"

    def folder(path):
        return folder_of(tmp_path / path, name, opened(name))

    end = stable(result), candidates(whole)
    assert killed_before_each_state("killed", folder, opened, name, monkeypatch) == end


def test_edits_that_cost_nothing_are_not_scored_when_time_is_up(tmp_path, opened, monkeypatch):
    stop_when(monkeypatch, "time", when=lambda optimizer: len(optimizer.candidates) and optimizer.queue)
    folder = folder_of(tmp_path / "r", "random", opened("random"), source="edits")
    assert run(folder)["finish_reason"] == "time" and list(candidates(folder)) == [0]


@every_method
def test_a_cancel_and_a_pause_spend_nothing_more(tmp_path, opened, monkeypatch, name):
    stop_when(monkeypatch, "cancelled")
    at_stop = []
    decided = Search._decided
    monkeypatch.setattr(
        Search, "_decided", lambda self: (at_stop.append(self.evaluator.calls), decided(self))[1]
    )
    result = run(folder_of(tmp_path / "r", name, opened(name)))
    assert result["finish_reason"] == "cancelled" and result["calls"] == at_stop[-1]


@pytest.mark.parametrize("name", ["ape", "mipro", "ppo", "autoprompt", "rlprompt", "prompt_tuning", "gepa"])
def test_killed_while_it_closes_it_resumes_to_the_same_end(tmp_path, opened, monkeypatch, name):
    stop_when(monkeypatch, "time")

    def folder(path):
        return folder_of(tmp_path / path, name, opened(name))

    whole = folder("whole")
    end = stable(run(whole)), candidates(whole)
    assert killed_before_each_state("killed", folder, opened, name, monkeypatch) == end


@pytest.mark.parametrize("name", ["ape", "random"])
def test_a_search_that_ended_does_not_go_on_because_it_was_killed_on_dev(tmp_path, opened, monkeypatch, name):
    """Its reason is kept: time, tokens and calls that were spent since cannot make it another."""
    stop_when(monkeypatch, "no_improvement")
    end = run(folder_of(tmp_path / "whole", name, opened(name)))
    folder = folder_of(tmp_path / "killed", name, opened(name))
    with monkeypatch.context() as patched:
        patched.setattr(Search, "finish", lambda *asked: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            run(folder)
    stop_when(monkeypatch, "target", when=lambda optimizer: False)
    opened(name)
    assert stable(run(folder)) == stable(end)


@pytest.mark.parametrize("name", ["ape", "mipro", "opro", "random"])
@pytest.mark.parametrize("limit", range(2_600, 7_000, 400))
def test_a_limit_on_tokens_leaves_room_to_close_and_for_the_end(tmp_path, opened, name, limit):
    made = opened(name, spec=HostSpec(kind="openai", name="h"))
    folder = folder_of(tmp_path / "r", name, made, calls=3_000, reward="reward_model")
    result = run(with_stop(folder, tokens=limit))
    assert result["finish_reason"] in ("tokens", "iterations", "exhausted")
    # A scored example takes 28 tokens here, each; so what is set aside is just enough.
    assert result["tokens_in"] + result["tokens_out"] <= limit, "closing was not set aside"
    assert result["best"]["dev"]["n"] == 6 and result["best"]["test"]["n"] == 8
    if len(candidates(folder)) > 1:
        assert in_full(candidates(folder))
    last = json.loads((folder.state / "search.json").read_text())["optimizer"]
    # The first proposals are asked for before it is known how many come of a question.
    assert not last.get("queue") or len(candidates(folder)) == 1


@pytest.mark.parametrize("name", IN_TEXT)
@pytest.mark.parametrize("stop", [{"tokens": 5_200}, {"tokens": 7_400}, {"no_improvement": 3}])
def test_killed_on_the_way_to_a_limit_it_resumes_to_the_same_end(tmp_path, opened, name, stop):
    def folder(path):
        made = folder_of(tmp_path / path, name, opened(name), calls=900, reward="reward_model")
        return with_stop(made, **stop)

    whole, killed = folder("whole"), folder("killed")
    end, result, kills = run(whole), None, 0
    while result is None:
        opened(name, kill_at=33 + 17 * kills)
        try:
            result = run(killed)
        except Killed:
            kills += 1
    assert kills and stable(result) == stable(end)
    assert candidates(killed) == candidates(whole)


def test_only_what_was_scored_in_full_counts_for_no_improvement(tmp_path, opened):
    """APE tries on mini-batches: that the first few are not better on them says nothing."""
    folder = folder_of(tmp_path / "r", "ape", opened("ape"), rounds=3)
    result = run(with_stop(folder, no_improvement=2))
    assert result["finish_reason"] == "iterations" and result["candidates"] > 5


# --- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IN_TEXT)
def test_time_is_looked_at_before_every_batch(tmp_path, opened, monkeypatch, name):
    """A call takes a second here. A step is given up where it stands: it takes some 100."""
    monkeypatch.setattr(Search, "seconds", property(lambda search: float(search.evaluator.calls)))
    made = opened(name, spec=HostSpec(kind="openai", name="h"))
    folder = make_folder(
        tmp_path / "r", method=name, sizes=(60, 6, 8), calls=3_000, reward="reward_model", host=made.spec,
        **METHODS[name].checked_options({}),
    )  # fmt: skip
    close, closing = Search._close, []
    monkeypatch.setattr(
        Search, "_close", lambda self, reason: (closing.append(self.evaluator.calls), close(self, reason))[1]
    )
    result = run(with_stop(folder, seconds=150))
    assert result["finish_reason"] == "time" and closing[0] < 150 + 16
    assert result["best"]["dev"]["n"] == 6 and result["best"]["test"]["n"] == 8


# --- near the budget's end ------------------------------------------------------------------------


def killed_before_each_state(path, folder, opened, name, monkeypatch):
    """The run of `folder(path)`, every step of which is paid for, lost before its state is written,
    and done again."""
    killed, result, save = folder(path), None, Search.save

    def dies_at_its_second(search):
        search.tries = getattr(search, "tries", 0) + 1
        if search.tries == 2:
            raise Killed
        save(search)

    with monkeypatch.context() as patched:
        patched.setattr(Search, "save", dies_at_its_second)
        while result is None:
            opened(name)
            try:
                result = run(killed)
            except Killed:
                continue
    return stable(result), candidates(killed)


@pytest.mark.parametrize("name", IN_TEXT)
@pytest.mark.parametrize("calls", [150, 190, 230])
def test_killed_after_the_answers_and_before_the_state_it_asks_for_no_more(
    tmp_path, opened, monkeypatch, name, calls
):
    def folder(path):
        return folder_of(tmp_path / path, name, opened(name), calls=calls, finalists=1)

    whole = folder("whole")
    end = stable(run(whole)), candidates(whole)
    assert killed_before_each_state("killed", folder, opened, name, monkeypatch) == end


@pytest.mark.parametrize("name", ["random", "ape"])
def test_a_limit_reached_by_the_last_batch_of_a_step_that_was_lost_does_not_lose_the_step(
    tmp_path, opened, monkeypatch, name
):
    for limit in range(5_000, 7_000, 150):

        def folder(path, limit=limit):
            made = folder_of(tmp_path / path, name, opened(name), calls=900, reward="reward_model")
            return with_stop(made, tokens=limit)

        whole = folder(f"whole {limit}")
        end = stable(run(whole)), candidates(whole)
        assert killed_before_each_state(f"killed {limit}", folder, opened, name, monkeypatch) == end, limit


def test_requests_that_failed_are_counted_over_kills(tmp_path, opened):
    def failing(**options):
        made = opened("opro", **options)
        generate = made.generate

        def some(requests, sampling, on_done=None, seeds=None):
            found = generate(requests, sampling, on_done, seeds)
            return [Completion("", error="503") if i % 3 == 2 else one for i, one in enumerate(found)]

        made.generate = some
        return made

    whole = run(folder_of(tmp_path / "whole", "opro", failing(), reward="reward_model", calls=300))
    killed = folder_of(tmp_path / "killed", "opro", failing(kill_at=120), reward="reward_model", calls=300)
    with pytest.raises(Killed):
        run(killed)
    failing()
    assert stable(run(killed)) == stable(whole) and whole["failed_calls"] > 20


# --- what a budget must carry ---------------------------------------------------------------------


def least(name, options, sizes=SIZES, finalists=1):
    """The least budget, as the plan says it."""
    wanted = dict(zip(("train", "dev", "test"), sizes, strict=True))
    asked = [wanted, "labels", wanted, finalists, 5, 1, Pacing(name, options)]
    with pytest.raises(Invalid, match="the least is") as refused:
        plan(1, *asked)
    calls = int(str(refused.value).split("the least is ")[1].split(".")[0].replace(",", ""))
    with pytest.raises(Invalid, match=f"the least is {calls:,}"):
        plan(calls - 1, *asked)
    return plan(calls, *asked)


@every_method
def test_with_the_least_budget_a_candidate_is_tried(tmp_path, opened, name):
    options = METHODS[name].checked_options(SMALL[name])
    laid = least(name, options)
    assert Pacing(name, options).tries(laid.searching, laid.train) >= 1
    tried = 0
    for seed in range(6):
        folder = folder_of(
            tmp_path / str(seed), name, opened(name), calls=laid.budget, finalists=1, seed=seed
        )
        result = run(folder)
        assert result["calls"] <= laid.budget and result["gain"] is not None
        if result["candidates"] > 1:
            tried += 1
            break
        assert result["dropped"], "it asked for nothing, and tried nothing"
    assert tried


@pytest.mark.parametrize("name", [*IN_TEXT, "ppo", "rlprompt", "autoprompt", "prompt_tuning"])
@pytest.mark.parametrize("calls", [200, 420])
def test_what_the_plan_promises_is_about_what_is_tried(tmp_path, opened, name, calls):
    """Up to so many: what cannot be used is dropped, and the method may end before. A prompt writer
    takes more steps where what it writes cannot be tried, and costs no call."""
    options = METHODS[name].checked_options(SMALL[name])
    wanted = dict(zip(("train", "dev", "test"), SIZES, strict=True))
    laid = plan(calls, wanted, "labels", wanted, 1, 5, 1, Pacing(name, options))
    promised = Pacing(name, options).tries(laid.searching, laid.train)
    result = run(folder_of(tmp_path / "r", name, opened(name), calls=calls, finalists=1))
    tried = result["candidates"] - 1
    assert tried <= (promised if name in IN_TEXT else 1.3 * promised + 3)
    assert promised <= 3 * (tried + sum(result["dropped"].values())) + 3


@pytest.mark.parametrize(
    ("config", "needed"),
    [
        # 8 prompts at 9 calls, on 16 examples each; 2 of them in full; and so on
        ({"method": "ppo", "reward": "labels"}, 72 + 128 + 200),
        ({"method": "autoprompt"}, 96 + 144 + 100),
        ({"method": "opro"}, 1 + 100),
        ({"method": "prompt_tuning"}, 24 + 100),
    ],
)
def test_a_budget_that_does_not_carry_the_first_step_is_refused(db, admin, project, examples, config, needed):
    examples(train=100, dev=8, test=20)
    sizes = {"train": 100, "dev": 8, "test": 20}
    calls = 100 + needed + 8 * 2 + 2 * 20
    asked = {"reward": "labels", "examples": sizes, "finalists": 1, **config}
    with pytest.raises(Invalid, match=f"{calls - 1} calls are too few; the least is {calls}") as refused:
        start_run(db, admin, project.id, "optimize", {**asked, "budget": {"calls": calls - 1}})
    assert "100 train examples" in str(refused.value)
    made = start_run(db, admin, project.id, "optimize", {**asked, "budget": {"calls": calls}})
    assert made.config["plan"]["candidates"] >= 1


def test_sizes_that_nobody_chose_shrink_until_the_first_step_fits(db, admin, project, examples):
    examples(train=100, dev=8, test=20)
    made = start_run(
        db, admin, project.id, "optimize", {"method": "ppo", "reward": "labels", "budget": {"calls": 500}}
    )
    laid = made.config["plan"]
    assert laid["train"] < 100 and laid["candidates"] >= 2
