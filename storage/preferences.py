"""TRL's preference rows (prompt, chosen, rejected), read as canonical comparison rows."""

import re
from typing import Any

from storage.inputs import RowProblem, messages_of

UNKNOWN_PROMPT = "unknown"  # both sides of a preference file that does not say who wrote them
IMPORTED_ANNOTATOR = "imported"  # the judge of a preference file that does not name one

_TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant|System): ?")
_ROLES = {"Human": "user", "Assistant": "assistant", "System": "system"}
_ANSWER = "\n\nAssistant:"


def preference_row(row: dict[str, Any]) -> dict[str, Any]:
    """The canonical row of one of TRL's: prompt, chosen, rejected, as text or as messages.

    Without a prompt it is what chosen and rejected share: their first messages, or their
    text up to the last "\\n\\nAssistant:" (as HH-RLHF has it), whose turns become a
    conversation. Both responses are by the prompt "unknown" unless the row names them
    (prompt_chosen, prompt_rejected), and the judge is "imported" unless it names one.
    """
    chosen, rejected = row["chosen"], row["rejected"]
    if type(chosen) is not type(rejected) or not isinstance(chosen, str | list):
        raise RowProblem("chosen, rejected: they must both be text, or both lists of messages")
    prompt = row.get("prompt")
    if isinstance(chosen, list):
        value, best, worst = _split_messages(prompt, chosen, rejected)
    else:
        value, best, worst = _split_texts(prompt, chosen, rejected)
    kept = ("strength", "reason", "criteria", "created_at", "duration_ms", "external_id", "simulated")
    return {
        "input": value,
        "response_a": best,
        "response_b": worst,
        "prompt_a": row.get("prompt_chosen") or UNKNOWN_PROMPT,
        "prompt_b": row.get("prompt_rejected") or UNKNOWN_PROMPT,
        "annotator": row.get("annotator") or IMPORTED_ANNOTATOR,
        "choice": "a",
        **{name: row[name] for name in kept if row.get(name) is not None},
    }


def _split_messages(prompt: Any, chosen: list[Any], rejected: list[Any]) -> tuple[Any, Any, Any]:
    best, worst = messages_of(chosen, "chosen"), messages_of(rejected, "rejected")
    shared = 0
    while shared < min(len(best), len(worst)) - 1 and best[shared] == worst[shared]:
        shared += 1
    value: Any = best[:shared]
    if not value:
        value = prompt
    if not value:
        raise RowProblem("prompt: it is missing, and chosen and rejected share no first message")
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if isinstance(prompt, list) and shared and best[:shared] != messages_of(prompt, "prompt"):
        value = [*prompt, *best[:shared]]
    return value, best[shared:], worst[shared:]


def _split_texts(prompt: Any, chosen: str, rejected: str) -> tuple[Any, str, str]:
    if isinstance(prompt, str) and prompt.strip():
        if prompt.endswith(_ANSWER) and (turns := _transcript(prompt.removesuffix(_ANSWER))):
            return turns, chosen.strip(), rejected.strip()
        return prompt, chosen, rejected
    if prompt:
        return prompt, chosen, rejected
    shared = _shared_start(chosen, rejected)
    at = shared.rfind(_ANSWER)
    if at >= 0:
        start = at + len(_ANSWER)
        value = _transcript(shared[:at]) or shared[:at].strip()
        return value, chosen[start:].strip(), rejected[start:].strip()
    start = max(shared.rfind("\n"), shared.rfind(" ")) + 1
    if not shared[:start].strip():
        raise RowProblem("prompt: it is missing, and chosen and rejected do not begin alike")
    return shared[:start].strip(), chosen[start:], rejected[start:]


def _transcript(text: str) -> list[dict[str, str]] | None:
    """The turns of "\\n\\nHuman: … \\n\\nAssistant: … \\n\\nHuman: …", or None for other text."""
    parts = _TURN.split(text)
    if len(parts) < 3 or parts[0].strip() or parts[-2] != "Human":
        return None
    return [
        {"role": _ROLES[who], "content": said.strip()}
        for who, said in zip(parts[1::2], parts[2::2], strict=True)
    ]


def transcript(turns: list[dict[str, str]]) -> str:
    """A conversation as HH-RLHF writes it, up to where the assistant answers."""
    names = {role: name for name, role in _ROLES.items()}
    return "".join(f"\n\n{names[turn['role']]}: {turn['content']}" for turn in turns) + _ANSWER


def _shared_start(first: str, second: str) -> str:
    length = next(
        (place for place, (x, y) in enumerate(zip(first, second, strict=False)) if x != y),
        min(len(first), len(second)),
    )
    return first[:length]
