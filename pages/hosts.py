"""Hosts: where language models run, whether they answer, and what they cost."""

from typing import Any

import streamlit as st

from core.errors import PrefloopError
from core.llm import registry
from core.llm.embedded import EMBEDDED
from core.llm.registry import HostTest
from core.services import database
from pages.render import heading
from pages.shared import header, may, me, problems
from storage.tables import Host

KINDS = {"openai": "OpenAI-compatible URL", "local": "In this machine"}
KEYS = {
    "none": (":material/key_off:", "no key"),
    "set": (":material/key:", "is set"),
    "missing": (":material/warning:", "is NOT set"),
}


def show_host(host: Host) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.html(heading(host.name), width="content")
            if host.id == EMBEDDED:
                st.badge("always there", icon=":material/inventory_2:", color="gray")
            remote = host.kind == "openai"
            st.badge(
                KINDS[host.kind], icon=":material/cloud:" if remote else ":material/memory:", color="blue"
            )
        st.text(_where(host))
        if host.api_key_env:
            state = registry.key_state(host)
            said = f"Key: the environment variable {host.api_key_env} {KEYS[state][1]} in this server."
            (st.warning if state == "missing" else st.caption)(
                said + (" Set it and start Prefloop again." if state == "missing" else "")
            )
        with st.container(horizontal=True):
            if may("host.edit"):
                if st.button("Test", icon=":material/network_check:", key=f"host_test_{host.id}"):
                    _test(host)
                if host.id != EMBEDDED:
                    with st.popover("Remove", icon=":material/delete:"):
                        st.write("It is taken off the list. What it answered stays.")
                        if st.button("Remove it", key=f"host_remove_{host.id}"):
                            with problems():
                                registry.archive_host(database(), me(), host.id)
                                st.rerun()
        tried = st.session_state.get(f"host_tested_{host.id}")
        if tried is not None:
            _result(tried)


def _where(host: Host) -> str:
    """Model, place, prices and patience in one line."""
    said = [f"model {registry.model_name(host)}"]
    if host.kind == "openai":
        said += [
            host.base_url,
            f"{host.concurrency} at once",
            f"{host.timeout_s:g} s at most each",
        ]
    if host.price_in or host.price_out:
        said.append(f"{host.price_in:g} in, {host.price_out:g} out per million tokens")
    said += [f"{name} {value}" for name, value in (host.params or {}).items()]
    return " · ".join(said)


def _test(host: Host) -> None:
    with st.spinner("Testing …"):
        try:
            tried = registry.test_host(database(), me(), host.id)
        except PrefloopError as problem:
            tried = HostTest(False, problem.message, problem.hint)
    st.session_state[f"host_tested_{host.id}"] = tried


def _result(tried: HostTest) -> None:
    """What a server said goes into a code block: it is not ours to interpret."""
    if tried.ok:
        st.success("It works.", icon=":material/check_circle:")
    else:
        st.error("It does not work.", icon=":material/error:")
    lines = [tried.message, tried.hint, f"It said: {tried.answer}" if tried.answer else ""]
    st.code("\n".join(line for line in lines if line), language=None, wrap_lines=True)


# --- adding ----------------------------------------------------------------------------------


def show_form() -> None:
    kind = st.segmented_control(
        "Kind", list(KINDS), format_func=KINDS.get, default="openai", required=True, key="host_kind"
    )
    with st.form("host_new", border=False):
        values: dict[str, Any] = {"kind": kind}
        a, b = st.columns(2)
        values["name"] = a.text_input("Name", placeholder="our vLLM", max_chars=80)
        if kind == "openai":
            values |= _remote_fields(a, b)
        else:
            values["model"] = b.text_input(
                "Model",
                placeholder="/models/my-model or organisation/model",
                help="A folder on this machine with a causal language model and safetensors weights, or a "
                "hub id, which is downloaded on first use. No code of the model is run.",
            )
            dtype = a.selectbox(
                "Precision",
                ["automatic", "float32", "bfloat16", "float16"],
                help="Automatic: bfloat16 where the hardware multiplies in it, else float32. float32 makes "
                "an answer independent of what else is in its batch.",
            )
            size = b.number_input("Requests at once (0: automatic)", 0, 1024, 0)
            values["params"] = {
                **({"dtype": dtype} if dtype != "automatic" else {}),
                **({"batch_size": int(size)} if size else {}),
            }
        if st.form_submit_button("Add host", type="primary", icon=":material/add:"):
            with problems():
                registry.create_host(database(), me(), **values)
                st.toast("Added. Test it before a run relies on it.", icon=":material/check:")
                st.rerun()


def _remote_fields(a: Any, b: Any) -> dict[str, Any]:
    return {
        "model": b.text_input("Model", placeholder="the name the server knows it by"),
        "base_url": a.text_input(
            "URL",
            placeholder="http://localhost:8000/v1",
            help="vLLM, TGI, llama.cpp, `transformers serve`, or a vendor. For most servers it ends in /v1.",
        ),
        "api_key_env": b.text_input(
            "Environment variable of the key",
            placeholder="EXAMPLE_API_KEY",
            help="The NAME of a variable that is set where Prefloop is started. The key itself is never "
            "stored, logged or shown. Leave it empty for a server without a key.",
        ),
        "price_in": a.number_input("Price of a million tokens in", 0.0, 1e6, 0.0, 0.1),
        "price_out": b.number_input("Price of a million tokens out", 0.0, 1e6, 0.0, 0.1),
        "concurrency": a.number_input("Requests at once", 1, 256, 8),
        "timeout_s": b.number_input("Seconds to wait for an answer", 1.0, 3600.0, 60.0, 5.0),
    }


header("Hosts", "Where language models run: in this machine, or behind an OpenAI-compatible URL.")
hosts = registry.list_hosts(database(), me())
for one in hosts:
    show_host(one)
if len(hosts) == 1:
    st.caption(
        "The embedded model is small: good for trying the whole loop, not for good answers. Add a server "
        "of yours or a vendor's for those."
    )
if may("host.edit"):
    with st.expander("Add a host", icon=":material/add:", expanded=len(hosts) == 1):
        show_form()
else:
    st.caption("Engineers and admins can add and test hosts.")
