"""Pages of HTML that stand alone: no server, no network, no scripts; text, tables and pictures, in light and dark.

What is put on a page is data, never HTML: it is escaped in this file alone, so that a name can do nothing.
"""

import base64
import dataclasses
import html
import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from cnnjax.refusals import plain
from cnnjax.runs.curves import literal
from cnnjax.runs.workdir import write_file

__all__ = ["Code", "Links", "Part", "Picture", "Rows", "write_page"]

_MOST = 3_000_000  # bytes of a page
_DOTS = (110, 80, 55, 40)  # an inch, of pictures of images: fewer where the page would be larger than that
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # whatever else would load is not loaded
_STYLE = """
:root { color-scheme: light dark; --ink: #333a45; --paper: #fff; --band: #f3f5f7; --rule: #d4d9e0; --link: #1d5f8a }
@media (prefers-color-scheme: dark) {
  :root { --ink: #d5dae1; --paper: #16191e; --band: #20252c; --rule: #3b424d; --link: #7db8de }
  figure > :first-child { filter: brightness(.9) }
}
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 96rem; padding: 1.2rem clamp(.8rem, 3vw, 2rem) 3rem; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; margin: .3rem 0 } h2 { font-size: 1.15rem; margin: 0 0 .6rem }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .6rem 0 1rem } a { color: var(--link) }
section { border-top: 1px solid var(--rule); padding: 1rem 0 1.2rem }
p { margin: .4rem 0; max-width: 60rem; white-space: pre-line }
pre { font-size: 12.5px; line-height: 1.4; background: var(--band); padding: .7rem; border-radius: 6px;
  overflow-x: auto; overflow-wrap: normal }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; overflow-wrap: normal }
td, th { padding: .2rem .6rem; text-align: right; vertical-align: bottom; white-space: nowrap }
td.text, th.text { text-align: left } td.long { white-space: normal; min-width: 14rem; overflow-wrap: anywhere }
thead { border-bottom: 1px solid var(--ink) } tbody tr:nth-child(even) { background: var(--band) }
div.wide { overflow-x: auto; max-width: 100%; margin: .6rem 0 }
div.pictures { display: grid; gap: 1.2rem; align-items: start; margin: .8rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)) }
figure { margin: 0; min-width: 0 } figure.wide { grid-column: 1 / -1 }
figure > :first-child { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px }
figcaption { font-size: 13px; margin-top: .3rem; max-width: 60rem }
details { margin: .6rem 0 } summary { cursor: pointer; font-weight: 600 }
"""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A matplotlib figure with what it shows in words; a `wide` one has the page's width to itself."""

    figure: Figure
    caption: str
    wide: bool = False


