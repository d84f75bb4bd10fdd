"""What would let a model look better than it is: checks of a data set's rows as they are
frozen, whatever made them so.

Each gives a verdict. fail: the data set is not trained on unless somebody says so by name
(`allow_leaks`), and the model's result keeps that. warn: nothing is wrong, and a person should
know. pass.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.reward.snapshots.similar import COMMON_LEAST, COMMON_SHARE, groups, normalised
from core.stats import wilson

Row = dict[str, Any]
Both = tuple[str, str]
PASS, WARN, FAIL = "pass", "warn", "fail"
ALWAYS = 0.8  # a side that is preferred more often than this, to 95 %, gives the label away
ALWAYS_ONE_ORDER = 0.9  # where it may as well be one prompt that is always there
SHOWN = 3

TITLES = {
    "same_text": "Same text in two splits",
    "near_duplicates": "Near-duplicates in two splits",
    "identical": "The same response twice",
    "left": "Label from the side",
    "first": "Label from the order",
    "length": "Label from the length",
}


def run(
    pairs: Sequence[Row],
    identical: int = 0,
    common: frozenset[str] | None = None,
    templated: frozenset[Both] | None = None,
) -> list[Row]:
    """[{check, title, verdict, said, …}], the same checks in the same order every time.
    `pairs`: rows as frozen. `identical`: pairs of the same text twice that were left out.
    `common`, `templated`: words, and pairs of responses, that are a template's, where these
    pairs are but some of those there are."""
    once = list({row["pair_id"]: row for row in pairs}.values())
    sure = [row for row in _undoubled(pairs) if abs(row["q"] - 0.5) > 1e-9]
    found = [
        _same_text(once, templated),
        _near_duplicates(once, common),
        _identical(once, identical),
        _left(once),
        _first(sure),
        _length(sure),
    ]
    return [{"check": item["check"], "title": TITLES[item["check"]], **item} for item in found]


def both_of(first: str, second: str) -> Both:
    """Two responses, normalised, in either order."""
    one, other = sorted((normalised(first), normalised(second)))
    return one, other


def canned(both: Sequence[Both], examples: Sequence[str]) -> frozenset[Both]:
    """Pairs of responses that come with more examples than a copy would: a template's answers."""
    there: dict[Both, set[str]] = defaultdict(set)
    for key, example in zip(both, examples, strict=True):
        there[key].add(example)
    most = max(COMMON_LEAST, COMMON_SHARE * len(set(examples)))
    return frozenset(key for key, of in there.items() if len(of) > most)


def failed(checks: Sequence[Row]) -> list[Row]:
    return [check for check in checks if check["verdict"] == FAIL]


def _undoubled(pairs: Sequence[Row]) -> list[Row]:
    """Without the ties that are there both ways round."""
    times: dict[str, int] = defaultdict(int)
    for row in pairs:
        times[row["pair_id"]] += 1
    return [row for row in pairs if times[row["pair_id"]] == 1]


def _splits_of(rows: Sequence[Row], keys: Sequence[Any]) -> dict[Any, dict[str, Row]]:
    """key -> split -> a row, of keys that are in two splits and more."""
    found: dict[Any, dict[str, Row]] = defaultdict(dict)
    for row, key in zip(rows, keys, strict=True):
        found[key].setdefault(row["split"], row)
    return {key: by for key, by in found.items() if len(by) > 1}


def _examples(crossing: Mapping[Any, Mapping[str, Row]]) -> list[Row]:
    """The first few, for a person to look at."""
    return [
        {
            "splits": sorted(by),
            "pairs": [row["pair_id"] for row in by.values()],
            "text": _short(next(iter(by.values()))["input"]),
        }
        for by in list(crossing.values())[:SHOWN]
    ]


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= 120 else plain[:119] + "…"


def _same_text(rows: Sequence[Row], templated: frozenset[Both] | None) -> Row:
    """Same input, or same two responses, normalised. A template's answers are only told."""
    by_input = _splits_of(rows, [normalised(row["input"]) for row in rows])
    both = [both_of(row["response_a"], row["response_b"]) for row in rows]
    by_responses = _splits_of(rows, both)
    if templated is None:
        templated = canned(both, [row["example_id"] for row in rows])
    copied = {key: by for key, by in by_responses.items() if key not in templated}
    single = _splits_of(
        [row for row in rows for _ in "ab"],
        [normalised(row[side]) for row in rows for side in ("response_a", "response_b")],
    )
    crossing = {**by_input, **copied}
    of = f"{len(by_input):,} inputs and {len(copied):,} pairs of responses are in more than one split"
    if crossing:
        said = f"{of}: the model would be judged on what it was trained on."
    elif single:
        said = (
            f"No input and no pair of responses is in two splits. {len(single):,} single responses are, "
            "under different inputs."
        )
    else:
        said = "No input and no response is in two splits."
    verdict = FAIL if crossing else WARN if len(by_responses) > len(copied) else PASS
    return {
        "check": "same_text", "verdict": verdict, "said": said, "n": len(rows), "inputs": len(by_input),
        "responses": len(copied), "single_responses": len(single), "examples": _examples(crossing),
    }  # fmt: skip


