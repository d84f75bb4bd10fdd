"""Two reward models side by side on the same held-out pairs, and making one the active one."""

import pandas as pd
import streamlit as st

from core.reward import compare_runs, comparing, promotion, registry
from core.reward.comparing import FEW, Comparison, Disagreement, Side
from core.reward.paired import Difference
from core.runs import service
from core.services import database
from pages.reward_charts import dots
from pages.reward_reading import show_pair, texts_of
from pages.shared import duration, may, me, plain, problems
from storage.tables import Project, RewardModel, Run

VERDICTS = {
    "better": (":green[:material/trending_up:]", "is better than"),
    "worse": (":red[:material/trending_down:]", "is worse than"),
    "unclear": (":material/drag_handle:", "cannot be told apart from"),
}
LEFT_OUT = {
    "only_first": "only in the test split of “{first}”",
    "only_second": "only in the test split of “{second}”",
    "seen": "their pair, example or input was in one of the two trainings",
}
SHOWN = 5


def the_comparison(project: Project, model: RewardModel, models: list[RewardModel]) -> None:
    """`model` against another one that the reader chooses: at first the active one."""
    others = {item.id: item for item in models if item.id != model.id}
    if not others:
        st.write(
            "There is no other model to compare it with yet. Train one with another preset or more votes."
        )
        return
    first = project.reward_model_id if project.reward_model_id in others else next(iter(others))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Compare with",
            list(others),
            index=list(others).index(first),
            format_func=lambda key: (
                others[key].name + (" (active)" if key == project.reward_model_id else "")
            ),
            key=f"compare_{model.id}",
            width=320,
        )
        found = comparing.sources(database(), me(), chosen, model.id)
        best = max(range(len(found)), key=lambda i: found[i].n)
        if len(found) > 1:
            words = {
                item.source: f"{'Both test splits' if item.source == 'test' else 'Scored anew'} (n {item.n:,})"
                for item in found
            }
            source = st.segmented_control(
                "On which pairs",
                list(words),
                default=found[best].source,
                format_func=words.__getitem__,
                required=True,
                key=f"compare_on_{model.id}_{chosen}",
            )
            best = next((i for i, item in enumerate(found) if item.source == source), best)
    the_result(found[best])
    scoring = compare_runs.waiting_run(database(), me(), project.id, chosen, model.id)
    offer_run(project, found, chosen, model.id, scoring)


def offer_run(project: Project, found: list[Comparison], first: str, second: str, run: Run | None) -> None:
    """More pairs to compare on, where the test splits share few."""
    if run is not None and run.status in ("queued", "running"):
        st.fragment(watch, run_every=1.5)(run.id)
        return
    if run is not None and run.status in ("failed", "interrupted", "cancelled"):
        st.caption(plain(f"The last scoring {run.status}. {run.error or ''} {run.hint or ''}"))
    few = found[0].n < FEW
    if few:
        st.write(
            f"Their test splits share {found[0].n:,} decided pairs that neither was trained on. Both models can "
            "score every pair that has votes now and that neither has seen."
        )
    label = "Score such pairs with both" if few else "Score newer pairs with both"
    if st.button(
        label,
        icon=":material/function:",
        key=f"score_both_{first}_{second}",
        type="primary" if few else "secondary",
        disabled=not may("run.start"),
        help=None if may("run.start") else "Engineers and admins start runs.",
    ):
        with problems():
            service.start_run(
                database(), me(), project.id, comparing.KIND, {"first": first, "second": second}
            )
            st.rerun()


def watch(run_id: str) -> None:
    run = service.get_run(database(), me(), run_id)
    if run.status not in ("queued", "running"):
        st.rerun()
    left = f" · about {duration(run.eta_s)} left" if run.eta_s is not None else ""
    st.progress(
        min(max(run.progress, 0.0), 1.0), text=f"Scoring: {plain(run.message or 'waiting for a slot')}{left}"
    )


# --- what was found -------------------------------------------------------------------------


def the_result(found: Comparison) -> None:
    first, second = plain(found.first.name), plain(found.second.name)
    if not found.n:
        st.markdown(f":material/help: **“{second}” and “{first}” share no decided held-out pair.**")
        what_was_left_out(found)
        return
    icon, words = VERDICTS[found.verdict]
    st.markdown(f"{icon} **“{second}” {words} “{first}”** on {found.n:,} held-out pairs.")
    st.caption(caption_of(found))
    left, right = st.columns([1.35, 1])
    with left, st.container(border=True, height="stretch"):
        st.markdown("**Accuracy on the same pairs**")
        st.altair_chart(
            dots([row_of(found.second, "this", found.n), row_of(found.first, "other", found.n)], "accuracy"),
            width="stretch",
        )
        t = found.table
        st.caption(
            f"Both right {t.both:,} · only “{second}” {t.second_only:,} · only “{first}” {t.first_only:,} · "
            f"neither {t.neither:,}"
        )
    with right, st.container(border=True, height="stretch"):
        st.markdown(f"**“{second}” less “{first}”**")
        st.dataframe(
            pd.DataFrame(differences(found)),
            hide_index=True,
            width="stretch",
            height="content",
            column_config={"": st.column_config.TextColumn(width="small")},
        )
        st.caption(f"95 % intervals, {'over examples' if found.by_examples else 'over pairs'}.")
    what_was_left_out(found)
    what_differs(found)
    where_they_disagree(found)


def caption_of(found: Comparison) -> str:
    test = "signs flipped by example" if found.by_examples else "McNemar, mid-p"
    said = f"{spoken(found.accuracy)} · p {p_words(found.p)} ({test})"
    if found.by_examples:
        said += f" · {found.examples:,} examples, so pairs of one example count together"
    if found.not_by_people:
        said += f" · {found.not_by_people:,} of the pairs have simulated or machine votes"
    return said


