"""A sweep on one page of HTML that needs no server, no network and no scripts."""

from pathlib import Path

from cnnjax.runs import pages
from cnnjax.runs.pages import Part, Picture, Rows
from cnnjax.sweep.plots import draw_against, draw_importance, draw_learning, draw_parallel, draw_paths
from cnnjax.sweep.table import Table

__all__ = ["write_page"]

_FEW = 12  # points whose table is unfolded


def write_page(table: Table, workdir: str | Path, path: str | Path) -> None:
    """Writes the tables and the pictures of a sweep to an HTML file, pictures drawn in."""
    metric = table.metric
    drawn = [Picture(draw_parallel(table), f"what each point overrides, and the {metric} it came to", wide=True)]
    if table.paths:
        drawn.append(Picture(draw_paths(table), "the numbers of each member over the steps"))
    drawn.append(Picture(draw_against(table), f"{metric} against what varies"))
    drawn.append(Picture(draw_learning(table, workdir), f"{metric} over the steps"))
    if not table.paths:
        drawn.append(Picture(draw_importance(table), f"how much of the variance of {metric} each option explains"))
    best, summary, count = table.rows[0] if table.rows else {}, table.summary(), len(table.rows)
    seeds = any(row.count > 1 for row in summary.rows)
    tables = [_rows(f"all {count} points", table.cells, 1, unfolded=not seeds and count <= _FEW)]
    if seeds:
        tables.insert(0, _rows("mean ± deviation over seeds", summary.cells, len(summary.paths), unfolded=True))
    lead = f"{count} points; best by {metric}: {best.get('point', 'none')}"
    pages.write_page(path, Path(workdir).resolve().name, lead, [Part("", drawn), Part("", tables)])


def _rows(title: str, cells: tuple, texts: int, *, unfolded: bool) -> Rows:
    head, rows = cells
    return Rows(head, rows, texts, title, unfolded, long=("path",))
