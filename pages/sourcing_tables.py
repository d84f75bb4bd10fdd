"""Build or buy as tables that a person edits, and back."""

import re
from typing import Any

import pandas as pd
import streamlit as st
from pydantic import ValidationError

from core.errors import Invalid
from core.planning import documents
from core.planning.quantity import Quantity
from core.planning.sourcing.model import Score, Sourcing, key_of, usual_options
from core.planning.sourcing.results import Results

WHEN = {"once": "once", "year": "per year", "use": "per use"}
WHAT = {"money": "money", "people": "people (FTE)"}
SHAPES = ("fixed", "triangular", "uniform", "normal", "lognormal", "beta")
QUANTITIES = {
    "interactions_per_month": "Uses a month today",
    "growth": "Growth of use a year",
    "person_year": "Cost of a person-year",
}
Tables = dict[str, pd.DataFrame]
SHAPE = (
    "Fixed: exactly the likely value. Triangular: low, likely, high. Uniform: anything between low and high. "
    "Normal, lognormal and beta (a share): 95 % lie between low and high. Without low and high, it is fixed."
)


def tables_of(found: Results) -> Tables:
    """The plan with what the project knows filled in. `Key` columns are not shown."""
    plan = found.plan
    options = [{"Key": o.key, "Option": o.name, "In house": 100 * o.in_house} for o in plan.options]
    factors = [{"Key": f.key, "Factor": f.name, "About": f.about, "Weight": f.weight} for f in plan.factors]
    scores = []
    for option in plan.options:
        for factor in plan.factors:
            said, proposed = plan.score(option, factor), found.proposals.get((option.key, factor.key))
            scores.append(
                {
                    "OptionKey": option.key, "FactorKey": factor.key, "Option": option.name, "Factor": factor.name,
                    "Score": said.value, "Reason": said.reason, "From": said.origin,
                    "Proposed": proposed.value if proposed else None,
                }
            )  # fmt: skip
    costs = [
        {"Option": o.name, "Line": line.name, "When": WHEN[line.when], "What": WHAT[line.what]}
        | _range(line.amount)
        for o in plan.options
        for line in o.costs
    ]
    shared = [
        {"Key": key, "Figure": title} | _range(getattr(plan, key)) | {"From": getattr(plan, key).origin, "Source": _source(getattr(plan, key))}
        for key, title in QUANTITIES.items()
    ]  # fmt: skip
    ends = ["Low", "Likely", "High"]
    return {
        "options": pd.DataFrame(options, columns=["Key", "Option", "In house"]),
        "factors": pd.DataFrame(factors, columns=["Key", "Factor", "About", "Weight"]),
        "scores": pd.DataFrame(
            scores,
            columns=["OptionKey", "FactorKey", "Option", "Factor", "Score", "Reason", "From", "Proposed"],
        ).astype({"Score": "float", "Proposed": "float"}),
        "costs": pd.DataFrame(
            costs, columns=["Option", "Line", "When", "What", *ends, "Shape"]
        ).astype(dict.fromkeys(ends, "float")),
        "shared": pd.DataFrame(shared).astype(dict.fromkeys(ends, "float")),
    }  # fmt: skip


def _range(quantity: Quantity) -> dict[str, Any]:
    return {
        "Low": quantity.low if quantity.uncertain else None,
        "Likely": quantity.value,
        "High": quantity.high if quantity.uncertain else None,
        "Shape": quantity.kind,
    }


def _source(quantity: Quantity) -> str:
    n = f" (n {quantity.n:,})" if quantity.n is not None else ""
    return quantity.source + n


