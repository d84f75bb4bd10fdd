"""What can be said of one generated text without a model: metrics from 0 to 1, penalties from
0 down, rules that it keeps or breaks.

Exact match and token F1 are those of SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250, section
6.1): lower case, without punctuation and articles. Patterns are written by a person and meet
text that a model wrote: they run with a time limit, so that none can stop a search.
"""

import json
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import regex

from core.errors import Invalid

SECONDS = 0.1  # a pattern that takes longer on one text has not matched
_ARTICLES = regex.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_REFERENCE = regex.compile(r"\{\{\s*reference\s*\}\}")


# --- metrics -----------------------------------------------------------------------------------


def normalised(text: str) -> list[str]:
    """The words that SQuAD compares."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def exact_match(text: str, reference: str) -> float:
    return float(normalised(text) == normalised(reference))


def token_f1(text: str, reference: str) -> float:
    """Harmonic mean of precision and recall of the words, counted as often as they occur. Where
    one side has no words: 1 if the other has none either, else 0."""
    said, wanted = normalised(text), normalised(reference)
    if not said or not wanted:
        return float(said == wanted)
    shared = sum((Counter(said) & Counter(wanted)).values())
    return 2 * shared / (len(said) + len(wanted))


def valid_json(text: str) -> float:
    """1 for one whole JSON value as RFC 8259 has it (no NaN, nothing around it)."""

    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return 0.0
    return 1.0


def matcher(pattern: str) -> Callable[[str, str], float]:
    """1 where the pattern occurs in the text. `{{reference}}` in it stands for the example's
    reference, letter by letter. Raises Invalid when it is no pattern."""
    compiled(_REFERENCE.sub("", pattern))  # to say what is wrong before a search starts
    fixed = None if _REFERENCE.search(pattern) else compiled(pattern)

    def matches(text: str, reference: str) -> float:
        wanted = fixed or regex.compile(_REFERENCE.sub(lambda _: regex.escape(reference), pattern))
        return float(found(wanted, text) is True)

    return matches


def compiled(pattern: str) -> "regex.Pattern[str]":
    try:
        return regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError) as problem:
        raise Invalid(f"“{pattern[:60]}” is no regular expression: {problem}.") from problem


def found(pattern: "regex.Pattern[str]", text: str) -> bool | None:
    """Whether it occurs; None when that could not be found out in time."""
    try:
        return pattern.search(text, timeout=SECONDS) is not None
    except TimeoutError:
        return None


# --- penalties ---------------------------------------------------------------------------------


def over_length(length: float, limit: float, margin: float) -> float:
    """The soft over-length penalty of DAPO (Yu et al. 2025, arXiv 2503.14476, equation 13): 0 up
    to the limit, then falling evenly to -1 at limit + margin, and no further."""
    return -min(1.0, max(0.0, (length - limit) / margin))


def cost(amount: float, per: float) -> float:
    """-1 for each `per` tokens, or units of money, that an answer took."""
    return -amount / per


# --- rules -------------------------------------------------------------------------------------


class Rules:
    """What must not occur in a text, and what must. A rule is a word or phrase (as whole words,
    in any case, whatever the spaces), or a pattern between slashes: `/\\d{3}-\\d{4}/`."""

    def __init__(self, forbidden: Sequence[str], required: Sequence[str]) -> None:
        """Raises Invalid when a rule is no pattern."""
        self.forbidden = [rule_pattern(rule) for rule in forbidden]
        self.required = [rule_pattern(rule) for rule in required]

    def broken(self, text: str) -> bool:
        """A rule that could not be checked in time counts as broken."""
        return any(found(rule, text) is not False for rule in self.forbidden) or any(
            found(rule, text) is not True for rule in self.required
        )


def rule_pattern(rule: str) -> "regex.Pattern[str]":
    if len(rule) > 2 and rule.startswith("/") and rule.endswith("/"):
        return compiled(rule[1:-1])
    words = r"\s+".join(regex.escape(word) for word in rule.split())
    return regex.compile(rf"(?<!\w){words}(?!\w)", regex.IGNORECASE)
