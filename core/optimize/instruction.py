"""Which part of a prompt is optimised, and how a new text is put back into it.

The instruction is the system text. A prompt without one has its instruction in the user
template: what stands before the first slot, or, when nothing does, after the last one.
Everything else of the template stays as it is.
"""

from dataclasses import asdict, dataclass
from typing import Any

from core.errors import Invalid
from core.prompts.templates import SLOT


@dataclass(frozen=True)
class Instruction:
    """A prompt with the place of its instruction: `system`, `before` or `after` (of the
    user template's slots). `prompt_id` is None for a prompt that is no version yet."""

    system: str
    user: str
    place: str
    prompt_id: str | None = None
    name: str = ""

    @property
    def text(self) -> str:
        if self.place == "system":
            return self.system
        head, _, tail = _around(self.user)
        return head.strip() if self.place == "before" else tail.strip()

    def with_text(self, text: str) -> tuple[str, str]:
        """(system, user) with `text` for the instruction."""
        if self.place == "system":
            return text, self.user
        head, slots, tail = _around(self.user)
        if self.place == "before":
            return self.system, _swap_inside(head, text) + slots + tail
        return self.system, head + slots + _swap_inside(tail, text)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def instruction_of(system: str, user: str, prompt_id: str | None = None, name: str = "") -> Instruction:
    """Find the instruction. Raises Invalid when there is nothing to edit."""
    for place in ("system", "before", "after"):
        found = Instruction(system, user, place, prompt_id, name)
        if any(letter.isalnum() for letter in SLOT.sub("", found.text)):
            return found
    raise Invalid(
        f"prompt: {f'“{name}”' if name else 'this prompt'} has no instruction to edit: its text is only slots.",
        "Choose a prompt with a system text, or with words around its slots.",
    )


def _around(user: str) -> tuple[str, str, str]:
    """(before the first slot, the slots and what is between, after the last slot)."""
    found = list(SLOT.finditer(user))
    if not found:
        return user, "", ""
    return user[: found[0].start()], user[found[0].start() : found[-1].end()], user[found[-1].end() :]


def _swap_inside(old: str, new: str) -> str:
    """`new` with the white space that stood around `old`."""
    core = old.strip()
    if not core:
        return old + new
    start = old.index(core)
    return old[:start] + new + old[start + len(core) :]
