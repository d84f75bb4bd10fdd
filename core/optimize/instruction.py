"""Which part of a prompt is optimised, and how a new text is put back into it.

The instruction is the system text. A prompt without one has its instruction in the user
template: what stands before the first slot, or, when nothing does, after the last one. Of a
prompt that keeps its sections (core/prompts/frameworks.py) it may be one section alone.
Everything else of the template stays as it is, byte for byte: a method sees only the text,
so every method edits whatever part was chosen.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from core.errors import Invalid
from core.llm.soft_names import names_in
from core.prompts.frameworks import framework_of, places, with_section
from core.prompts.templates import SLOT

SECTION = "section:"


@dataclass(frozen=True)
class Instruction:
    """A prompt with the place of its instruction: `system`, `before` or `after` (of the
    user template's slots), or `section:<key>` of its `structure`. `prompt_id` is None for
    a prompt that is no version yet."""

    system: str
    user: str
    place: str
    prompt_id: str | None = None
    name: str = ""
    structure: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """What is edited, for people."""
        return f"section {self.sections[self.section]} of {self.name}" if self.section else self.name

    @property
    def section(self) -> str | None:
        """The key of the one section that is edited."""
        return self.place.removeprefix(SECTION) if self.place.startswith(SECTION) else None

    @property
    def text(self) -> str:
        if self.section:
            begin, end = self._span()
            return self.system[begin:end]
        if self.place == "system":
            return self.system
        head, _, tail = _around(self.user)
        return head.strip() if self.place == "before" else tail.strip()

    def with_text(self, text: str) -> tuple[str, str]:
        """(system, user) with `text` for the instruction."""
        if self.section:
            begin, end = self._span()
            return self.system[:begin] + text + self.system[end:], self.user
        if self.place == "system":
            return text, self.user
        head, slots, tail = _around(self.user)
        if self.place == "before":
            return self.system, _swap_inside(head, text) + slots + tail
        return self.system, head + slots + _swap_inside(tail, text)

    def structure_with(self, text: str) -> dict[str, Any] | None:
        """The sections of the prompt with `text` for the instruction, so that its next
        version can be edited by section as well; None where they cannot be told apart."""
        if not self.section or self.structure is None:
            return None
        changed = with_section(self.structure, self.section, text)
        return changed if places(changed, self.with_text(text)[0]) else None

    # --- one section ---------------------------------------------------------------------

    @property
    def sections(self) -> dict[str, str]:
        """The sections that can be edited alone: key -> title. Empty for free text."""
        found = framework_of(self.structure)
        if found is None:
            return {}
        there = places(self.structure or {}, self.system)
        return {section.key: section.title for section in found[0].sections if section.key in there}

    def at_section(self, key: str) -> "Instruction":
        """This prompt, of which one section is edited. Raises Invalid when it has none of
        that name."""
        there = self.sections
        if not there:
            raise Invalid(
                f"section: {self.name or 'this prompt'} is free text, or was changed away from its sections.",
                "Leave section out, or start from a framework.",
            )
        if key not in there:
            raise Invalid(
                f"section: {self.name or 'this prompt'} has no section “{key}” with text.",
                f"Sections: {', '.join(there)}.",
            )
        return replace(self, place=SECTION + key)

    @property
    def context(self) -> str:
        """What a language model that writes a new text is told of where it stands; empty
        when it is the whole instruction."""
        if not self.section:
            return ""
        title = self.sections[self.section]
        around = self.with_text("[SECTION]")[0]
        return (
            f"Below, an instruction is only one section, “{title}”, of a longer prompt. This is the prompt, with "
            f"[SECTION] where the instruction stands:\n\n{around}\n\nWhat you write takes the place of [SECTION] "
            "and does not repeat the rest."
        )

    def _span(self) -> tuple[int, int]:
        return places(self.structure or {}, self.system)[self.section or ""]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def instruction_of(
    system: str,
    user: str,
    prompt_id: str | None = None,
    name: str = "",
    structure: dict[str, Any] | None = None,
) -> Instruction:
    """Find the instruction. Raises Invalid when there is nothing to edit."""
    if names_in(system, user):
        raise Invalid(
            f"prompt: {f'“{name}”' if name else 'this prompt'} is a soft prompt: vectors, and no words to edit.",
            "Start from the prompt that it was trained from.",
        )
    for place in ("system", "before", "after"):
        found = Instruction(system, user, place, prompt_id, name, structure)
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
