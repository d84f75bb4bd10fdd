"""What the judgement of one reward model says, part by part: each function draws one part, and
says what is missing where there is nothing."""

from typing import Any

import pandas as pd
import streamlit as st

from pages.reward_charts import dots, learning_chart, reliability_chart
from pages.shared import number, percent, plain

Found = dict[str, Any]
SLICES = {
    "margin": "Margin", "strength": "Strength", "length": "Length", "cluster": "Topic", "annotator": "Annotator",
    "prompt": "Prompt", "criterion": "Criterion", "week": "Week", "source": "Source",
}  # fmt: skip
SENSITIVITY = {
    "same": "Same meaning, written otherwise: the score should stay",
    "cheat": "Nothing better: the score should not rise",
    "order": "Same facts in another order",
    "loss": "Worse on purpose: the score should fall",
}


def figure(found: Found | None, *, share: bool = True, sign: bool = False) -> str:
    """`61.2 % (57.0 to 65.3, n 512)`, or `+0.31 (0.2 to 0.4, n 512)`"""
    if not found or found.get("value") is None:
        return "—"
    value, low, high, n = (found.get(key) for key in ("value", "low", "high", "n"))
    if share:
        return percent(value, low, high, n)
    if not sign:
        return number(value, low, high, n)
    inside = f"{low:+.2f} to {high:+.2f}, " if low is not None and high is not None else ""
    return f"{value:+.2f} ({inside}n {n or 0:,})"


def skipped(found: Found, part: str, default: str) -> None:
    """Why there is nothing, in the judgement's own words where it has some."""
    said = next((row["reason"] for row in found.get("skipped") or [] if row.get("part") == part), default)
    st.write(plain(said))


# --- first: what a reader must know ----------------------------------------------------------


def the_warnings(found: Found) -> None:
    bad = [row["text"] for row in found.get("warnings") or [] if row.get("level") == "bad"]
    notes = [row["text"] for row in found.get("warnings") or [] if row.get("level") != "bad"]
    if bad:
        lines = plain(bad[0]) if len(bad) == 1 else "\n".join(f"- {plain(text)}" for text in bad)
        st.warning(lines, icon=":material/warning:")
    for note in notes[:3]:
        st.markdown(f":material/info: {plain(note)}")
    if len(notes) > 3:
        with st.expander("1 more note" if len(notes) == 4 else f"{len(notes) - 3} more notes"):
            for note in notes[3:]:
                st.markdown(f"- {plain(note)}")


def the_cards(found: Found) -> None:
    after = (found.get("calibration") or {}).get("after") or {}
    length = _formatting(found, "length")
    best = _best_baseline(found)
    beyond = f"{100 * best['difference']['value']:+.1f} points on “{best['title'].lower()}”" if best else ""
    cells = [
        (
            "Held-out accuracy", percent(_value(found.get("accuracy"))), _inside(found.get("accuracy"), "pairs", 100, " %"),
            "Share of the decided test pairs of which the model scores the preferred response higher.",
        ),
        (
            "Better than the best baseline" if best else "Baselines",
            f"{100 * best['difference']['value']:+.1f} points" if best else "—",
            _inside(best["difference"], "pairs", 100) if best else "none could be measured",
            f"{beyond}, on the same pairs: what it has learnt beyond choosing so." if best else "",
        ),
        (
            "Calibration error", percent(_value(after.get("ece"))), _inside(after.get("ece"), "pairs", 100, " %"),
            "How far the model's confidence is from how often it is right, over bins, after temperature scaling.",
        ),
        (
            "Goes by length", _signed(_value(length.get("model"))), _inside(length.get("model"), "pairs", 1),
            "Rank correlation of the differences in score and in length. Far from zero means that optimising "
            "against this model drives length.",
        ),
    ]  # fmt: skip
    for column, (label, value, detail, help_) in zip(st.columns(4), cells, strict=True):
        with column, st.container(border=True, height="stretch", gap="xxsmall"):
            st.metric(label, value, help=help_ or None)
            st.caption(detail)


def _formatting(found: Found, name: str) -> Found:
    return next((row for row in found.get("formatting") or [] if row["name"] == name), {})


def _best_baseline(found: Found) -> Found | None:
    rows = [
        row
        for row in found.get("baselines") or []
        if row.get("unit") == "pairs"
        and _value(row.get("accuracy")) is not None
        and _value(row.get("difference")) is not None
    ]
    return max(rows, key=lambda row: row["accuracy"]["value"], default=None)


def _value(found: Found | None) -> float | None:
    return found.get("value") if found else None


def _signed(value: float | None) -> str:
    return "—" if value is None else f"{value:+.2f}"


def _inside(found: Found | None, unit: str, by: float, after: str = "") -> str:
    """`58.0 to 70.0 % · n 250 pairs`"""
    if not found or found.get("low") is None or found.get("high") is None:
        return "nothing to measure it on" if not found or not found.get("n") else f"n {found['n']:,} {unit}"
    form = ".1f" if by == 100 else "+.2f"
    return f"{by * found['low']:{form}} to {by * found['high']:{form}}{after} · n {found['n']:,} {unit}"


