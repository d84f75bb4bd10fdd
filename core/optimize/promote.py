"""From a search to the annotators: the best candidates become prompt versions, a generate
run makes their responses, and its end queues blind pairs against the champion.

Nothing is promoted here: which prompt is the champion is for people to say.
"""

import threading
from typing import Any

from sqlmodel import Session, col, select

from core.access import Principal, require
from core.errors import Conflict, Invalid
from core.llm.soft_names import SOFT
from core.optimize.instruction import Instruction
from core.optimize.rewards.scores import what_breaks
from core.optimize.sequential import MAXIMUM
from core.optimize.trial import IMPORT
from core.projects import find_project
from core.prompts.soft import take_in
from core.prompts.versions import add_version
from core.runs.service import find_run, get_run, run_folder, start_run
from storage import trials
from storage.database import Database
from storage.tables import Candidate, Project, Prompt, Run

BEST = 2  # how many are sent when nobody says which
# Held-out examples that are answered for them, as far as there are so many: as many as the test may
# take. It passes nine of ten prompts that 65 % of people prefer, and most of the pairs are seldom
# read: they leave the queue with the verdict. (With 60 it passes one of three; core/optimize/power.py.)
EXAMPLES = MAXIMUM
# Between looking for the generate run and starting it, no second click may come in.
_one_at_a_time = threading.Lock()


def queue_candidates(
    db: Database,
    who: Principal,
    run_id: str,
    numbers: list[int] | None = None,
    examples: int | None = None,
) -> dict[str, Any]:
    """Send candidates of an optimise run to the annotators. `numbers`: which (default:
    the best two that beat the start). `examples`: on how many of the held-out ones (test split),
    at most MAXIMUM of `core.optimize.sequential` (default: as many). Answers {prompts, run}: the prompt versions, and the
    generate run that makes their responses and pairs. Doing it again answers the same.
    Raises Invalid or Conflict when there is nothing to send."""
    require(who, "prompt.edit")
    require(who, "run.start")
    run = get_run(db, who, run_id)
    if run.kind != "optimize":
        raise Invalid(f"This run is not an optimisation but “{run.kind}”.")
    if run.status in ("queued", "running", "paused"):
        raise Conflict("This search is not at its end.", "Wait for it, or cancel it to keep the best so far.")
    if examples is not None and (type(examples) is not int or not 1 <= examples <= EXAMPLES):
        raise Invalid(f"examples: a whole number from 1 to {EXAMPLES}.")
    with db.read() as session:
        if not trials.held_out(session, run.project_id):
            raise Conflict(
                "There is no held-out example (test split) to compare prompts on: the search has seen the others.",
                IMPORT,
            )
    with _one_at_a_time:
        prompts = db.write(lambda session: _make_prompts(session, who, run_id, numbers))
        generate = _generate_run(db, who, run, prompts, examples or EXAMPLES)
    return {"prompts": prompts, "run": generate}


def _make_prompts(session: Session, who: Principal, run_id: str, numbers: list[int] | None) -> list[Prompt]:
    run = find_run(session, run_id)
    project = find_project(session, run.project_id)
    found = list(session.exec(select(Candidate).where(Candidate.run_id == run_id)))
    chosen = choose(found, numbers)
    start = Instruction(**run.config["start"])
    made = []
    for candidate in chosen:
        prompt = session.get(Prompt, candidate.prompt_id) if candidate.prompt_id else None
        if prompt is None:
            prompt = _version(session, who, project, run, start, candidate)
            candidate.prompt_id = prompt.id
            session.add(candidate)
        made.append(prompt)
    return made


def _version(
    session: Session, who: Principal, project: Project, run: Run, start: Instruction, candidate: Candidate
) -> Prompt:
    """The next version of the start prompt's name."""
    parent = session.get(Prompt, start.prompt_id) if start.prompt_id else None
    system, user = start.with_text(candidate.text)
    take_in(project.id, run_folder(run.id).artifacts / SOFT, candidate.text)
    prompt = add_version(
        session,
        who,
        project,
        parent.name if parent else "Found by optimisation",
        system,
        user,
        start.structure_with(candidate.text),
        parent_id=parent.id if parent else None,
        operation=f"{run.config['method']}:{candidate.operation}",
        run_id=run.id,
    )
    session.flush()
    return prompt


