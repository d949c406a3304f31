"""Says what is in pictures, texts, sounds: classes, and segments, boxes, points in the pixels of their files.

  cnnjax predict --workdir=runs/a a.png b.jpg
  cnnjax predict --workdir=runs/a --images=photos --out=drawn --output=predictions.json
  cnnjax predict --workdir=runs/a --text="How far is it from Denver to Aspen?" more.txt
  cnnjax predict --model=resnet18 --weights=resnet18.pth --names=imagenet.txt photos

  --workdir=DIR              a run of cnnjax train; pictures are read as its data were
  --checkpoint=best          best, last, or a step
  --images=PATH,PATH         files, and folders with all their pictures; the same as PATH PATH. An .npz
                             file holds what is no picture: series, tokens or video (N, …), and what is known;
                             of a .csv of a series its last steps count, as of the run's data. A net of videos
                             reads the middle of each: a folder of frames, a GIF, a WebP; one of sounds .wav
  --text=TEXT                of nets of texts, as often as wanted; files have a text on each line, or are
                             tables (.csv, .tsv, .jsonl) with the column that the run's data have
  --top=5                    how many classes of each picture, and how many boxes or points are printed
  --out=DIR                  draws each picture there with all that is said of it
  --output=FILE              writes all of it, with a reason for pictures that can't be read, as
                             .csv: a line for each class, box or point · .json, .jsonl: an entry for each
                             picture, segments, masks, pictures as PNGs in FILE-maps/ (a palette of classes,
                             255 = not seen) · .npz: arrays, segments_0 … for the pictures in `file` ·
                             .coco.json: COCO's results of boxes, masks, joints, of every score, the ids
                             of the annotations where the run's data were coco, else file numbers or names
  --tile=N                   segments of pictures of any size, not resized, by tiles of N pixels a side
  --threshold=T              of scores, above which things are found; task.threshold by default

Or a file of weights: one of cnnjax export says itself what it is of, --weights=FILE is enough.
Of others (safetensors, .npz, .pth) one says the network, and what they want to see
  --model=NAME --weights=FILE  --config.model.OPTION=V where it is not the default; FILE torchvision, or
                             timm:NAME, is what they publish: fetched once, checked, kept in ~/.cache/cnnjax
  --outputs=1000             classes; --names=FILE has their names, one on each line
  --resize=256 --size=224    the shorter side, and the square cut from the middle
  --mean=0.485,0.456,0.406 --std=0.229,0.224,0.225
                             subtracted and divided by, in units of white

Boxes are y0 x0 y1 x1 of edges, points y x of pixels' centres, in a picture as one sees it (EXIF applied).
Exit codes: 0 done · 2 usage · 3 some pictures could not be read, or the run's data · 5 no usable checkpoint
  6 out of memory · 1 anything else
"""

import math
from collections import Counter
from pathlib import Path
from typing import Any

from absl import flags

from cnnjax.config import ConfigError
from cnnjax.programs import _origin, process
from cnnjax.programs._picture_files import files_of, films_of, sounds_of
from cnnjax.refusals import plain

__all__ = ["FLAGS", "main"]

FLAGS = flags.FlagValues()
_origin.define(FLAGS)
flags.DEFINE_list("images", "", "files and folders", flag_values=FLAGS)
flags.DEFINE_multi_string("text", [], "a text", flag_values=FLAGS)
flags.DEFINE_integer("top", 5, "how many classes", 1, flag_values=FLAGS)
flags.DEFINE_integer("tile", 0, "side of a tile", 0, flag_values=FLAGS)
flags.DEFINE_float("threshold", None, "of scores", 0, 1, flag_values=FLAGS)
flags.DEFINE_string("out", "", "a folder to draw in", flag_values=FLAGS)
flags.DEFINE_string("output", "", "a file to write", flag_values=FLAGS)


_WIDEST = 60  # letters of a text that stands in front of what is said of it


