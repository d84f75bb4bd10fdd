"""What the quality page says first, from its figures."""

import pytest

from core.annotation.verdict import verdict

FIGURES = {
    "alpha_nominal": 0.3, "alpha_low": 0.25, "alpha_high": 0.35, "pairs_shared": 200, "simulated_votes": 0,
    "too_fast_share": None, "too_fast_low": None, "too_fast_high": None, "timed_votes": 0,
    "left_share": None, "left_low": None, "left_high": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("alpha", "level", "starts"),
    [
        ((0.8, 0.7, 0.9), "good", "Good: "),
        ((0.7, 0.6, 0.8), "usable", "Usable: "),  # the interval counts, not the value
        ((0.3, 0.25, 0.35), "usable", "Usable: "),
        ((0.1, 0.05, 0.15), "weak", "Weak: "),
        ((0.2, 0.1, 0.3), "weak", "Uncertain: "),
        ((None, None, None), "unknown", "It cannot be told yet"),
    ],
)
def test_the_level_goes_by_the_interval_of_alpha(alpha, level, starts):
    said = verdict(
        {**FIGURES, **dict(zip(("alpha_nominal", "alpha_low", "alpha_high"), alpha, strict=True))}, None
    )
    assert said.level == level and said.answer.startswith(starts)
    assert bool(said.todo) == (level in ("weak", "unknown"))
    if alpha[0] is not None:
        assert f"alpha {alpha[0]:.2f} ({alpha[1]:.2f} to {alpha[2]:.2f}) on 200 pairs" in said.answer


def test_few_shared_pairs_say_nothing():
    assert verdict({**FIGURES, "pairs_shared": 49}, None).level == "unknown"


def test_what_to_do_names_its_figures():
    fast = {"too_fast_share": 0.5, "too_fast_low": 0.3, "too_fast_high": 0.7, "timed_votes": 1_020}
    left = {"left_share": 0.6, "left_low": 0.56, "left_high": 0.64}
    first, second, third = verdict({**FIGURES, **fast, **left, "simulated_votes": 3}, None).todo
    assert first.startswith("Collect votes of people")
    assert second.startswith("50 % (30 to 70, n 1,020) of the timed votes came too fast")
    assert third.startswith("Annotators are drawn to the left")
    few = {**fast, "too_fast_low": 0.05}
    assert verdict({**FIGURES, **few, **left, "left_low": 0.52}, None).todo == []
    (said,) = verdict({**FIGURES, "left_share": 0.4, "left_low": 0.36, "left_high": 0.44}, None).todo
    assert "to the right" in said
