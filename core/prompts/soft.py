"""Soft prompts as versions of a prompt: a template names the vectors by a mark, and their file
lies under the data folder. They are bound to the model they were trained for, and only a host
in process can read them. Never imports torch."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from core.errors import Invalid
from core.llm.protocol import HostSpec
from core.llm.soft_names import (
    EMBEDDINGS,
    KEYS_VALUES,
    SOFT,
    Card,
    card_of,
    file_of,
    mark,
    name_of,
    names_in,
)
from core.settings import get_settings
from storage.tables import Prompt


def soft_folder(project_id: str) -> Path:
    """Where the vectors of a project's prompt versions lie."""
    return get_settings().data_dir / SOFT / project_id


def soft_card(prompt: Prompt) -> Card | None:
    """What is known of a prompt's vectors; None for a prompt that is text."""
    names = names_in(prompt.system, prompt.user)
    return card_of(soft_folder(prompt.project_id), names[0]) if names else None


def take_in(project_id: str, source: Path, text: str) -> None:
    """Copy the vectors that a text names from a run's folder. Raises Invalid when they are gone."""
    for name in names_in(text):
        if card_of(source, name) is None:
            raise Invalid(
                f"The vectors of {mark(name)} are not in the run's folder any more.", "Search again."
            )
        _place(project_id, file_of(source, name))


def _place(project_id: str, source: Path) -> Path | None:
    """Copy a file of vectors to where the project's lie; None where it is there already."""
    target = soft_folder(project_id) / source.name
    if target.exists():
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    shutil.copyfile(source, part)
    part.replace(target)
    return target


def vectors_in(project_id: str, folder: Path) -> list[Path]:
    """Copy every file of vectors in a folder to where the project's lie; answers those that are
    new there."""
    files = [_place(project_id, source) for source in sorted(folder.glob("*.safetensors"))]
    return [path for path in files if path is not None]


def verified(path: Path, said: str) -> Card:
    """The card of a file from elsewhere, whose stem is the name of the vectors. Raises Invalid,
    beginning with `said`, when it is not a soft prompt's, or not what its name and card say."""
    from safetensors import SafetensorError, safe_open

    card = card_of(path.parent, path.stem)
    if card is None or not _plain(card):
        raise Invalid(
            f"{said}: it is damaged, or holds no soft prompt.",
            "Only vectors that a search here trained are taken.",
        )
    try:
        with safe_open(path, framework="numpy") as file:
            if list(file.keys()) != ["vectors"] or file.get_slice("vectors").get_dtype() != "F32":
                raise Invalid(f"{said}: it holds something else than vectors of 32 bits.")
            vectors = file.get_tensor("vectors")
    except (OSError, SafetensorError, ValueError, TypeError):
        raise Invalid(f"{said}: it is damaged.", "Export it again.") from None
    shape = tuple(int(size) for size in vectors.shape)
    sizes = 2 if card.kind == EMBEDDINGS else 4  # (K, d), or (2 L, H, K, D)
    if (
        len(shape) != sizes
        or 0 in shape
        or (shape[-2], vectors.size) != (card.tokens, card.numbers)
        or (sizes == 4 and shape[0] % 2)
    ):
        raise Invalid(f"{said}: vectors of the shape {shape} are not what its card says.")
    if not np.isfinite(vectors).all():
        raise Invalid(f"{said}: some of its numbers are not finite.")
    if name_of(card.kind, card.fingerprint, shape, np.ascontiguousarray(vectors).tobytes()) != path.stem:
        raise Invalid(f"{said}: its vectors are not those that this name stands for.", "Export it again.")
    return card


def _plain(card: Card) -> bool:
    """Whether a card from elsewhere has what a page shows of it, each of its kind."""
    numbers = (card.tokens, card.numbers, card.trained, card.steps)
    texts = (card.kind, card.method, card.model, card.fingerprint, card.text)
    columns: dict[str, type | tuple[type, ...]] = (
        {"place": int, "token": str, "distance": (int, float), "cosine": (int, float), "began": str}
        if card.kind == EMBEDDINGS
        else {"layer": int, "keys": (int, float), "values": (int, float)}
    )
    return (
        card.kind in (EMBEDDINGS, KEYS_VALUES)
        and all(isinstance(text, str) for text in texts)
        and re.fullmatch(r"[a-z_]{1,40}", card.method) is not None
        and all(type(number) is int and number >= 0 for number in numbers)
        and type(card.yardstick) in (int, float)
        and isinstance(card.rows, list)
        and all(
            isinstance(row, dict)
            and set(row) == set(columns)
            and all(isinstance(row[name], kind) for name, kind in columns.items())
            for row in card.rows
        )
    )


def check_marks(project_id: str, *texts: str) -> None:
    """Raises Invalid when a template names vectors that are not there, or more than one."""
    names = names_in(*texts)
    if len(names) > 1:
        raise Invalid("A template can hold one soft prompt.", "Take one of the marks out.")
    for name in names:
        if card_of(soft_folder(project_id), name) is None:
            raise Invalid(
                f"This project has no vectors for {mark(name)}.",
                "They come from a search that trains them; a mark alone is not enough.",
            )


def refuse_host(prompts: Iterable[Prompt], spec: HostSpec) -> None:
    """Raises Invalid for a soft prompt that this host cannot read. That the weights are those
    it was trained for is looked at by the worker, which has them."""
    for prompt in prompts:
        names = names_in(prompt.system, prompt.user)
        if not names:
            continue
        said = f"prompts: {prompt.name} v{prompt.version} is a soft prompt"
        check_marks(prompt.project_id, prompt.system, prompt.user)
        card = card_of(soft_folder(prompt.project_id), names[0])
        assert card is not None
        if spec.kind != "local":
            raise Invalid(
                f"{said}: vectors, which “{spec.name}” cannot be given, because it takes only text.",
                f"Choose the host in process that runs {card.model}.",
            )
        if spec.model != card.model and not _elsewhere(card.model):
            raise Invalid(
                f"{said}, bound to the model {card.model}, and “{spec.name}” runs {spec.model}.",
                f"Choose a host that runs {card.model}, or train one for {spec.model}.",
            )


def _elsewhere(model: str) -> bool:
    """A folder of another machine, whose name says nothing here: the worker compares the weights."""
    return Path(model).is_absolute() and not Path(model).exists()


def files_for(prompts: Iterable[Prompt]) -> dict[str, Path]:
    """What a run that uses these prompts is frozen with: name under inputs/ -> file."""
    return {
        f"{SOFT}/{name}.safetensors": file_of(soft_folder(prompt.project_id), name)
        for prompt in prompts
        for name in names_in(prompt.system, prompt.user)
    }