def _near_duplicates(rows: Sequence[Row], common: frozenset[str] | None) -> Row:
    found = _splits_of(rows, groups([row["input"] for row in rows], common=common).tolist())
    said = (
        f"{len(found):,} groups of inputs that say nearly the same are in more than one split."
        if found
        else "No two inputs that say nearly the same are in two splits."
    )
    return {
        "check": "near_duplicates", "verdict": FAIL if found else PASS, "said": said, "n": len(rows),
        "groups": len(found), "examples": _examples(found),
    }  # fmt: skip


def _identical(rows: Sequence[Row], left_out: int) -> Row:
    same = [row for row in rows if " ".join(row["response_a"].split()) == " ".join(row["response_b"].split())]
    if same:
        said = f"{len(same):,} pairs have the same text twice: there is nothing to prefer."
    elif left_out:
        said = f"None; {left_out:,} such pairs were left out."
    else:
        said = "None."
    return {
        "check": "identical", "verdict": FAIL if same else PASS, "said": said, "n": len(rows), "pairs": len(same),
        "examples": [{"splits": [row["split"]], "pairs": [row["pair_id"]], "text": _short(row["response_a"])} for row in same[:SHOWN]],
    }  # fmt: skip


def _left(rows: Sequence[Row]) -> Row:
    """Over votes that know their sides. Sides are drawn for each annotator, so far from a half
    means that comparisons came in sorted, or that somebody clicks on a side."""
    n, won = sum(row["left_known"] for row in rows), sum(row["left_won"] for row in rows)
    return _side("left", won, n, "votes whose sides are known", "the response on the left")


def _first(rows: Sequence[Row]) -> Row:
    """Over decided pairs. Which response is a follows from ids, which may follow from time: one
    prompt may always be a. Where both orders of two prompts are there, their preference is
    taken out by weighing both orders the same."""
    strata: dict[tuple[str, str], list[list[bool]]] = defaultdict(lambda: [[], []])
    for row in rows:
        a, b = row["prompt_a"], row["prompt_b"]
        strata[min(a, b), max(a, b)][a > b].append(row["q"] > 0.5)
    both = {key: sides for key, sides in strata.items() if (sides[0] and sides[1]) or key[0] == key[1]}
    # Of one order only, the prompt and the place cannot be told apart: a prompt may well be that
    # much better, so it takes more to call it a leak.
    won = n = 0.0
    for (one, other), (first, second) in both.items():
        if one == other:
            won, n = won + sum(first + second), n + len(first + second)
            continue
        even = 4 / (1 / len(first) + 1 / len(second))  # of equal variance
        won += even * float(np.mean(first) + np.mean(second)) / 2
        n += even
    found = _side(
        "first", float(won), float(n), "decided pairs, both orders of two prompts alike", "response a"
    )
    sided = [hit for key, (first, second) in strata.items() if key not in both for hit in first + second]
    low, high = wilson(sum(sided), len(sided))
    if found["verdict"] != FAIL and (low > ALWAYS_ONE_ORDER or high < 1 - ALWAYS_ONE_ORDER):
        found = _side(
            "first", sum(sided), len(sided), "decided pairs, one prompt always in this place", "response a"
        )
    elif not n and sided:
        found["said"] = (
            f"One prompt always is response a, so its place cannot be told from the prompt; it is preferred in "
            f"{_percent(sum(sided), len(sided), low, high)} decided pairs)."
        )
    return {**found, "one_order_only": len(sided)}


def _side(check: str, won: float, n: float, of: str, what: str) -> Row:
    low, high = wilson(won, n)
    found: Row = {
        "check": check,
        "share": won / n if n else None,
        "low": low,
        "high": high,
        "n": round(n),
        "examples": [],
    }
    if not n:
        return {**found, "low": None, "high": None, "verdict": PASS, "said": f"There are no {of}."}
    percent = f"{what} is preferred in {_percent(won, n, low, high)} {of})"
    if low > ALWAYS or high < 1 - ALWAYS:
        said = f"The label follows from the place: {percent}."
        return {**found, "verdict": FAIL, "said": said}
    said = f"{percent[0].upper()}{percent[1:]}."
    return {**found, "verdict": WARN if low > 0.5 or high < 0.5 else PASS, "said": said}


def _percent(won: float, n: float, low: float, high: float) -> str:
    """“57.1 % (53.0 to 61.1, n 572”, without its end."""
    return f"{100 * won / n:.1f} % ({100 * low:.1f} to {100 * high:.1f}, n {round(n):,}"


def _length(rows: Sequence[Row]) -> Row:
    """Told, and no leak: people may well prefer longer answers. But a model that has learnt
    nothing else is worth nothing, and this is how far that gets."""
    sized = [row for row in rows if len(row["response_a"]) != len(row["response_b"])]
    won = sum((row["q"] > 0.5) == (len(row["response_a"]) > len(row["response_b"])) for row in sized)
    found = _side("length", won, len(sized), "decided pairs of different length", "the longer response")
    if found["verdict"] == FAIL:
        found["verdict"] = WARN
        found["said"] = found["said"].replace(
            "The label follows from the place", "The label follows from the length"
        )
    return found
