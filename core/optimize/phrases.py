"""An instruction as a row of phrases that can be edited by position.

GrIPS takes phrases from a constituency parser. Here a light chunker does: it breaks at
punctuation, at line ends, and before words that open a new phrase (prepositions,
conjunctions, relative pronouns). Slots (`{{field}}`) and bare punctuation are pieces of
their own that no edit touches. The white space between the pieces is kept beside them,
so that unedited text comes back letter by letter.
"""

import re
from dataclasses import dataclass

from core.prompts.templates import SLOT

GRANULARITIES = ("word", "phrase", "sentence")
LONGEST_PHRASE = 6  # words
_TOKEN = re.compile(rf"(?:{SLOT.pattern})|(?:(?!{SLOT.pattern})\S)+")
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*$")
_CLAUSE_END = re.compile(r"[,;:–—][\"'”’)\]]*$")
_OPENER_WORDS = (
    "about above across after against along although among and around as at because before behind "
    "below between but by despite during except for from how if in into like near nor of off on onto "
    "or over per since so than that then though through to toward towards under unless until upon "
    "using via what when where whether which while who whom whose why with within without yet"
)
_DETERMINERS = "a an the this that these those its their your our my his her"
_OPENERS = frozenset(_OPENER_WORDS.split())
_LINKS = _OPENERS | frozenset(_DETERMINERS.split())


@dataclass(frozen=True)
class Phrases:
    """`pieces` with `gaps` around them: len(gaps) == len(pieces) + 1. `fixed[i]`: piece
    i is a slot or punctuation. Every edit returns a new row."""

    pieces: tuple[str, ...]
    gaps: tuple[str, ...]
    fixed: tuple[bool, ...]

    @property
    def text(self) -> str:
        return self.gaps[0] + "".join(
            piece + gap for piece, gap in zip(self.pieces, self.gaps[1:], strict=True)
        )

    @property
    def editable(self) -> list[int]:
        return [i for i, fixed in enumerate(self.fixed) if not fixed]

    @property
    def places(self) -> list[int]:
        """Where a phrase can be put in: both ends, and between pieces set apart by
        white space (never between a slot and what sticks to it)."""
        last = len(self.pieces)
        return [i for i, gap in enumerate(self.gaps) if i in (0, last) or gap]

    def delete(self, i: int) -> "Phrases":
        before, after = self.gaps[i], self.gaps[i + 1]
        if i == 0:
            gap = before
        elif i == len(self.pieces) - 1:
            gap = after
        else:  # of two gaps the one that says more stays: a line break, then a space
            gap = max(before, after, key=lambda g: (g.count("\n"), len(g)))
        return Phrases(
            self.pieces[:i] + self.pieces[i + 1 :],
            (*self.gaps[:i], gap, *self.gaps[i + 2 :]),
            self.fixed[:i] + self.fixed[i + 1 :],
        )

    def swap(self, i: int, j: int) -> "Phrases":
        """A true exchange, by position."""
        pieces = list(self.pieces)
        pieces[i], pieces[j] = pieces[j], pieces[i]
        return Phrases(tuple(pieces), self.gaps, self.fixed)

    def replace(self, i: int, phrase: str) -> "Phrases":
        """Replace the one occurrence at position i, not every equal one."""
        return Phrases((*self.pieces[:i], phrase, *self.pieces[i + 1 :]), self.gaps, self.fixed)

    def insert(self, place: int, phrase: str) -> "Phrases":
        """Put `phrase` before piece `place` (one of `places`)."""
        gap = self.gaps[place]
        if not self.pieces:
            around = ("", "")
        elif place == 0:
            around = (gap, " ")
        elif place == len(self.pieces):
            around = (" ", gap)
        else:
            around = (gap, " ")
        return Phrases(
            (*self.pieces[:place], phrase, *self.pieces[place:]),
            (*self.gaps[:place], *around, *self.gaps[place + 1 :]),
            (*self.fixed[:place], False, *self.fixed[place:]),
        )


def split(text: str, granularity: str = "phrase") -> Phrases:
    """Split a text into phrases; `split(text).text == text`."""
    tokens = [(m.group(), m.start(), m.end()) for m in _TOKEN.finditer(text)]
    groups: list[list[int]] = []
    for i, (token, start, _) in enumerate(tokens):
        starts_new = True
        if groups and not _is_fixed(token) and not _is_fixed(tokens[groups[-1][-1]][0]):
            before = [tokens[k][0] for k in groups[-1]]
            gap = text[tokens[i - 1][2] : start]
            starts_new = _breaks(before, token, gap, granularity)
        if starts_new:
            groups.append([i])
        else:
            groups[-1].append(i)
    spans = [(tokens[g[0]][1], tokens[g[-1]][2]) for g in groups]
    edges = [0, *(edge for span in spans for edge in span), len(text)]
    pieces = tuple(text[a:b] for a, b in spans)
    gaps = tuple(text[edges[k] : edges[k + 1]] for k in range(0, len(edges), 2))
    return Phrases(pieces, gaps, tuple(_is_fixed(piece) for piece in pieces))


def _is_fixed(token: str) -> bool:
    return bool(SLOT.search(token)) or not any(letter.isalnum() for letter in token)


def _breaks(before: list[str], token: str, gap: str, granularity: str) -> bool:
    """Whether a new phrase starts at `token`, after the words `before`."""
    if granularity == "word" or "\n" in gap or not gap:
        return True
    if _SENTENCE_END.search(before[-1]):
        return True
    if granularity == "sentence":
        return False
    if _CLAUSE_END.search(before[-1]) or len(before) >= LONGEST_PHRASE:
        return True
    # A phrase is not made of little words alone: “in the” waits for its noun.
    bare = [word.strip("\"'“”‘’(),;:").lower() for word in before]
    return token.strip("\"'“”‘’(").lower().rstrip(",;:") in _OPENERS and any(w not in _LINKS for w in bare)
