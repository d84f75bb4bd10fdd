"""A whole judgement.json, as core.reward.judgement documents it, of made-up figures."""

from typing import Any


def figure(value: float | None, half: float = 0.05, n: int = 40) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": value + half, "n": n}


def no_figure() -> dict[str, Any]:
    return {"value": None, "low": None, "high": None, "n": 0}


def bins(off: float) -> list[dict[str, Any]]:
    return [
        {"from": c - 0.05, "to": c + 0.05, "confidence": c, "value": c - off, "low": c - off - 0.1,
         "high": min(1.0, c - off + 0.1), "n": 12}
        for c in (0.55, 0.65, 0.75, 0.85)
    ]  # fmt: skip


def mistake(pair: str, p: float, q: float = 1.0) -> dict[str, Any]:
    return {
        "pair_id": pair, "example_id": f"example of {pair}", "d": -2.0 if q > 0.5 else 2.0, "p": p, "q": q, "n": 1,
        "length_difference": -40, "cluster": "cooking", "prompt_a": "one v1", "prompt_b": "two v1",
    }  # fmt: skip


def slice_row(name: str, value: float, differs: bool = False) -> dict[str, Any]:
    return {
        "name": name, "accuracy": figure(value, 0.09, 20), "rest": figure(0.66, 0.06, 20),
        "difference": figure(value - 0.66, 0.11, 40), "p": 0.001 if differs else 0.5,
        "p_adjusted": 0.01 if differs else 0.7, "differs": differs,
    }  # fmt: skip


def judgement(mistakes: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    curve_fit = [
        {"pairs": v // 2, "votes": v, "value": 0.70 - 3 / v, "low": 0.67 - 3 / v, "high": 0.73 - 3 / v}
        for v in range(50, 1001, 50)
    ]
    return {
        "format": 1,
        "n": {"train": 200, "dev": 40, "test": 44, "decided": 40, "ties": 4, "examples": 40, "votes": 80},
        "accuracy": figure(0.66, 0.07),
        "baselines": [
            {"name": name, "title": title, "how": f"How: {title}.", "unit": unit, "accuracy": figure(value, 0.08),
             "model": figure(0.66, 0.07), "difference": figure(0.66 - value, 0.09), "p": 0.2}
            for name, title, unit, value in (
                ("longer", "The longer response", "pairs", 0.44), ("shorter", "The shorter response", "pairs", 0.56),
                ("embeddings", "Logistic regression on frozen embeddings", "pairs", 0.60),
                ("left", "The left response", "votes", 0.51),
            )
        ],
        "people": {
            "message": "On 40 pairs with several votes, a person agrees with the others in 72 %.",
            "single": 10, "several": 30, "votes": figure(0.7), "one_out": figure(0.72, 0.06, 80),
            "model_one_out": figure(0.65, 0.06, 80), "difference": {**figure(-0.07), "p": 0.1},
            "model_majority": figure(0.67), "majority_vote": figure(0.85),
        },
        "calibration": {
            "temperature": figure(1.6, 0.3), "n_dev": 40,
            "before": {"log_loss": figure(0.71), "brier": figure(0.26, 0.02), "ece": figure(0.12, 0.03), "bins": bins(0.12)},
            "after": {"log_loss": figure(0.64), "brier": figure(0.22, 0.02), "ece": figure(0.04, 0.02), "bins": bins(0.02)},
        },
        "slices": {
            "looked_at": 9, "too_small": 2, "method": "Benjamini-Hochberg", "level": 0.05, "marked": 1,
            "groups": [
                {"by": "margin", "title": "Margin", "unit": "pairs",
                 "rows": [slice_row("all agree", 0.71), slice_row("divided", 0.55)]},
                {"by": "cluster", "title": "Topic", "unit": "pairs",
                 "rows": [slice_row("cooking", 0.41, True), slice_row("code, python", 0.74)]},
            ],
        },
        "clusters": [{"name": "cooking", "words": ["cook", "rice"], "n": 20, "inputs": []}],
        "formatting": [
            {"name": "length", "title": "Length", "varied": 40, "model": figure(-0.42, 0.1),
             "people": figure(-0.10, 0.1), "partial": figure(-0.35, 0.1)},
            {"name": "lists", "title": "Lists", "varied": 12, "model": figure(0.05, 0.3, 12),
             "people": figure(0.02, 0.3, 12), "partial": no_figure()},
        ],
        "length": {"follows": figure(0.52), "against": figure(0.76), "gap": figure(-0.24, 0.1)},
        "sensitivity": [
            {"name": name, "title": title, "kind": kind, "example": ["Yes.", "Yes. Great question!"],
             "shift": figure(0.2, 0.05), "size": figure(0.3, 0.05), "flipped": figure(0.08, 0.03), "won": figure(0.1)}
            for name, title, kind in (
                ("padding", "Padding", "cheat"), ("flattery", "Flattery", "cheat"), ("case", "Other spacing", "same"),
                ("order", "Swapped sentences", "order"), ("cut", "Half cut off", "loss"),
            )
        ],
        "curve": {
            "learner": "logistic regression on frozen embeddings", "unit_votes": 2.0,
            "points": [
                {"pairs": v // 2, "votes": v, "accuracy": figure(0.70 - 3 / v, 0.04), "log_loss": figure(0.6 + 3 / v, 0.04),
                 "fits": 5} for v in (50, 100, 200, 400)
            ],
            "accuracy": {
                "fit": curve_fit, "more": [{"votes": 500, "pairs": 250, "gain": figure(0.015, 0.011)}],
                "message": "500 more votes should bring +1.5 points (0.4 to 2.6).",
            },
            "log_loss": {"fit": curve_fit, "more": [], "message": ""},
        },
        "mistakes": mistakes or [],
        "leaks": {"input": 1, "responses": 0, "response": 0, "pairs": 1, "accuracy": no_figure(),
                  "clean": figure(0.66), "ids": []},
        "position": {"left": figure(0.51), "model": figure(0.49)},
        "warnings": [
            {"code": "length_cheat", "level": "bad", "text": "It goes by length further than people do."},
            {"code": "few_examples", "level": "note", "text": "Only 40 test examples."},
        ],
        "skipped": [{"part": "criterion", "reason": "No vote rated a criterion."}],
        "plan": {"name": "quick"}, "seconds": {"all": 1.0},
        **changes,
    }  # fmt: skip