def spoken(difference: Difference) -> str:
    """`+4.0 points (1.2 to 6.9)`"""
    return (
        f"{100 * difference.value:+.1f} points ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
    )


def p_words(p: float) -> str:
    return "< .001" if p < 0.001 else f"{p:.3f}"


def row_of(side: Side, kind: str, n: int) -> dict[str, object]:
    return {
        "name": side.name, "kind": kind, "value": side.accuracy, "low": side.low, "high": side.high,
        "n": n, "unit": "pairs",
    }  # fmt: skip


def differences(found: Comparison) -> list[dict[str, str]]:
    rows = [{"": "Accuracy", "Difference (95 %)": spoken(found.accuracy), "n": f"{found.n:,}"}]
    for name, of, help_ in (("Log-loss", found.log_loss, ""), ("Brier", found.brier, "")):
        said = f"{of.value:+.3f} ({of.low:+.3f} to {of.high:+.3f})"
        rows.append({"": name, "Difference (95 %)": said + help_, "n": f"{of.n:,}"})
    return rows


def what_was_left_out(found: Comparison) -> None:
    names = {"first": found.first.name, "second": found.second.name}
    parts = [
        f"{found.left_out[key]:,} {words.format(**names)}"
        for key, words in LEFT_OUT.items()
        if found.left_out.get(key)
    ]
    said = f"Left out: {'; '.join(parts)}. " if parts else ""
    if found.relabelled:
        said += f"{found.relabelled:,} pairs were labelled otherwise for one of them: the label with more votes counts. "
    if found.unknown:
        names_ = " and ".join(f"“{name}”" for name in found.unknown)
        said += f"What {names_} learnt from is not known here: these pairs may be among it."
    if said:
        st.caption(plain(said))


def what_differs(found: Comparison) -> None:
    rows = [
        {"What": promotion.name_of(name), found.first.name: before, found.second.name: after}
        for name, before, after in [*found.data, *found.settings]
    ]
    if not rows:
        st.caption("They were trained on the same data with the same settings (but for chance).")
        return
    with st.expander(f"What differs between them: {len(rows)}"):
        st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", height="content")


def where_they_disagree(found: Comparison) -> None:
    if not found.disagreements:
        return
    n = found.table.first_only + found.table.second_only
    with st.expander(f"Where exactly one of them is right: {n:,} pairs"):
        sides = {"second": found.second.name, "first": found.first.name}
        which = st.segmented_control(
            "Right is",
            list(sides),
            default="second",
            format_func=sides.__getitem__,
            required=True,
            key=f"disagree_{found.first.id}_{found.second.id}_{found.source}",
        )
        some = [item for item in found.disagreements if item.right == which]
        if not some:
            st.write("None.")
            return
        page = 0
        if len(some) > SHOWN:
            last = -(-len(some) // SHOWN)
            page = st.number_input("Page", 1, last, key=f"page_{found.first.id}_{which}", width=140) - 1
        here = some[page * SHOWN : (page + 1) * SHOWN]
        texts = texts_of(found.second.id, [item.pair_id for item in here])
        for item in here:
            with st.container(border=True):
                st.caption(plain(odds(found, item)))
                if item.pair_id in texts:
                    show_pair(texts[item.pair_id], preferred="a" if item.q > 0.5 else "b")
                else:
                    st.write("Its texts are no longer there.")
        if len(found.disagreements) < n:
            st.caption(f"The {len(found.disagreements):,} on which the two are furthest apart.")


def odds(found: Comparison, item: Disagreement) -> str:
    """What each gave the response that people prefer."""
    p = [x if item.q > 0.5 else 1 - x for x in (item.p_second, item.p_first)]
    votes = "1 vote" if item.n == 1 else f"{item.n:,} votes"
    return (
        f"The preferred one wins with {100 * p[0]:.0f} % by “{found.second.name}” and with {100 * p[1]:.0f} % by "
        f"“{found.first.name}” · {votes}"
    )


# --- making it the active one ---------------------------------------------------------------


@st.dialog("Make it the active model", width="large")
def ask_to_activate(model_id: str) -> None:
    """What it changes, the warning where it is not shown to be better, and the button."""
    with problems():
        change = promotion.change(database(), me(), model_id)
        new, old = plain(change.after_name), plain(change.before_name)
        if change.before is None:
            st.markdown(f"**“{new}”** becomes the model that optimisers use.")
        else:
            st.markdown(f"Optimisers will use **“{new}”** instead of **“{old}”**.")
        if change.comparison is not None and change.comparison.n:
            st.caption(caption_of(change.comparison) + f" · n {change.comparison.n:,} held-out pairs")
        if change.warning:
            st.warning(plain(change.warning), icon=":material/warning:")
        if change.rows:
            st.dataframe(
                pd.DataFrame(
                    [{"What changes": row.name, "Now": row.before, "Then": row.after} for row in change.rows]
                ),
                hide_index=True,
                width="stretch",
                height="content",
            )
        reason = st.text_input(
            "Reason" if change.warning else "Reason (optional)",
            max_chars=promotion.MAX_REASON,
            key=f"reason_{model_id}",
            help="Kept in the audit log with the figures.",
        )
        label = "Make it active all the same" if change.warning else "Make it active"
        if st.button(label, type="primary", icon=":material/check:", key=f"activate_now_{model_id}"):
            registry.activate(database(), me(), model_id, reason)
            st.session_state["reward_said"] = f"“{change.after_name}” is the active model now."
            st.rerun()
