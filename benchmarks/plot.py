"""One picture of a run: what the targets do per second and what they cost, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from benchmarks.plan import Rate, Scenario, Streams
from benchmarks.report import number
from benchmarks.summary import Figures

COLOURS = {"direct": "#9aa0a6", "nginx": "#2e7d32", "litellm": "#c62828", "ours": "#1565c0", "ours-asgi": "#64b5f6"}


def _bars(axes: Axes, medians: Figures, scenarios: Sequence[str], figure: str, title: str) -> None:
    """Groups of bars, one group per scenario and one bar per target that has the figure, from a whole decade up."""
    scenarios = [s for s in scenarios if any(v.get(figure) for v in medians[s].values())]
    targets = [t for t in COLOURS if any(figure in medians.get(s, {}).get(t, {}) for s in scenarios)]
    width = 0.8 / max(1, len(targets))
    for i, target in enumerate(targets):
        at = [n for n, s in enumerate(scenarios) if medians.get(s, {}).get(target, {}).get(figure)]
        heights = [medians[scenarios[n]][target][figure] for n in at]
        places = [n + (i - (len(targets) - 1) / 2) * width for n in at]
        bars = axes.bar(places, heights, width, label=target, color=COLOURS[target])
        axes.bar_label(bars, [number(height) for height in heights], fontsize=6, rotation=90, padding=2)
    axes.set_yscale("log")
    lowest = [v[figure] for s in scenarios for v in medians[s].values() if v.get(figure)]
    if lowest:
        axes.set_ylim(10 ** floor(log10(min(lowest))), max(lowest) * 6)
    axes.set_xticks(range(len(scenarios)), scenarios, fontsize=7, rotation=20)
    axes.set_title(title, fontsize=9, loc="left")
    if targets:
        axes.legend(fontsize=7)


def write(path: Path, medians: Figures, scenarios: Sequence[Scenario]) -> None:
    """Rate and CPU per request above; lateness and CPU per chunk below."""
    rates = [each.name for each in scenarios if isinstance(each, Rate) and each.name in medians]
    streams = [each.name for each in scenarios if isinstance(each, Streams) and each.name in medians]
    picture, axes = pyplot.subplots(2, 2, figsize=(13, 8), layout="constrained")
    _bars(axes[0][0], medians, rates, "rate", "requests per second (higher is better)")
    _bars(axes[0][1], medians, rates, "cpu_us", "CPU per request, us (lower is better)")
    _bars(axes[1][0], medians, streams, "late_p99_us", "lateness of a chunk, p99, us (lower is better)")
    _bars(axes[1][1], medians, streams, "cpu_us", "CPU per chunk, us (lower is better)")
    picture.suptitle("Gateway on one core, loopback, medians", fontsize=11)
    picture.savefig(path, dpi=120)
    pyplot.close(picture)