def choose(candidates: list[Candidate], numbers: list[int] | None = None) -> list[Candidate]:
    """The candidates to send: those named, or the best that beat the start."""
    if numbers is None:
        chosen = best_candidates(candidates, BEST)
        if not chosen:
            raise Invalid(
                "This search found nothing better than its start, so there is nothing to send.",
                "Name candidates by number to send them all the same, or search with a larger budget.",
            )
        return chosen
    if not isinstance(numbers, list) or not numbers or any(type(number) is not int for number in numbers):
        raise Invalid("candidates: a list of candidate numbers, such as [3, 7].")
    there = {candidate.number: candidate for candidate in candidates}
    for number in numbers:
        if number not in there:
            raise Invalid(f"candidates: this search has no candidate {number}.")
        if number == 0:
            raise Invalid("candidates: 0 is the start prompt itself.", "Name another.")
        if broken := what_breaks(there[number].scores):
            raise Invalid(
                f"candidates: candidate {number} is infeasible: {broken}.",
                "It cannot go on to the annotators. Name another.",
            )
    return [there[number] for number in dict.fromkeys(numbers)]


def best_candidates(candidates: list[Candidate], count: int) -> list[Candidate]:
    """The best that beat the start: by dev, where both were scored on it, else by train."""
    start = next((candidate for candidate in candidates if candidate.number == 0), None)
    if start is None:
        return []
    start_breaks = bool(what_breaks(start.scores))  # then whatever keeps the constraints is better

    def score(candidate: Candidate, split: str) -> float:
        return float(candidate.scores.get(split, {}).get("score", float("-inf")))

    better = [
        candidate
        for candidate in candidates
        if candidate.number > 0
        and _examples(candidate) == _examples(start)  # some are scored in part only
        and not what_breaks(candidate.scores)
        and (start_breaks or score(candidate, "train") > score(start, "train"))
    ]
    if "dev" in start.scores:
        better = [
            candidate
            for candidate in better
            if "dev" in candidate.scores
            if start_breaks or score(candidate, "dev") >= score(start, "dev")
        ]
    better.sort(key=lambda c: (score(c, "dev"), score(c, "train"), -c.number), reverse=True)
    return better[:count]


def _examples(candidate: Candidate) -> int | None:
    """On how many train examples it was scored."""
    return candidate.scores.get("train", {}).get("n")


def _generate_run(db: Database, who: Principal, run: Run, prompts: list[Prompt], examples: int) -> Run:
    """The run that makes these prompts' responses and pairs: the one there is, unless it
    failed or was cancelled, else a new one."""
    wanted = {prompt.id for prompt in prompts}
    with db.read() as session:
        project = find_project(session, run.project_id)
        query = select(Run).where(
            Run.project_id == project.id,
            Run.kind == "generate",
            col(Run.status).in_(("queued", "running", "succeeded", "interrupted")),
            Run.created_at >= run.created_at,
        )
        for earlier in session.exec(query.order_by(col(Run.id).desc())):
            of = earlier.config.get("examples") or {}
            if wanted <= set(earlier.config.get("prompts") or []) and of.get("split") == trials.HELD_OUT:
                return earlier
    config: dict[str, Any] = {
        "prompts": sorted(wanted),
        "pairs": "champion" if project.champion_prompt_id else "all",
        "host": run.config.get("host"),
        "examples": {"split": trials.HELD_OUT, "limit": examples},
        "source": "optimize",
    }
    if not project.champion_prompt_id and run.config["start"].get("prompt_id"):
        # Without a champion they are compared with what they came from, and each other.
        config["prompts"] = [run.config["start"]["prompt_id"], *config["prompts"]]
    return start_run(db, who, project.id, "generate", config)
