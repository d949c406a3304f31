"""A sweep on one page of HTML that needs no server, no network and no scripts."""

import html
import io
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from cnnjax.runs.workdir import write_file
from cnnjax.sweep.plots import draw_against, draw_importance, draw_learning, draw_parallel
from cnnjax.sweep.table import Table, as_markdown

__all__ = ["write_page"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #333a45; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .2rem .7rem; text-align: right }
td:first-child, th:first-child { text-align: left } tr:nth-child(even) { background: #f3f5f7 } svg { max-width: 100% }
figure { margin: 0 0 1.5rem } div.wide { overflow-x: auto }
"""


def write_page(table: Table, workdir: str | Path, path: str | Path) -> None:
    """Writes the table and the pictures of a sweep to an HTML file, pictures drawn in."""
    pictures = [draw_parallel(table), draw_against(table), draw_learning(table, workdir), draw_importance(table)]
    figures = "".join(f"<figure>{_svg(figure, i)}</figure>\n" for i, figure in enumerate(pictures))
    title = html.escape(Path(workdir).resolve().name)
    best = table.rows[0] if table.rows else {}
    words = f"{len(table.rows)} points; best by {table.metric}: {best.get('point', 'none')}"
    text = (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1><p>{html.escape(words)}</p>\n{figures}"
        f"<div class='wide'>{_table(table)}</div></body></html>\n"
    )
    write_file(path, text.encode())


def _table(table: Table) -> str:
    head, _, *rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in _lines(table)]
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows)
    return f"<table><tr>{cells}</tr>\n{body}</table>"


def _lines(table: Table) -> list[str]:
    return as_markdown(table).splitlines()


def _svg(figure: Figure, number: int) -> str:
    """The figure as an SVG element whose names are its own on the page."""
    picture = io.StringIO()
    with rc_context({"svg.hashsalt": "sweep", "svg.fonttype": "path"}):
        figure.savefig(picture, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = picture.getvalue()
    text = text[text.index("<svg") :]
    for before in ('id="', 'href="#', "url(#"):
        text = text.replace(before, f"{before}picture{number}-")
    return text
