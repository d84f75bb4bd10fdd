"""What a search will take, before it starts: tokens and money beside the time.

Tokens of a call are those that earlier searches of the project measured on the same host (for
scoring also against the same reward), else a rule of thumb; the price is the host's. A host in
process costs nothing by the call.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, func, select

from core.optimize.instruction import Instruction
from core.optimize.methods import method_named
from core.optimize.rewards.kinds import price_of
from storage.tables import LedgerEntry, Project, Run

RUNS = 20  # the newest searches that are asked
LETTERS = 4  # of a token, in English text
FRAME = 20  # tokens that a chat template puts around
JUDGED = (400, 8)  # of a response that is judged, before one was
ASKED = (400, 80)  # tokens in and out of a request for a proposal, before one was made


@dataclass(frozen=True)
class Spend:
    """For the whole budget. `cost` by the hosts' prices; `measured`: all of it from earlier
    searches; `source`: in a sentence, where the figures come from."""

    tokens: float
    cost: float
    measured: bool
    source: str


@dataclass(frozen=True)
class Call:
    tokens_in: float
    tokens_out: float
    calls: int  # it was measured on; 0: a rule of thumb


def spend_of(
    session: Session,
    project: Project,
    config: Mapping[str, Any],
    documents: Mapping[str, Any],
    examples: list[dict[str, Any]],
) -> Spend:
    """`config`, `documents` and `examples` as `core.optimize.runs.lay_out` makes them."""
    plan = config["plan"]
    proposals = max(0, plan["candidates"]) if method_named(config["method"]).asks else 0
    runs = _searches(session, project.id)
    alike = [run.id for run in runs if run.config.get("reward") == config["reward"]]
    target = _measured(session, alike, config["host"], "target") or _scoring(config, examples)
    # What scoring takes, by who is paid: a composed reward may ask judges, too.
    price = price_of(config["reward"]) if isinstance(config["reward"], Mapping) else {"target": 1}
    scored = (plan["budget"] - proposals) // sum(price.values())
    parts = [(scored * price["target"], target, documents["host"])]
    for payer, calls in price.items():
        if payer != "target":
            host = documents["reward"]["hosts"][payer.partition("/")[2]]
            judged = _measured(session, alike, host["name"], "judge")
            parts.append((scored * calls, judged or Call(*JUDGED, 0), host))
    if proposals:
        asked = _measured(session, [run.id for run in runs], config["optimizer_host"], "optimizer")
        parts.append((proposals, asked or Call(*ASKED, 0), documents["optimizer_host"]))
    tokens = sum(calls * (call.tokens_in + call.tokens_out) for calls, call, _ in parts)
    cost = sum(
        calls * (call.tokens_in * host["price_in"] + call.tokens_out * host["price_out"]) / 1e6
        for calls, call, host in parts
    )
    names = ["scoring", *(["judging"] * (len(price) - 1)), "proposals"]
    return Spend(tokens, cost, all(call.calls for _, call, _ in parts), _source(names, parts))


def _searches(session: Session, project_id: str) -> list[Run]:
    query = select(Run).where(Run.project_id == project_id, Run.kind == "optimize")
    return list(session.exec(query.order_by(col(Run.id).desc()).limit(RUNS)))


def _measured(session: Session, run_ids: list[str], host: str, purpose: str) -> Call | None:
    """Tokens of a call, over these runs; None where none was counted."""
    sums = [func.coalesce(func.sum(col(LedgerEntry.__table__.c[name])), 0)  # type: ignore[attr-defined]
            for name in ("calls", "tokens_in", "tokens_out")]  # fmt: skip
    calls, tokens_in, tokens_out = session.exec(
        select(*sums).where(
            col(LedgerEntry.run_id).in_(run_ids),
            LedgerEntry.host == host,
            LedgerEntry.purpose == purpose,
            LedgerEntry.tokens_in > 0,
        )
    ).one()
    return Call(int(tokens_in) / int(calls), int(tokens_out) / int(calls), int(calls)) if calls else None


def _scoring(config: Mapping[str, Any], examples: list[dict[str, Any]]) -> Call:
    """By the letters of the instruction and of the examples; an answer as long as it may be."""
    letters: float = len(Instruction(**config["start"]).text)
    letters += sum(len("".join(map(str, json.loads(row["fields"]).values()))) for row in examples) / max(
        1, len(examples)
    )
    sampling = config.get("sampling") or {}
    return Call(letters / LETTERS + FRAME, float(sampling.get("max_new_tokens", 0)), 0)


def _source(names: list[str], parts: list[tuple[int, Call, Any]]) -> str:
    said = []
    for name, (_, call, _) in zip(names, parts, strict=False):
        each = f"{call.tokens_in:,.0f} in and {call.tokens_out:,.0f} out a call for {name}"
        how = f"measured on {call.calls:,} calls" if call.calls else "a rule of thumb"
        said.append(f"{each} ({how})")
    priced = [host for _, _, host in parts if host["price_in"] or host["price_out"]]
    money = "; ".join(
        f"“{host['name']}” costs {host['price_in']:g} in and {host['price_out']:g} out per million tokens"
        for host in {host["name"]: host for host in priced}.values()
    )
    return f"Tokens: {' and '.join(said)}. " + (f"{money}." if money else "No host of it has a price.")
