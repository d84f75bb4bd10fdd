"""Language models as judges: let one judge pairs, and see how far it agrees with people."""

from typing import Any

import pandas as pd
import streamlit as st

from core.annotation import annotators
from core.annotation.judge.figures import JudgeState, judges, leans
from core.annotation.judge.prompt import DEFAULT_TEMPLATE
from core.annotation.judge.runs import DEFAULT_LIMIT, MOST_PAIRS, Estimate, estimate, usual_pairs
from core.errors import Invalid
from core.llm import registry
from core.runs import service
from core.runs.states import ACTIVE
from core.services import database
from pages.judges_charts import agreement_chart, leaning_chart
from pages.run_progress import cancel_button, progress_bar
from pages.shared import duration, empty, header, may, me, number, percent, plain, problems, say_problem
from storage.tables import Host, Project, Run

PAIRS = {
    "voted": "Voted on by people",
    "unvoted": "Without a vote",
    "all": "All",
}
PAIRS_HELP = (
    "Pairs that people have voted on show how far the judge agrees with them; start there. Each judge is asked "
    "about a pair once."
)
WORDS = (
    "A judge is a model on a host with a prompt. It is asked about each pair twice, with the responses in both "
    "orders: who wins both times has won, both bad both times is both bad, anything else is a tie (Zheng et al. "
    "2023, MT-Bench)."
)
AGREES = (
    "On pairs both judged, the share of the people on a pair who said the same as the judge, as a mean over pairs. "
    "People among themselves: the share of couples of them who said the same. “Both bad” is a choice of its own where "
    "the judge may say it, else a tie. 95 %, bootstrap over pairs."
)
KAPPA = "Cohen's kappa: agreement beyond what chance gives; 0 is chance, 1 is perfect. 95 %, bootstrap over pairs."
DECISIVE = "The same without ties and “both bad” on either side: 50 % is what a coin gives."
CHANGED = "Pairs on which the answer changed with the order of the responses. They count as ties."
FIRST = (
    "Answers for the response that stood first, of those that prefer one. Every pair was asked in both orders, so a "
    "judge without a pull is at 50 %. Interval over pairs."
)
LONGER = "Decisive votes for the longer response, of those between responses of different length (Wilson's interval)."


# --- letting one judge --------------------------------------------------------------------


def the_form(project: Project, open_: bool) -> None:
    with st.expander("Let a model judge", icon=":material/gavel:", expanded=open_):
        if not may("run.start"):
            st.caption("Engineers and admins start judge runs.")
            return
        hosts = registry.list_hosts(database(), me())
        config = _config(project, hosts)
        try:
            plan = estimate(database(), me(), project.id, config)
        except Invalid as problem:
            say_problem(problem.message, problem.hint)
            return
        st.caption(_said(plan))
        if st.button("Judge", type="primary", icon=":material/gavel:", disabled=not plan.pairs, key="judge"):
            with problems():
                service.start_run(database(), me(), project.id, "judge", config)
                st.rerun()


def _config(project: Project, hosts: list[Host]) -> dict[str, Any]:
    left, middle, right = st.columns([2, 2, 1])
    host = left.selectbox(
        "Host",
        hosts,
        format_func=lambda one: f"{one.name} · {registry.model_name(one)}",
        help="Where the judge runs. A model in this machine answers by the likelihood of the letters A to D; "
        "one behind a URL writes its answer.",
        key=f"judge_host_{project.id}",
    )
    usual = usual_pairs(database(), me(), project.id)
    pairs = middle.selectbox(
        "Pairs",
        list(PAIRS),
        index=list(PAIRS).index(usual),
        format_func=PAIRS.__getitem__,
        help=PAIRS_HELP,
        key=f"judge_pairs_{project.id}",
    )
    limit = right.number_input(
        "At most", 1, MOST_PAIRS, DEFAULT_LIMIT, help="Drawn by lot.", key=f"judge_limit_{project.id}"
    )
    config: dict[str, Any] = {"host": host.id, "pairs": pairs, "limit": int(limit)}
    with st.popover("The judge's prompt", icon=":material/edit_note:", width="content"):
        text = st.text_area(
            "Prompt",
            DEFAULT_TEMPLATE,
            height=460,
            width=640,
            key=f"judge_prompt_{project.id}",
            help="Slots: {{guidelines}} and {{criteria}} of this project, {{input}}, {{response_a}}, {{response_b}}. "
            "Another prompt is another judge. It may answer A, B, C (neither is better), and D (both are bad) where the "
            "prompt speaks of D.",
        )
        if host.kind == "openai":
            config["max_new_tokens"] = int(
                st.number_input(
                    "Tokens to answer in", 1, 8_192, 64, width=200, key=f"judge_tokens_{project.id}",
                    help="More, where the prompt asks for reasons first: then the answer stands in [[A]], "
                    "[[B]], [[C]] or [[D]].",
                )
            )  # fmt: skip
    if text.strip() and text.strip() != DEFAULT_TEMPLATE:
        config["prompt"] = text
    return config


