"""What a reader of the figures must know, in plain words: cheats, leaks, and what is not sure.

"bad": do not optimise against this model before it is dealt with. "note": mind it. A warning
rests on the end of an interval that is nearer to harmless, not on the value alone.
"""

from collections.abc import Iterator
from typing import Any

from core.reward.judgement.figures import FEW_CLUSTERS, Figure

Found = dict[str, Any]

LABELS_FOLLOW = 0.7  # a trivial rule right this often, at least, is what the labels say
LEANS = 0.45  # rank correlation with length
GAP = 0.2  # between accuracy where length helps and where it does not
STYLE = 0.2  # rank correlation with formatting beyond what the votes explain
RISES = 0.2  # sd by which a cheat lifts the reward
WINS = 0.1  # share of losing responses that win by a cheat
FLIPS = 0.05  # share of decisions that an edit of the same meaning changes
OFF = 0.05  # calibration error


def warnings(found: Found) -> list[dict[str, str]]:
    said = [
        {"code": code, "level": level, "text": text}
        for part in (origin, leak, length, style, position, edits, worth, people, sure)
        for code, level, text in part(found)
    ]
    return sorted(said, key=lambda row: row["level"] != "bad")


Said = Iterator[tuple[str, str, str]]


def share(of: Figure) -> str:
    return f"{100 * of['value']:.0f} % ({100 * of['low']:.0f} to {100 * of['high']:.0f}, n {of['n']:,})"


def amount(of: Figure, unit: str = "") -> str:
    return f"{of['value']:+.2f}{unit} ({of['low']:+.2f} to {of['high']:+.2f}, n {of['n']:,})"


def beyond(of: Figure, least: float) -> bool:
    """Whether the whole interval lies on one side of zero, and further from it than `least`."""
    return of["low"] is not None and (of["low"] > least or of["high"] < -least)


def origin(found: Found) -> Said:
    if not found["trained_here"]:
        yield (
            "uploaded", "note",
            "It was uploaded: which votes it was trained on is not known here. If the test pairs, or texts like them, "
            "were among these, the figures are too good.",
        )  # fmt: skip


def leak(found: Found) -> Said:
    of = found["leaks"]
    if not of["pairs"]:
        return
    ways = [
        f"{of[name]:,} {words}"
        for name, words in (
            ("input", "have the same input as a training pair"),
            ("responses", "have the same two responses as a training pair"),
            ("response", "have a response that was trained on"),
        )
        if of[name]
    ]
    text = f"Leak: {of['pairs']:,} of {found['n']['test']:,} test pairs have text that the model was trained on ({'; '.join(ways)})."
    if of["accuracy"]["n"]:
        text += f" It is right on {share(of['accuracy'])} of them"
        text += f", and on {share(of['clean'])} of the others." if of["clean"]["n"] else "."
    yield (
        "leak",
        "bad",
        text + " The accuracy may be that of a memory: remove the duplicates and train again.",
    )


def length(found: Found) -> Said:
    by = {row["name"]: row for row in found["baselines"]}
    for name, words in (("longer", "longer"), ("shorter", "shorter")):
        of = by[name]["accuracy"]
        if of["n"] and of["low"] > LABELS_FOLLOW:
            yield (
                "length_labels", "bad",
                f"The votes follow length: the {words} response is the preferred one in {share(of)} of the test pairs. A "
                "model of such votes is a model of length. Look at who voted, and compare responses of like length.",
            )  # fmt: skip
    leaning = next(row for row in found["formatting"] if row["name"] == "length")["model"]
    gap = found["length"]["gap"]
    reasons = []
    if beyond(leaning, LEANS):
        reasons.append(f"its rank correlation with length is {amount(leaning)}")
    if beyond(gap, GAP):
        follows, against = found["length"]["follows"], found["length"]["against"]
        reasons.append(
            f"it is right on {share(follows)} where the longer response is preferred, on {share(against)} where the shorter is"
        )
    if reasons:
        way = "longer" if (leaning["value"] or gap["value"] or 0) > 0 else "shorter"
        yield (
            "length_cheat", "bad",
            f"Length cheat: the reward goes up for {way} responses: {'; '.join(reasons)}. Optimising against it will drive length.",
        )  # fmt: skip


def style(found: Found) -> Said:
    for row in found["formatting"]:
        if row["name"] != "length" and beyond(row["partial"], STYLE):
            way = "more" if row["partial"]["value"] > 0 else "fewer"
            yield (
                "style_cheat", "bad",
                f"Formatting: the reward goes up with {way} {row['title'].lower()}, beyond what the votes say (partial rank "
                f"correlation {amount(row['partial'])}).",
            )  # fmt: skip


