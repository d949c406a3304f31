"""Trains the points of a sweep: those that differ in numbers and seeds as one program. The same command goes on.

  cnnjax sweep --config=digits --workdir=runs/s
  cnnjax sweep --config=digits --workdir=runs/s --dry_run
  cnnjax sweep --workdir=runs/s --table

What to train
  --config=NAME[:VARIANT]    as in cnnjax train; beside its get_config stands sweep(): a list of overrides;
                             left out, the points are those that the workdir holds
  --config.SECTION.OPTION=V  changes one option of every point
  --workdir=DIR              each point gets a folder in it, as cnnjax train would have written it
  --dry_run                  the table of points and packs; trains nothing
  --allow_changes            points go on although the config or the data have changed, as in cnnjax train

How
  --pack=auto                how points of one program train: turns, map, vmap, devices, or the fastest (auto)
  --members=N                points in a pack at most; 0 = no limit, 1 = every point by itself
  --retries=1                how often a point that fails is tried again, from its checkpoint
  --devices=N                splits the CPU into N devices

Where
  --launcher=here            here (this process), local (processes of this machine), ray, slurm
  --workers=N                processes, tasks or jobs at a time
  --patience=60              seconds without a metric line (or 20 times the usual, if longer) after which one hangs
  --address=HOST:PORT        ray: an existing cluster; none starts a local one
  --cpus=1 --gpus=0          ray, slurm: what a task or job gets; local: GPUs of this machine, one for each process;
                             here: how many there must be. What finds fewer ends in a line
  --memory=GB --minutes=1440 slurm: the rest of what a job gets; before its time is up it saves, and is submitted anew
  --partition=NAME --account=NAME --qos=NAME
                             slurm: where, and on whose account; --cluster=local runs submitit's jobs here

Search (points that are drawn, where the config file has search(): path -> distribution, beside get_config)
  --search=NAME              tpe, cma, random (they need Optuna), or population: the worst members become perturbed
                             copies of the best, in one program
  --trials=32 --together=8   points in all, and at a time (in packs, by any launcher); a population is --trials members
  --prune=none               median or halving ends points that are behind
  --storage=URL              Optuna's storage; a journal in the workdir by default
  --draw=0                   the seed of what is drawn
  --select_on_test           lets the search look at the official test set where nothing is held out

Looking
  --table                    the points with their metrics, best first; then mean ± deviation over seeds
  --sort=NAME --where=NAME=VALUE,…  --csv=FILE --markdown=FILE --latex=FILE
  --over_seeds               those files hold a row for each experiment, mean ± deviation over its seeds
  --html=FILE                pictures of the sweep on one page, which needs nothing else

Exit codes: 0 done · 2 config or usage · 7 workdir in use · 75 stopped and saved · 1 some points are dead
"""

import contextlib
import functools
import sys
from pathlib import Path

from absl import flags

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.programs import process
from cnnjax.refusals import plain

__all__ = ["FLAGS", "main"]

FLAGS = flags.FlagValues()
_TEXTS = {
    "workdir": "", "pack": "auto", "launcher": "here", "partition": "", "account": "", "qos": "", "cluster": "slurm",
    "sort": "", "where": "", "csv": "", "markdown": "", "latex": "", "html": "", "part": "",
    "search": "", "prune": "none",
}  # fmt: skip
_ADDRESSES = ("address", "storage")
_NUMBERS = {"members": 0, "retries": 1, "memory": 0, "draw": 0}
_COUNTS = {"workers": 1, "cpus": 1, "minutes": 1440, "trials": 32, "together": 8}
for _name, _default in _TEXTS.items():
    flags.DEFINE_string(_name, _default, "", flag_values=FLAGS)
for _name in _ADDRESSES:
    flags.DEFINE_string(_name, "", "a URL", flag_values=FLAGS)
for _name, _default in _NUMBERS.items():
    flags.DEFINE_integer(_name, _default, "", 0, flag_values=FLAGS)
for _name, _default in _COUNTS.items():
    flags.DEFINE_integer(_name, _default, "", 1, flag_values=FLAGS)
flags.DEFINE_float("patience", 60.0, "", 0.0, flag_values=FLAGS)
for _name in ("allow_changes", "dry_run", "table", "over_seeds", "select_on_test"):
    flags.DEFINE_bool(_name, False, "", flag_values=FLAGS)
