"""Training a reward model, as a kind of run: the web side. What is checked and frozen
before it, and what its end means for the project. Never imports torch."""

from math import ceil
from typing import Any

from sqlmodel import Session, col, func, select

from core import audit
from core.annotation.aggregation import method_of
from core.errors import Invalid
from core.reward.data import Summary, VotedPair, summarise, training_row, voted_pairs
from core.reward.presets import DEFAULT, Preset, choose_length, preset_named
from core.runs.folder import RunFolder
from core.runs.kinds import Prepared
from core.settings import get_settings
from storage.ids import id_of
from storage.tables import Project, RewardModel, Run

MIN_TRAIN = 20  # decided pairs: with fewer there is nothing to learn from
MIN_TEST = 5  # with fewer, the accuracy's interval is wider than 60 points
# So many decided pairs of people's own make simulated votes unwelcome by default.
ENOUGH_TRAIN, ENOUGH_TEST = 100, 20

_FIELDS = {"preset", "seed", "simulated", "backbone"}


def prepare(session: Session, project: Project, config: dict[str, Any], seed: int) -> Prepared:
    """Check the config and gather the votes. Raises Invalid naming the field that is wrong,
    or saying how many pairs are missing in which split."""
    unknown = sorted(set(config) - _FIELDS)
    if unknown:
        raise Invalid(f"{unknown[0]}: not a setting of this run.", f"Settings: {', '.join(sorted(_FIELDS))}.")
    preset = preset_named(config.get("preset") or DEFAULT)
    backbone = config.get("backbone") or get_settings().reward_backbone
    if not isinstance(backbone, str):
        raise Invalid("backbone: “embedded”, a folder or a hub id.")
    asked = config.get("simulated")
    if asked not in (None, "exclude", "include"):
        raise Invalid(f"simulated: there is no “{asked}”.", "One of: exclude, include.")

    pairs = list(voted_pairs(session, project.id, with_text=True))
    people, everything = summarise(pairs, False), summarise(pairs, True)
    simulated = asked or default_simulated(people, everything)
    used = everything if simulated == "include" else people
    check_enough(used, everything if simulated == "exclude" else None)
    return Prepared(
        config={
            "preset": preset.name,
            "simulated": simulated,
            "simulated_by_default": asked is None,
            "aggregation": method_of(project),
            "backbone": backbone,
            "max_length": length_for(preset, used),
        },
        tables={"pairs": _rows(pairs, simulated == "include")},
        documents={"preset": preset.as_dict()},
        name=f"Reward model, {preset.name}",
    )


def length_for(preset: Preset, used: Summary) -> int:
    held_out = used.splits["dev"].pairs + used.splits["test"].pairs
    return choose_length(preset, used.splits["train"].pairs, held_out, used.characters)


def _rows(pairs: list[VotedPair], include_simulated: bool) -> list[dict[str, Any]]:
    return [
        training_row(pair, votes) for pair in pairs if (votes := pair.votes(include_simulated)) is not None
    ]


def default_simulated(people: Summary, everything: Summary) -> str:
    """Without a word from the person: people's votes alone where they suffice."""
    enough = (
        people.splits["train"].decided >= ENOUGH_TRAIN and people.splits["test"].decided >= ENOUGH_TEST
    ) or everything.decided == people.decided
    return "exclude" if enough else "include"


def check_enough(used: Summary, with_simulated: Summary | None = None) -> None:
    """Raises Invalid saying what is missing, and about how many labels it takes."""
    total = used.decided
    for split, least in (("train", MIN_TRAIN), ("test", MIN_TEST)):
        there = used.splits[split].decided
        if there >= least:
            continue
        share = there / total if total >= 20 and there else (0.7 if split == "train" else 0.15)
        more = ceil((least - there) / share)
        hint = f"Label about {more} more pairs: a pair's split follows from its example."
        if with_simulated and with_simulated.splits[split].decided >= least:
            hint += " Or include the simulated votes."
        raise Invalid(
            f"There are {there} decided pairs in the {split} split; a reward model needs at least {least} there.",
            hint,
        )


def finish(session: Session, run: Run, folder: RunFolder, result: dict[str, Any]) -> None:
    """Put the model into the registry. The project's first whole one becomes its active one."""
    if not result.get("model"):  # cancelled before there was anything to keep
        return
    project = session.get(Project, run.project_id)
    if project is None:
        return
    model_id = id_of("reward_model", run.id)
    model = session.get(RewardModel, model_id)
    if model is None:
        model = RewardModel(
            id=model_id,
            project_id=project.id,
            run_id=run.id,
            name=_next_name(session, project.id),
            folder=str(
                (folder.path / result["model"]).resolve().relative_to(get_settings().data_dir.resolve())
            ),
            backbone=result.get("backbone", ""),
        )
    # A run that was cancelled, resumed and now ends again has its row already.
    model.metrics = dict(result)
    model.simulated_share = float(result.get("simulated_share", 0.0))
    session.add(model)
    if project.reward_model_id is None and not result.get("partial"):
        project.reward_model_id = model_id
        session.add(project)
    told = {"reward_model_id": model_id, "active": project.reward_model_id == model_id}
    result.update(told)
    if run.result is not None:  # whichever of the two the caller stores last
        run.result = {**run.result, **told}
    audit.record(
        session, None, "reward.register", "reward_model", model_id, project.id,
        name=model.name, run=run.id, active=told["active"],
    )  # fmt: skip


def _next_name(session: Session, project_id: str) -> str:
    there = session.exec(select(func.count(col(RewardModel.id))).where(RewardModel.project_id == project_id))
    return f"Reward model {there.one() + 1}"
