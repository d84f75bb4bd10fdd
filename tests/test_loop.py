"""What to do next follows from where the loop stands."""

from hypothesis import given
from hypothesis import strategies as st

from core.loop import loop_steps, next_step
from core.overview import HeadToHead, LoopState, loop_state
from storage.ids import now
from storage.pairs import NewPair, add_pairs, annotators_named, pair_id_of
from storage.tables import Candidate, Prompt, Response, RewardModel, Run, Vote


def model() -> RewardModel:
    metrics = {"accuracy": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8, "n_test": 90}
    return RewardModel(project_id="p", run_id="r", name="m", folder="f", metrics=metrics)


def search() -> Run:
    return Run(project_id="p", kind="optimize", status="succeeded", result={"candidates": 12})


def row(low: float, high: float, waiting: int = 0, n: int = 40) -> HeadToHead:
    verdict = "better" if low > 0.5 else "worse" if high < 0.5 else "undecided"
    return HeadToHead("c", "found v1", n, 0, waiting, (low + high) / 2, low, high, verdict=verdict)


def action(state: LoopState) -> str | None:
    step = next_step(loop_steps(state))
    return step.action if step else None


def test_the_next_thing_at_each_station_of_the_loop():
    state = LoopState()
    assert action(state) == "Import data"
    state.examples = {"train": 30}
    assert action(state) == "Write prompts"
    state.prompts = 2
    assert action(state) == "Generate responses"
    state.pairs = 200
    assert action(state) == "Label pairs"
    state.decided = state.votes = 150
    assert action(state) == "Train a reward model"
    state.model = model()
    assert action(state) == "Search for a better prompt"
    state.optimisation, state.unsent = search(), 3
    assert action(state) == "Send to the annotators"
    state.unsent, state.head_to_head = 0, [row(0.3, 0.7, waiting=20)]
    assert action(state) == "Label the found prompts"
    state.head_to_head = [row(0.55, 0.8)]
    assert action(state) == "Promote it"
    state.head_to_head, state.champion = [row(0.2, 0.45)], "plain v1"
    assert action(state) is None


def test_many_new_votes_ask_for_another_training():
    state = LoopState(examples={"train": 9}, prompts=2, pairs=200, decided=150, votes=200, model=model())
    state.votes_since_model = 20
    assert action(state) == "Search for a better prompt"
    state.votes_since_model = 60
    assert action(state) == "Train again"


def test_simulated_votes_are_named():
    state = LoopState(examples={"train": 9}, pairs=9, decided=120, votes=200, votes_simulated=200)
    text = {step.key: step.text for step in loop_steps(state)}["label"]
    assert "0 by people, 200 simulated" in text


@given(
    st.builds(
        LoopState,
        examples=st.dictionaries(st.sampled_from(["train", "dev", "test"]), st.integers(0, 50)),
        prompts=st.integers(0, 4),
        champion=st.sampled_from(["", "plain v1"]),
        pairs=st.integers(0, 300),
        open_slots=st.integers(0, 300),
        votes=st.integers(0, 500),
        decided=st.integers(0, 300),
        model=st.sampled_from([None, model()]),
        votes_since_model=st.integers(0, 200),
        optimisation=st.sampled_from([None, search()]),
        unsent=st.integers(0, 3),
        head_to_head=st.lists(st.sampled_from([row(0.3, 0.7, 5), row(0.6, 0.8), row(0.1, 0.4)]), max_size=2),
    )
)
def test_at_most_one_thing_is_next_and_every_step_says_something(state):
    steps = loop_steps(state)
    assert [step.key for step in steps] == ["data", "label", "train", "optimise", "verify", "promote"]
    assert sum(step.state == "now" for step in steps) <= 1
    assert all(step.text and step.action for step in steps)


def test_the_facts_are_counted(db, admin, project):
    responses = {
        name: Response(project_id=project.id, example_id="e", prompt_id=prompt, text=name, cache_key=name)
        for name, prompt in (("a", "champion"), ("b", "found"), ("c", "found"), ("d", "third"))
    }
    ids = {name: response.id for name, response in responses.items()}

    def work(session):
        stored = session.merge(project)
        stored.champion_prompt_id = "champion"
        session.add(stored)
        session.add_all(responses.values())
        session.add(Prompt(id="champion", project_id=project.id, name="start", user="{{input}}"))
        session.add(Prompt(id="found", project_id=project.id, name="better", user="{{input}}", run_id="r"))
        session.add(Prompt(id="third", project_id=project.id, name="other", user="{{input}}"))
        add_pairs(session, project, [NewPair("e", ids["a"], ids["b"]), NewPair("e", ids["a"], ids["c"])])
        add_pairs(session, project, [NewPair("e", ids["a"], ids["d"])])
        people = annotators_named(session, project.id, {"Ada"})
        robots = annotators_named(session, project.id, {"robot"}, simulated=True)
        for pair, who, simulated, winner in (
            ("b", people["Ada"], False, "b"),
            ("c", people["Ada"], False, None),
            ("c", robots["robot"], True, "a"),
            ("d", people["Ada"], False, "a"),
        ):
            session.add(
                Vote(
                    project_id=project.id,
                    pair_id=pair_id_of(ids["a"], ids[pair]),
                    annotator_id=who.id,
                    outcome="win" if winner else "tie",
                    winner=ids[winner] if winner else None,
                    simulated=simulated,
                )
            )
        session.add(Run(id="r", project_id=project.id, kind="optimize", status="succeeded", result={}))
        session.add(Candidate(project_id=project.id, run_id="r", number=1, accepted=True, operation="swap"))
        session.add(Run(id="x", project_id=project.id, kind="generate", status="failed", created_at=now()))

    db.write(work)
    state = loop_state(db, admin, project.id)
    assert (state.votes, state.votes_simulated, state.annotators, state.decided) == (4, 1, 1, 3)
    assert (state.pairs, state.open_slots, state.responses, state.champion) == (3, 6, 4, "start v1")
    assert state.unsent == 1 and state.failed_run is not None
    [found] = state.head_to_head
    assert (found.name, found.n, found.n_simulated, found.waiting) == ("better v1", 3, 1, 4)
    assert found.rate == 0.5  # a win, a tie, a loss
    assert sum(day["votes"] for day in state.votes_by_day) == 4