def _said(plan: Estimate) -> str:
    if not plan.pairs:
        return "There are no pairs of this kind that this judge has not judged."
    cost = f", cost about {plan.cost:,.2f}" if plan.cost else ""
    more = f" {plan.left:,} pairs more could be judged." if plan.left else ""
    rough = "" if plan.measured else " (a guess until a first run)"
    return (
        f"{plan.pairs:,} pairs, {plan.calls:,} questions, about {duration(plan.seconds)}{rough}{cost}. Answers that "
        f"cannot be read are asked for once more.{more}"
    )


def the_run(run_id: str) -> None:
    run = service.get_run(database(), me(), run_id)
    if run.status not in ACTIVE:
        st.rerun()
    with st.container(border=True):
        left, right = st.columns([4, 1], vertical_alignment="center")
        left.markdown("**Judging**" if run.status == "running" else "**Waiting for its turn**")
        left.caption(plain(run.name))
        with right:
            cancel_button(run, "What is judged is kept.")
        progress_bar(run)


def the_last(run: Run) -> None:
    """What a person should know of the newest run that has ended otherwise than well."""
    if run.status in ("failed", "interrupted"):
        say_problem(run.error or "The last judge run was interrupted.", run.hint or "")
        st.page_link("runs.py", label="See the run", icon=":material/arrow_forward:")
    elif run.status == "cancelled":
        done = (run.result or {}).get("judged", 0)
        st.info(
            f"The last judge run was cancelled; its {done:,} judgements are kept.", icon=":material/info:"
        )


# --- how they do --------------------------------------------------------------------------


def show_table(found: list[JudgeState]) -> None:
    text = st.column_config.TextColumn
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "Judge": judge.name,
                    "Votes": judge.votes,
                    "Count": "counted" if judge.counts else "left out",
                    "Agrees with people": _percent(judge.agreement.share),
                    "People among themselves": _percent(judge.agreement.people_share),
                    "Kappa": _number(judge.agreement.kappa),
                    "Kappa, people": _number(judge.agreement.people_kappa),
                    "Without ties": _percent(judge.agreement.decisive),
                    "Without ties, people": _percent(judge.agreement.people_decisive),
                    "Inconsistent": _percent(judge.inconsistent),
                    "Picks the first": _percent(judge.first),
                    "Picks the longer": _percent(judge.longer),
                    "Picks the longer, people": _percent(judge.people_longer),
                    "Ties": _percent(judge.ties),
                    "Both bad": _percent(judge.both_bad) if judge.says_both_bad else "—",
                    "Unreadable": judge.unparsable,
                    "Calls": judge.calls,
                    "Tokens": judge.tokens_in + judge.tokens_out,
                    "Cost": judge.cost,
                }
                for judge in found
            ]
        ),
        hide_index=True,
        width="stretch",
        column_config={
            "Judge": text(pinned=True),
            "Count": text(help="Votes of a judge count nowhere until a lead takes them in."),
            "Agrees with people": text(help=AGREES),
            "People among themselves": text(help=AGREES),
            "Kappa": text(help=KAPPA),
            "Kappa, people": text(help=KAPPA),
            "Without ties": text(help=DECISIVE),
            "Without ties, people": text(help=DECISIVE),
            "Inconsistent": text(help=CHANGED),
            "Picks the first": text(help=FIRST),
            "Picks the longer": text(help=LONGER),
            "Picks the longer, people": text(help=LONGER),
            "Both bad": text(help="Of its votes. “—”: its prompt does not ask for D, so it cannot say so."),
            "Unreadable": st.column_config.NumberColumn(
                help="Pairs without a vote, because an answer could not be read after asking twice."
            ),
            "Cost": st.column_config.NumberColumn(format="%.4f"),
        },
    )


def _percent(figure: Any) -> str:
    return percent(figure.value, figure.low, figure.high, figure.n) if figure.n else "—"


def _number(figure: Any) -> str:
    return number(figure.value, figure.low, figure.high, figure.n) if figure.n else "—"


