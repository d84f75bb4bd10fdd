"""The loop: data -> label -> train -> optimise -> verify -> promote.

Each step says in a sentence how far it is; the first that wants something is what to do
next. A found prompt that people have decided for comes before anything else.
"""

from dataclasses import dataclass

from core.overview import LoopState

ENOUGH_TO_TRAIN = 100  # decided pairs below which a reward model is mostly noise
FRESH_SHARE = 0.25  # of new votes since the training that make another one worth while


@dataclass(frozen=True)
class Step:
    key: str  # data, label, train, optimise, verify, promote
    title: str
    state: str  # done, now, later, running
    text: str
    page: str
    action: str = ""  # what the button says when this is the thing to do


def loop_steps(s: LoopState) -> list[Step]:
    """The six steps with their state; exactly one is `now`, unless all is done."""
    running = {run.kind for run in s.active_runs}
    n_examples = sum(s.examples.values())
    winners = [row for row in s.head_to_head if row.verdict == "better"]
    undecided = [row for row in s.head_to_head if row.verdict == "undecided" and row.waiting]
    new_votes = s.votes_since_model > max(20, FRESH_SHARE * (s.votes - s.votes_since_model))
    parts: list[tuple[str, str, bool, str, str, str]] = []

    if not n_examples:
        data = ("No examples yet.", "data.py", "Import data")
    elif not s.pairs and s.prompts < 2:
        data = (f"{n_examples:,} examples. Two prompts are needed to compare.", "prompts.py", "Write prompts")
    elif not s.pairs:
        data = (
            f"{n_examples:,} examples, {s.prompts} prompts, no responses to compare.",
            "prompts.py",
            "Generate responses",
        )
    else:
        data = (f"{n_examples:,} examples, {s.pairs:,} pairs.", "data.py", "Import data")
    parts.append(("data", "Data", bool(s.pairs), *data))

    human = s.votes - s.votes_simulated
    said = f"{s.decided:,} pairs decided by {s.votes:,} votes"
    if s.votes_simulated:
        said += f" ({human:,} by people, {s.votes_simulated:,} simulated)"
    if s.votes_machine:
        said += f" and {s.votes_machine:,} by machine judges"
    said += f"; {s.open_slots:,} votes wanted." if s.open_slots else "."
    enough = s.decided >= ENOUGH_TO_TRAIN
    if not enough:
        said += f" {ENOUGH_TO_TRAIN} decided pairs are enough to train."
    parts.append(("label", "Label", enough, said, "annotate.py", "Label pairs"))

    if s.model is None:
        train = "No reward model yet."
    else:
        m = s.model.metrics
        train = f"“{s.model.name}” picks the preferred response in {100 * m.get('accuracy', 0):.1f} %"
        train += f" ({100 * m.get('accuracy_low', 0):.1f} to {100 * m.get('accuracy_high', 1):.1f}, "
        train += f"n {m.get('n_test', 0):,}) of held-out pairs."
        if new_votes:
            train += f" {s.votes_since_model:,} votes came in since."
    again = s.model is not None and new_votes
    parts.append(
        ("train", "Train", s.model is not None and not again, train, "reward_models.py",
         "Train again" if again else "Train a reward model")
    )  # fmt: skip

    if s.optimisation is None:
        search = "No search has finished yet."
    else:
        search = f"The last search tried {(s.optimisation.result or {}).get('candidates', 0)} candidates"
        search += f"; {s.unsent} wait to be sent to the annotators." if s.unsent else "."
    parts.append(
        ("optimise", "Optimise", s.optimisation is not None and not s.unsent, search, "optimize.py",
         "Send to the annotators" if s.unsent else "Search for a better prompt")
    )  # fmt: skip

    if not s.head_to_head:
        check = "No found prompt has been put before the annotators."
    else:
        best = s.head_to_head[0]
        check = f"{best.name} wins {100 * best.rate:.0f} %" if best.n else f"{best.name} has no votes yet"
        if best.n:
            check += f" ({100 * best.low:.0f} to {100 * best.high:.0f}, n {best.n:,}) against the champion"
            check += f", {best.n_simulated:,} of them simulated" if best.n_simulated else ""
            check += f", {best.n_machine:,} of them by machine judges" if best.n_machine else ""
        check += f"; {sum(row.waiting for row in s.head_to_head):,} votes wanted."
    parts.append(
        ("verify", "Verify", bool(s.head_to_head) and not (undecided and not winners), check, "annotate.py",
         "Label the found prompts")
    )  # fmt: skip

    if winners:
        final = f"{winners[0].name} has passed the blind comparison with the champion."
    else:
        final = f"Champion: {s.champion}." if s.champion else "No champion yet."
    parts.append(
        ("promote", "Promote", not winners and bool(s.champion), final, "prompts.py", "Promote it" if winners else "Choose a champion")
    )  # fmt: skip

    busy = {"train": "reward_model", "optimise": "optimize", "data": "generate"}
    steps, found = [], False
    if winners:  # what people have decided comes before anything else
        found = True
    for key, title, done, text, page, action in parts:
        if busy.get(key) in running:
            state = "running"
        elif key == "promote" and winners:
            state = "now"
        elif done:
            state = "done"
        elif found:
            state = "later"
        else:
            state, found = "now", True
        steps.append(Step(key, title, state, text, page, action))
    return steps


def next_step(steps: list[Step]) -> Step | None:
    return next((step for step in steps if step.state == "now"), None)
