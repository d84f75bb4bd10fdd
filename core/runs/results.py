"""A run's result in the words a page shows: key figures with n and interval, then all the
rest as lines. Knows the shapes that results are made of, not the kinds' inner workings."""

from dataclasses import dataclass
from typing import Any

from core.stats import wilson

_TEXTS = {"best": "The best prompt found", "start": "The prompt it started from"}
_LONG = 160


@dataclass(frozen=True)
class Figure:
    label: str
    value: str
    detail: str = ""
    help: str = ""


def key_figures(kind: str, result: dict[str, Any]) -> list[Figure]:
    """The few figures a person looks for first; none for an unknown shape."""
    if kind in ("reward_model", "reward_upload"):
        return _reward_model(result)
    if kind == "optimize":
        return _optimize(result)
    if kind == "judge" and _is_number(result.get("judged")):
        return _judge(result)
    return _plain_figures(result)


def _reward_model(result: dict[str, Any]) -> list[Figure]:
    if not isinstance(result.get("accuracy"), int | float):
        return _plain_figures(result)
    figures = [
        Figure(
            "Held-out accuracy",
            _share(result["accuracy"]),
            _interval(result.get("accuracy_low"), result.get("accuracy_high"), result.get("n_test"), 100),
            "Share of test pairs where the model prefers what people preferred",
        )
    ]
    for name, of in (result.get("baselines") or {}).items():
        if isinstance(of, dict) and isinstance(of.get("accuracy"), int | float) and len(figures) < 3:
            n = of.get("n")
            low, high = of.get("low"), of.get("high")
            if low is None and n:
                low, high = wilson(of["accuracy"] * n, n)
            figures.append(Figure(f"Baseline: {name}", _share(of["accuracy"]), _interval(low, high, n, 100)))
    if not result.get("uploaded"):
        figures.append(Figure("Training pairs", _number(result.get("n_train"))))
    return figures


def _optimize(result: dict[str, Any]) -> list[Figure]:
    best = result.get("best") if isinstance(result.get("best"), dict) else {}
    figures = []
    for split in ("train", "dev", "test"):
        score = (best or {}).get(split)
        value = score.get("score", score.get("mean")) if isinstance(score, dict) else None
        if isinstance(score, dict) and _is_number(value):
            detail = _interval(score.get("low"), score.get("high"), score.get("n"))
            figures.append(Figure(f"Best, on {split}", _number(value), detail))
    if _is_number(result.get("calls")):
        tried = result.get("candidates")
        detail = f"{tried:,} {'candidate' if tried == 1 else 'candidates'} tried" if _is_number(tried) else ""
        figures.append(Figure("Model calls", _number(result["calls"]), detail))
    return figures


def _judge(result: dict[str, Any]) -> list[Figure]:
    judged, changed = int(result["judged"]), int(result.get("inconsistent") or 0)
    low, high = wilson(changed, judged)
    figures = [
        Figure("Pairs judged", _number(judged), f"of {_number(result.get('pairs'))}"),
        Figure("One response won", _number(result.get("wins")), f"{_number(result.get('ties'))} ties"),
    ]
    if judged:
        help = "Pairs on which the answer changed with the order of the responses; they are ties"
        figures.append(
            Figure("Inconsistent", _share(changed / judged), _interval(low, high, judged, 100), help)
        )
    unread = result.get("unparsable")
    figures.append(
        Figure("Model calls", _number(result.get("calls")), f"{_number(unread)} pairs could not be read")
    )
    return figures


def _plain_figures(result: dict[str, Any]) -> list[Figure]:
    """The first four bare numbers."""
    numbers = [(key, value) for key, value in result.items() if _is_number(value)]
    return [Figure(words(key), _value(key, value)) for key, value in numbers[:4]]


def texts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """(title, text) of the prompts a result holds."""
    found = [(title, result.get(key)) for key, title in _TEXTS.items()]
    return [(title, item["text"]) for title, item in found if isinstance(item, dict) and item.get("text")]


def remarks(result: dict[str, Any]) -> list[str]:
    """What the work itself says about its result, in sentences."""
    notes = result.get("notes")
    said = [str(note) for note in notes] if isinstance(notes, list) else []
    if result.get("finish_words"):
        said.insert(0, f"Why it ended: {result['finish_words']}")
    elif result.get("finish_reason"):
        said.insert(0, f"Why it ended: {words(str(result['finish_reason'])).lower()}.")
    if result.get("partial"):
        said.append("It was stopped before the end: this is what it had by then.")
    return said


def described(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Every value as a line (what, value), nested ones by their path."""
    lines: list[tuple[str, str]] = []
    for key, value in values.items():
        if key.removesuffix("_low").removesuffix("_high") != key and _has_interval(values, key):
            continue  # said with the figure itself
        name = f"{prefix} › {words(key)}" if prefix else words(key)
        of = _estimate(values, key)
        if of is not None:
            lines.append((name, of))
        elif isinstance(value, dict) and value:
            lines += described(value, name)
        elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
            lines.append((name, f"{len(value):,} entries"))
        elif isinstance(value, list):
            lines.append((name, _shortened(", ".join(map(str, value))) if value else "none"))
        else:
            lines.append((name, _value(key, value)))
    return lines


def _has_interval(values: dict[str, Any], key: str) -> bool:
    return _is_number(values.get(key.removesuffix("_low").removesuffix("_high")))


def _estimate(values: dict[str, Any], key: str) -> str | None:
    """`0.5 (0.25 to 0.75, n 16)` where a figure has an interval: as `{mean, low, high, n}`
    (or accuracy for mean), or as `x`, `x_low`, `x_high` side by side."""
    value = values[key]
    if isinstance(value, dict):
        middle = value.get("mean", value.get("accuracy"))
        if not _is_number(middle) or set(value) - {"mean", "accuracy", "low", "high", "n", "std", "ties"}:
            return None
        detail = _interval(value.get("low"), value.get("high"), value.get("n"))
        return _number(middle) + (f" ({detail})" if detail else "")
    if _is_number(value) and _is_number(values.get(f"{key}_low")):
        return f"{_number(value)} ({_interval(values[f'{key}_low'], values.get(f'{key}_high'), None)})"
    return None


def words(key: str) -> str:
    text = key.replace("_", " ").strip()
    return text[:1].upper() + text[1:]


def _value(key: str, value: Any) -> str:
    if value is None or value == {}:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key == "seconds" and _is_number(value):
        return f"{value:,.1f} s"
    return _number(value) if _is_number(value) else _shortened(str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> str:
    if not _is_number(value):
        return "—"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _interval(low: Any, high: Any, n: Any, times: float = 1) -> str:
    """`57.0 to 65.3, n 512`, as much of it as there is."""
    parts = []
    if _is_number(low) and _is_number(high):
        form = ".1f" if times == 100 else ".3g"
        parts.append(f"{times * low:{form}} to {times * high:{form}}" + (" %" if times == 100 else ""))
    if _is_number(n):
        parts.append(f"n {n:,}")
    return ", ".join(parts)
