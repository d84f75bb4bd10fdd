"""Soft prompts as versions of a prompt: a template names the vectors by a mark, and their file
lies under the data folder. They are bound to the model they were trained for, and only a host
in process can read them. Never imports torch."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from core.errors import Invalid
from core.llm.protocol import HostSpec
from core.llm.soft_names import SOFT, Card, card_of, file_of, mark, names_in
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
        target = file_of(soft_folder(project_id), name)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(".part")
            shutil.copyfile(file_of(source, name), part)
            part.replace(target)


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
        if spec.model != card.model:
            raise Invalid(
                f"{said}, bound to the model {card.model}, and “{spec.name}” runs {spec.model}.",
                f"Choose a host that runs {card.model}, or train one for {spec.model}.",
            )


def files_for(prompts: Iterable[Prompt]) -> dict[str, Path]:
    """What a run that uses these prompts is frozen with: name under inputs/ -> file."""
    return {
        f"{SOFT}/{name}.safetensors": file_of(soft_folder(prompt.project_id), name)
        for prompt in prompts
        for name in names_in(prompt.system, prompt.user)
    }
