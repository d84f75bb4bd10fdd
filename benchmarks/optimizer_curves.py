"""The curves of benchmarks/optimizers.py: best score on train so far against calls, a small panel
for each method and all others behind it in grey."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from core.optimize.methods import METHODS

COLUMNS = 6
COLOURS = ("#2f6fde", "#d9622b")  # of tasks; told apart in grey as well by their order
GREY = "#c9ced6"
Run = Mapping[str, Any]


def stepped(run: Run, at: np.ndarray) -> np.ndarray:
    """The best score known after so many calls; nan before the first."""
    calls = np.array([point[0] for point in run["curve"]])
    best = np.array([point[1] for point in run["curve"]], dtype=float)
    place = np.searchsorted(calls, at, side="right") - 1
    return np.where(place >= 0, best[np.maximum(place, 0)], np.nan)


def draw_curves(runs: Sequence[Run], titles: Mapping[str, str], file: Path) -> None:
    methods = [name for name in METHODS if any(run["method"] == name for run in runs)]
    lines = -(-len(methods) // COLUMNS)
    figure, axes = plt.subplots(
        lines * len(titles), COLUMNS, figsize=(2.1 * COLUMNS, 1.55 * lines * len(titles) + 0.6),
        sharex=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    for place, (task, title) in enumerate(titles.items()):
        mine = {name: [r for r in runs if (r["task"], r["method"]) == (task, name)] for name in methods}
        block = axes[place * lines : (place + 1) * lines].ravel()
        _draw_task(block, {name: found for name, found in mine.items() if found}, title, COLOURS[place])
    figure.supxlabel("calls of the search (examples read; a backward pass counts as two)", fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130, facecolor="white")
    plt.close(figure)


def _draw_task(block: Any, mine: Mapping[str, Sequence[Run]], title: str, colour: str) -> None:
    most = max((run["curve"][-1][0] for found in mine.values() for run in found), default=1)
    at = np.arange(0, most + 1, 4)
    grids = {name: np.stack([stepped(run, at) for run in found]) for name, found in mine.items()}
    low = min((np.nanmin(grid) for grid in grids.values()), default=0)
    high = max((np.nanmax(grid) for grid in grids.values()), default=1)
    room = 0.06 * (high - low or 1)
    for axis, (name, grid) in zip(block, grids.items(), strict=False):
        for other in grids.values():
            axis.plot(at, _over_seeds(other, np.mean), color=GREY, linewidth=0.6)
        axis.fill_between(
            at, _over_seeds(grid, np.min), _over_seeds(grid, np.max), color=colour, alpha=0.2, linewidth=0
        )
        axis.plot(at, _over_seeds(grid, np.mean), color=colour, linewidth=1.8)
        axis.set_title(f"{METHODS[name].short} · {title}", fontsize=8)
        axis.set_ylim(low - room, high + room)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in block[len(grids) :]:
        axis.set_axis_off()


def _over_seeds(grid: np.ndarray, how: Any) -> np.ndarray:
    """`how` over seeds where all of them have a score; nan elsewhere."""
    return np.where(np.isnan(grid).any(axis=0), np.nan, how(np.nan_to_num(grid), axis=0))
