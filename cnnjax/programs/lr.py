"""Finds a learning rate: a short training at ever greater rates, with a picture and a suggestion.

  cnnjax lr --config=digits
  cnnjax lr --config=digits:resnet20 --low=1e-5 --high=1 --steps=200 --out=lr.png

  --config=NAME[:VARIANT]    as in cnnjax train, with --config.SECTION.OPTION=V
  --low=1e-6  --high=10      the first rate and the last
  --steps=100                how many steps, each at a greater rate; it ends early where the loss bursts
  --out=lr.png               the picture to write: .png, .jpg, .pdf, .svg or .webp
  --devices=N  --coordinator=HOST:PORT  --processes=N  --process=I
                             as in cnnjax train

Nothing of the training is kept. From Python: cnnjax.lr_range(config).

Exit codes: 0 done · 2 config or usage · 3 data · 6 out of memory · 1 anything else
"""

import math

from absl import flags

import cnnjax
from cnnjax import config as sections
from cnnjax.programs import process

__all__ = ["FLAGS", "main"]

FLAGS = flags.FlagValues()
flags.DEFINE_float("low", 1e-6, "the first rate", 0.0, flag_values=FLAGS)
flags.DEFINE_float("high", 10.0, "the last rate", 0.0, flag_values=FLAGS)
flags.DEFINE_integer("steps", 100, "how many steps", 10, flag_values=FLAGS)
flags.DEFINE_string("out", "lr.png", "the picture to write", flag_values=FLAGS)
process.define_devices(FLAGS)


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    path, overrides, rest = sections.split(argv)
    process.read(FLAGS, rest)
    config = sections.load(path, overrides)
    process.connect(FLAGS)
    from cnnjax.programs import _figures

    _figures.vet(FLAGS.out)
    found = cnnjax.lr_range(config, low=FLAGS.low, high=FLAGS.high, steps=FLAGS.steps)
    if FLAGS.process:
        return
    found.draw(FLAGS.out)
    print(f"loss         {repr(found).partition('; loss ')[2].partition('; suggestion')[0]}")
    print(f"picture      {FLAGS.out}")
    if math.isnan(found.suggestion):
        print("suggestion   none: the loss falls at no rate between --low and --high")
    else:
        print(f"suggestion   --config.optimizer.lr={found.suggestion:g}")
