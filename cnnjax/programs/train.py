"""Trains a network. The same command again goes on where it stopped.

  cnnjax train --config=digits --workdir=runs/a
  cnnjax train --config=digits:resnet20 --workdir=runs/b --config.optimizer.lr=0.2

What to train
  --config=NAME[:VARIANT]    an experiment that comes with cnnjax; --config alone shows their names
  --config=FILE[:VARIANT]    a .py file with get_config(variant), or the config.json of another run
  --config.SECTION.OPTION=V  changes one option
  --workdir=DIR              where checkpoints, metrics and pictures go: one directory, one run

  A flag that names an entry brings that entry's options, in any order:
    --config.model.name=resnet18 --config.model.width=32
    --config.augment.train=flip,crop,normalize --config.augment.crop.padding=2
  The name of a function of your own is module:function (--config.model.name=my_nets:tiny).
  Durations are given in steps, epochs or examples: --config.train.epochs=20

Looking before
  --list[=NAME]              what every room offers, or one room, or one entry, with options and defaults
  --print_config             the whole config, flags applied
  --dry_run                  shapes, parameters, multiplies, memory, plan and learning rates; trains nothing

Going on
  --allow_changes            resume although the config or the data have changed in a way that
                             touches the result

Devices (all that JAX sees are used; config.train.devices takes fewer)
  --devices=N                splits the CPU into N devices
  --gpus=N                   ends in a line where JAX sees fewer GPUs, instead of training on what is there
  --coordinator=HOST:PORT --processes=N --process=I
                             N processes train together; auto as coordinator on Slurm, TPU pods and
                             Kubernetes (extra k8s). Each reads the data under the same path; the first writes
  --heartbeat=60             seconds after which a process that is not heard of is lost, and all others end

Exit codes
  0 done · 2 config or usage · 3 data · 4 diverged · 5 checkpoint unusable · 6 out of memory
  7 workdir in use · 75 stopped and saved · 1 anything else: see error.log in the workdir
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.programs import process

if TYPE_CHECKING:  # they import jax, which --help can do without
    from cnnjax.train.job import PreparedRun
    from cnnjax.train.trained import Trained

__all__ = ["FLAGS", "main", "run"]

FLAGS = flags.FlagValues()
flags.DEFINE_string("workdir", "", "where the run lives", flag_values=FLAGS)
flags.DEFINE_string("list", "", "what the rooms offer", flag_values=FLAGS)
flags.DEFINE_bool("print_config", False, "print the config and stop", flag_values=FLAGS)
flags.DEFINE_bool("dry_run", False, "print what would be trained and stop", flag_values=FLAGS)
flags.DEFINE_bool("allow_changes", False, "resume with a changed config", flag_values=FLAGS)
process.define_devices(FLAGS)


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    path, overrides, rest = sections.split(["--list=all" if word == "--list" else word for word in argv])
    process.read(FLAGS, rest)
    if FLAGS.list:
        print(sections.listing("" if FLAGS.list == "all" else FLAGS.list))
        return
    config = sections.load(path, overrides)
    if FLAGS.print_config:
        print(sections.to_json(config))
        return
    process.connect(FLAGS)
    process.expect_gpus(FLAGS.gpus)
    if FLAGS.dry_run:
        from cnnjax.programs._preview import preview

        print(preview(config))
        return
    if not FLAGS.workdir:
        raise ConfigError("--workdir is missing; give the directory for this run, --workdir=runs/a")
    from cnnjax.programs._preview import announced

    run(config, FLAGS.workdir, allow_changes=FLAGS.allow_changes, describe=announced)
    import jax

    if jax.process_index():
        return
    where = FLAGS.workdir
    print(
        f"look at it   {_to_look_at(config, where)}\n"
        f"evaluate     {process.command('evaluate', f'--workdir={where}')}\n"
        f"resume       {process.command('train')}"
    )


def run(
    config: Mapping,
    workdir: str | Path,
    *,
    allow_changes: bool = False,
    describe: "Callable[[PreparedRun, Path], str]" = lambda prepared, workdir: "",
) -> "Trained":
    """The trained network of a config, from wherever its workdir stands: new, interrupted, or complete.

    A workdir holds one run: a config that changes its result is refused unless `allow_changes`. What `describe` says of
    it is told before anything compiles. At the end stands a page of it, report.html, unless `report.page` is off.
    """
    from cnnjax.train import loop

    def conclude(trained: "Trained") -> None:
        if config["report"]["page"]:
            from cnnjax.programs import _run_page

            _run_page.write(trained)

    return loop.run(config, workdir, allow_changes=allow_changes, describe=describe, conclude=conclude)


def _to_look_at(config: Mapping, where: str) -> str:
    """The files of a run that show how it went, and what opens them."""
    shown = [name for option, name in (("page", "report.html"), ("curves", "curves.png")) if config["report"][option]]
    drawn = f"{', '.join(f'{where}/{name}' for name in shown)} and " if shown else ""
    events = f"; tensorboard --logdir={where} if installed" if config["report"]["tensorboard"] else ""
    return f"{drawn}{where}/metrics.jsonl{events}"
