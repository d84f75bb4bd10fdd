"""What changed between two texts, word by word."""

import re
from difflib import SequenceMatcher

# A word takes the white space after it along: else every blank is a match of its own.
_PIECES = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")


def word_diff(old: str, new: str) -> list[tuple[str, str]]:
    """Segments of (`equal` | `delete` | `insert`, text), in reading order. The equal and
    deleted ones make up `old`, the equal and inserted ones `new`."""
    before, after = _PIECES.findall(old), _PIECES.findall(new)
    segments: list[tuple[str, str]] = []

    def add(kind: str, words: list[str]) -> None:
        if not words:
            return
        if segments and segments[-1][0] == kind:
            segments[-1] = (kind, segments[-1][1] + "".join(words))
        else:
            segments.append((kind, "".join(words)))

    for kind, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            add("equal", before[i:j])
        else:
            add("delete", before[i:j])
            add("insert", after[k:m])
    return segments
