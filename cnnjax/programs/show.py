"""Draws what a network will see: one training batch as a contact sheet, with all its labels drawn in.

  cnnjax show --config=digits
  cnnjax show --config=digits --split=eval --out=sheet.png --config.augment.shift.pixels=5
  cnnjax show --gallery --out=gallery.png

  --config=NAME[:VARIANT]    as in cnnjax train, with --config.SECTION.OPTION=V
  --out=sheet.png            the picture to write: .png, .jpg, .pdf, .svg or .webp
  --examples=64              how many examples of the batch
  --step=0                   which step's batch: exactly the one that training with this config would see
  --split=train              train, or the evaluation pipeline on the examples of eval or test
  --gallery                  instead: every augmentation there is, at full strength, on one picture

Exit codes: 0 done · 2 config or usage · 3 data · 1 anything else
"""

from absl import flags

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.programs import process

__all__ = ["FLAGS", "main"]

FLAGS = flags.FlagValues()
flags.DEFINE_string("out", "sheet.png", "the picture to write", flag_values=FLAGS)
flags.DEFINE_integer("examples", 64, "how many examples", 1, flag_values=FLAGS)
flags.DEFINE_integer("step", 0, "which step's batch", 0, flag_values=FLAGS)
flags.DEFINE_string("split", "train", "train, eval or test", flag_values=FLAGS)
flags.DEFINE_bool("gallery", False, "draw every augmentation", flag_values=FLAGS)


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    path, overrides, rest = sections.split(argv)
    process.read(FLAGS, rest)
    if FLAGS.split not in ("train", "eval", "test"):
        raise ConfigError(f"--split is {FLAGS.split!r}; it must be train, eval or test")
    from cnnjax.programs import _figures

    _figures.vet(FLAGS.out)
    if FLAGS.gallery:
        from cnnjax.programs import _gallery

        count = _gallery.gallery(FLAGS.out)
        print(f"{FLAGS.out}: {count} augmentations")
        return
    from cnnjax.programs import _sheets

    count = _sheets.sheet(sections.load(path, overrides), FLAGS.out, FLAGS.split, FLAGS.step, FLAGS.examples)
    print(f"{FLAGS.out}: {count} examples of {FLAGS.split}")