class UnreadableError(ValueError):
    """Pictures that could not be read; the others were."""

    exit_code = 3


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    argv, of_net = _origin.apart(argv)
    options, paths = _apart(argv)
    process.read(FLAGS, options)
    _origin.check(FLAGS, of_net)
    _vet(FLAGS.output, (".csv", ".json", ".jsonl", ".npz"))
    files = files_of([*FLAGS.images, *paths]) if FLAGS.images or paths or not FLAGS.text else []
    drawn = _drawn(FLAGS.out, [*files, *(Path(f"text{number}") for number in range(1, len(FLAGS.text) + 1))])
    served = _origin.network(FLAGS, of_net)
    print(plain(served.story))
    if FLAGS.text and served.facts.input != "tokens":
        word = "sound" if served.of_sound else served.facts.input
        raise ConfigError(f"--text is a text, but the network reads {word}; name files of it instead")
    if served.facts.input == "video":
        files = films_of([*FLAGS.images, *paths])
        drawn = _drawn(FLAGS.out, files)
    elif served.of_sound:
        files = sounds_of([*FLAGS.images, *paths])
        drawn = _drawn(FLAGS.out, files)
    from cnnjax.programs import _asking, _writing

    ids, served, least = _asked_for(served, files)
    file, bad = _writing.written(FLAGS.output, served.facts, FLAGS.top, ids) if FLAGS.output else None, []
    wide, count = max([len(str(path)) for path in files] + [min(len(text), _WIDEST) for text in FLAGS.text]), 0
    try:
        for said in _asking.asked(served, files, FLAGS.text) if not FLAGS.tile else _in_tiles(served, files):
            count += 1
            said = said if said.name.strip() else said._replace(name=str(said.path))  # an empty text, by its number
            if file:
                file.add(said)
            if said.error:
                bad.append((said.name, said.error))
                continue
            said = said._replace(words=_asking.above(said.words, least))
            _say(said, served.facts, wide)
            if drawn:
                _draw(said, served.facts, drawn[said.path])
        if file:
            file.close()
    except OSError as error:
        raise ConfigError(f"--output is {FLAGS.output!r}, which can't be written: {error.strerror}") from error
    finally:
        if file:
            file.drop()
    if bad:
        raise _unreadable(bad, len(files), count, served.facts)


def _unreadable(bad: list[tuple[str, str]], files: int, count: int, facts) -> UnreadableError:
    """Says which pictures or texts could not be read, and why."""
    what, cure = f"{files} pictures", "save them again as PNG or JPEG, or leave them out"
    if facts.input == "video":
        what, cure = f"{files} videos", "leave them out, or give longer ones"
    if facts.input == "series":
        what, cure = f"{files} series", "give tables whose last steps can be read as the run's data, or leave them out"
        if facts.extra.get("rate"):
            what, cure = f"{files} recordings", "save them again as WAV, PCM of 16 bits, or leave them out"
    if facts.input == "tokens":
        what, cure = f"{count} texts", "give texts that have words, in UTF-8 or as the run's data"
    lines = "\n".join(f"  {story if story.startswith(name) else f'{name}: {story}'}" for name, story in bad)
    return UnreadableError(f"{len(bad)} of {what} could not be read; the others are above\n{lines}\n{cure}")


def _in_tiles(served, files: list[Path]):
    """What is said of pictures tile by tile."""
    from cnnjax.programs._tiles import asked_in_tiles

    if FLAGS.text:
        raise ConfigError(f"--tile is {FLAGS.tile}, of picture files, not of texts")
    if arrays := [str(path) for path in files if path.suffix.lower() == ".npz"]:
        raise ConfigError(f"--tile is {FLAGS.tile}, of picture files, not of arrays: {arrays[0]}")
    return asked_in_tiles(served, files, FLAGS.tile)


