"""One data set: what is in it, whether it can be trusted, how balanced it is, its card, its
files."""

from typing import Any

import pandas as pd
import streamlit as st

from core import accounts
from core.reward.snapshots import service
from core.reward.snapshots.card import CHOSEN_BY_SKILL, LEFT_OUT, people
from core.reward.snapshots.checks import failed
from core.reward.snapshots.filters import filters_of, words
from core.services import database
from pages import snapshots_charts as charts
from pages.shared import ago, may, me, percent, plain, problems
from storage.tables import Project, RewardModel, Snapshot

Row = dict[str, Any]
VERDICTS = {
    "fail": (":red[:material/cancel:]", "failed"),
    "warn": (":orange[:material/warning:]", "look at it"),
    "pass": (":green[:material/check_circle:]", "passed"),
}
NOTHING = "There is nothing to tell this from yet."


def share(of: Row) -> str:
    return percent(of["share"], of["low"], of["high"], of["n"])


def the_snapshot(project: Project, snapshot: Snapshot, models: list[RewardModel]) -> None:
    counts = snapshot.counts
    _head(snapshot, counts, models)
    for check in failed(snapshot.checks):
        with st.container(border=False):
            st.error(
                f"**{check['title']}.** {plain(check['said'])} A training refuses this data set unless it is told to "
                "allow leaks, and the model keeps the mark.",
                icon=":material/leak_remove:",
            )
    _figures(counts, "least_skill" in snapshot.filters)
    names = ["Leak checks", "Balance", "Prompts", "Annotators"]
    names += ["Criteria"] if counts["criteria"] else []
    names += ["How it was made", "Card"]
    tabs = dict(zip(names, st.tabs(names), strict=True))
    with tabs["Leak checks"]:
        _checks(snapshot.checks)
    with tabs["Balance"]:
        _balance(counts)
    with tabs["Prompts"]:
        _chart(
            charts.prompts_chart(counts),
            "How often a prompt's response is preferred over another prompt's; a tie counts half.",
        )
        _table(
            [
                {"Prompt": of["name"], "Pairs": of["pairs"], "Preferred": share(of["preferred"])}
                for of in counts["prompts"]
            ],
            len(counts["prompts"]) > charts.MOST,
        )
    with tabs["Annotators"]:
        _annotators(counts)
    if "Criteria" in tabs:
        with tabs["Criteria"]:
            _chart(
                charts.criteria_chart(counts),
                "How often a criterion prefers the response that is preferred on the whole.",
            )
            _table(
                [
                    {
                        "Criterion": of["name"],
                        "Pairs": of["pairs"],
                        "Votes": of["votes"],
                        "Prefers the same": share(of["as_whole"]),
                    }
                    for of in counts["criteria"]
                ],
                True,
            )
    with tabs["How it was made"]:
        _made(snapshot, counts)
    with tabs["Card"], problems():
        # A card quotes names that people wrote; as text, nothing in it is Markdown of the page.
        st.code(
            service.card_of(database(), me(), snapshot.id), language="markdown", wrap_lines=True, height=420
        )


