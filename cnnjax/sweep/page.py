"""A sweep on one page of HTML that needs no server, no network and no scripts."""

import html
import io
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from cnnjax.runs.workdir import write_file
from cnnjax.sweep.plots import draw_against, draw_importance, draw_learning, draw_parallel, draw_paths
from cnnjax.sweep.table import Table

__all__ = ["write_page"]

_FEW = 12  # points whose table is unfolded
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #333a45; margin: 2rem auto; max-width: 96rem; padding: 0 1.5rem }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
td, th { padding: .2rem .6rem; text-align: right; vertical-align: bottom }
td.text, th.text { text-align: left } thead { border-bottom: 1px solid #333a45 }
tbody tr:nth-child(even) { background: #f3f5f7 }
td { white-space: nowrap } td.path { white-space: normal; min-width: 14rem }
svg { width: 100%; height: auto } main { display: grid; gap: 1.5rem; align-items: start }
main { grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr)) }
figure { margin: 0 } figure.wide { grid-column: 1 / -1; max-width: 60rem }
div.wide { overflow-x: auto; max-width: 100% }
details { margin: 1.5rem 0 } summary { cursor: pointer; font-weight: 600 }
"""


def write_page(table: Table, workdir: str | Path, path: str | Path) -> None:
    """Writes the tables and the pictures of a sweep to an HTML file, pictures drawn in."""
    pictures = [draw_parallel(table), *([draw_paths(table)] if table.paths else []), draw_against(table)]
    pictures += [draw_learning(table, workdir), *([] if table.paths else [draw_importance(table)])]
    figures = "".join(_figure(figure, number, wide=number == 0) for number, figure in enumerate(pictures))
    title = html.escape(Path(workdir).resolve().name)
    best, summary = table.rows[0] if table.rows else {}, table.summary()
    words = f"{len(table.rows)} points; best by {table.metric}: {best.get('point', 'none')}"
    seeds = any(row.count > 1 for row in summary.rows)
    tables = _folded("mean ± deviation over seeds", *summary.cells, len(summary.paths), unfolded=True) if seeds else ""
    count = len(table.rows)
    tables += _folded(f"all {count} points", *table.cells, 1, unfolded=not seeds and count <= _FEW)
    text = (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1><p>{html.escape(words)}</p>\n"
        f"<main>\n{figures}</main>\n{tables}</body></html>\n"
    )
    write_file(path, text.encode())


def _figure(figure: Figure, number: int, *, wide: bool) -> str:
    return f"<figure{' class=wide' if wide else ''}>{_svg(figure, number)}</figure>\n"


def _folded(title: str, head: list[str], rows: list[list[str]], texts: int, *, unfolded: bool) -> str:
    """A table that folds; the first `texts` columns are flush left, long heads break at their dots."""
    kinds = ["text" if number < texts else "path" if name == "path" else "" for number, name in enumerate(head)]
    heads = [html.escape(name).replace(".", ".<wbr>").replace("_", "_<wbr>") for name in head]

    def cells(tag, row):
        return "".join(f"<{tag} class='{kind}'>{cell}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    body = "".join(f"<tr>{cells('td', map(html.escape, row))}</tr>\n" for row in rows)
    return (
        f"<details{' open' if unfolded else ''}><summary>{html.escape(title)}</summary><div class='wide'>"
        f"<table><thead><tr>{cells('th', heads)}</tr></thead>\n<tbody>{body}</tbody></table></div></details>\n"
    )


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
