"""Says what is in pictures: the likeliest classes of each.

  cnnjax predict --workdir=runs/a a.png b.jpg
  cnnjax predict --workdir=runs/a --images=photos --top=3 --output=predictions.csv
  cnnjax predict --model=resnet18 --weights=resnet18.pth --names=imagenet.txt photos

  --workdir=DIR              a run of cnnjax train; pictures are read as its data were
  --checkpoint=best          best, last, or a step
  --images=PATH,PATH         files, and folders with everything in them; the same as PATH PATH
  --top=5                    how many classes of each picture
  --output=FILE              writes .csv or .json too, where pictures that can't be read stand with the reason

Or a network of the zoo with weights from elsewhere (safetensors, .npz, .pth), and what they want to see
  --model=NAME --weights=FILE
  --outputs=1000             classes; --names=FILE has their names, one on each line
  --resize=256 --size=224    the shorter side, and the square cut from the middle
  --mean=0.485,0.456,0.406 --std=0.229,0.224,0.225
                             subtracted and divided by, in units of white

Exit codes: 0 done · 2 usage · 3 some pictures could not be read, or the run's data · 5 no usable checkpoint
  6 out of memory · 1 anything else
"""

import csv
import difflib
import io
import json
from pathlib import Path

from absl import flags

from cnnjax.config import ConfigError
from cnnjax.programs import _origin, process

__all__ = ["FLAGS", "main"]

FLAGS = flags.FlagValues()
_origin.define(FLAGS)
flags.DEFINE_list("images", "", "files and folders", flag_values=FLAGS)
flags.DEFINE_integer("top", 5, "how many classes", 1, flag_values=FLAGS)
flags.DEFINE_string("output", "", "a file to write", flag_values=FLAGS)

_AT_ONCE = 256  # pictures in memory


class UnreadableError(ValueError):
    """Pictures that could not be read; the others were."""

    exit_code = 3


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    options, paths = _apart(argv)
    process.read(FLAGS, options)
    _origin.check(FLAGS)
    if FLAGS.output and not (FLAGS.output.endswith((".csv", ".json")) and Path(FLAGS.output).parent.is_dir()):
        raise ConfigError(f"--output is {FLAGS.output!r}; it must end in .csv or .json, in a folder that there is")
    files = _files([*FLAGS.images, *paths])
    served = _origin.network(FLAGS)
    print(served.story)
    found = {}
    for start in range(0, len(files), _AT_ONCE):
        found |= _predicted(served, files[start : start + _AT_ONCE], FLAGS.top)
    print(_table(found))
    if FLAGS.output:
        target = Path(FLAGS.output)
        partial = target.with_name(f"{target.name}.partial")
        try:
            partial.write_text(_csv(found) if target.suffix == ".csv" else _json(found))
            partial.replace(target)
        except OSError as error:
            raise ConfigError(f"--output is {FLAGS.output!r}, which can't be written: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)
    bad = {path: story for path, story in found.items() if isinstance(story, str)}
    if bad:
        lines = "\n".join(f"  {path}: {story}" for path, story in bad.items())
        raise UnreadableError(
            f"{len(bad)} of {len(files)} pictures could not be read; the others are above\n{lines}\n"
            "save them again as PNG or JPEG, or leave them out"
        )


def _apart(argv: list[str]) -> tuple[list[str], list[str]]:
    """Flags (and the word after one without a value), and paths: the others, and all behind `--`."""
    end = argv.index("--") if "--" in argv else len(argv)
    argv, paths = argv[:end], argv[end + 1 :]
    options, awaited = [], False
    for word in argv:
        flag = word.startswith("-") and not awaited
        (options if flag or awaited else paths).append(word)
        awaited = flag and "=" not in word
    return options, paths


def _files(paths: list[str]) -> list[Path]:
    """The picture files that paths name, those in folders in the order of their names."""
    from cnnjax.data import ENDINGS

    if not paths:
        raise ConfigError("no pictures are named; give files or folders, --images=photos")
    files = []
    for path in map(Path, paths):
        if not path.exists():
            near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*")], 3)
            hint = f"; nearest: {', '.join(str(path.parent / name) for name in near)}" if near else ""
            raise ConfigError(f"--images has {str(path)!r}; there is no such file or folder{hint}")
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
        if path.is_dir() and not inside:
            raise ConfigError(f"--images has {str(path)!r}, a folder without {', '.join(ENDINGS)} files")
        files += inside if path.is_dir() else [path]
    return list(dict.fromkeys(files))


def _predicted(served, files: list[Path], top: int) -> dict:
    """For each file the likeliest classes as (number, name, probability), or why it can't be read."""
    import jax
    import numpy as np

    from cnnjax.ops import compiler_options

    images, bad = served.read(files)
    good = [str(path) for path in files if str(path) not in bad]
    likely = {}
    if good:
        missing = 0 if len(files) < _AT_ONCE else _AT_ONCE - len(good)  # one shape, one compilation
        apply = jax.jit(served.answer, compiler_options=compiler_options(jax.default_backend()))
        answer = apply(served.variables, np.concatenate([images, images[:1].repeat(missing, 0)]))
        if np.ndim(answer.get("probabilities", 0)) != 2:
            raise ConfigError(f"the network answers {', '.join(answer)}, not classes; cnnjax.load(…).predict has them")
        rows = np.asarray(answer["probabilities"])[: len(good)]
        if not np.isfinite(rows).all():
            raise ConfigError("the network's answers are not finite; are its weights, mean and std right?")
        for path, row in zip(good, rows, strict=True):
            best = np.argsort(-row, kind="stable")[:top]
            likely[path] = [(int(i), served.names[i] if served.names else str(i), float(row[i])) for i in best]
    return {str(path): bad.get(str(path)) or likely[str(path)] for path in files}


def _table(found: dict) -> str:
    rows = {path: story for path, story in found.items() if not isinstance(story, str)}
    wide = max(map(len, rows), default=0)
    names = max((len(name) for row in rows.values() for _, name, _ in row), default=0)
    lines = []
    for path, row in rows.items():
        cells = [f"{name:<{names}} {probability:>6.1%}" for _, name, probability in row]
        lines.append("  ".join([path.ljust(wide), *cells]))
    return "\n".join(lines)


def _csv(found: dict) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "rank", "class", "name", "probability", "error"))
    for path, row in found.items():
        if isinstance(row, str):
            writer.writerow((path, "", "", "", "", row))
            continue
        for rank, (number, name, probability) in enumerate(row, 1):
            writer.writerow((path, rank, number, name, f"{probability:.6g}", ""))
    return text.getvalue()


def _json(found: dict) -> str:
    def entry(path, row):
        if isinstance(row, str):
            return {"image": path, "error": row}
        return {"image": path, "top": [dict(zip(("class", "name", "probability"), each, strict=True)) for each in row]}

    return json.dumps([entry(path, row) for path, row in found.items()], indent=1, ensure_ascii=False) + "\n"