# --- accuracy beside baselines and people ----------------------------------------------------


def the_accuracy(found: Found) -> None:
    st.markdown("**Accuracy beside baselines and people**")
    people = found.get("people") or {}
    rows = [{"name": "This model", **(found.get("accuracy") or {}), "kind": "this", "unit": "pairs"}]
    for row in found.get("baselines") or []:
        rows.append(
            {
                "name": row["title"],
                **row["accuracy"],
                "kind": "other",
                "unit": row["unit"],
                "said": row.get("how"),
            }
        )
    for key, name in (
        ("one_out", "A person, against the others"),
        ("model_one_out", "This model, against the same"),
    ):
        if _value(people.get(key)) is not None:
            kind = "people" if key == "one_out" else "this"
            rows.append({"name": name, **people[key], "kind": kind, "unit": "votes"})
    st.altair_chart(dots(rows, "accuracy"), width="stretch")
    if people.get("message"):
        st.caption(plain(people["message"]))
    ties = (found.get("n") or {}).get("ties")
    if ties:
        st.caption(f"{ties:,} test pairs are ties of people and are not counted here.")


def the_calibration(found: Found) -> None:
    st.markdown("**Is it as good as it believes?**")
    calibration = found.get("calibration") or {}
    if not ((calibration.get("after") or {}).get("bins")):
        skipped(found, "calibration", "There are no decided test pairs to measure it on.")
        return
    st.altair_chart(reliability_chart(calibration), width="stretch")
    rows = [
        {
            "": name,
            "As trained": figure(calibration["before"].get(key), share=share),
            "After scaling": figure(calibration["after"].get(key), share=share),
        }
        for key, name, share in (("ece", "Calibration error", True), ("log_loss", "Log-loss", False), ("brier", "Brier", False))
    ]  # fmt: skip
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", height="content")
    st.caption(
        f"{_temperature(calibration)} A coin has a log-loss of 0.693 and a Brier score of 0.25. Larger dots hold more "
        "pairs."
    )


def _temperature(calibration: Found) -> str:
    """What the probabilities are scaled by, and by what that was found."""
    figure_, n = calibration.get("temperature") or {}, f"{calibration.get('n_dev', 0):,} dev pairs"
    inside = f"{figure_['low']:.2f} to {figure_['high']:.2f}" if figure_.get("low") is not None else ""
    if _value(figure_) is None:
        return f"Not scaled, from {n}."
    said = f"Temperature {figure_['value']:.2f}"
    if not calibration.get("fitted", True):
        return f"{said}, which came with it; a fit on the {n} here would give {inside or 'nothing: they are too few'}."
    return f"{said} ({inside}), from {n}." if inside else f"{said}, from {n}."


# --- where it is good and where not ----------------------------------------------------------


def the_slices(found: Found, key: str) -> None:
    slices = found.get("slices") or {}
    groups = {group["by"]: group for group in slices.get("groups") or [] if group.get("rows")}
    if not groups:
        skipped(found, "slices", "There are too few test pairs to look at parts of them.")
        return
    by = st.pills(
        "Accuracy by",
        list(groups),
        default=next(iter(groups)),
        format_func=lambda name: SLICES.get(name, groups[name]["title"]),
        required=True,
        key=f"slices_{key}",
    )
    group = groups[by or next(iter(groups))]
    rows = [
        {
            "name": str(row["name"]), **row["accuracy"], "kind": "marked" if row["differs"] else "this",
            "unit": group.get("unit", "pairs"),
            "said": f"{'differs from' if row['differs'] else 'like'} the rest (adjusted p {row['p_adjusted']:.3f})"
            if row.get("p_adjusted") is not None else "too few to test",
        }
        for row in group["rows"]
    ]  # fmt: skip
    overall = _value(found.get("accuracy"))
    st.altair_chart(dots(rows, f"accuracy by {group['title'].lower()}", at=overall), width="stretch")
    st.caption(
        f"The dashed line is the accuracy on all test pairs. {slices.get('looked_at', 0):,} parts were tested against "
        f"the rest ({slices.get('method')}, level {slices.get('level')}): {slices.get('marked', 0):,} differ, marked red. "
        f"{slices.get('too_small', 0):,} have fewer than 10 pairs and were not tested."
    )
    with st.expander("As a table"):
        table = [
            {
                group["title"]: str(row["name"]),
                "Accuracy": figure(row["accuracy"]),
                "The rest": figure(row.get("rest")),
                "Difference": figure(row.get("difference")),
                "Adjusted p": row.get("p_adjusted"),
            }
            for row in group["rows"]
        ]
        st.dataframe(
            pd.DataFrame(table), hide_index=True, width="stretch",
            column_config={"Adjusted p": st.column_config.NumberColumn(format="%.3f")},
        )  # fmt: skip


# --- what it goes by -------------------------------------------------------------------------