process.define_devices(FLAGS)


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    path, overrides, rest = sections.split(argv)
    if not path and {"--config", "--config="} & set(argv):
        sections.load(path)  # says which there are
    process.read(FLAGS, rest)
    if not FLAGS.workdir:
        raise ConfigError("--workdir is missing; give the directory for this sweep, --workdir=runs/s")
    if Path(FLAGS.workdir).is_file():
        raise ConfigError(f"--workdir={FLAGS.workdir} is a file; give a directory, --workdir=runs/s")
    sections.one_of(FLAGS.pack, ("auto", "turns", "map", "vmap", "devices"), path="--pack")
    sections.one_of(FLAGS.launcher, ("here", "local", "ray", "slurm"), path="--launcher")
    if FLAGS.coordinator:
        raise ConfigError("--coordinator: a sweep is one process; --launcher=ray or slurm takes it to other machines")
    if any(FLAGS[name].value for name in ("table", "over_seeds", "csv", "markdown", "latex", "html")):
        _look()
        return
    if FLAGS.prune != "none" and not FLAGS.part and FLAGS.search not in ("tpe", "cma", "random"):
        raise ConfigError(f"--prune={FLAGS.prune} needs --search=tpe, cma or random, whose points it ends")
    if overrides and not path:
        raise ConfigError(f"{overrides[0]} needs --config=NAME; without it the points stay those of {FLAGS.workdir}")
    if FLAGS.search:
        _search(path, sections.load(path, overrides))
        return
    config, points = (sections.load(path, overrides), sections.beside(path, "sweep")) if path else ({}, [])
    process.connect(FLAGS)
    if FLAGS.launcher == "here":  # else it says what each of the others gets
        process.expect_gpus(FLAGS.gpus)
    from cnnjax.sweep.folder import read_folder
    from cnnjax.sweep.points import packs_of, preview, resolved

    changes = {"allow_changes": FLAGS.allow_changes}
    runs = resolved(config, points, FLAGS.workdir, **changes) if path else read_folder(FLAGS.workdir, **changes)
    if FLAGS.dry_run:
        print(preview(packs_of(runs, most=_most(runs))))
    elif FLAGS.part:
        _train_part(runs)
    else:
        _train(runs)


