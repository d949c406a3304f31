"""The analysis of a net: which parts there are, each drawn in its turn, and the folder that they are written to."""

import inspect
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from cnnjax.config import ConfigError
from cnnjax.programs import _dear_looks, _figures, _inner_looks, _looks, _moved_looks, _twin_looks
from cnnjax.programs._look import Look, Twins
from cnnjax.refusals import one_of
from cnnjax.runs.pages import Links, Part, Picture, link, write_page
from cnnjax.runs.workdir import write_json


def parts_of(names: Sequence[str], *, twins: bool = False) -> dict[str, Callable]:
    """The parts that are asked for by name, in their order; without names all that are cheap. Of `twins` their own."""
    cheap, dear = {**_offered(_looks), **_offered(_moved_looks)}, _dear()
    if twins:
        cheap, dear = _offered(_twin_looks), {}
    if not names:
        return cheap
    known = {**cheap, **dear}
    for name in names:
        one_of(name, (*known, "all"), path="--what")
    return known if "all" in names else {name: known[name] for name in known if name in names}


def _dear() -> dict[str, Callable]:
    """The parts that are shown where they are asked for by name alone."""
    return _offered(_dear_looks) | _offered(_inner_looks)


def _offered(module: ModuleType) -> dict[str, Callable]:
    """The public functions that a file defines, in its order."""
    found = {
        name: function
        for name, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_")
    }
    return dict(sorted(found.items(), key=lambda item: item[1].__code__.co_firstlineno))


def folder_for(out: str, workdir: str, against: str = "") -> Path:
    """The folder to write to, made where there is none."""
    if not out and not workdir:
        raise ConfigError("--out is missing; give the folder to write to, --out=looked")
    own = f"against-{Path(against).resolve().name}" if against else "analysis"
    folder = Path(out) if out else Path(workdir) / own
    if not out and not (Path(workdir) / "config.json").exists():
        return folder  # no run: loading it says so
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out is {str(folder)!r}, which can't be made: {error.strerror}") from None
    return folder


def write(
    look: Look | Twins,
    wanted: dict[str, Callable],
    folder: Path,
    title: str,
    say: Callable[[str], None],
    *,
    workdir: str = "",
) -> str:
    """Writes analysis.json, figures/ and report.html of these parts; what was written is said.

    A part that fails costs the others nothing: its error is raised when they are written. The page of the run in
    `workdir` is given a link, where the folder stands beside it; a page that is another's is left as it is.
    """
    parts, numbers, out, drawn, failed = [], {}, {}, 0, None
    for name, part in wanted.items():
        began = time.perf_counter()
        try:
            blocks, found = part(look)
            pictures = [block for block in blocks if isinstance(block, Picture)]
            for number, block in enumerate(pictures, 1):
                _figures.save(block.figure, folder / "figures" / f"{name}-{number}.png", dpi=110)
        except Exception as error:
            expected = isinstance(error, ValueError)
            out[name] = next(iter(str(error).strip().splitlines()), "") if expected else _told(error)
            failed = failed or (None if expected else error)
            say(f"{name}: {'left out' if expected else 'failed'}, {out[name]}")
            continue
        numbers[name] = found
        drawn += len(pictures)
        parts.append(Part(name, [_sentence(part), *blocks]))
        say(f"{name}: {time.perf_counter() - began:.1f} s")
    if failed and not parts:
        raise failed
    if not parts:
        raise ConfigError(
            "no part can be shown of this net: " + "; ".join(f"{name}: {why}" for name, why in out.items())
        )
    offered = {} if isinstance(look, Twins) else _dear()
    dear = {name: _sentence(part) for name, part in offered.items() if name not in wanted}
    left = [f"{name}: {why}" for name, why in out.items()]
    left += [f"{name} is dear and was not asked for (--what={name}): {words}" for name, words in dear.items()]
    page = _page_of(workdir, folder)
    origin = [("analysis.json", "analysis.json"), *([("report.html of the run", "../report.html")] if page else [])]
    parts.append(Part("origin", [*left, Links(origin)]))
    asked = {"title": title, "examples": len(look.inputs), "index": look.index.tolist(), "left_out": out}
    write_json(folder / "analysis.json", asked | numbers)
    write_page(folder / "report.html", title, look.lead, parts)
    if page:
        link(page, f"{folder.name}/report.html")
    if earlier := _of_earlier_parts(folder, numbers):
        say(f"{folder}/figures keeps pictures of earlier parts, which stand no more in report.html: {earlier}")
    if failed:
        raise failed
    return f"{folder}/report.html: {', '.join(numbers)}\n{folder}/analysis.json, {drawn} pictures in {folder}/figures"


def _page_of(workdir: str, folder: Path) -> Path | None:
    """The run's own page, where it has one and the folder stands in its workdir."""
    page = folder.parent / "report.html"
    beside = bool(workdir) and folder.resolve().parent == Path(workdir).resolve()
    return page if beside and page.exists() else None


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no more is known')}"


def _of_earlier_parts(folder: Path, numbers: dict) -> str:
    """The parts that have pictures in the folder and were not asked for now."""
    names = {path.stem.rpartition("-")[0] for path in (folder / "figures").glob("*-*.png")}
    return ", ".join(sorted(names - set(numbers)))


def _sentence(part: Callable) -> str:
    return (inspect.getdoc(part) or "").partition("\n\n")[0]
