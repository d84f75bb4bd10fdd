"""Training a reward model, as a kind of run: the web side. What is checked and frozen
before it, and what its end means for the project. Never imports torch."""

import json
from math import ceil
from typing import Any

from sqlmodel import Session, col, func, select

from core import audit
from core.errors import Invalid
from core.reward.data import Summary, summary_of
from core.reward.estimate import choose_length, estimate, shape_of, speed_here
from core.reward.options import FIELDS, Options, read_options
from core.reward.presets import DEFAULT, Preset, preset_named
from core.reward.snapshots.quick import enough, snapshot_for
from core.runs.folder import RunFolder
from core.runs.kinds import Prepared
from core.settings import get_settings
from storage.ids import content_hash, id_of
from storage.tables import Project, RewardModel, Run

MIN_TRAIN = 20  # decided pairs: with fewer there is nothing to learn from
MIN_TEST = 5  # with fewer, the accuracy's interval is wider than 60 points

_FIELDS = {"preset", "seed", "simulated", "backbone", "snapshot", "allow_leaks", "half"} | FIELDS
HALVES = ("first", "second")
Row = dict[str, Any]
MIN_RATED = 20  # training pairs rated by a criterion: with fewer its head learns nothing


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
    options = read_options(config)
    unknown = sorted(set(options.criteria) - set(project.criteria))
    if unknown:
        raise Invalid(
            f"criteria: “{unknown[0]}” is no criterion of this project.",
            f"It has: {', '.join(project.criteria) or 'none'}.",
        )
    chosen = snapshot_for(session, project, config, seed)
    half = half_of(config)
    pairs, votes = halved(chosen.pairs, chosen.votes, half)
    used = summary_of(chosen.counts)
    more = summary_of(chosen.with_simulated) if chosen.with_simulated else None
    check_enough(used, more)
    check_half(pairs, half)
    check_rated(pairs, options)
    length = options.max_length or length_for(preset, used)
    held_out = used.splits["dev"].pairs + used.splits["test"].pairs
    speed = speed_here(_earlier(session, project.id))
    reckoned = estimate(
        preset, used.splits["train"].pairs, held_out, used.characters, options,
        max_length=length, shape=shape_of(backbone),
    )  # fmt: skip
    return Prepared(
        config={
            **options.as_config(),
            "estimate": {
                "seconds": round(reckoned.seconds * (speed or 1.0), 1),
                "bytes": int(reckoned.bytes),
                "reckoned": round(reckoned.seconds, 1),  # before earlier trainings corrected it
            },
            "preset": preset.name,
            "snapshot": chosen.snapshot_id,
            "simulated": chosen.filters.simulated,
            "simulated_by_default": chosen.simulated_by_default,
            "aggregation": chosen.filters.method,
            "allow_leaks": bool(config.get("allow_leaks", False)),
            "allowed_leaks": [check["check"] for check in chosen.leaks],
            "backbone": backbone,
            "max_length": length,
            **({"half": half} if half else {}),
        },
        tables={"pairs": pairs, "votes": votes},
        documents={"preset": preset.as_dict()},
        name=f"Reward model, {preset.name}" + (f", {half} half of the votes" if half else ""),
        store=chosen.store,
    )


def half_of(config: dict[str, Any]) -> str | None:
    half = config.get("half")
    if half not in (None, *HALVES):
        raise Invalid(f"half: there is no “{half}”.", f"One of: {', '.join(HALVES)}.")
    return str(half) if half else None


def halved(pairs: list[Row], votes: list[Row], half: str | None) -> tuple[list[Row], list[Row]]:
    """One of two halves that share no example in train and dev, by a hash of the example; the
    test split, which nothing is trained on, is whole in both. For a proxy and a gold model
    (core/optimize/watch.py)."""
    if half is None:
        return pairs, votes
    wanted = HALVES.index(half)
    kept = [
        pair
        for pair in pairs
        if pair["split"] == "test" or int(content_hash([pair["example_id"]])[:8], 16) % 2 == wanted
    ]
    there = {pair["pair_id"] for pair in kept}
    return kept, [vote for vote in votes if vote["pair_id"] in there]


def check_half(pairs: list[Row], half: str | None) -> None:
    count = sum(pair["split"] == "train" and pair["q"] != 0.5 for pair in pairs)
    if half and count < MIN_TRAIN:
        raise Invalid(
            f"half: the {half} half has {count} decided pairs in the train split; a reward model needs at least "
            f"{MIN_TRAIN} there.",
            f"Label about {2 * (MIN_TRAIN - count)} more pairs, and train the halves then.",
        )


def check_rated(pairs: list[dict[str, Any]], options: Options) -> None:
    """Raises Invalid naming a criterion that too few training pairs were rated by."""
    if not options.criteria:
        return
    train = [pair for pair in pairs if pair["split"] == "train"]
    for name in options.criteria:
        count = sum(name in json.loads(pair.get("criteria") or "{}") for pair in train)
        if count < MIN_RATED:
            raise Invalid(
                f"criteria: “{name}” was rated on {count} pairs of the train split; its head needs at least {MIN_RATED}.",
                "Leave it out, or rate more pairs by it.",
            )


def _earlier(session: Session, project_id: str) -> list[Any]:
    """What is said about the project's models, newest first."""
    query: Any = select(RewardModel.metrics).where(RewardModel.project_id == project_id)
    return list(session.exec(query.order_by(col(RewardModel.created_at).desc()).limit(5)))


def length_for(preset: Preset, used: Summary) -> int:
    held_out = used.splits["dev"].pairs + used.splits["test"].pairs
    return choose_length(preset, used.splits["train"].pairs, held_out, used.characters)


def default_simulated(people: Summary, everything: Summary) -> str:
    """Without a word from the person: people's votes alone where they suffice."""
    train, test = people.splits["train"].decided, people.splits["test"].decided
    return "exclude" if enough(train, test, people.decided, everything.decided) else "include"


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
            name=_next_name(session, project.id, run.config.get("half")),
            folder=str(
                (folder.path / result["model"]).resolve().relative_to(get_settings().data_dir.resolve())
            ),
            backbone=result.get("backbone", ""),
        )
    # A run that was cancelled, resumed and now ends again has its row already.
    model.metrics = dict(result)
    model.simulated_share = float(result.get("simulated_share", 0.0))
    model.snapshot_id = run.config.get("snapshot")
    # A leak check that failed and was overridden by name stays with the model.
    if leaks := run.config.get("allowed_leaks"):
        model.metrics["allowed_leaks"] = leaks
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


def _next_name(session: Session, project_id: str, half: str | None = None) -> str:
    there = session.exec(select(func.count(col(RewardModel.id))).where(RewardModel.project_id == project_id))
    return f"Reward model {there.one() + 1}" + (f", {half} half" if half else "")
