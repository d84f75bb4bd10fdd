"""The worst mistakes of a reward model: read, chosen, sent back to annotators, followed."""

from collections import Counter

import streamlit as st

from core.errors import PrefloopError
from core.reward import mistakes
from core.reward.mistakes import Mistake, Said
from core.services import database
from core.stats import wilson
from pages.reward_reading import show_pair
from pages.shared import ago, may, me, percent, plain
from storage.tables import Project, RewardModel

SHOWN = 5
CAME_BACK = {
    "people": ("people confirmed it", "green", ":material/groups:"),
    "model": ("people side with the model", "orange", ":material/model_training:"),
    "even": ("people are even", "gray", ":material/drag_handle:"),
}


def the_mistakes(project: Project, model: RewardModel) -> None:
    found = mistakes.worst(database(), me(), model.id)
    if not found:
        st.write(mistakes.why_none(database(), me(), model.id))
        return
    st.write(
        "The pairs it is most wrong about, worst first. Read them: either the model is wrong, or the label is. "
        "One more vote of somebody who has not judged the pair tells which."
    )
    what_came_back(found)
    chosen = [item.pair_id for item in found if st.session_state.get(_key(model, item))]
    sending(model, found, chosen)
    last = -(-len(found) // SHOWN)
    page = (
        st.segmented_control(
            "Mistakes",
            range(last),
            default=0,
            format_func=lambda i: f"{i * SHOWN + 1} to {min(len(found), (i + 1) * SHOWN)}",
            required=True,
            key=f"mistakes_page_{model.id}",
        )
        if last > 1
        else 0
    )
    for place in range((page or 0) * SHOWN, min(len(found), ((page or 0) + 1) * SHOWN)):
        the_mistake(model, found[place], place + 1)


def what_came_back(found: list[Mistake]) -> None:
    waiting = sum(item.waiting for item in found)
    back = Counter(item.verdict for item in found if item.verdict)
    if not waiting and not back:
        return
    n = sum(back.values())
    parts = [f"{waiting:,} on their way to annotators"] if waiting else []
    if n:
        parts.append(
            f"{n:,} came back: {back['people']:,} confirm what people said, {back['model']:,} side with the model, "
            f"{back['even']:,} even"
        )
    st.markdown(f":material/forward_to_inbox: **{'; '.join(parts)}.**")
    if n >= 5:
        low, high = wilson(back["model"], n)
        st.caption(
            f"New votes side with the model in {percent(back['model'] / n, low, high, n)} of these: about so many of "
            "its worst mistakes are mistakes of the labels."
        )


def sending(model: RewardModel, found: list[Mistake], chosen: list[str]) -> None:
    """Above the list, so that it stays where it is while one reads."""
    able = may("reward.send_back")
    free = [item for item in found if not item.refused]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            f"Send {len(chosen):,} back to the annotators" if chosen else "Send back to the annotators",
            type="primary",
            icon=":material/forward_to_inbox:",
            disabled=not chosen or not able,
            key=f"send_back_{model.id}",
            help="Asks for one more vote on each, of people who have neither voted on it nor passed it.",
            on_click=_send,
            args=(model.id, chosen, [_key(model, item) for item in found]),
        )
        st.button(
            "Choose the worst five",
            icon=":material/checklist:",
            disabled=not free or not able,
            key=f"choose_five_{model.id}",
            on_click=_choose,
            args=([_key(model, item) for item in free[:5]],),
        )
        st.caption("Choose some below, then send them." if not chosen else f"{len(chosen):,} chosen")


def _send(model_id: str, chosen: list[str], keys: list[str]) -> None:
    """What the button said when it was pressed: the boxes themselves may be half drawn by then,
    and would be read as they were before."""
    try:
        done = mistakes.send_back(database(), me(), model_id, chosen)
    except PrefloopError as problem:
        st.session_state["reward_said"] = f"{problem.message} {problem.hint}".strip()
        return
    n = len(done.pairs)
    said = f"{n:,} pairs are on their way to the annotators."
    if n == 1:
        said = "1 pair is on its way to the annotators."
    for why in dict.fromkeys(done.refused.values()):
        said += f" {sum(item == why for item in done.refused.values()):,} not: {why}"
    st.session_state["reward_said"] = said
    for key in keys:
        st.session_state[key] = False


def _choose(keys: list[str]) -> None:
    for key in keys:
        st.session_state[key] = True


def _key(model: RewardModel, item: Mistake) -> str:
    return f"mistake_{model.id}_{item.pair_id}"


def the_mistake(model: RewardModel, item: Mistake, place: int) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.checkbox(
                f"**{place}** · gives what people prefer a chance of {100 * item.p:.1f} %",
                key=_key(model, item),
                disabled=bool(item.refused) or not may("reward.send_back"),
                help=item.refused or None,
            )
            if item.waiting:
                st.badge("on its way", icon=":material/forward_to_inbox:", color="blue")
            if item.verdict:
                words, color, icon = CAME_BACK[item.verdict]
                st.badge(words, icon=icon, color=color)  # type: ignore[arg-type]
        if item.text:
            show_pair(item.text, preferred=item.preferred)
        else:
            st.write("Its texts are no longer there.")
        facts = [f"label {item.q:.2f} for A (n {item.n:,})"]
        if item.length_difference:
            longer = "A" if (item.length_difference > 0) == (item.preferred == "a") else "B"
            facts.append(f"{longer} is longer by {abs(item.length_difference):,.0f} characters")
        if item.cluster:
            facts.append(f"topic {item.cluster}")
        if item.text:
            facts.append(f"A by {item.text.get('prompt_a') or '?'}, B by {item.text.get('prompt_b') or '?'}")
        st.caption(plain(" · ".join(facts)))
        for vote in item.votes:
            st.markdown(vote_line(vote))


def vote_line(vote: Said) -> str:
    words = {"a": "prefers A", "b": "prefers B", "tie": "says tie", "both_bad": "calls both bad"}
    said = f"**{plain(vote.by)}** {words[vote.choice]}"
    if vote.strength and vote.choice in ("a", "b"):
        said += f", {vote.strength}"
    kind = " (simulated)" if vote.simulated else " (machine judge)" if vote.machine else ""
    new = ":material/forward_to_inbox: " if vote.again else ":material/how_to_vote: "
    reason = f": “{plain(vote.reason)}”" if vote.reason else ""
    return f"{new}{said}{kind}{reason} · {ago(vote.at)}"
