"""Numbers as text, and arrays apart from them."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnjax.refusals import plain

__all__ = ["aligned", "as_csv", "numbers_and_tables", "readable", "tabulate"]


def numbers_and_tables(found: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """What a task's summary holds as metrics (numbers) and as tables (arrays of any shape but ())."""
    numbers = {name: value for name, value in found.items() if np.ndim(value) == 0}
    return numbers, {name: np.asarray(value) for name, value in found.items() if name not in numbers}


def readable(value: Any) -> str:
    """A number with four digits that matter; empty for what is no number."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if value is None:
        return "nan"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value if isinstance(value, str) else ""
    if isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    return f"{value:.4f}" if 0.001 <= size < 100 or size == 0 else f"{value:.4g}"


def tabulate(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A table with a row for each key and a column for each number in any of its values."""
    columns: dict[str, None] = {}
    for row in rows.values():
        columns |= dict.fromkeys(name for name, value in row.items() if readable(value))
    rest = ([key, *(readable(row[name]) if name in row else "" for name in columns)] for key, row in rows.items())
    return aligned(["", *columns], list(rest), left=1)


def as_csv(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as CSV; a text that a spreadsheet would take for a formula has an apostrophe before it, numbers stay."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[_no_formula(cell) for cell in row] for row in (head, *rows)])
    return text.getvalue()


def _no_formula(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    cell = plain(cell)
    if not cell.startswith(("=", "+", "-", "@", "\t")):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    """Cells in columns as wide as their texts, the first `left` flush left, the others right."""
    cells = [[plain(cell).replace("\n", "\\n") for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    pads = [str.ljust if number < left else str.rjust for number in range(len(head))]
    lines = ("  ".join(p(cell, w) for p, cell, w in zip(pads, line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)