def _asked_for(served, files: list[Path]) -> tuple[dict, Any, float]:
    """Ids of pictures where COCO's results are written, the network that says all that is, and what is shown of it."""
    from cnnjax.programs import _coco_results

    if FLAGS.threshold is not None:
        served = served.at(FLAGS.threshold)
    if not FLAGS.output.endswith(_coco_results.ENDING):
        return {}, served, -1.0
    ids, told = _coco_results.ids_of(files, served.data)
    print(plain(told))
    if math.isnan(served.threshold):
        return ids, served, -1.0
    return ids, served.at(0.0), served.threshold


def _vet(output: str, endings: tuple[str, ...]) -> None:
    """Refuses a file that could not be written."""
    if output and not (output.endswith(endings) and Path(output).parent.is_dir()):
        listing = f"{', '.join(endings[:-1])} or {endings[-1]}"
        raise ConfigError(f"--output is {output!r}; it must end in {listing}, in a folder that there is")
    if output and Path(output).is_dir():
        raise ConfigError(f"--output is {output!r}, a folder; give the file to write")


def _drawn(out: str, files: list[Path]) -> dict[Path, Path]:
    """The file into which each picture is drawn, in a folder that is made."""
    if not out:
        return {}
    folder = Path(out)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        hint = "it must be a folder, in one that there is"
        raise ConfigError(f"--out is {out!r}, which can't be made: {error.strerror}; {hint}") from None
    stems = Counter(path.stem for path in files)
    names = [path.stem if stems[path.stem] == 1 else f"{number:05}-{path.stem}" for number, path in enumerate(files)]
    drawn = {path: folder / f"{name}.png" for path, name in zip(files, names, strict=True)}
    ours = {path.resolve() for path in files} & {path.resolve() for path in drawn.values()}
    if ours:
        raise ConfigError(f"--out is {out!r}, where {min(ours).name} would be drawn over itself; give another folder")
    return drawn


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


def _say(said, facts, wide: int) -> None:
    """Prints a line on one example."""
    from cnnjax.programs import _answers

    names = max(map(len, (*facts.names, *facts.extra.get("segment_names", ()))), default=0)
    cells = _answers.cells(_answers.tables(said.words, facts, FLAGS.top), FLAGS.top, names)
    unknown = int((said.given["tokens"] == 1).sum()) if "tokens" in said.given and facts.extra.get("words") else 0
    cells += [f"{unknown} word{'s' * (unknown > 1)} unknown"] if unknown else []
    of_file = said.name.startswith(str(said.path))
    name = said.name if of_file or len(said.name) <= _WIDEST else f"{said.name[: _WIDEST - 1]}…"
    print(plain("  ".join([name.ljust(wide), *cells]).rstrip()))


def _draw(said, facts, target: Path) -> None:
    """Draws one example with all that was said of it."""
    from cnnjax.data import pictures
    from cnnjax.programs import _answers, _figures

    if not _figures.drawable(said.words, facts):
        raise ConfigError(f"--out is {FLAGS.out!r}, but what is predicted can't be drawn: {', '.join(said.words)}")
    given, end = said.given, said.name.removeprefix(str(said.path))
    end = end if len(end) < len(said.name) else ""  # a text is called by itself
    if not given:
        given = {"image": pictures([said.path], (*_figures.shown_size(*said.size), 3), fit="squash")[0][0]}
    else:
        target = target.with_stem(f"{target.stem}{end.replace(':', '-')}")
    found = _answers.tables(said.words, facts, 3)
    told = {word: rows for word, rows in found.items() if word not in ("points", "target")}  # which the picture shows
    boxed = {"boxes", "corners"} & set(told)
    cells = _answers.cells(told, 0 if boxed else 3)
    cells += _answers.cells({"top": told["top"]}, 3) if boxed and "top" in told else []
    heading = f"{said.path.name}{end}\n{' · '.join(' '.join(cell.split()) for cell in cells)}".strip()
    _figures.save(_figures.single(given, said.words, facts, heading, size=said.size), target)
