"""Looks into a net: mistakes, confidences, filters, units, what answers are made of and what deceives it.

  cnnjax analyze --workdir=runs/a
  cnnjax analyze --workdir=runs/a --what=attribution,sanity --examples=200
  cnnjax analyze --workdir=runs/a --against=runs/b
  cnnjax analyze --model=resnet18 --weights=resnet18.pth --names=imagenet.txt --images=photos --out=looked

  --workdir=DIR              a run of cnnjax train that predicts a class of a picture
  --checkpoint=best          best, last, or a step
  --split=test               which examples: train, eval or test
  --examples=1000            how many of them, evenly spaced
  --what=PART,PART           parts of the page, as listed below; all is every part, also what is dear
  --out=DIR                  where to write: analysis.json, figures/, report.html; DIR/analysis of a run
  --against=DIR              another run, at the same --checkpoint: where and how far the states of both part, bit by
                             bit, what their nets answer differently, how alike their layers are; DIR/against-NAME

Or the flags that name a file of weights, as in cnnjax predict, with
  --images=PATH,PATH         files, and folders with all their pictures

report.html needs no server, no network and no scripts; analysis.json has every number that is drawn.

Exit codes: 0 done · 2 usage · 3 data · 5 no usable checkpoint · 6 out of memory · 1 anything else
"""

import functools
import sys
from pathlib import Path

from absl import flags

from cnnjax.config import ConfigError
from cnnjax.programs import _origin, process
from cnnjax.programs._picture_files import files_of
from cnnjax.refusals import one_of, plain

__all__ = ["FLAGS", "main"]

FLAGS = flags.FlagValues()
_origin.define(FLAGS)
flags.DEFINE_list("what", "", "parts of the page", flag_values=FLAGS)
flags.DEFINE_string("split", "test", "which examples", flag_values=FLAGS)
flags.DEFINE_integer("examples", 1000, "how many examples", 2, flag_values=FLAGS)
flags.DEFINE_list("images", "", "files and folders", flag_values=FLAGS)
flags.DEFINE_string("out", "", "a folder to write", flag_values=FLAGS)
flags.DEFINE_string("against", "", "the directory of another run", flag_values=FLAGS)


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    argv, of_net = _origin.apart(argv)
    process.read(FLAGS, argv)
    _origin.check(FLAGS, of_net)
    one_of(FLAGS.split, ("train", "eval", "test"), path="split")
    if bool(FLAGS.images) == bool(FLAGS.workdir):
        raise ConfigError("--images names the pictures for a net with a file of --weights; a run brings its own")
    if FLAGS.against and not FLAGS.workdir:
        raise ConfigError("--against is another run than that of --workdir; a file of weights has no steps to compare")
    from cnnjax.programs import _analysis  # imports jax, which --help can do without

    wanted = _analysis.parts_of(FLAGS.what, twins=bool(FLAGS.against))
    folder = _analysis.folder_for(FLAGS.out, FLAGS.workdir, FLAGS.against)
    look, title = _look(of_net)
    say = functools.partial(print, file=sys.stderr, flush=True)
    told = _analysis.write(look, wanted, folder, title, lambda text: say(plain(text)), workdir=FLAGS.workdir)
    print(plain(told))


def _look(of_net: list[str]):
    """What is looked into, and what it is called."""
    from cnnjax.programs import _look

    if FLAGS.workdir:
        import cnnjax

        trained = cnnjax.load(FLAGS.workdir, checkpoint=FLAGS.checkpoint)
        if FLAGS.against:
            other = cnnjax.load(FLAGS.against, checkpoint=FLAGS.checkpoint)
            names = " against ".join(Path(each.workdir).resolve().name for each in (trained, other))
            return _look.Twins(trained, other, FLAGS.split, FLAGS.examples), f"{names}, {FLAGS.split}"
        title = f"{Path(FLAGS.workdir).resolve().name} at step {int(trained.state.step):,}, {FLAGS.split}"
        return _look.of_run(trained, FLAGS.split, FLAGS.examples), title
    served = _origin.network(FLAGS, of_net)
    return _look.of_files(served, files_of(FLAGS.images), FLAGS.examples), f"{FLAGS.model or Path(FLAGS.weights).name}"