def edit(tables: Tables, key: str, may_edit: bool, currency: str) -> Tables:
    """The tables in tabs, as they were edited. `key` must differ between versions."""
    number, text, choice = (
        st.column_config.NumberColumn,
        st.column_config.TextColumn,
        st.column_config.SelectboxColumn,
    )
    scores, costs, figures, factors, options = st.tabs(
        ["Scores", "Costs", "Figures", "Factors and weights", "Options"]
    )
    shared: dict[str, Any] = {"width": "stretch", "hide_index": True, "disabled": not may_edit}
    amounts = {
        "Low": number(min_value=0.0, format="localized"),
        "Likely": number(min_value=0.0, format="localized"),
        "High": number(min_value=0.0, format="localized"),
        "Shape": choice(options=list(SHAPES), default="triangular", required=True, help=SHAPE),
    }
    fixed = {"disabled": True} if may_edit else {}
    edited: Tables = {}
    with scores:
        st.caption(
            "From 0 to 10, 10 being best. Proposed scores follow from the team and the volume; one that you change is "
            "marked as overridden and stays. Empty a score to go back to what is proposed."
        )
        edited["scores"] = st.data_editor(
            tables["scores"],
            key=f"scores_{key}",
            column_order=["Option", "Factor", "Score", "Proposed", "From", "Reason"],
            column_config={
                "Option": text(**fixed),
                "Factor": text(**fixed),
                "Score": number(min_value=0.0, max_value=10.0, step=0.5, format="%.1f"),
                "Proposed": number(format="%.1f", **fixed),
                "From": text(**fixed),
                "Reason": text(max_chars=500, width="large"),
            },
            **shared,
        )
    with costs:
        st.caption(
            f"Money is in {currency}. People count as full-time equivalents per year, or as person-years once, at the "
            "cost of a person-year under Figures. A line per use counts for each interaction."
        )
        edited["costs"] = st.data_editor(
            tables["costs"],
            key=f"costs_{key}",
            num_rows="dynamic",
            column_config={
                "Option": choice(options=tables["options"]["Option"].tolist(), required=True),
                "Line": text(required=True, max_chars=80),
                "When": choice(options=list(WHEN.values()), default="per year", required=True),
                "What": choice(options=list(WHAT.values()), default="money", required=True),
                **amounts,
            },
            **shared,
        )
    with figures:
        st.caption(
            "Shared by all options. What is measured fills in by itself; a figure that you change is marked as "
            "overridden. Empty its likely value to go back."
        )
        edited["shared"] = st.data_editor(
            tables["shared"],
            key=f"shared_{key}",
            column_order=["Figure", "Low", "Likely", "High", "Shape", "From", "Source"],
            column_config={
                "Figure": text(**fixed),
                **(amounts | {end: number(format="localized") for end in ("Low", "Likely", "High")}),
                "From": text(**fixed),
                "Source": text(width="large", **fixed),
            },
            **shared,
        )
    with factors:
        st.caption(
            "Weights are in any unit: only their shares count. A new factor can be scored once it is saved."
        )
        edited["factors"] = st.data_editor(
            tables["factors"],
            key=f"factors_{key}",
            num_rows="dynamic",
            column_order=["Factor", "Weight", "About"],
            column_config={
                "Factor": text(required=True, max_chars=80),
                "Weight": number(min_value=0.0, max_value=1000.0, step=5.0, default=10.0, required=True),
                "About": text(max_chars=500, width="large"),
            },
            **shared,
        )
    with options:
        st.caption(
            "In house: the part of the work that your own people do; proposed scores use it. A new option can be "
            "scored and costed once it is saved."
        )
        edited["options"] = st.data_editor(
            tables["options"],
            key=f"options_{key}",
            num_rows="dynamic",
            column_order=["Option", "In house"],
            column_config={
                "Option": text(required=True, max_chars=80),
                "In house": number(min_value=0.0, max_value=100.0, step=5.0, default=50.0, format="%.0f %%", required=True),
            },
            **shared,
        )  # fmt: skip
    return edited


def plan_from(tables: Tables, found: Results, simple: dict[str, Any]) -> Sourcing:
    """The plan that the tables say, against `found`, which they were made of. `simple`:
    cost_weight, years, discount_rate. Raises Invalid naming the row and the column."""
    plan = found.plan
    options = _keyed(_rows(tables["options"]), "Option")
    factors = _keyed(_rows(tables["factors"]), "Factor")
    scores = _scores(tables["scores"], found)
    named = {o.name: o.key for o in plan.options} | {str(row["Option"]): row["Key"] for row in options}
    before: dict[tuple[str, str], list[Quantity]] = {}
    for option in plan.options:
        for line in option.costs:
            before.setdefault((option.key, line.name), []).append(line.amount)
    costs: dict[str, list[dict[str, Any]]] = {row["Key"]: [] for row in options}
    for row in _rows(tables["costs"]):
        of = named.get(str(row.get("Option")))
        if of is None:
            raise Invalid(f"Costs, {row.get('Line', 'new line')}: choose its option.")
        if of in costs:  # else its option was deleted
            where = f"Costs, {row.get('Option')}, {row.get('Line', 'new line')}"
            costs[of].append(
                {
                    "name": row.get("Line", ""),
                    "when": _key(WHEN, row.get("When"), "year"),
                    "what": _key(WHAT, row.get("What"), "money"),
                    "amount": _amount(row, where, before.get((of, str(row.get("Line"))), [])),
                }
            )
    kept = {row["Key"] for row in factors}
    values = {
        **plan.model_dump(include={"draws", "seed"}),
        **simple,
        "options": [
            {
                "key": row["Key"],
                "name": row.get("Option", ""),
                "in_house": row.get("In house", 50.0) / 100,
                "scores": {f: score for (o, f), score in scores.items() if o == row["Key"] and f in kept},
                "costs": costs[row["Key"]],
            }
            for row in options
        ],
        "factors": [
            {"key": row["Key"], "name": row.get("Factor", ""), "about": row.get("About", ""), "weight": row.get("Weight", 0.0)}
            for row in factors
        ],
        **_figures(tables["shared"], found),
    }  # fmt: skip
    try:
        return documents.checked(Sourcing, values)
    except Invalid as problem:
        raise Invalid(_in_words(problem.message, values), problem.hint) from problem


