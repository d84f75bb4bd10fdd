"""Prompts: every version, what changed in it, a place to write the next one, and the
generation of responses."""

from html import escape

import pandas as pd
import streamlit as st

from core.annotation.leaderboard import leaderboard
from core.llm.soft_names import names_in
from core.optimize.found import found_by_an_optimiser
from core.prompts import versions
from core.prompts.diff import word_diff
from core.prompts.frameworks import FRAMEWORKS
from core.prompts.soft import soft_card
from core.services import database
from pages.champion import promote_button, show_history, show_trial
from pages.prompt_editor import edit_version, show_editor, start_new
from pages.prompt_generate import show_generate
from pages.prompt_moving import show_moving
from pages.render import heading
from pages.shared import empty, header, may, me, percent, problems
from pages.soft_prompt import show_soft
from storage.tables import Project, Prompt

VIEWS = {"versions": "Versions", "write": "Write", "generate": "Generate responses"}
ICONS = {
    "versions": ":material/history_edu:",
    "write": ":material/edit:",
    "generate": ":material/play_arrow:",
}
_CHANGES = {
    "delete": '<del style="background:rgba(200,60,40,.16);border-radius:3px">{}</del>',
    "insert": '<ins style="background:rgba(30,140,110,.20);border-radius:3px">{}</ins>',
    "equal": "{}",
}


def show_versions(project: Project, prompts: list[Prompt]) -> None:
    if not prompts:
        empty(
            "There are no prompts yet.",
            "A prompt is a template that every example is put into. Write two, generate responses with "
            "both, and let people say which are better.",
        )
        if may("prompt.edit"):
            st.button(
                "Write the first prompt", type="primary", icon=":material/add:", on_click=_go_write,
                key="prompts_first",
            )  # fmt: skip
        show_moving(project, prompts)
        return
    _next_step(project, prompts)
    with st.container(horizontal=True, vertical_alignment="center"):
        if may("prompt.edit"):
            st.button(
                "New prompt", type="primary", icon=":material/add:", on_click=_go_write, key="prompts_new"
            )
        archived = st.toggle("Show archived", key="prompts_archived")
        show_moving(project, prompts)
    if archived:
        prompts = versions.list_prompts(database(), me(), project.id, archived=True)
    chosen = _table(project, prompts)
    show_history(project)
    if chosen is not None:
        show_version(project, chosen, {prompt.id: prompt for prompt in _all(project)})


def _all(project: Project) -> list[Prompt]:
    return versions.list_prompts(database(), me(), project.id, archived=True)


def _next_step(project: Project, prompts: list[Prompt]) -> None:
    """One line on what is missing before prompts can be compared."""
    usable = [prompt for prompt in prompts if prompt.user.strip()]
    if len(prompts) < 2:
        st.info("Two prompts are needed to compare: write another one.", icon=":material/info:")
    elif usable and not project.champion_prompt_id:
        st.info(
            "No prompt is the champion yet: promote the one that is in use, and new ones are compared "
            "with it.",
            icon=":material/info:",
        )


def _table(project: Project, prompts: list[Prompt]) -> Prompt | None:
    """The versions, one a row; answers the one that is selected."""
    counts = versions.response_counts(database(), me(), project.id)
    names = {prompt.id: versions.label(prompt) for prompt in _all(project)}
    board = leaderboard(database(), me(), project.id)
    rates = {item["prompt_id"]: item for item in board["items"]}
    table = pd.DataFrame(
        {
            "Prompt": [versions.label(prompt) for prompt in prompts],
            "State": [_state(project, prompt) for prompt in prompts],
            "Made by": [_origin(prompt) for prompt in prompts],
            "From": [names.get(prompt.parent_id or "", "") for prompt in prompts],
            "Responses": [counts.get(prompt.id, 0) for prompt in prompts],
            "Win rate": [_rate(rates.get(prompt.id)) for prompt in prompts],
            "Created": [prompt.created_at for prompt in prompts],
        }
    )
    table = table.drop(columns=[name for name in ("State", "From") if not table[name].astype(bool).any()])
    wanted = st.session_state.get(f"prompt_of_{project.id}") or project.champion_prompt_id
    place = next((i for i, prompt in enumerate(prompts) if prompt.id == wanted), 0)
    picked = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"prompts_{project.id}_{len(prompts)}_{wanted}",
        selection_default={"selection": {"rows": [place], "columns": []}},
        column_config={
            "Prompt": st.column_config.TextColumn(width="medium"),
            "Responses": st.column_config.NumberColumn(format="localized"),
            "Win rate": st.column_config.TextColumn(
                help="Share of votes for this prompt's responses, a tie counting half; 95 % interval and n."
            ),
            "Created": st.column_config.DatetimeColumn(format="distance"),
        },
    )
    if board["simulated_votes"]:
        st.caption(f"Win rates: {board['simulated_votes']:,} of {board['votes']:,} votes are simulated.")
    rows = picked.selection.rows
    if not rows:
        st.caption("Select a version to read it, see what changed, and go on from it.")
        return None
    return prompts[rows[0]] if rows[0] < len(prompts) else None


def _state(project: Project, prompt: Prompt) -> str:
    said = []
    if project.champion_prompt_id == prompt.id:
        said.append("champion")
    if names_in(prompt.system, prompt.user):
        said.append("soft prompt")
    if not prompt.user.strip():
        said.append("name only")
    if prompt.archived_at is not None:
        said.append("archived")
    return ", ".join(said)