def _head(snapshot: Snapshot, counts: Row, models: list[RewardModel]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(plain(snapshot.name), anchor=False, width="content")
        wrong = len(failed(snapshot.checks))
        if wrong:
            st.badge(
                f"{wrong} leak {'check' if wrong == 1 else 'checks'} failed",
                icon=":material/leak_remove:",
                color="red",
            )
        if counts["simulated_votes"]:
            part = counts["simulated_votes"] / max(1, counts["votes"])
            st.badge(
                "all simulated" if part == 1 else f"{100 * part:.0f} % simulated",
                icon=":material/science:",
                color="orange",
            )
        if counts["machine_votes"]:
            st.badge(f"{counts['machine_votes']:,} votes by machine", icon=":material/gavel:", color="orange")
        if snapshot.automatic:
            st.badge("made by a training", icon=":material/model_training:", color="gray")
        if snapshot.archived_at:
            st.badge("put away", icon=":material/archive:", color="gray")
    by = service.makers(database(), me(), [snapshot]).get(snapshot.created_by or "", "")
    used = ", ".join(plain(model.name) for model in models) or "no model yet"
    st.caption(
        f"Made {ago(snapshot.created_at)}{' by ' + plain(by) if by else ''} · content {snapshot.content_hash[:12]} · "
        f"trained on it: {used}"
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        if not snapshot.archived_at and may("run.start"):
            st.page_link(
                "reward_models.py", label="Train on it", icon=":material/model_training:",
                query_params={"snapshot": snapshot.id}, width="content",
            )  # fmt: skip
        if may("data.export"):
            _download(snapshot)
        if not snapshot.archived_at and may("snapshot.make"):
            with st.popover("Put away", icon=":material/archive:", width="content"):
                st.write(
                    "It is no longer listed nor offered for training. Its files stay, for the models that rest on it."
                )
                if st.button("Put it away", key=f"archive_{snapshot.id}"):
                    with problems():
                        service.archive(database(), me(), snapshot.id)
                        st.session_state.pop(f"snapshots_{snapshot.project_id}", None)
                        st.rerun()


def _download(snapshot: Snapshot) -> None:
    """The files are read when somebody asks for them, and whoever does is checked again."""
    sign_in_id = me().sign_in_id

    def content(what: str) -> bytes:
        who = accounts.principal_of_sign_in(database(), sign_in_id)
        found = service.download(database(), who, snapshot.id, what)[1]
        service.exported(database(), who, snapshot.id, what)
        return found

    with st.popover("Download", icon=":material/download:", width="content"):
        for what, label in (
            ("zip", "Everything (zip)"),
            ("pairs", "Pairs (Parquet)"),
            ("votes", "Votes (Parquet)"),
        ):
            st.download_button(
                label, data=lambda what=what: content(what), file_name=service.file_name(snapshot, what),
                on_click="ignore", key=f"download_{what}_{snapshot.id}", width="stretch",
            )  # fmt: skip


def _figures(counts: Row, by_skill: bool) -> None:
    splits = counts["splits"]
    agreement = counts["agreement"]
    cells = [
        (
            "Pairs", f"{counts['pairs']:,}", f"{counts['decided']:,} decided, {counts['ties']:,} ties",
            "Pairs of responses with a label. Decided: one response is preferred.",
        ),
        (
            "Train / dev / test", " / ".join(f"{splits[split]['pairs']:,}" for split in splits),
            f"{counts['examples']:,} examples, each in one split",
            "To train on; to choose the best state and calibrate; to judge by, once, at the end.",
        ),
        (
            "Votes", f"{counts['cast']:,}", f"by {people(counts['annotators'])} · {counts['both_bad_votes']:,} both bad",
            "Votes on these pairs.",
        ),
        (
            "Annotators agree", percent(agreement["share"]),
            _under(agreement, by_skill),
            "Of two votes on the same pair, how often they are the same. A model cannot be expected to agree with "
            "people more often than they do themselves. 95 % interval over pairs."
            + (f" {CHOSEN_BY_SKILL}" if by_skill else ""),
        ),
    ]  # fmt: skip
    for column, (label, value, under, help) in zip(st.columns(4), cells, strict=True):
        with column.container(border=True, gap=None, height="stretch"):
            st.metric(label, value, help=help)
            st.caption(under)


def _under(agreement: Row, by_skill: bool) -> str:
    if not agreement["n"]:
        return "needs pairs with two votes"
    said = f"{100 * agreement['low']:.1f} to {100 * agreement['high']:.1f}, n {agreement['n']:,} pairs"
    return said + (" · chosen by agreeing" if by_skill else "")


def _checks(checks: list[Row]) -> None:
    for check in sorted(checks, key=lambda item: list(VERDICTS).index(item["verdict"])):
        icon, word = VERDICTS[check["verdict"]]
        st.markdown(f"{icon} **{check['title']}** · {word}  \n{plain(check['said'])}")
        if check.get("examples"):
            for example in check["examples"]:
                st.text(f"{' and '.join(example['splits'])}: {example['text']}")


def _balance(counts: Row) -> None:
    left, right = st.columns([3, 2], gap="large")
    with left:
        _chart(
            charts.balance_chart(counts),
            "Dashed: no pull. A model that has learnt no more than this has learnt nothing.",
        )
    with right:
        _chart(charts.votes_chart(counts), "Pairs with few votes have labels that are less sure.")
    _table(
        [
            {
                "Split": split,
                "Pairs": of["pairs"],
                "Decided": of["decided"],
                "Ties": of["ties"],
                "Votes": of["votes"],
                "Simulated votes": of["simulated_votes"],
                "By machines": of["machine_votes"],
                "Left preferred": share(of["left"]),
                "Longer preferred": share(of["longer"]),
            }
            for split, of in counts["splits"].items()
        ],
        True,
    )


def _annotators(counts: Row) -> None:
    _chart(
        charts.annotators_chart(counts),
        "How often each annotator prefers the left one; sides are drawn, so far from a half is a habit.",
    )
    kinds = {
        (False, False): "person",
        (True, False): "simulated",
        (False, True): "machine judge",
        (True, True): "machine judge",
    }
    _table(
        [
            {
                "Annotator": of["name"],
                "Kind": kinds[of["simulated"], of["machine"]],
                "Votes": of["votes"],
                "Weight by skill": round(of["weight"], 2),
                "Left preferred": share(of["left"]),
                "Ties": share(of["ties"]),
                "Both bad": share(of["both_bad"]),
            }
            for of in counts["by_annotator"]
        ],
        True,
    )


def _made(snapshot: Snapshot, counts: Row) -> None:
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown(
            "\n".join(f"- **{what}**: {plain(how)}" for what, how in words(filters_of(snapshot.filters)))
        )
    with right:
        out = counts["left_out"]
        rows = [
            {
                "Left out": "votes",
                "How many": out["votes"],
                "Why": f"of {out['of_votes']:,} that count in the project",
            }
        ]
        rows += [
            {"Left out": "pairs", "How many": out[reason], "Why": why}
            for reason, why in LEFT_OUT.items()
            if out[reason]
        ]
        _table(rows, True)
        moved = counts["moved"]
        st.caption(
            f"{moved['groups']:,} groups of near-duplicate examples. {moved['pairs']:,} pairs of {moved['examples']:,} "
            "examples went to another split than their example's, to stay with the near-duplicate that was there first."
            + "".join(f" {way['pairs']:,} from {way['from']} to {way['to']}." for way in moved["ways"])
        )
        if counts["adjudicated"]:
            st.caption(f"{counts['adjudicated']:,} pairs were decided by an adjudicator.")


def _chart(chart: Any, caption: str) -> None:
    if chart is None:
        st.caption(NOTHING)
        return
    st.altair_chart(chart, width="stretch")
    st.caption(caption)


def _table(rows: list[Row], show: bool) -> None:
    if rows and show:
        whole = [name for name, value in rows[0].items() if isinstance(value, int)]
        config = {name: st.column_config.NumberColumn(format="localized") for name in whole}
        height = "content" if len(rows) <= 10 else 380
        st.dataframe(pd.DataFrame(rows), hide_index=True, height=height, column_config=config)