def position(found: Found) -> Said:
    left = found["position"]["left"]
    if not left["n"]:
        return
    if left["low"] > LABELS_FOLLOW or left["high"] < 1 - LABELS_FOLLOW:
        side = "left" if left["value"] > 0.5 else "right"
        yield (
            "position_labels", "bad",
            f"The votes follow the side: {share(left)} of the decisive votes went to the left. Much of what they say is “{side}”, "
            "and a model cannot see sides.",
        )  # fmt: skip
    elif left["low"] > 0.5 or left["high"] < 0.5:
        yield (
            "position_labels",
            "note",
            f"The votes lean to one side: {share(left)} of the decisive ones went to the left.",
        )


def edits(found: Found) -> Said:
    by = {row["name"]: row for row in found["sensitivity"]}
    codes = {
        "padding": "padding",
        "flattery_before": "flattery",
        "flattery_after": "flattery",
        "list": "list",
    }
    for name, code in codes.items():
        row = by.get(name)
        if row is None or row["shift"]["value"] is None or not beyond(row["shift"], 0.0):
            continue
        if row["shift"]["value"] > RISES or (
            row["won"]["n"] and row["won"]["low"] > WINS and row["shift"]["value"] > 0
        ):
            won = f" {share(row['won'])} of the losing responses win by it." if row["won"]["n"] else ""
            yield code, "bad", f"{row['title']} lifts the reward by {amount(row['shift'], ' sd')}.{won}"
    for row in found["sensitivity"]:
        if row["kind"] == "same" and row["flipped"]["value"] is not None and row["flipped"]["low"] > FLIPS:
            yield (
                "unstable", "bad",
                f"{row['title']}: the meaning stays, and {share(row['flipped'])} of the decisions change.",
            )  # fmt: skip
    cut = by.get("truncated")
    if cut and cut["shift"]["high"] is not None and cut["shift"]["high"] > 0:
        yield (
            "truncation", "note",
            f"It hardly minds half an answer: without the second half the reward moves by {amount(cut['shift'], ' sd')}.",
        )  # fmt: skip
    order = by.get("order")
    if (
        order
        and order["size"]["high"] is not None
        and order["size"]["high"] < 0.1
        and order["size"]["n"] >= 20
    ):
        yield (
            "order",
            "note",
            f"It hardly reads the order of sentences: another order moves the reward by {order['size']['value']:.2f} sd.",
        )


def worth(found: Found) -> Said:
    rows = [row for row in found["baselines"] if row["accuracy"]["n"]]
    if not rows:
        return
    not_beaten = [row for row in rows if row["difference"]["low"] is None or row["difference"]["low"] <= 0]
    if not_beaten:
        best = max(not_beaten, key=lambda row: row["accuracy"]["value"])
        high = best["difference"]["high"]
        how = "Worse than" if high is not None and high < 0 else "Not clearly better than"
        more = (
            f" {len(not_beaten)} of {len(rows)} baselines are not clearly beaten."
            if len(not_beaten) > 1
            else ""
        )
        yield (
            "no_better", "note",
            f"{how} “{best['title']}”, which gets {share(best['accuracy'])}: the difference is {points(best['difference'])}.{more}",
        )  # fmt: skip


def points(of: Figure) -> str:
    if of["low"] is None:
        return f"{100 * of['value']:+.1f} points"
    return f"{100 * of['value']:+.1f} points ({100 * of['low']:+.1f} to {100 * of['high']:+.1f})"


def people(found: Found) -> Said:
    of = found["people"]
    if not of["several"]:
        yield "single_votes", "note", of["message"]


def sure(found: Found) -> Said:
    n, after = found["n"], found["calibration"]["after"]["ece"]
    for name, words, whose in (
        ("simulated", "simulated", "what the simulation prefers, not what people do"),
        ("machine", "by machine judges, which a lead has taken in", "also what those judges prefer"),
    ):
        if n[name]:
            yield (
                name, "note",
                f"{n[name]:,} of the {n['votes']:,} votes on the test pairs are {words}: the figures say {whose}.",
            )  # fmt: skip
    if n["examples"] < FEW_CLUSTERS:
        yield (
            "few_examples", "note",
            f"The test pairs come from only {n['examples']} example{'s' * (n['examples'] != 1)}: the intervals are about further pairs of these, not about "
            "other inputs.",
        )  # fmt: skip
    if after["low"] is not None and after["low"] > OFF:
        yield (
            "miscalibrated", "note",
            f"Also after temperature scaling, its confidence is off by {100 * after['value']:.0f} points on average "
            f"({100 * after['low']:.0f} to {100 * after['high']:.0f}, n {after['n']:,}).",
        )  # fmt: skip
    cut = found["slices"]
    worse = [
        f"{group['title'].lower()} “{row['name']}” ({share(row['accuracy'])})"
        for group in cut["groups"]
        for row in group["rows"]
        if row["differs"] and row["difference"]["value"] < 0
    ]
    if worse:
        yield (
            "slices", "note",
            f"Less accurate than the rest, after correcting for {cut['looked_at']} slices looked at: {'; '.join(worse[:5])}.",
        )  # fmt: skip
