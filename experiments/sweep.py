"""Trains the points of a sweep: those that differ in numbers and seeds as one program. The same command goes on.

  python -m experiments.sweep --config=configs/digits.py --workdir=runs/s
  python -m experiments.sweep --config=configs/digits.py --workdir=runs/s --dry_run
  python -m experiments.sweep --workdir=runs/s --table

What to train
  --config=FILE[:VARIANT]    a file with get_config(variant) and, beside it, sweep(): a list of overrides
  --config.SECTION.OPTION=V  changes one option of every point
  --workdir=DIR              each point gets a folder in it, as experiments.train would have written it

How
  --pack=auto                how points of one program train: turns, map, vmap, devices, or the fastest (auto)
  --members=N                points in a pack at most; 0 = no limit, 1 = every point by itself
  --retries=1                how often a point that fails is tried again, from its checkpoint
  --devices=N                splits the CPU into N devices

Looking
  --dry_run                  the table of points and packs; trains nothing

Exit codes: 0 done · 2 config or usage · 7 workdir in use · 75 stopped by a signal and saved · 1 some points are dead
"""

from absl import flags

from cnnjax import config as configs
from cnnjax.config import ConfigError
from experiments import _main

FLAGS = flags.FlagValues()
flags.DEFINE_string("workdir", "", "where the sweep lives", flag_values=FLAGS)
flags.DEFINE_string("pack", "auto", "how packs train", flag_values=FLAGS)
flags.DEFINE_integer("members", 0, "points in a pack at most", 0, flag_values=FLAGS)
flags.DEFINE_integer("retries", 1, "tries after the first", 0, flag_values=FLAGS)
flags.DEFINE_bool("dry_run", False, "print the points and stop", flag_values=FLAGS)
_main.define_devices(FLAGS)


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    path, overrides, rest = configs.split(argv)
    _main.read(FLAGS, rest)
    if not FLAGS.workdir:
        raise ConfigError("--workdir is missing; give the directory for this sweep, --workdir=runs/s")
    configs.one_of(FLAGS.pack, ("auto", "turns", "map", "vmap", "devices"), path="--pack")
    config = configs.load(path, overrides)
    points = configs.beside(path, "sweep")
    _main.connect(FLAGS)
    from cnnjax.sweep.packing import packs_of, preview, resolved

    runs = resolved(config, points, FLAGS.workdir)
    if FLAGS.dry_run:
        print(preview(packs_of(runs, most=FLAGS.members)))
        return
    _train(runs)


def _train(runs: list) -> None:
    """Trains what is missing and says what came of it."""
    from cnnjax.sweep.running import SweepFailed, run_packs
    from cnnjax.train.workdir import hold

    with hold(FLAGS.workdir):
        dead = run_packs(runs, FLAGS.workdir, way=FLAGS.pack, most=FLAGS.members, retries=FLAGS.retries, say=_say)
    for point in dead:
        _say(f"{point.name} is dead after {FLAGS.retries + 1} tries: {point.error}\n{point.story}")
    if dead:
        raise SweepFailed(f"{len(dead)} of {len(runs)} points are dead: {', '.join(point.name for point in dead)}")
    _say(f"{len(runs)} points are complete")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    _main.start(main, __doc__, FLAGS)
