"""Hosts as the project's people keep them: a list, who may change it, and a cheap test.

The embedded model is always there and is no row of its own. Keys are not kept: a host
names the environment variable that holds its key. Nothing here imports torch.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from core import audit
from core.access import Principal, require
from core.errors import Conflict, Invalid, NotFound
from core.llm.embedded import EMBEDDED, LANGUAGE_MODEL_NAME, embedded_gguf, embedded_language_model_ready
from core.llm.protocol import HostSpec, Sampling
from core.runs.context import WorkError
from core.settings import get_settings
from storage.database import Database
from storage.ids import now
from storage.tables import Host

KINDS = {"local": "In this machine (transformers)", "openai": "OpenAI-compatible URL"}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_TEST_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class HostTest:
    """How a test of a host went: `message` in one sentence, `hint` what to do."""

    ok: bool
    message: str
    hint: str = ""
    latency_ms: float | None = None
    answer: str = ""


def embedded_host() -> Host:
    """The in-process model of the settings, as a row that is in no table."""
    return Host(id=EMBEDDED, name=EMBEDDED, kind="local", model=get_settings().language_model)


def list_hosts(db: Database, who: Principal) -> list[Host]:
    """The embedded one first, then the others by name."""
    require(who, "run.view")
    with db.read() as session:
        query = select(Host).where(col(Host.archived_at).is_(None)).order_by(col(Host.name))
        return [embedded_host(), *session.exec(query)]


def find_host(session: Session, host_id_or_name: str | None) -> Host:
    """The host of this id or name; None or “embedded”: the default one. Raises Invalid."""
    wanted = (host_id_or_name or EMBEDDED).strip() or EMBEDDED
    if wanted == EMBEDDED:
        return embedded_host()
    there = list(session.exec(select(Host).where(col(Host.archived_at).is_(None))))
    for host in there:
        if wanted in (host.id, host.name):
            return host
    names = ", ".join([EMBEDDED, *sorted(host.name for host in there)])
    raise Invalid(f"host: there is no host “{wanted}”.", f"Hosts: {names}.")


def spec_of(host: Host) -> HostSpec:
    return HostSpec(
        kind=host.kind,
        model=host.model,
        name=host.name,
        base_url=host.base_url,
        api_key_env=host.api_key_env,
        price_in=host.price_in,
        price_out=host.price_out,
        concurrency=host.concurrency,
        timeout_s=host.timeout_s,
        params=dict(host.params or {}),
    )


def host_spec(session: Session, host_id_or_name: str | None) -> HostSpec:
    """What a run is frozen with. None or “embedded”: the in-process model of the settings."""
    return spec_of(find_host(session, host_id_or_name))


# --- changing the list -----------------------------------------------------------------------


def create_host(db: Database, who: Principal, **values: Any) -> Host:
    """Add a host: name, kind, model, and for kind openai base_url; optionally api_key_env,
    price_in, price_out (per million tokens), concurrency, timeout_s, params. Raises Invalid
    naming the field, Conflict when the name is taken."""
    require(who, "host.edit")
    clean = _checked(values)

    def work(session: Session) -> Host:
        host = session.exec(select(Host).where(Host.name == clean["name"])).first()
        if clean["name"] == EMBEDDED or (host is not None and host.archived_at is None):
            raise Conflict(f"name: there is a host “{clean['name']}” already.", "Choose another name.")
        if host is None:
            host = Host(**clean)
        else:  # a name that was taken off the list comes back, with what it is now
            for field, value in clean.items():
                setattr(host, field, value)
            host.archived_at = None
        session.add(host)
        _record(session, who, "host.create", host)
        return host

    return db.write(work)


def archive_host(db: Database, who: Principal, host_id: str) -> None:
    """Take a host off the list. What it answered stays."""
    require(who, "host.edit")

    def work(session: Session) -> None:
        host = session.get(Host, host_id)
        if host is None or host.archived_at is not None:
            raise NotFound(f"There is no host {host_id}.")
        host.archived_at = now()
        session.add(host)
        _record(session, who, "host.archive", host)

    db.write(work)


def _record(session: Session, who: Principal, action: str, host: Host) -> None:
    audit.record(
        session, who, action, "host", host.id,
        name=host.name, kind=host.kind, model=host.model, base_url=host.base_url,
    )  # fmt: skip


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    known = set(Host.model_fields) - {"id", "created_at", "archived_at"}
    for name in values:
        if name not in known:
            raise Invalid(f"{name}: a host has no such field.", f"Fields: {', '.join(sorted(known))}.")
    clean: dict[str, Any] = {}
    for name in ("name", "model", "base_url", "api_key_env"):
        clean[name] = str(values.get(name) or "").strip()
    clean["kind"] = str(values.get("kind") or ("openai" if clean["base_url"] else "local"))
    if not 1 <= len(clean["name"]) <= 80:
        raise Invalid("name: a host's name has 1 to 80 characters.")
    if clean["kind"] not in KINDS:
        raise Invalid(f"kind: there is no kind “{clean['kind']}”.", f"Kinds: {', '.join(KINDS)}.")
    if not clean["model"]:
        raise Invalid(
            "model: which model to ask for.",
            "A folder, a hub id or “embedded” for a local host; the server's name for it otherwise.",
        )
    _check_url(clean)
    _check_variable(clean["api_key_env"])
    clean["params"] = _params(values.get("params"))
    clean["price_in"] = _number(values, "price_in", 0.0, 0, 1e6)
    clean["price_out"] = _number(values, "price_out", 0.0, 0, 1e6)
    clean["concurrency"] = int(_number(values, "concurrency", 8, 1, 256))
    clean["timeout_s"] = _number(values, "timeout_s", 60.0, 1, 3600)
    return clean


def _check_url(clean: dict[str, Any]) -> None:
    url = clean["base_url"]
    if clean["kind"] == "local":
        if url:
            raise Invalid("base_url: a local host has no URL.", "Leave it empty, or choose the kind openai.")
        return
    if not re.match(r"https?://[^/\s]+", url):
        raise Invalid(
            "base_url: the address of the server, starting with http:// or https://.",
            "For most servers it ends in /v1, such as http://localhost:8000/v1.",
        )
    if re.match(r"https?://[^/]*@", url):
        raise Invalid("base_url: an address holds no password.", "Name an environment variable for the key.")
    clean["base_url"] = url.rstrip("/")


def _check_variable(name: str) -> None:
    """The name only; never what somebody took for it."""
    if name and not _VARIABLE.fullmatch(name):
        raise Invalid(
            "api_key_env: the NAME of an environment variable (letters, digits, _), not the key itself.",
            "Set the variable where Prefloop is started, such as EXAMPLE_API_KEY.",
        )
    if name.upper().startswith("PREFLOOP_"):
        raise Invalid(
            "api_key_env: Prefloop's own settings are not sent to a host.", "Use a variable of its own."
        )


def _params(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid("params: an object, such as {“dtype”: “float32”}.")
    known = {"device", "dtype", "batch_size", "max_retries", "extra_body"}
    for name in value:
        if name not in known:
            raise Invalid(f"params: there is no “{name}”.", f"Known: {', '.join(sorted(known))}.")
    if value.get("dtype") not in (None, "float32", "bfloat16", "float16"):
        raise Invalid("params: dtype is float32, bfloat16 or float16.")
    for name in ("batch_size", "max_retries"):
        if name in value and (type(value[name]) is not int or not 0 <= value[name] <= 4096):
            raise Invalid(f"params: {name} is a whole number.")
    return value


def _number(values: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = values.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Invalid(f"{name}: a number from {low:g} to {high:g}.")
    return float(value)


# --- testing ---------------------------------------------------------------------------------


def model_name(host: Host) -> str:
    """The model's name as people know it."""
    return LANGUAGE_MODEL_NAME if host.model == EMBEDDED else host.model