@dataclasses.dataclass(frozen=True)
class Rows:
    """A table of cells as texts, of which the first `texts` columns, and the `long` ones, are flush left.

    One with a title folds, and is `unfolded` at first or not.
    """

    head: Sequence[str]
    cells: Sequence[Sequence[str]]
    texts: int = 1
    title: str = ""
    unfolded: bool = False
    long: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Code:
    """A text as it is, its lines and columns kept; one with a title folds."""

    text: str
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Links:
    """Files by what they are called: paths relative to the page's own folder."""

    files: Sequence[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a page: its title and what stands in it, a paragraph for each text."""

    title: str
    blocks: Sequence[str | Picture | Rows | Code | Links]


def write_page(path: str | Path, title: str, lead: str, parts: Sequence[Part]) -> None:
    """Writes a page to a file, with a heading, a paragraph and its parts, at most 3 MB of it.

    Charts are drawn as SVG, images as PNG, in as many dots as there is room for.
    """
    charts: dict[int, str] = {}  # the same in every try
    for dots in _DOTS:
        content = _page(title, lead, parts, dots, charts).encode()
        if len(content) <= _MOST:
            break
    write_file(path, content)


def link(page: str | Path, path: str) -> None:
    """Adds a link to the last ones of a page that is written, where it has none to this path yet."""
    text = Path(page).read_text(encoding="utf-8")
    anchor, last = f"<a href='{html.escape(path)}'>{_safe(path)}</a>", text.rfind("</a></p>")
    if anchor not in text and last >= 0:
        write_file(page, f"{text[: last + 4]} · {anchor}{text[last + 4 :]}".encode())


def _page(title: str, lead: str, parts: Sequence[Part], dots: int, charts: dict[int, str]) -> str:
    anchors = "".join(f"<a href='#part{k}'>{_safe(part.title)}</a>" for k, part in enumerate(parts) if part.title)
    sections = "".join(
        f"<section id='part{k}'>{f'<h2>{_safe(part.title)}</h2>' if part.title else ''}"
        f"\n{_blocks(part.blocks, dots, charts)}</section>\n"
        for k, part in enumerate(parts)
    )
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<meta name='viewport' content='width=device-width, initial-scale=1'><title>{_safe(title)}</title>"
        f"<style>{_STYLE}</style></head>\n<body><h1>{_safe(title)}</h1>\n<p>{_safe(lead)}</p>\n"
        f"{f'<nav>{anchors}</nav>' if len(parts) > 2 else ''}\n{sections}</body></html>\n"
    )


def _safe(text: str) -> str:
    """A text as HTML that says it, and does nothing; control characters are written out."""
    return html.escape("\n".join(map(plain, str(text).split("\n"))))


def _blocks(blocks: Sequence, dots: int, charts: dict[int, str]) -> str:
    """Blocks one below the other, pictures that follow each other side by side where there is room."""
    written, row = [], []
    for block in [*blocks, ""]:
        if isinstance(block, Picture):
            row.append(_picture(block, dots, charts))
            continue
        if row:
            written.append(f"<div class='pictures'>\n{''.join(row)}</div>\n")
            row = []
        if block:
            written.append(_WRITERS[type(block)](block))
    return "".join(written)


def _paragraph(text: str) -> str:
    return f"<p>{_safe(text)}</p>\n"


def _code(block: Code) -> str:
    return _folded(block.title, f"<pre>{_safe(block.text)}</pre>", unfolded=False)


def _links(block: Links) -> str:
    files = [f"<a href='{html.escape(path)}'>{_safe(name)}</a>" for name, path in block.files]
    return f"<p>{' · '.join(files)}</p>\n"


def _rows(block: Rows) -> str:
    """A table; long heads break at their dots."""
    kinds = [
        "text long" if name in block.long else "text" if number < block.texts else ""
        for number, name in enumerate(block.head)
    ]
    heads = [_safe(name).replace(".", ".<wbr>").replace("_", "_<wbr>") for name in block.head]

    def cells(tag, row):
        return "".join(f"<{tag} class='{kind}'>{cell}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    body = "".join(f"<tr>{cells('td', map(_safe, row))}</tr>\n" for row in block.cells)
    table = f"<table><thead><tr>{cells('th', heads)}</tr></thead>\n<tbody>{body}</tbody></table>"
    return _folded(block.title, f"<div class='wide'>{table}</div>", unfolded=block.unfolded)


def _folded(title: str, content: str, *, unfolded: bool) -> str:
    if not title:
        return f"{content}\n"
    return f"<details{' open' if unfolded else ''}><summary>{_safe(title)}</summary>{content}</details>\n"


_WRITERS = {str: _paragraph, Code: _code, Links: _links, Rows: _rows}


def _picture(block: Picture, dots: int, charts: dict[int, str]) -> str:
    figure = literal(block.figure)
    if any(axes.images for axes in figure.axes):
        drawn = _png(figure, dots, block.caption)
    else:
        drawn = charts.get(id(figure)) or charts.setdefault(id(figure), _svg(figure, block.caption))
    kind = " class='wide'" if block.wide else ""
    return f"<figure{kind}>{drawn}<figcaption>{_safe(block.caption)}</figcaption></figure>\n"


def _png(figure: Figure, dots: int, caption: str) -> str:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dots)
    content = base64.b64encode(picture.getvalue()).decode()
    return f"<img alt='{_safe(caption)}' src='data:image/png;base64,{content}'>"


def _svg(figure: Figure, caption: str) -> str:
    """The figure as an SVG element whose names are its own on the page."""
    picture = io.StringIO()
    with rc_context({"svg.hashsalt": "page", "svg.fonttype": "path"}):
        figure.savefig(picture, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = picture.getvalue()
    text = re.sub(
        r"<!--.*?-->\n?", "", text[text.index("<svg") :], flags=re.DOTALL
    )  # every text once more, as a comment
    own = f"p{zlib.crc32(text.encode()):08x}-"
    for before in ('id="', 'href="#', "url(#"):
        text = text.replace(before, f"{before}{own}")
    return text.replace("<svg", f"<svg role='img' aria-label='{_safe(caption)}'", 1)
