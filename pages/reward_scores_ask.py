"""Scoring at once: how a program asks, and a place to try it."""

import json

import streamlit as st

from core.reward import live
from core.reward.client import scorer
from core.services import database
from core.settings import get_settings
from pages.shared import may, me, percent, problems
from storage.tables import Project

EXAMPLE = {"items": [{"input": "What is a prompt?", "response": "What a language model is asked."}]}
PAIR = {
    "pairs": [{"input": "What is a prompt?", "response_a": "A question.", "response_b": "What it is asked."}]
}


def show_ask(project: Project) -> None:
    left, right = st.columns(2)
    with left, st.container(border=True, height="stretch"):
        st.subheader("Call the API", anchor=False)
        st.caption(
            f"Up to {live.MOST} responses a request. A token with the scope *read* will do: make one under "
            "*My account*."
        )
        language = st.segmented_control(
            "Language", ["curl", "Python"], default="curl", required=True, key="score_language",
            label_visibility="collapsed",
        )  # fmt: skip
        st.code(
            snippet(project.id, language),
            language="bash" if language == "curl" else "python",
            wrap_lines=True,
        )
        st.caption(
            "`items` answer `reward`, `spread` and `cut`; `pairs` (`response_a`, `response_b`) also `p`, the "
            "probability that people prefer a. A conversation goes into `messages`. 503 with `Retry-After` means: "
            "too much at once, try again."
        )
    with right, st.container(border=True, height="stretch"):
        st.subheader("Try it", anchor=False)
        the_form(project)


def snippet(project_id: str, language: str) -> str:
    url = f"{get_settings().url}/api/v1/projects/{project_id}/score"
    if language == "curl":
        body = json.dumps(EXAMPLE)
        return (
            f"curl -s {url} \\\n  -H 'Authorization: Bearer <token>' \\\n"
            f"  -H 'Content-Type: application/json' \\\n  -d '{body}'"
        )
    return (
        f'import httpx\n\nanswer = httpx.post(\n    "{url}",\n'
        '    headers={"Authorization": "Bearer <token>"},\n'
        f"    json={json.dumps(PAIR)},\n    timeout=60,\n)\n"
        'print(answer.json()["pairs"][0]["p"])'
    )


def the_form(project: Project) -> None:
    with st.form(f"try_{project.id}", border=False):
        said = st.text_area("Input", height=80, key=f"try_input_{project.id}")
        one = st.text_area("Response", height=100, key=f"try_one_{project.id}")
        two = st.text_area(
            "Another response (optional)",
            height=100,
            key=f"try_two_{project.id}",
            help="Then both are compared.",
        )
        pressed = st.form_submit_button(
            "Score", type="primary", icon=":material/calculate:", disabled=not may("reward.score")
        )
    if not pressed:
        st.caption("The first one after a while takes longer: the model is loaded then.")
        return
    with problems(), st.spinner("Scoring …", show_time=True):
        items = pairs = None
        if two.strip():
            pairs = [{"input": said, "response_a": one, "response_b": two}]
        else:
            items = [{"input": said, "response": one}]
        found = live.ask(scorer(), live.question(database(), me(), project.id, items, pairs))
        _show(found)


def _show(found: dict) -> None:
    whose = f"By {found['model']['name']}"
    scale = (
        "on the project's scale"
        if found["scale"]["kind"] == "project"
        else "on the scale of its training responses"
    )
    if "pairs" in found:
        pair = found["pairs"][0]
        with st.container(horizontal=True):
            st.metric(
                "Chance that people prefer the first",
                percent(pair["p"]),
                border=True,
                help="Calibrated on the dev split.",
            )
            st.metric("Reward of the first", f"{pair['reward_a']:+.2f}", border=True)
            st.metric("Reward of the second", f"{pair['reward_b']:+.2f}", border=True)
        cut = [pair["cut_a"], pair["cut_b"]]
    else:
        item = found["items"][0]
        with st.container(horizontal=True):
            st.metric("Reward", f"{item['reward']:+.2f}", border=True)
            if item["spread"] is not None:
                st.metric("Spread over its members", f"{item['spread']:.2f}", border=True)
        cut = [item["cut"]]
    st.text(f"{whose}, {scale}, in {1000 * found['seconds']:.0f} ms.")
    if "response" in cut:
        st.markdown(":material/content_cut: The end of a response did not fit into the model's length.")
    elif "input" in cut:
        st.markdown(":material/content_cut: The beginning of the input did not fit into the model's length.")