def _most(runs: list) -> int:
    """Points in a pack at most: an even share for each worker, where nothing else is said."""
    if FLAGS.members or FLAGS.launcher == "here":
        return FLAGS.members
    return -(-len(runs) // max(1, FLAGS.workers))


def _train(runs: list) -> None:
    """Trains what is missing and says what came of it."""
    from cnnjax.runs.workdir import hold
    from cnnjax.sweep.folder import write_folder

    workdir = Path(FLAGS.workdir)
    with hold(workdir):
        write_folder(workdir, runs)
        dead = _trainer()(runs, workdir, strategy=FLAGS.pack, retries=FLAGS.retries, say=_say)
    _told(runs, dead)


def _trainer():
    """The function that trains runs where the flags say."""
    if FLAGS.launcher == "here":
        from cnnjax.sweep.local import run_packs

        return functools.partial(run_packs, most=FLAGS.members)
    from cnnjax.sweep.launch import run_elsewhere

    launcher = _launcher(Path(FLAGS.workdir))
    return functools.partial(run_elsewhere, launcher=launcher, most=FLAGS.members, patience=FLAGS.patience)


def _search(path: str, config) -> None:
    """Trains points that are drawn one batch after another, or a population."""
    sections.one_of(FLAGS.search, ("tpe", "cma", "random", "population"), path="--search")
    sections.one_of(FLAGS.prune, ("none", "median", "halving"), path="--prune")
    if FLAGS.search == "population" and FLAGS.launcher != "here":
        raise ConfigError(f"--launcher={FLAGS.launcher}: a population is one program, in this process; leave it out")
    space = sections.beside(path, "search")
    if FLAGS.dry_run:
        from cnnjax.sweep.search import check_space

        check_space(config, space)
        for name, distribution in space.items():
            print(f"{name}  {distribution}")
        print(f"{FLAGS.trials} points, by {FLAGS.search}")
        return
    process.connect(FLAGS)
    if FLAGS.launcher == "here":
        process.expect_gpus(FLAGS.gpus)
    from cnnjax.runs.workdir import hold
    from cnnjax.sweep.search import evolve, goal_of, search

    how = {"seed": FLAGS.draw, "strategy": FLAGS.pack, "retries": FLAGS.retries, "say": _say}
    how["allow_changes"] = FLAGS.allow_changes
    with hold(FLAGS.workdir):
        how["goal"] = goal_of(config, on_test=FLAGS.select_on_test)
        if FLAGS.search == "population":
            runs, dead = evolve(config, space, FLAGS.workdir, members=FLAGS.trials, **how)
        else:
            asked = {"sampler": FLAGS.search, "pruner": FLAGS.prune, "storage": FLAGS.storage}
            asked |= {"trials": FLAGS.trials, "together": FLAGS.together, "train": _trainer()}
            runs, dead = search(config, space, FLAGS.workdir, **asked, **how)
    _told(runs, dead)


def _told(runs: list, dead: list) -> None:
    """Says what came of the points; those that are dead make the exit code."""
    from cnnjax.sweep.local import SweepFailed

    for point in dead:
        how = "is another process's" if point.locked else f"is dead after {FLAGS.retries + 1} tries"
        _say(f"{point.name} {how}: {point.error}\n{point.story}".rstrip())
    if dead:
        names = ", ".join(point.name for point in dead)
        raise SweepFailed(f"{len(dead)} of {len(runs)} points are not complete: {names}")
    look = process.command("sweep", f"--workdir={FLAGS.workdir}", "--table")
    _say(f"{len(runs)} points are complete\nlook at them  {look}")


def _train_part(runs: list) -> None:
    """Trains the pack that a file names, for a process that supervises."""
    import json

    from cnnjax.runs.workdir import WorkdirLocked
    from cnnjax.sweep.folder import points_of
    from cnnjax.sweep.local import SweepFailed, attempt
    from cnnjax.sweep.points import packs_of

    (pack,) = packs_of(points_of(runs, json.loads(Path(FLAGS.part).read_text())))
    with contextlib.ExitStack() as stack:
        how = {"strategy": FLAGS.pack, "retries": 0, "say": _say}
        if FLAGS.prune != "none":
            from cnnjax.sweep.search import pruning

            how["policy"] = stack.enter_context(pruning(FLAGS.workdir, FLAGS.prune, FLAGS.storage))
        dead = attempt(pack, FLAGS.workdir, **how)
    if dead and all(point.locked for point in dead):
        raise WorkdirLocked(dead[0].error)
    if dead:
        raise SweepFailed(f"dead: {', '.join(point.name for point in dead)}")


def _launcher(workdir: Path):
    """Where the flags say that packs run."""
    from cnnjax.sweep.launch import Local, RayCluster, Slurm

    workers = max(1, FLAGS.workers)
    if FLAGS.launcher == "ray":
        return RayCluster(workers, address=FLAGS.address, cpus=FLAGS.cpus, gpus=FLAGS.gpus)
    if FLAGS.launcher == "slurm":
        words = ("cluster", "minutes", "partition", "account", "qos", "cpus", "gpus", "memory")
        return Slurm(workers, workdir / "slurm", **{word: FLAGS[word].value for word in words})
    return Local(workers, FLAGS.gpus)


def _look() -> None:
    """Prints and writes what came of the sweep."""
    from cnnjax.runs.summaries import FORMATS
    from cnnjax.sweep.table import table_of

    table = table_of(FLAGS.workdir, sort=FLAGS.sort, where=tuple(filter(None, FLAGS.where.split(","))))
    summary = table.summary()
    for note in table.notes:
        print(plain(note), file=sys.stderr)
    try:
        for flag, writer in FORMATS.items():
            if path := FLAGS[flag].value:
                Path(path).write_text(getattr(summary if FLAGS.over_seeds else table, writer)())
        if FLAGS.html:
            from cnnjax.sweep.page import write_page

            write_page(table, FLAGS.workdir, FLAGS.html)
    except OSError as error:
        raise ConfigError(f"{error.filename} can't be written: {error.strerror}; give another path") from None
    if not FLAGS.over_seeds:
        print(table.text())
    if FLAGS.over_seeds or any(row.count > 1 for row in summary.rows):
        print(f"{summary.text()}" if FLAGS.over_seeds else f"\nmean ± deviation over seeds\n{summary.text()}")


def _say(text: str) -> None:
    print(plain(text), flush=True)
