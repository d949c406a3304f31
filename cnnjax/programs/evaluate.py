"""Measures a trained network: every example of a split counts exactly once; by class, and one by one.

  cnnjax evaluate --workdir=runs/a
  cnnjax evaluate --workdir=runs/a --split=eval --checkpoint=last
  cnnjax evaluate --workdir=runs/a --output=rows.csv --worst=20 --out=runs/worst

  --workdir=DIR              the directory of the run
  --split=test               train, eval or test
  --checkpoint=best          best (by the eval split; the last where nothing was held out), last, or a step
  --json                     prints one JSON object instead of tables
  --output=FILE              a row for each example: truth, prediction, probability, loss, path (.csv, .json)
  --worst=N                  lists the N examples of greatest loss
  --out=DIR                  draws them (20 if --worst is not given), each with truth and prediction
  --devices=N  --coordinator=HOST:PORT  --processes=N  --process=I
                             as in cnnjax train

Where classes are predicted: metrics of each class, what it is taken for, the most confused pairs first, and
the calibration of confidences as they are (before any temperature). For segmentation the same of pixels, with
the intersection over union of each class. Where boxes and masks are found, of each class: average precision,
COCO's and where half overlaps, precision and recall where both are best, and the greatest recall; of each
point how often it is found. --out draws the curves too (tables.png).

Exit codes: 0 done · 2 usage · 3 data · 5 no usable checkpoint · 6 out of memory · 1 anything else
"""

import json

from absl import flags

import cnnjax
from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.programs import process
from cnnjax.refusals import plain

__all__ = ["FLAGS", "main"]

FLAGS = flags.FlagValues()
flags.DEFINE_string("workdir", "", "where the run lives", flag_values=FLAGS)
flags.DEFINE_string("split", "test", "which examples", flag_values=FLAGS)
flags.DEFINE_string("checkpoint", "best", "which checkpoint", flag_values=FLAGS)
flags.DEFINE_bool("json", False, "print JSON", flag_values=FLAGS)
flags.DEFINE_string("output", "", "a file of rows", flag_values=FLAGS)
flags.DEFINE_integer("worst", 0, "how many of greatest loss", 0, flag_values=FLAGS)
flags.DEFINE_string("out", "", "a folder to draw them in", flag_values=FLAGS)
process.define_devices(FLAGS)
_DRAWN = 20


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    process.read(FLAGS, argv)
    if not FLAGS.workdir:
        raise ConfigError("--workdir is missing; give the directory of a run, --workdir=runs/a")
    sections.one_of(FLAGS.split, ("train", "eval", "test"), path="split")  # before anything is loaded
    process.connect(FLAGS)
    process.expect_gpus(FLAGS.gpus)
    from cnnjax.programs import _mistakes  # imports jax, which --help can do without

    _mistakes.vet(FLAGS.output)
    if FLAGS.out:
        from cnnjax.programs import _worst

        folder = _worst.vet(FLAGS.out)
    from cnnjax.runs.pictures import draw_tables
    from cnnjax.train.examples import examine

    trained = cnnjax.load(FLAGS.workdir, checkpoint=FLAGS.checkpoint)
    found, part = examine(trained, FLAGS.split), getattr(trained.source, FLAGS.split)
    if FLAGS.process:
        return
    said = _mistakes.summary(found, trained.facts)
    count = FLAGS.worst or (_DRAWN if FLAGS.out else 0)
    worst = _mistakes.entries(found, trained.facts, part, found.worst(count))
    if FLAGS.output:
        _mistakes.write(FLAGS.output, _mistakes.entries(found, trained.facts, part, range(len(found.rows["index"]))))
    if FLAGS.out:
        _worst.draw(trained, FLAGS.split, worst, folder)
        draw_tables(found.tables, folder / "tables.png", names=_mistakes.names_of(found, trained.facts))
    step = int(trained.state.step)
    if FLAGS.json:
        more = {"worst": worst} if worst else {}
        print(json.dumps({"step": step, **found.metrics, **said, **more}))
        return
    print(plain(_mistakes.text(FLAGS.split, found, said, step, getattr(part, "bad", {}))))
    if worst:
        print(plain(f"\n{_mistakes.listed(worst)}"))
    for path, what in ((FLAGS.output, "every example is in"), (FLAGS.out, "the worst are drawn in")):
        if path:
            print(plain(f"{what} {path}"))
