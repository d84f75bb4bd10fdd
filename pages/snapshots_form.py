"""Making a data set: which votes, what they become, and what that leaves, at once."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import streamlit as st

from core.annotation.aggregation import method_of
from core.reward.snapshots import service
from core.reward.snapshots.build import DataSet
from core.reward.snapshots.card import LEFT_OUT
from core.reward.snapshots.checks import failed
from core.reward.snapshots.service import Options
from core.services import database
from pages.shared import me, plain, problems
from storage.tables import Project

SOURCES = {
    "page": "This app's page",
    "api": "The API",
    "import": "Imported",
    "adjudication": "Adjudicators",
    "machine": "Machine judges",
    "simulated": "Simulated",
}
METHODS = {
    "majority": "Every vote the same",
    "skill": "By annotators' skill",
    "bradley_terry": "Towards the ratings",
}
TIES = {"half": "Half for each", "drop": "Leave out", "both": "Both ways round"}
BOTH_BAD = {"ignore": "Count the other votes", "drop": "Leave out when most say so"}
SPLITS = {"groups": "Near-duplicates together", "stored": "As the examples have it"}


def the_form(project: Project, options: Options, open_: bool) -> None:
    opened = st.expander(
        "Make a data set", icon=":material/add:", expanded=open_, key=f"make_{project.id}", on_change="rerun"
    )
    if not opened.open:  # counting is not for those who only look
        return
    with opened:
        votes, labels = st.columns(2, gap="large")
        with votes:
            st.markdown("**Which votes**")
            filters = _votes(project, options)
        with labels:
            st.markdown("**What they become**")
            filters |= _labels(project)
        st.space("small")
        with problems():
            data = service.preview(database(), me(), project.id, filters)
            _left(data)
            _make(project, filters, data)


def _votes(project: Project, options: Options) -> dict[str, Any]:
    def key(name: str) -> str:
        return f"snapshot_{name}_{project.id}"

    found: dict[str, Any] = {}
    if options.simulated:
        simulated = st.toggle(
            "Simulated votes, where nobody else voted", key=key("simulated"),
            help="No person cast them: a model learns what the simulation prefers. Left out unless you ask for them.",
        )  # fmt: skip
        found["simulated"] = "include" if simulated else "exclude"
    if options.machines:
        machine = st.toggle(
            "Votes of machine judges that a lead took in", key=key("machine"),
            help="Language models cast them. Left out unless you ask for them.",
        )  # fmt: skip
        found["machine"] = "include" if machine else "exclude"
    names = list(options.annotators)
    found["annotators"] = st.multiselect(
        "Only these annotators", names, placeholder="Everybody", key=key("annotators"),
        format_func=lambda name: f"{name} ({options.annotators[name]:,})",
    )  # fmt: skip
    found["without"] = st.multiselect(
        "Without these", [name for name in names if name not in found["annotators"]], placeholder="Nobody",
        key=key("without"), format_func=lambda name: f"{name} ({options.annotators[name]:,})",
    )  # fmt: skip
    if options.groups:
        found["groups"] = st.multiselect(
            "Only these groups", options.groups, placeholder="All", key=key("groups")
        )
    left, right = st.columns(2)
    least = left.number_input(
        "At least votes a pair",
        1,
        100,
        1,
        key=key("least_votes"),
        help="That say which is better, or neither.",
    )
    found["least_votes"] = int(least)
    found["sources"] = right.multiselect(
        "Came in by",
        options.sources,
        placeholder="Any way",
        format_func=SOURCES.__getitem__,
        key=key("sources"),
    )
    with st.popover("More filters", icon=":material/filter_alt:", width="content"):
        found |= _more(options, key)
    return found


def _more(options: Options, key: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if options.skilled and st.checkbox("By skill", key=key("by_skill")):
        found["least_skill"] = st.slider(
            "Skill at least", 0.0, 1.0, 0.5, 0.05, key=key("least_skill"),
            help="The share of an annotator's votes that they judged and did not guess (MACE, on the page Quality). "
            "Who shares no pair with others has none, and is left out.",
        )  # fmt: skip
    if options.checked and st.checkbox("By gold checks", key=key("by_gold")):
        found["least_gold"] = st.slider(
            "Gold checks as expected, at least", 0.0, 1.0, 0.8, 0.05, key=key("least_gold"),
            help="Who was never checked is left out.",
        )  # fmt: skip
    if options.first and options.last and st.checkbox("By time", key=key("by_time")):
        first, last = options.first.date(), options.last.date()
        since = st.date_input("From", first, min_value=first, max_value=last, key=key("since"))
        until = st.date_input(
            "To, this day included", last, min_value=first, max_value=last, key=key("until")
        )
        found["since"] = datetime.combine(since, time(), UTC).isoformat()
        found["until"] = datetime.combine(until + timedelta(days=1), time(), UTC).isoformat()
    if len(options.prompts) > 1:
        found["prompts"] = st.multiselect(
            "Pairs with a response of", options.prompts, placeholder="Any prompt", key=key("prompts")
        )
    return found


def _labels(project: Project) -> dict[str, Any]:
    def key(name: str) -> str:
        return f"snapshot_{name}_{project.id}"

    def choose(label: str, of: dict[str, str], name: str, default: str, help: str) -> str:
        return str(
            st.selectbox(
                label,
                list(of),
                index=list(of).index(default),
                format_func=of.__getitem__,
                help=help,
                key=key(name),
            )
        )

    criterion = None
    if project.criteria:
        criterion = st.selectbox(
            "The label says which is better", [None, *project.criteria], key=key("criterion"),
            format_func=lambda name: "On the whole" if name is None else f"In “{name}”",
            help="On one criterion, only votes that rate it count.",
        )  # fmt: skip
    method = choose(
        "Votes add up", METHODS, "method", method_of(project),
        "The same for every vote; weighted by how well an annotator judges (MACE); or the share of the votes drawn "
        "towards what the two prompts' ratings expect. A pair that an adjudicator decided is worth what they said.",
    )  # fmt: skip
    form = choose(
        "A label is", {"soft": "A probability, with its n", "hard": "The side that leads"}, "soft", "soft",
        "With a probability, a pair that people are divided on teaches less.",
    )  # fmt: skip
    left, right = st.columns(2)
    with left:
        ties = choose(
            "Ties", TIES, "ties", "half",
            "Half: the label of a tie is one half. Both ways round: to train on, an even pair is there twice, once for "
            "each side, each as half a pair; for losses that take no probabilities.",
        )  # fmt: skip
        margins = choose(
            "Margins", {"strength": "From strength", "none": "None"}, "margins", "strength",
            "Significantly better asks for a margin of 1, clearly 2/3, slightly 1/3, barely 0 (Llama 2).",
        )  # fmt: skip
    with right:
        bad = choose(
            "Both bad", BOTH_BAD, "both_bad", "ignore",
            "Such a vote says nothing about which is better. A pair is always left out when every vote says so.",
        )  # fmt: skip
        split = choose(
            "Splits", SPLITS, "split", "groups",
            "By example. Near-duplicates of an example go to the split of the one that was there first, else a model "
            "is judged on what it was trained on.",
        )  # fmt: skip
    return {
        "criterion": criterion, "method": method, "soft": form == "soft", "ties": ties, "both_bad": bad,
        "margins": margins, "split": split,
    }  # fmt: skip


def _left(data: DataSet) -> None:
    """What the filters leave, now."""
    counts = data.counts
    splits = counts["splits"]
    cells = [
        ("Votes", counts["cast"], f"of {counts['left_out']['of_votes']:,} that count"),
        ("To train on", splits["train"]["decided"], f"decided pairs · {splits['train']['ties']:,} ties"),
        (
            "To choose and calibrate",
            splits["dev"]["decided"],
            f"decided pairs · {splits['dev']['ties']:,} ties",
        ),
        ("To judge by", splits["test"]["decided"], f"decided pairs · {splits['test']['ties']:,} ties"),
    ]
    for column, (label, value, under) in zip(st.columns(4), cells, strict=True):
        with column.container(border=True, gap=None, height="stretch"):
            st.metric(label, f"{value:,}")
            st.caption(under)
    out = [
        f"{counts['left_out'][why]:,} pairs: {words}"
        for why, words in LEFT_OUT.items()
        if counts["left_out"][why]
    ]
    moved = counts["moved"]
    if moved["pairs"]:
        out.append(f"{moved['pairs']:,} pairs moved to the split of a near-duplicate")
    if out:
        st.caption("Left out: " + " · ".join(out) if not moved["pairs"] else " · ".join(out))
    for check in failed(data.checks):
        st.error(f"**{check['title']}.** {plain(check['said'])}", icon=":material/leak_remove:")


def _make(project: Project, filters: dict[str, Any], data: DataSet) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Name", placeholder="such as “Careful annotators, November”", max_chars=service.MAX_NAME, width=360,
            key=f"snapshot_name_{project.id}",
        )  # fmt: skip
        pressed = st.button(
            "Freeze it",
            type="primary",
            icon=":material/ac_unit:",
            disabled=not data.pairs,
            key="make_snapshot",
        )
    if pressed:
        with problems():
            made = service.make(database(), me(), project.id, name, filters)
            st.query_params["snapshot"] = made.id
            st.session_state.pop(f"snapshots_{project.id}", None)
            st.toast(
                f"“{plain(made.name)}” is frozen: {made.counts['pairs']:,} pairs.", icon=":material/check:"
            )
            st.rerun()
