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
    tasks = {
        task: {
            name: mine
            for name in METHODS
            if (mine := [r for r in runs if (r["task"], r["method"]) == (task, name)])
        }
        for task in titles
    }
    lines = {task: -(-len(mine) // COLUMNS) for task, mine in tasks.items()}
    height = sum(lines.values())
    figure, axes = plt.subplots(
        height, COLUMNS, figsize=(2.1 * COLUMNS, 1.55 * height + 0.6), squeeze=False, layout="constrained"
    )
    for axis in axes.ravel():
        axis.set_axis_off()
    first = 0
    for colour, (task, mine) in zip(COLOURS, tasks.items(), strict=True):
        if mine:
            _draw_task(axes[first : first + lines[task]].ravel(), mine, titles[task], colour)
        first += lines[task]
    figure.supxlabel("calls of the search (examples read; a backward pass counts as two)", fontsize=9)
    figure.supylabel("best score on train so far (100 x balanced accuracy + 10 x entropy)", fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, facecolor="white")
    plt.close(figure)


def _draw_task(block: Any, mine: Mapping[str, Sequence[Run]], title: str, colour: str) -> None:
    most = max((run["curve"][-1][0] for found in mine.values() for run in found), default=1)
    at = np.arange(0, most + 1, 4)
    grids = {name: np.stack([stepped(run, at) for run in found]) for name, found in mine.items()}
    low = min((np.nanmin(grid) for grid in grids.values()), default=0)
    high = max((np.nanmax(grid) for grid in grids.values()), default=1)
    room = 0.06 * (high - low or 1)
    for axis, (name, grid) in zip(block, grids.items(), strict=False):
        axis.set_axis_on()
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


def _over_seeds(grid: np.ndarray, how: Any) -> np.ndarray:
    """`how` over seeds where all of them have a score; nan elsewhere."""
    return np.where(np.isnan(grid).any(axis=0), np.nan, how(np.nan_to_num(grid), axis=0))