def key_state(host: Host) -> str:
    """`none` (no key is asked for), `set` or `missing`; never the key."""
    if not host.api_key_env:
        return "none"
    return "set" if os.environ.get(host.api_key_env, "").strip() else "missing"


def test_host(db: Database, who: Principal, host_id_or_name: str) -> HostTest:
    """Try a host without loading a model here: one tiny request to a URL, a look at the
    files of a local one. What is wrong is an answer, not an exception."""
    require(who, "host.edit")
    with db.read() as session:
        spec = host_spec(session, host_id_or_name)
    try:
        return _test_url(spec) if spec.kind == "openai" else _test_local(spec)
    except WorkError as problem:
        return HostTest(False, problem.message, problem.hint)


def _test_url(spec: HostSpec) -> HostTest:
    import openai

    from core.llm.remote import RemoteHost, client_of, host_problem, said

    limit = min(spec.timeout_s, _TEST_TIMEOUT_S)
    client = client_of(spec, max_retries=0, timeout_s=limit)
    host = RemoteHost(spec, client)
    try:
        answer = host.ask([{"role": "user", "content": "Say OK."}], Sampling(max_new_tokens=8, temperature=0))
    except openai.APIError as problem:
        reason = host_problem(spec, problem, client)
        if reason is not None:
            raise reason from problem
        if isinstance(problem, openai.APITimeoutError):
            return HostTest(
                False,
                f"The host “{spec.name}” at {spec.base_url} gave no answer within {limit:.0f} s.",
                "The server may be loading the model, or be busy: try again, or look at its log.",
            )
        return HostTest(False, f"The host “{spec.name}” answered with an error: {said(problem)}")
    took = answer.latency_ms
    return HostTest(True, f"“{spec.model}” answered in {took:,.0f} ms.", "", took, answer.text[:200])


def _test_local(spec: HostSpec) -> HostTest:
    if spec.model == EMBEDDED:
        size = embedded_gguf().stat().st_size / 2**20
        if embedded_language_model_ready(get_settings().models_dir):
            return HostTest(True, f"{LANGUAGE_MODEL_NAME} is ready.")
        return HostTest(
            True, f"{LANGUAGE_MODEL_NAME} is here ({size:.0f} MB).", "Its first use takes some 30 s longer."
        )
    folder = Path(spec.model).expanduser()
    if folder.is_dir():
        return _test_folder(folder)
    return _test_cache(spec.model)


def _test_folder(folder: Path) -> HostTest:
    if not (folder / "config.json").is_file():
        return HostTest(False, f"{folder} has no config.json.", "Name the folder of a transformers model.")
    if not list(folder.glob("*.safetensors")):
        return HostTest(
            False, f"{folder} has no weights as safetensors.", "Other formats are not read: convert them."
        )
    return HostTest(True, f"{folder} holds a model with safetensors weights.")


def _test_cache(model: str) -> HostTest:
    from huggingface_hub import constants, try_to_load_from_cache

    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model):
        return HostTest(False, f"There is no folder {model}.", "Check the path on the server's machine.")
    try:
        found = try_to_load_from_cache(model, "config.json")
    except ValueError:
        found = None
    if isinstance(found, str):
        return HostTest(True, f"{model} is in the hub's cache on this machine.")
    if constants.HF_HUB_OFFLINE:
        return HostTest(
            False,
            f"{model} is not in the hub's cache, and the hub is switched off here (HF_HUB_OFFLINE).",
            "Put the model's files on this machine, and name their folder.",
        )
    return HostTest(
        True, f"{model} is not on this machine yet.", "The first run that uses it downloads it from the hub."
    )
