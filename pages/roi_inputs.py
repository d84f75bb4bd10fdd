"""The inputs of a scenario: one group at a time, so that the page is no wall of fields."""

from typing import Any

import streamlit as st

from core.planning.roi.model import (
    ADOPTION,
    CALLS,
    COMPUTE,
    COMPUTE_INPUTS,
    GROUPS,
    INPUTS,
    LABELS,
    PEOPLE,
    UPLIFT,
    VALUE,
    Input,
    known_input,
    quantities,
    used,
)
from core.planning.units import money
from pages.roi_field import Editor
from pages.shared import plain

SOURCES = {"win_rate": "Win rate × conversion", "experiment": "Measured in production", "assumed": "Assumed"}
CONVERSION = (
    "Uplift = conversion × (2 × win rate − 1). People say which response they prefer, not whether it "
    "solved the case: how many preferred responses turn a failure into a success is an assumption, "
    "and the range below should be as wide as your doubt."
)
ADD, MOST_COMPUTE = "Add a kind", 12


def _settings(editor: Editor, group: str) -> None:
    """What a group has besides its quantities."""
    values = editor.draft.values
    if group == UPLIFT:
        source = editor.choice("uplift_source", "The uplift comes from", SOURCES)
        editor.why("uplift_source")
        if source != "assumed" and len(editor.found.baselines) > 1:
            editor.baseline()
        if source == "win_rate":
            st.info(CONVERSION, icon=":material/info:")
    elif group == ADOPTION:
        with st.grid(2, min_column_width=220):
            with st.container():
                editor.whole(
                    "horizon_months", "Horizon (months)", "1 to 120. What comes later is not counted."
                )
            with st.container():
                editor.share(
                    "discount_rate", "Discount rate (% per year)", "What money a year later is worth less."
                )
    elif group == LABELS:
        per = editor.choice("votes_per", "The votes are", {"total": "in total", "month": "each month"})
        if per == "total":
            editor.whole("labelling_months", "Over how many months")
            editor.why("labelling_months")
    elif group == CALLS:
        options = {"tokens": "Tokens × price", "calls": "Calls × cost of a call"}
        editor.choice("calls_basis", "Priced by", options)
        editor.why("calls_basis")
    elif group == PEOPLE:
        source = editor.choice(
            "people_source", "People cost", {"own": "As put in here", "team": "From the team plan"}
        )
        if source == "own":
            editor.whole("people_months", "Paid for how many months", "0 to 120, from the first.")
        else:
            _team(editor)
    elif group == VALUE and values["uplift_source"] == "experiment":
        st.caption("The success rate only bounds the uplift: no more can be gained than is missing to 100 %.")


def _team(editor: Editor) -> None:
    mine, now = editor.draft.values["people_team"], editor.found.settings.get("people_team")
    if not mine and now is None:
        st.warning("There is no team plan yet: make one on the Team page, or put a figure in here.")
        st.page_link("team.py", label="Team", icon=":material/groups:")
        return
    total = money(sum(mine), editor.currency)
    st.caption(plain(f"{total} over {len(mine)} months, as the team plan said when it was taken."))
    if now is not None and abs(sum(now) - sum(mine)) > 0.01 * max(1.0, sum(mine)):
        st.caption(
            plain(f"The team plan says now: {money(sum(now), editor.currency)} over {len(now)} months.")
        )
        st.button(
            "Take it",
            icon=":material/sync:",
            key=editor.key("people_team", "_take"),
            on_click=editor.take_team,
            disabled=not editor.editable,
        )


def _compute(editor: Editor) -> None:
    """Kinds of machine time, each with its hours and its price."""
    items = editor.draft.values["compute"]
    for i, item in enumerate(items):
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="bottom"):
                editor.text(f"compute.{i}.name", "Kind")
                options = {"search": "each search", "month": "each month"}
                editor.choice(f"compute.{i}.per", "Hours are for", options)
                st.button(
                    "Remove",
                    icon=":material/delete:",
                    key=editor.key(f"compute.{i}", "_remove"),
                    on_click=editor.remove,
                    args=(i,),
                    disabled=not editor.editable,
                )
            with st.grid(2, min_column_width=260):
                for key, about in COMPUTE_INPUTS.items():
                    unit = f"hours per {item['per']}" if key == "hours" else about.unit
                    editor.quantity(
                        f"compute.{i}.{key}", Input(about.label, COMPUTE, unit, 0, 0, about=about.about)
                    )
    if editor.editable and len(items) < MOST_COMPUTE:
        st.button(ADD, icon=":material/add:", on_click=editor.add)


def show_inputs(editor: Editor) -> None:
    """A group at a time, so that the page is no wall of fields; wrong ones are named."""
    good = editor.draft.good
    known, wanted = quantities(good), used(good)
    counts = {
        group: sum(
            known[path].origin == "measured" for path in wanted if known_input(good, path).group == group
        )
        for group in GROUPS
    }
    group = st.pills(
        "Inputs",
        GROUPS,
        default=VALUE,
        format_func=lambda name: f"{name} · {counts[name]} measured" if counts[name] else name,
        required=True,
        label_visibility="collapsed",
        key="roi_group",
    )
    wrong = {_group_of(path) for path in editor.errors} - {group}
    if wrong:
        st.warning(f"A figure is not right in: {', '.join(sorted(wrong))}.", icon=":material/error:")
    _settings(editor, group)
    unused = _not_asked(editor.draft.values)
    paths = [path for path, about in INPUTS.items() if about.group == group and path not in unused]
    with st.grid(min(4, max(2, len(paths))), min_column_width=250):
        for path in paths:
            editor.quantity(path, INPUTS[path])
    if group == COMPUTE:
        _compute(editor)
    for key, reason in editor.found.missing.items():
        if _group_of(key) == group:
            st.caption(f":material/info: {plain(reason)}")


def _group_of(path: str) -> str:
    key = path.split(".")[0]
    if key in INPUTS:
        return INPUTS[key].group
    places = {
        "horizon_months": ADOPTION, "discount_rate": ADOPTION, "labelling_months": LABELS,
        "people_months": PEOPLE, "people_team": PEOPLE, "compute": COMPUTE, "calls": CALLS,
    }  # fmt: skip
    return places.get(key, VALUE)


def _not_asked(values: dict[str, Any]) -> set[str]:
    """Quantities that the choices leave without a part; as `model.used`, for values that may
    not be right yet."""
    uplift = {
        "assumed": {"uplift"}, "win_rate": {"win_rate", "conversion"}, "experiment": {"experiment"}
    }[values["uplift_source"]]  # fmt: skip
    gone = {"uplift", "win_rate", "conversion", "experiment"} - uplift
    gone |= {"calls_per_month", "cost_per_call"} if values["calls_basis"] == "tokens" else {
        "tokens_per_month", "price_per_million"
    }  # fmt: skip
    return gone | ({"people_per_month"} if values["people_source"] == "team" else {"people_factor"})