def _origin(prompt: Prompt) -> str:
    framework = (prompt.structure or {}).get("framework")
    title = f" · {FRAMEWORKS[framework].title}" if framework in FRAMEWORKS else ""
    return f"{prompt.operation}{title}"


def _rate(item: dict | None) -> str:
    if item is None:
        return ""
    return percent(item["win_rate"], item["win_rate_low"], item["win_rate_high"], item["n"])


# --- one version -----------------------------------------------------------------------------


def show_version(project: Project, prompt: Prompt, known: dict[str, Prompt]) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(heading(versions.label(prompt)), width="content")
            if project.champion_prompt_id == prompt.id:
                st.badge("Champion", icon=":material/star:", color="primary")
            if prompt.archived_at is not None:
                st.badge("Archived", icon=":material/archive:", color="gray")
            if names_in(prompt.system, prompt.user):
                st.badge("Soft prompt", icon=":material/grain:", color="blue")
            if not prompt.user.strip():
                st.badge("Known by name only", icon=":material/label:", color="gray")
        _lineage(prompt, known)
        if not prompt.user.strip():
            st.write(
                "This name came with imported comparisons. What its prompt says is not known, so nothing "
                "can be generated with it; its responses are rated like all others. Write a version of "
                "this name to give it a template."
            )
        else:
            show_messages(prompt.system, prompt.user)
        soft = bool(names_in(prompt.system, prompt.user))
        if soft:
            show_soft(soft_card(prompt), prompt.id)
        parent = known.get(prompt.parent_id or "")
        if parent is not None and parent.user.strip() and not soft:
            _diff(parent, prompt)
        if found_by_an_optimiser(database(), me(), prompt.id):
            show_trial(prompt)
        _actions(project, prompt)


def _lineage(prompt: Prompt, known: dict[str, Prompt]) -> None:
    """`plain v1 → plain v2 (edited) → plain v3 (grips:delete)`"""
    chain, one = [prompt], prompt
    while one.parent_id and (above := known.get(one.parent_id)) is not None and above not in chain:
        chain.append(above)
        one = above
    said = [versions.label(chain[-1])]
    said += [f"{versions.label(step)} ({step.operation})" for step in reversed(chain[:-1])]
    st.text(" → ".join(said) + f" · {prompt.created_at:%Y-%m-%d %H:%M} UTC")
    if prompt.run_id:
        st.page_link(
            "runs.py", label="The run that made it", icon=":material/sync:",
            query_params={"run": prompt.run_id},
        )  # fmt: skip


def show_messages(system: str, user: str) -> None:
    """A template as it stands, in plain text: it is not ours to interpret."""
    if system.strip():
        st.caption("System")
        st.code(system, language=None, wrap_lines=True)
    st.caption("User")
    st.code(user, language=None, wrap_lines=True)


def _diff(parent: Prompt, prompt: Prompt) -> None:
    parts = []
    for title, old, new in (("System", parent.system, prompt.system), ("User", parent.user, prompt.user)):
        if old == new:
            continue
        words = "".join(_CHANGES[kind].format(escape(text)) for kind, text in word_diff(old, new))
        parts.append(f'<div style="opacity:.7;font-size:.85em">{title}</div><div>{words}</div>')
    if not parts:
        st.caption("The text is the same as its parent's.")
        return
    with st.expander("What changed against the parent", icon=":material/difference:", expanded=True):
        st.html(f'<div style="white-space:pre-wrap;line-height:1.6">{"".join(parts)}</div>')


def _actions(project: Project, prompt: Prompt) -> None:
    with st.container(horizontal=True):
        if may("prompt.edit"):
            label = "New version" if prompt.user.strip() else "Write its template"
            st.button(
                label,
                icon=":material/edit:",
                on_click=_go_edit,
                args=(prompt,),
                key=f"prompt_edit_{prompt.id}",
            )
        champion = project.champion_prompt_id == prompt.id
        promote_button(project, prompt)
        if may("prompt.edit") and not champion:
            archived = prompt.archived_at is not None
            label, icon = (
                ("Restore", ":material/unarchive:") if archived else ("Archive", ":material/archive:")
            )
            act = versions.restore_prompt if archived else versions.archive_prompt
            if st.button(label, icon=icon, key=f"prompt_archive_{prompt.id}"):
                with problems():
                    act(database(), me(), prompt.id)
                    st.rerun()


# --- the page --------------------------------------------------------------------------------


def _go_write() -> None:
    start_new()
    st.session_state["prompts_view"] = "write"


def _go_edit(prompt: Prompt) -> None:
    edit_version(prompt)
    st.session_state["prompts_view"] = "write"


project = header("Prompts")
prompts = versions.list_prompts(database(), me(), project.id)
views = ["versions"]
views += ["write"] if may("prompt.edit") else []
views += ["generate"] if may("run.view") else []
if st.session_state.pop("prompts_go", None) or st.session_state.get("prompts_view") not in views:
    st.session_state["prompts_view"] = "versions"
view = st.segmented_control(
    "View",
    views,
    format_func=lambda name: f"{ICONS[name]} {VIEWS[name]}",
    key="prompts_view",
    required=True,
    label_visibility="collapsed",
)
if view == "write":
    show_editor(project, prompts)
elif view == "generate":
    show_generate(project, prompts)
else:
    show_versions(project, prompts)