def show_one(project: Project, judge: JudgeState) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{plain(judge.name)}**", width="content")
            if judge.counts:
                st.badge("counted", icon=":material/check:", color="orange")
            else:
                st.badge("left out", icon=":material/visibility_off:", color="gray")
        for line in evidence(judge):
            st.write(line)
        with st.container(horizontal=True):
            for chart, help in ((agreement_chart(judge), AGREES), (leaning_chart(judge), FIRST)):
                if chart is not None:
                    with st.container(width=540, gap=None):
                        title = "Agreement with people" if help is AGREES else "Where it leans"
                        st.markdown(f"**{title}**", help=help)
                        st.altair_chart(chart, width="stretch")
        if judge.by_source:
            st.caption(
                "Agreement by where pairs come from: "
                + " · ".join(f"{source} {_percent(figure)}" for source, figure in judge.by_source.items())
            )
        if judge.prompt:
            with st.expander("Its prompt"):
                st.code(judge.prompt, language=None, wrap_lines=True)
        if not may("annotator.manage"):
            st.caption("A lead or an admin says whether its votes count.")
        elif judge.counts:
            st.button(
                "Leave its votes out", icon=":material/visibility_off:", key=f"out_{judge.id}", on_click=_count,
                args=(project.id, judge.id, False),
            )  # fmt: skip
        elif st.button("Count its votes", icon=":material/how_to_vote:", key=f"in_{judge.id}"):
            _ask(project.id, judge)


def evidence(judge: JudgeState) -> list[str]:
    """What the figures say, in sentences."""
    said = []
    own, people = judge.agreement.decisive, judge.agreement.people_decisive
    if not judge.agreement.share.n:
        said.append("No person has voted on the pairs it judged, so its votes cannot be checked yet.")
    elif own.value is None:
        said.append("It has not preferred a response on any pair that people decided.")
    else:
        line = f"Where both sides prefer a response it agrees with people in {_percent(own)}"
        if people.value is not None:
            line += f"; people agree with each other there in {_percent(people)}"
        if own.low is not None and own.low <= 0.5 <= (own.high or 1):
            line += ". That is not told apart from a coin"
        said.append(line + ".")
    if judge.inconsistent.n:
        line = f"The order changed its answer on {_percent(judge.inconsistent)} of pairs"
        pull = leans(judge.first)
        if pull:
            line += (
                f"; it leans to the response that stands {pull} ({_percent(judge.first)} picked the first)"
            )
        said.append(line + ".")
    return said


def _count(project_id: str, judge_id: str, counts: bool) -> None:
    with problems():
        if counts:
            annotators.take_back(database(), me(), project_id, judge_id)
        else:
            annotators.leave_out(database(), me(), project_id, judge_id, "Machine votes are not to count")


@st.dialog("Count a machine's votes?")
def _ask(project_id: str, judge: JudgeState) -> None:
    st.markdown(f"**{plain(judge.name)}**, {judge.votes:,} votes")
    st.write(
        "Leaderboard, quality, reward training and exports then count them beside people's votes, and say how many "
        "there are. You can leave them out again at any time."
    )
    for line in evidence(judge):
        st.write(line)
    if st.button(
        "Count its votes",
        type="primary",
        key="count_yes",
        on_click=_count,
        args=(project_id, judge.id, True),
    ):
        st.rerun()


project = header("Machine judges", "Let a language model judge pairs, and see how far it agrees with people.")
with problems():
    runs = service.list_runs(database(), me(), project.id, "judge", 20) if may("run.view") else []
    active = next((run for run in runs if run.status in ACTIVE), None)
    found = judges(database(), me(), project.id)
    st.caption(WORDS)
    if active is not None:
        st.fragment(the_run, run_every=1.0)(active.id)
    elif runs:
        the_last(runs[0])
    if active is None and found:
        the_form(project, open_=False)
    if found:
        if not any(judge.counts for judge in found):
            st.info(
                "Votes of machine judges are kept apart: they count nowhere until a lead takes them in.",
                icon=":material/visibility_off:",
            )
        for judge in found:
            show_one(project, judge)
        st.subheader("All figures", anchor=False)
        show_table(found)
    elif active is None:
        empty(
            "No model has judged pairs of this project yet.",
            "Let one judge pairs that people have voted on: the page then shows how far it agrees with them, next to "
            "how far people agree with each other, and whether it leans to one place or to length.",
        )
        the_form(project, open_=True)
