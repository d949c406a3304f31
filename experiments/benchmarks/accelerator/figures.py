"""What a part of the run has found: figures with their units and targets, lines of a file, and the table of all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Told", "as_table"]


class Told:
    """Called with each figure as soon as it is known; writes it, and the parts' states, as lines of a file.

    `matters` says whether targets of speed are judged: this is an accelerator, and nothing is tiny.
    """

    def __init__(self, path: str, parent: int, *, matters: bool):
        self._path, self._parent, self._matters = Path(path), parent, matters

    def __call__(
        self,
        what: str,
        value: float | str,
        unit: str = "",
        *,
        at_least: float = float("-inf"),
        at_most: float = float("inf"),
        everywhere: bool = False,
    ) -> None:
        """A figure, and the target that it should reach; one that holds `everywhere` is judged on CPUs too."""
        found = {"what": what, "value": value, "unit": unit}
        if at_least > float("-inf"):
            found["target"] = f"≥ {_rounded(at_least)}"
        if at_most < float("inf"):
            found["target"] = f"≤ {_rounded(at_most)}"
        if "target" in found and (everywhere or self._matters):
            found["met"] = at_least <= value <= at_most
        self.line({"figure": found})

    def line(self, words: Mapping) -> None:
        """Writes a line; ends this process where the one that reads it is gone."""
        if os.getppid() != self._parent:
            raise SystemExit(1)
        with self._path.open("a") as lines:
            lines.write(json.dumps(words) + "\n")


def as_table(parts: Mapping[str, Mapping]) -> str:
    """All figures under their part's title, each with its unit, and its target where there is one and whether met."""
    figures = [figure for part in parts.values() for figure in part["figures"]]
    widest = max((len(figure["what"]) for figure in figures), default=0)
    units = max((len(figure["unit"]) for figure in figures), default=0)
    lines = []
    for part in parts.values():
        spent = f", {part['seconds']:.0f} s" if part.get("seconds") else ""
        lines.append(f"{part['title']}{spent}")
        lines += [_line(figure, widest, units) for figure in part["figures"]]
        lines += [f"  {part['why']}"] if part.get("why") else []
        lines.append("")
    targets = [figure["met"] for figure in figures if "met" in figure]
    told = f"{sum(targets)} of {len(targets)} targets met" if targets else "no target is judged here"
    return "\n".join([*lines, told])


def _line(figure: Mapping, widest: int, units: int) -> str:
    what = figure["what"].ljust(widest)
    if isinstance(figure["value"], str):
        return f"  {what}  {figure['value']}"
    met = {True: "met", False: "MISSED"}.get(figure.get("met"), "")
    value, target = _rounded(figure["value"]), figure.get("target", "")
    return f"  {what}  {value:>9}  {figure['unit']:<{units}}  {target:<8}  {met}".rstrip()


def _rounded(value: float) -> str:
    """A number with three digits that matter, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"
