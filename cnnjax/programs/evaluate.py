"""Measures a trained network: every example of a split counts exactly once.

  cnnjax evaluate --workdir=runs/a
  cnnjax evaluate --workdir=runs/a --split=eval --checkpoint=last

  --workdir=DIR              the directory of the run
  --split=test               train, eval or test
  --checkpoint=best          best (by the eval split; the last where nothing was held out), last, or a step
  --json                     prints one JSON object instead of a table
  --devices=N  --coordinator=HOST:PORT  --processes=N  --process=I
                             as in cnnjax train

Exit codes: 0 done · 2 usage · 3 data · 5 no usable checkpoint · 6 out of memory · 1 anything else
"""

import json

from absl import flags

import cnnjax
from cnnjax.config import ConfigError
from cnnjax.programs import process

__all__ = ["FLAGS", "main"]

FLAGS = flags.FlagValues()
flags.DEFINE_string("workdir", "", "where the run lives", flag_values=FLAGS)
flags.DEFINE_string("split", "test", "which examples", flag_values=FLAGS)
flags.DEFINE_string("checkpoint", "best", "which checkpoint", flag_values=FLAGS)
flags.DEFINE_bool("json", False, "print JSON", flag_values=FLAGS)
process.define_devices(FLAGS)


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    process.read(FLAGS, argv)
    if not FLAGS.workdir:
        raise ConfigError("--workdir is missing; give the directory of a run, --workdir=runs/a")
    process.connect(FLAGS)
    process.expect_gpus(FLAGS.gpus)
    from cnnjax.runs.tables import tabulate  # imports jax, which --help can do without

    metrics = cnnjax.evaluate(FLAGS.workdir, split=FLAGS.split, checkpoint=FLAGS.checkpoint)
    if FLAGS.process == 0:
        print(json.dumps(metrics) if FLAGS.json else tabulate({FLAGS.split: metrics}))