def the_leanings(found: Found) -> None:
    left, right = st.columns(2)
    with left, st.container(border=True, height="stretch"):
        st.markdown("**What its scores go with**")
        rows = [
            {"name": f"{row['title']}: {who}", **row[part], "kind": kind}
            for row in found.get("formatting") or []
            for part, who, kind in (("model", "the model", "this"), ("people", "people", "people"))
            if _value(row.get(part)) is not None
        ]
        if rows:
            st.altair_chart(
                dots(rows, "rank correlation", shares=False, at=0.0, domain=(-1, 1)),
                width="stretch",
            )
            st.caption(
                "Of the differences between the two responses: with the difference in score (green), and with the "
                "share of votes (violet). Where the model leans further than people do, it has learnt a shortcut."
            )
        else:
            skipped(found, "formatting", "The responses of the test pairs do not differ in length or format.")
    with right, st.container(border=True, height="stretch"):
        st.markdown("**Right where the longer one is preferred, and where the shorter**")
        length = found.get("length") or {}
        rows = [
            {"name": name, **length[key], "kind": "this"}
            for key, name in (
                ("follows", "People prefer the longer"),
                ("against", "People prefer the shorter"),
            )
            if _value(length.get(key)) is not None
        ]
        if rows:
            st.altair_chart(dots(rows, "accuracy"), width="stretch")
            st.caption(
                f"Difference {figure(length.get('gap'))}. A model that reads would be equally right in both."
            )
        else:
            skipped(found, "length", "No test pair has responses of different length.")
        position = found.get("position") or {}
        if _value(position.get("model")) is not None:
            st.caption(
                f"The left response won {figure(position.get('left'))} of the decisive votes; the model agrees with "
                f"the left one in {figure(position.get('model'))}."
            )
    the_sensitivity(found)
    leaks = found.get("leaks") or {}
    if not found.get("trained_here", True):
        skipped(found, "leaks", "")
    elif leaks.get("pairs"):
        st.caption(
            f"{leaks['pairs']:,} test pairs share text with the train split (input {leaks.get('input', 0):,}, both "
            f"responses {leaks.get('responses', 0):,}, one long response {leaks.get('response', 0):,}): accuracy "
            f"{figure(leaks.get('accuracy'))} there, {figure(leaks.get('clean'))} on the others."
        )


def the_sensitivity(found: Found) -> None:
    with st.container(border=True):
        st.markdown("**What small edits do to a score**")
        checks = found.get("sensitivity") or []
        if not checks:
            skipped(found, "sensitivity", "No response was edited: this model was judged without it.")
            return
        for kind, words in SENSITIVITY.items():
            some = [row for row in checks if row["kind"] == kind]
            if not some:
                continue
            st.caption(words)
            st.dataframe(
                pd.DataFrame(
                    [
                        {
                            "Edit": row["title"],
                            "Score moves by (sd)": figure(row.get("shift"), share=False, sign=True),
                            "Size (sd)": figure(row.get("size"), share=False),
                            "Decisions that change": figure(row.get("flipped")),
                            "Losers that win by it": figure(row.get("won")),
                        }
                        for row in some
                    ]
                ),
                hide_index=True,
                width="stretch",
                height="content",
            )
        with st.expander("An example of each edit"):
            for row in checks:
                before, after = (row.get("example") or ["", ""])[:2]
                st.caption(plain(row["title"]))
                one, two = st.columns(2)
                with one, st.container(border=True, height=140):
                    st.text(str(before))
                with two, st.container(border=True, height=140):
                    st.text(str(after))


# --- what more votes would bring -------------------------------------------------------------


def the_learning_curve(found: Found, key: str) -> None:
    curve = found.get("curve")
    if not curve or not curve.get("points"):
        skipped(found, "curve", "There are too few pairs to fit a learning curve.")
        return
    names = {"accuracy": "Accuracy", "log_loss": "Log-loss"}
    there = [name for name in names if curve.get(name)] or ["accuracy"]
    what = (
        st.segmented_control(
            "Of", there, default=there[0], format_func=names.__getitem__, required=True, key=f"curve_{key}"
        )
        or there[0]
    )
    told = curve.get(what) or {}
    if told.get("message"):
        st.subheader(plain(told["message"]), anchor=False)
    st.altair_chart(learning_chart(curve, what), width="stretch")
    st.caption(
        plain(
            f"Dots: measured, {curve.get('learner', '')}, averaged over draws, with 95 % intervals. Line and band: the "
            "fitted power law and its interval; dashed beyond the votes there are."
        )
    )
    if told.get("more"):
        share = what == "accuracy"
        st.dataframe(
            pd.DataFrame(
                [
                    {
                        "More votes": f"{row['votes']:,.0f}",
                        "More pairs": f"{row['pairs']:,.0f}",
                        "Should bring": _gain(row["gain"], share),
                    }
                    for row in told["more"]
                ]
            ),
            hide_index=True,
            height="content",
        )


def _gain(gain: Found, share: bool) -> str:
    if _value(gain) is None:
        return "—"
    by, form, unit = (100, "+.1f", " points") if share else (1, "+.3f", "")
    said = f"{by * gain['value']:{form}}{unit}"
    if gain.get("low") is not None:
        said += f" ({by * gain['low']:{form}} to {by * gain['high']:{form}})"
    return said
