"""The text a reward model reads as the input of an example."""

from collections.abc import Mapping, Sequence

_SPEAKERS = {"user": "User", "assistant": "Assistant", "system": "System"}


def input_text(input: str, earlier: Sequence[Mapping[str, str]] | None = None) -> str:
    """The input with its earlier turns, if any, named by who spoke. The last turn comes
    last, because a text that is too long is cut from the beginning. Training and scoring
    must both use this, or the scores mean nothing."""
    if not earlier:
        return input
    turns = [
        f"{_SPEAKERS.get(turn.get('role', ''), turn.get('role', ''))}: {turn.get('content', '')}"
        for turn in earlier
    ]
    return "\n\n".join([*turns, f"User: {input}"])