def _scores(table: pd.DataFrame, found: Results) -> dict[tuple[str, str], Score]:
    """Cells as they were keep their origin; a cleared one goes back to what is proposed, or
    to the usual assumption; a changed one is overridden where there is a proposal."""
    usual = {o.key: o.scores for o in usual_options()}
    shown = {(o.key, f.key): found.plan.score(o, f) for o in found.plan.options for f in found.plan.factors}
    said: dict[tuple[str, str], Score] = {}
    for row in table.to_dict("records"):
        key = (str(row["OptionKey"]), str(row["FactorKey"]))
        before, proposed = shown[key], found.proposals.get(key)
        reason = "" if pd.isna(row["Reason"]) else str(row["Reason"]).strip()
        if pd.isna(row["Score"]):
            back = proposed or usual.get(key[0], {}).get(key[1])
            if back:
                said[key] = back
            continue
        value = float(row["Score"])
        if value == before.value and reason == before.reason:
            said[key] = before
            continue
        if reason == before.reason:
            reason = f"Set by hand; proposed: {proposed.value:g}." if proposed else "Set by hand."
        if not 0 <= value <= 10:
            raise Invalid(f"Scores, {row['Option']}, {row['Factor']}: from 0 to 10.")
        said[key] = Score(value=value, reason=reason[:500], origin="overridden" if proposed else "assumed")
    return said


def _figures(table: pd.DataFrame, found: Results) -> dict[str, Any]:
    facts, plan = found.facts, found.plan
    there = {"interactions_per_month": facts.uses is not None, "person_year": facts.person_year is not None}
    values: dict[str, Any] = {}
    shown = {row["Key"]: _range(getattr(plan, row["Key"])) for row in table.to_dict("records")}
    for row in table.to_dict("records"):
        key, before = row["Key"], getattr(plan, row["Key"])
        if pd.isna(row["Likely"]):  # back to what is measured, or to the assumption
            values[key] = Sourcing().model_dump()[key]
        elif all(_same(row[end], shown[key][end]) for end in ("Low", "Likely", "High", "Shape")):
            values[key] = before.model_dump()
        else:
            origin = "overridden" if there.get(key) or before.origin == "overridden" else "assumed"
            source = (
                f"set by hand; measured: {before.value:,.6g}"
                if before.origin == "measured"
                else "set by hand"
            )
            values[key] = _quantity(row, f"Figures, {QUANTITIES[key]}") | {"origin": origin, "source": source}
    return values


def _amount(row: dict[str, Any], where: str, before: list[Quantity]) -> dict[str, Any]:
    """As it was, with its source, where the line's range was not touched."""
    for quantity in before:
        if all(_same(row.get(end), value) for end, value in _range(quantity).items()):
            return quantity.model_dump()
    return _quantity(row, where)


def _quantity(row: dict[str, Any], where: str) -> dict[str, Any]:
    """A quantity's fields. Raises Invalid where the row says too little or too much."""
    low, likely, high = (_number(row.get(end)) for end in ("Low", "Likely", "High"))
    shape = str(row.get("Shape") or "fixed")
    if shape == "uniform" and likely is None and low is not None and high is not None:
        likely = (low + high) / 2
    if likely is None:
        raise Invalid(f"{where}: give a likely value.")
    if shape == "fixed" or (low is None and high is None):
        return {"value": likely}
    if low is None or high is None:
        raise Invalid(f"{where}: give both low and high, or neither.")
    try:
        Quantity.model_validate({"value": likely, "kind": shape, "low": low, "high": high})
    except ValidationError as problem:
        said = str(problem.errors()[0]["msg"])
        raise Invalid(f"{where}: {said.removeprefix('Value error, ')}.") from problem
    return {"value": likely, "kind": shape, "low": low, "high": high}


def _keyed(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """New rows get a key of their own."""
    taken = {str(row["Key"]) for row in rows if row.get("Key")} | {"cost"}
    for row in rows:
        if not row.get("Key"):
            row["Key"] = key_of(str(row.get(name, "")), taken)
            taken.add(row["Key"])
    return rows


def _in_words(message: str, values: dict[str, Any]) -> str:
    """`options.1.costs.2.amount: …` -> `Options, Buy, Licence, amount: …`"""

    def name(of: list[dict[str, Any]], place: str) -> str:
        return str(of[int(place)].get("name") or f"row {int(place) + 1}")

    found = re.match(r"options\.(\d+)\.costs\.(\d+)\.?", message)
    if found:
        option = values["options"][int(found[1])]
        return f"Costs, {option['name']}, {name(option['costs'], found[2])}, {message[found.end() :]}"
    for part, title in (("options", "Options"), ("factors", "Factors")):
        found = re.match(rf"{part}\.(\d+)\.?", message)
        if found:
            return f"{title}, {name(values[part], found[1])}, {message[found.end() :]}"
    for key, title in QUANTITIES.items():
        message = message.replace(f"{key}:", f"Figures, {title}:")
    return message.removeprefix("body: ")


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows without what is empty in them; rows in which nothing is said are left out."""
    found = [
        {str(key): value for key, value in row.items() if not pd.isna(value) and value != ""}
        for row in table.to_dict("records")
    ]
    return [row for row in found if row]


def _key(titles: dict[str, str], title: Any, otherwise: str) -> str:
    return next((key for key, said in titles.items() if said == title), otherwise)


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _same(one: Any, other: Any) -> bool:
    missing = (one is None or pd.isna(one), other is None or pd.isna(other))
    return all(missing) if any(missing) else one == other
