"""Export, the part of the data page that makes a file: for what, in which form, what becomes
of ties and of “both bad”, and what is left out."""

import json
from typing import Any

import pandas as pd
import streamlit as st

from core import accounts, data
from core.services import database
from pages.data_import import narrow, plural
from pages.shared import me
from storage.exporting import Account, Order
from storage.formats import FORMATS
from storage.listing import Counts
from storage.tables import Project

SPLITS = ("train", "dev", "test")
# For what: its title, what it is good for, and the format as text and as messages.
PURPOSES: dict[str, tuple[str, str, str, str]] = {
    "comparisons": (
        "Comparisons",
        "One row a vote, then the pairs that wait. Can be imported again; nothing is lost.",
        "comparisons",
        "",
    ),
    "preferences": (
        "Preferences",
        "Prompt, chosen, rejected: one row a pair, for TRL's RewardTrainer and DPOTrainer.",
        "trl",
        "trl-conversational",
    ),
    "margin": (
        "Preferences with margin",
        "The same with the strength as a margin, and the soft label: q (share of the votes) and n.",
        "trl-margin",
        "trl-margin-conversational",
    ),
    "openai": (
        "OpenAI DPO",
        "Preference fine-tuning as OpenAI and hosts like it take it.",
        "",
        "dpo-openai",
    ),
    "kto": (
        "KTO",
        "Every response by itself, good or bad: the winner is good, the loser is not.",
        "kto",
        "kto-conversational",
    ),
    "sft": (
        "SFT",
        "Prompt and completion: the better responses that people wrote.",
        "sft",
        "sft-conversational",
    ),
    "messages": (
        "SFT conversations",
        "The same as whole conversations, which most fine-tuning services take.",
        "",
        "sft-messages",
    ),
}
FILES = {
    "jsonl": "JSON Lines",
    "json": "JSON",
    "csv": "CSV (objects as JSON)",
    "parquet": "Parquet",
    "hf": "Hugging Face folder (zip)",
}
TIES = {"drop": "Leave out", "both": "Keep"}
BOTH_BAD = {
    "ignore": "Count the other votes",
    "drop": "Leave out when most say so",
    "reject": "Both are bad examples",
}
LARGE = 50_000  # rows from which a program had better fetch the file


def show_export(project: Project, counts: Counts) -> None:
    purpose = st.segmented_control(
        "For",
        list(PURPOSES),
        default="comparisons",
        required=True,
        format_func=lambda name: PURPOSES[name][0],
        key="export_purpose",
    )
    st.caption(PURPOSES[purpose][1])
    order, as_ = _choose(purpose, counts)
    page = data.export_preview(database(), me(), project.id, order)
    _figures(order, page.account, counts)
    if not page.total:
        st.info(_nothing(order, counts), icon=":material/info:")
        return
    shown = [{name: flat(value) for name, value in row.items()} for row in page.rows]
    texts = ("input", "response_a", "response_b", "prompt", "chosen", "rejected", "completion")
    st.caption("The first rows")
    st.dataframe(pd.DataFrame(shown).fillna(""), hide_index=True, column_config=narrow(*texts))
    sign_in_id = me().sign_in_id
    st.download_button(
        f"Download {plural(page.total, 'row')}",
        data=lambda: encoded(sign_in_id, project, order, as_),
        file_name=data.file_name(project.name, order, as_),
        type="primary",
        icon=":material/download:",
        on_click="ignore",
    )
    with st.expander("From a program", icon=":material/terminal:", expanded=page.total > LARGE):
        st.caption("The file comes as a stream, however large it is. Make a token under *My account*.")
        st.code(_command(project, order, as_), language="bash", wrap_lines=True)


