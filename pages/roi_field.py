"""One figure of a scenario on its page: value, range, source, and what is measured now."""

from typing import Any

import streamlit as st

from core.planning.quantity import Quantity
from core.planning.roi.model import COMPUTE_INPUTS, INPUTS, Compute, Input, Scenario, quantities
from core.planning.roi.proposals import Proposals, differs
from core.planning.roi.results import range_text, shown, unit_text
from pages.roi_draft import Draft, by_hand, moved_range
from pages.shared import plain

KINDS = {
    "fixed": "exactly this",
    "triangular": "triangular: low, likely, high",
    "uniform": "uniform: anything between",
    "normal": "normal: 95 % between",
    "lognormal": "lognormal: 95 % between",
    "beta": "beta, a share: 95 % between",
}
ORIGINS = {
    "measured": ("measured", "green", ":material/monitoring:"),
    "overridden": ("overridden", "orange", ":material/edit:"),
    "assumed": ("assumed", "gray", ":material/lightbulb:"),
}


class Editor:
    """One draft on the page: what is measured, who edits, and in which currency."""

    def __init__(
        self, draft: Draft, found: Proposals, currency: str, errors: dict[str, str], name: str, editable: bool
    ) -> None:
        self.draft, self.found, self.currency = draft, found, currency
        self.errors, self.name, self.editable = errors, name, editable
        self.usual = {path: item.source for path, item in quantities(Scenario()).items()}

    # --- keys and errors -----------------------------------------------------------------

    def key(self, path: str, part: str = "") -> str:
        return f"roi_{self.draft.plan_id or 'new'}_{self.draft.revision}_{path}{part}"

    def error(self, path: str) -> None:
        """What is wrong with this field, under it."""
        for where, said in self.errors.items():
            if where == path or where.startswith(path + "."):
                st.error(f"{said[:1].upper()}{said[1:]}.", icon=":material/error:")

    # --- callbacks: they change the draft, and the run that follows shows it ---------------

    def _value(self, path: str, scale: float) -> None:
        value = st.session_state[self.key(path)]
        if value is None:
            return
        known = COMPUTE_INPUTS[path.split(".")[2]] if path.startswith("compute.") else INPUTS[path]
        moved = moved_range(self.draft.at(path), value / scale, known.least, known.most)
        item = self._by_hand(path, moved)
        self.draft.put(path, item)
        for part in ("low", "high"):
            if item[part] is not None:
                st.session_state[self.key(path, f"_{part}")] = float(item[part] * scale)
        st.session_state[self.key(path, "_said")] = item["source"]

    def _part(self, path: str, part: str, scale: float) -> None:
        value = st.session_state[self.key(path, f"_{part}")]
        if value is None:
            return
        item = self._by_hand(path, self.draft.at(path))
        self.draft.put(path, {**item, part: value / scale})
        st.session_state[self.key(path, "_said")] = item["source"]

    def _kind(self, path: str, scale: float) -> None:
        item = self._by_hand(path, self.draft.at(path))
        item["kind"] = st.session_state[self.key(path, "_kind")]
        if item["kind"] != "fixed" and (item["low"] is None or item["high"] is None):
            # A start for the range: a fifth either way.
            half = abs(item["value"]) / 5 or 0.01
            item |= {"low": item["value"] - half, "high": item["value"] + half}
            for part in ("low", "high"):
                st.session_state[self.key(path, f"_{part}")] = float(item[part] * scale)
        self.draft.put(path, item)
        st.session_state[self.key(path, "_said")] = item["source"]

    def _source(self, path: str) -> None:
        item = {**self.draft.at(path), "source": st.session_state[self.key(path, "_said")].strip()}
        self.draft.put(path, item)

    def _plain(self, path: str, scale: float = 1) -> None:
        value = st.session_state[self.key(path)]
        if value is not None:
            self.draft.put(path, value / scale if scale != 1 else value)

    def _take(self, path: str, item: Quantity) -> None:
        self.draft.put(path, item.model_dump(mode="json"))
        self.draft.revision += 1

    def take_team(self) -> None:
        self.draft.put("people_team", list(self.found.settings["people_team"]))
        self.draft.put("people_source", "team")
        self.draft.revision += 1

    def add(self) -> None:
        item = Compute(name=f"Machine {len(self.draft.values['compute']) + 1}")
        self.draft.values["compute"].append(item.model_dump(mode="json"))

    def remove(self, place: int) -> None:
        del self.draft.values["compute"][place]
        self.draft.revision += 1

    def _by_hand(self, path: str, item: dict[str, Any]) -> dict[str, Any]:
        return by_hand(item, self.measured(path), self.usual.get(path, ""), self.name)

    # --- one figure ------------------------------------------------------------------------

    def measured(self, path: str) -> Quantity | None:
        return self.found.of(self.draft.good, path) if _there(self.draft.good, path) else None

    def quantity(self, path: str, about: Input) -> None:
        """A card: value, where it comes from, its range one click away, and what is measured
        now where that differs."""
        item = self.draft.at(path)
        scale = 100.0 if about.percent else 1.0
        unit = unit_text(about.unit, self.currency)
        with st.container(border=True, height="stretch", gap="small"):
            st.number_input(
                f"{plain(about.label)} ({plain(unit)})",
                value=_start(self.key(path), float(item["value"] * scale)),
                format=_digits(item["value"] * scale),
                key=self.key(path),
                help=about.about[:1].upper() + about.about[1:] + "." if about.about else None,
                on_change=self._value,
                args=(path, scale),
                disabled=not self.editable,
            )
            self.error(path)
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                word, colour, icon = ORIGINS[item["origin"]]
                st.badge(word, color=colour, icon=icon)  # type: ignore[arg-type]
                with st.popover("Range, source", type="tertiary", key=self.key(path, "_pop")):
                    self._range(path, item, scale, unit)
            st.caption(plain(_said(item, about)))
            self._now(path, item, about, unit)

    def _range(self, path: str, item: dict[str, Any], scale: float, unit: str) -> None:
        st.selectbox(
            "How sure",
            list(KINDS),
            index=list(KINDS).index(item["kind"]),
            format_func=KINDS.__getitem__,
            key=self.key(path, "_kind"),
            on_change=self._kind,
            args=(path, scale),
            disabled=not self.editable,
        )
        if item["kind"] != "fixed":
            with st.container(horizontal=True):
                for part, label in (("low", "From"), ("high", "To")):
                    value = item[part]
                    st.number_input(
                        f"{label} ({plain(unit)})",
                        value=_start(
                            self.key(path, f"_{part}"), None if value is None else float(value * scale)
                        ),
                        format=_digits((value or 0) * scale),
                        key=self.key(path, f"_{part}"),
                        on_change=self._part,
                        args=(path, part, scale),
                        disabled=not self.editable,
                    )
        st.text_input(
            "Where it comes from",
            value="" if self.key(path, "_said") in st.session_state else item["source"],
            max_chars=300,
            key=self.key(path, "_said"),
            on_change=self._source,
            args=(path,),
            disabled=not self.editable,
        )

    def _now(self, path: str, item: dict[str, Any], about: Input, unit: str) -> None:
        """What is measured now, where the scenario says something else."""
        now = self.measured(path)
        if now is None or self.errors or not differs(Quantity.model_validate(item), now):
            return
        spread = range_text(now, about.percent)
        n = f", n {now.n:,}" if now.n else ""
        inside = f" ({spread}{n})" if spread or n else ""
        st.caption(f"Measured now: {plain(shown(now.value, about.percent))} {plain(unit)}{plain(inside)}")
        st.button(
            "Take it",
            icon=":material/sync:",
            key=self.key(path, "_take"),
            help=plain(now.source),
            on_click=self._take,
            args=(path, now),
            disabled=not self.editable,
        )

    # --- what is no quantity -----------------------------------------------------------------

    def choice(self, path: str, label: str, options: dict[str, str], help_text: str | None = None) -> str:
        value = self.draft.at(path)
        st.segmented_control(
            label,
            list(options),
            default=value,
            format_func=options.__getitem__,
            required=True,
            key=self.key(path),
            help=help_text,
            on_change=self._plain,
            args=(path,),
            disabled=not self.editable,
        )
        return str(self.draft.at(path))

    def whole(self, path: str, label: str, help_text: str | None = None) -> None:
        st.number_input(
            label,
            value=int(self.draft.at(path)),
            step=1,
            key=self.key(path),
            help=help_text,
            on_change=self._plain,
            args=(path,),
            disabled=not self.editable,
            width=280,
        )
        self.error(path)

    def share(self, path: str, label: str, help_text: str | None = None) -> None:
        st.number_input(
            label,
            value=float(self.draft.at(path) * 100),
            format="%.2f",
            key=self.key(path),
            help=help_text,
            on_change=self._plain,
            args=(path, 100),
            disabled=not self.editable,
            width=280,
        )
        self.error(path)

    def why(self, key: str) -> None:
        """Why the project suggests a setting."""
        if reason := self.found.reasons.get(key):
            st.caption(plain(f"Measured: {reason}"))

    def baseline(self) -> None:
        """What the champion is measured against; another one brings other measured figures,
        which are then offered beside each input."""
        names = {"": "as the project finds", **self.found.baselines}
        value = self.draft.at("baseline_prompt_id")
        st.selectbox(
            "The champion is measured against",
            list(names) if value in names else [*names, value],
            index=list(names).index(value) if value in names else len(names),
            format_func=lambda key: names.get(key, "a deleted prompt"),
            key=self.key("baseline_prompt_id"),
            help="Another one changes what is measured: take the new figures below.",
            on_change=self._plain,
            args=("baseline_prompt_id",),
            disabled=not self.editable,
            width=420,
        )
        if self.found.champion:
            st.caption(
                f"Champion: {plain(self.found.champion)}; now against {plain(self.found.baseline) or '—'}."
            )

    def text(self, path: str, label: str) -> None:
        st.text_input(
            label,
            value=self.draft.at(path),
            key=self.key(path),
            on_change=self._plain,
            args=(path,),
            disabled=not self.editable,
        )
        self.error(path)


def _start(key: str, value: float | None) -> Any:
    """What a field starts with; nothing where a callback has put a value in, which counts."""
    return "min" if key in st.session_state else value


def _there(scenario: Scenario, path: str) -> bool:
    return not path.startswith("compute.") or int(path.split(".")[1]) < len(scenario.compute)


def _digits(value: float) -> str:
    """A printf format with the decimals that the value has, of its first five digits."""
    text = f"{float(f'{value:.5g}'):.8f}".rstrip("0")
    return f"%.{len(text.partition('.')[2])}f"


def _said(item: dict[str, Any], about: Input) -> str:
    """`4 to 12 · n 380 · rule of thumb`"""
    parts = []
    if item["kind"] != "fixed" and item["low"] is not None and item["high"] is not None:
        spread = f"{shown(item['low'], about.percent)} to {shown(item['high'], about.percent)}"
        parts.append(spread + (" %" if about.percent else ""))
    if item["n"]:
        parts.append(f"n {item['n']:,}")
    return " · ".join([*parts, item["source"] or "no source is given"])