def _choose(purpose: str, counts: Counts) -> tuple[Order, str]:
    text, messages = PURPOSES[purpose][2:]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        form = "messages"
        if text and messages:
            form = st.selectbox(
                "Form",
                ["text", "messages"],
                format_func={"text": "Text", "messages": "Messages"}.__getitem__,
                width=150,
                help="Messages are for chat models: roles and contents. As text, a conversation is one transcript.",
                key="export_form",
            )
        described = FORMATS[messages if form == "messages" and messages else text]
        split = st.selectbox(
            "Split", [None, *SPLITS], format_func=lambda name: name or "All", width=130, key="export_split"
        )
        as_ = st.selectbox(
            "File",
            list(described.encodings),
            format_func=FILES.__getitem__,
            width=260,
            key=f"export_file_{described.name}",
            help="The folder has a Parquet file for each split and a dataset card; "
            "`datasets.load_dataset` opens it once it is unpacked.",
        )
    simulated, ties, both_bad, chosen = False, None, None, False
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if described.ties:
            ties = st.selectbox(
                "Neither preferred",
                list(described.ties),
                format_func=TIES.__getitem__,
                width=170,
                key=f"export_ties_{described.family}",
                help="Pairs whose votes are ties or even. Kept, both responses are good ones."
                if described.family == "kto"
                else "Pairs whose votes are ties or even. Kept, they give two rows, one each way round.",
            )
        if described.both_bad and described.family != "sft":
            both_bad = st.selectbox(
                "Both bad",
                list(described.both_bad),
                format_func=BOTH_BAD.__getitem__,
                width=260,
                key=f"export_bad_{described.family}",
                help="A pair whose every vote says “both bad” is never a preference. This is about pairs "
                "on which some say so, and, for KTO, about taking them as bad examples.",
            )
    if described.family == "sft":
        chosen = st.toggle(
            "Also responses that won",
            key="export_chosen",
            help="Responses that won a pair, lost none, and that most did not call bad. "
            "`source` tells them from what people wrote.",
        )
    if counts.simulated_votes:
        simulated = st.toggle(
            "Include simulated votes",
            key="export_simulated",
            help="Rows that rest on them are marked: “simulated” is true. "
            f"{counts.simulated_votes:,} of the {counts.votes:,} votes are simulated.",
        )
    return Order(described.name, simulated, split, ties, both_bad, chosen), as_


def _figures(order: Order, found: Account, counts: Counts) -> None:
    pairs, family, policy = found.tally, order.described.family, order.policy
    with st.container(horizontal=True):
        st.metric("Rows", f"{found.rows:,}", border=True)
        if family == "sft":
            st.metric("Written by people", f"{found.demonstrations:,}", border=True)
            help_ = "Responses that won a pair and lost none."
            st.metric(f"Winners{'' if order.chosen else ', left out'}", f"{found.winners:,}", border=True, help=help_)  # fmt: skip
        elif family != "comparisons":
            st.metric("Pairs with a preference", f"{pairs.decided:,}", border=True)
            ties = "kept" if policy.ties == "both" else "left out"
            st.metric(f"Neither preferred, {ties}", f"{pairs.even:,}", border=True)
            bad = "kept" if policy.both_bad == "reject" else "left out"
            st.metric(f"Both bad, {bad}", f"{pairs.bad:,}", border=True)
    notes = []
    if family != "comparisons":
        people = pairs.votes - pairs.simulated_votes - pairs.machine_votes
        if people:
            notes.append(
                f"From {plural(people, 'vote')} of {plural(pairs.annotators - pairs.machine_annotators, 'annotator')}"
            )
        if pairs.waiting:
            notes.append(f"{plural(pairs.waiting, 'pair')} without votes left out")
    if pairs.simulated_votes:
        notes.append(f"{plural(pairs.simulated_votes, 'simulated vote')} taken in")
    elif counts.simulated_votes:
        notes.append(f"{plural(counts.simulated_votes, 'simulated vote')} left out")
    if pairs.machine_votes:
        notes.append(f"{plural(pairs.machine_votes, 'vote')} of machine judges taken in")
    if pairs.adjudicated and family != "comparisons":
        notes.append(f"{plural(pairs.adjudicated, 'pair')} as an adjudicator decided")
    if pairs.unheard and family != "comparisons":
        notes.append(f"{plural(pairs.unheard, 'pair')} left out whose only votes do not count")
    if notes:
        st.caption(" · ".join(notes) + ".")


def _nothing(order: Order, counts: Counts) -> str:
    if counts.votes and counts.votes == counts.simulated_votes and not order.include_simulated:
        return "No row: every vote here is simulated. Include them to see what a file would hold."
    if order.described.family == "sft":
        return "No row: nobody has written a better response here yet."
    if order.described.family == "comparisons":
        return "No row: no votes, and no pairs that wait."
    return "No row: no vote that counts prefers one response here."


def _command(project: Project, order: Order, as_: str) -> str:
    asked: dict[str, Any] = {"format": order.format, "as": as_, "split": order.split}
    asked |= {"ties": order.ties, "both_bad": order.both_bad}
    asked |= {"chosen": "true" if order.chosen else None}
    asked |= {"include_simulated": "true" if order.include_simulated else None}
    query = "&".join(f"{name}={value}" for name, value in asked.items() if value)
    address = (st.context.url or "http://localhost:8501").split("/data")[0].rstrip("/")
    name = data.file_name(project.name, order, as_)
    return (
        f'curl -H "Authorization: Bearer $PREFLOOP_TOKEN" -o {name} \\\n'
        f'  "{address}/api/v1/projects/{project.id}/export?{query}"'
    )


def encoded(sign_in_id: str | None, project: Project, order: Order, as_: str) -> bytes:
    """The file, made when the button is pressed. That happens outside the page, which
    therefore says whose sign-in it is; it is checked anew."""
    who = accounts.principal_of_sign_in(database(), sign_in_id)
    return b"".join(data.export_file(database(), who, project.id, order, as_))


def flat(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
