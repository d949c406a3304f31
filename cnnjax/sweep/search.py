"""Points that are asked for one batch after another, by Optuna; each batch trains as one program where it can."""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cnnjax import _versions
from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.runs.lines import curves_of
from cnnjax.runs.workdir import WorkdirLocked
from cnnjax.sweep.decisions import LENIENT, Decision, Policy
from cnnjax.sweep.folder import write_folder
from cnnjax.sweep.local import PointFailure, attempt, failure_of, run_packs
from cnnjax.sweep.points import Run, packs_of, resolved
from cnnjax.sweep.population import Population
from cnnjax.sweep.space import Distribution, sample
from cnnjax.train.job import prepare

__all__ = ["PRUNERS", "SAMPLERS", "check_space", "evolve", "goal_of", "pruning", "search"]

SAMPLERS = ("random", "tpe", "cma")
PRUNERS = ("none", "median", "halving")


def goal_of(config: Mapping, *, on_test: bool = False) -> tuple[str, bool]:
    """The metric that a search looks at (`eval.accuracy`) and whether more is better; the test set only if told."""
    prepared = prepare(config)
    metric, higher = prepared.goal
    if prepared.selects:
        return f"eval.{metric}", higher
    if not on_test:
        raise ConfigError(
            "data.holdout is 0, so the eval split is the official test set, and a search must not select by it\n"
            "hold out examples (--config.data.holdout=200), or say --select_on_test"
        )
    return f"test.{metric}", higher


def search(
    config: Mapping,
    space: Mapping[str, Distribution],
    workdir: str | Path,
    *,
    sampler: str = "tpe",
    pruner: str = "none",
    trials: int = 32,
    together: int = 8,
    storage: str = "",
    seed: int = 0,
    goal: tuple[str, bool] = ("eval.accuracy", True),
    train: Callable[..., list[PointFailure]] = run_packs,
    strategy: str = "auto",
    retries: int = 1,
    allow_changes: bool = False,
    say: Callable[[str], None] = print,
) -> tuple[list[Run], list[PointFailure]]:
    """The runs of a study of `trials` points, `together` at a time, and those that are dead; goes on where it stopped.

    `storage` is any that Optuna knows by a URL; "" is a journal in the workdir. `train` is `run_packs`, or a partial of
    `run_elsewhere` that has its launcher.
    """
    sections.one_of(sampler, SAMPLERS, path="--search")
    sections.one_of(pruner, PRUNERS, path="--prune")
    check_space(config, space)
    with _quiet_optuna() as optuna:
        study = _Study(optuna, space, Path(workdir), sampler, pruner, storage, seed, goal)
        policy = _Pruning(study, pruner, storage) if pruner != "none" else LENIENT
        while batch := study.asked(min(together, trials - study.finished())):
            runs = study.runs(config, allow_changes)
            write_folder(workdir, runs)
            fresh = [run for run in runs if run.name in batch]
            found = train(fresh, workdir, strategy=strategy, retries=retries, say=say, policy=policy)
            if locked := [point for point in found if point.locked]:
                raise WorkdirLocked(locked[0].error)
            study.tell(fresh, batch)
            say(f"{study.finished()} of {trials} points; {study.best()}")
        runs = study.runs(config, allow_changes)
        return runs, [failure_of(run) for run in runs if not run.done]


def evolve(
    config: Mapping,
    space: Mapping[str, Distribution],
    workdir: str | Path,
    *,
    members: int = 16,
    seed: int = 0,
    goal: tuple[str, bool] = ("eval.accuracy", True),
    strategy: str = "auto",
    retries: int = 1,
    allow_changes: bool = False,
    say: Callable[[str], None] = print,
) -> tuple[list[Run], list[PointFailure]]:
    """The runs of a population that begins with as many draws from the space, and those that are dead."""
    metric, higher = goal
    check_space(config, space)
    population = Population(space, metric.partition(".")[2], higher=higher, seed=seed)
    population.check(config)
    points = [{**point, "seed": config["seed"] + k} for k, point in enumerate(sample(space, members, seed=seed))]
    runs = resolved(config, points, workdir, allow_changes=allow_changes)
    pack, *more = packs_of(runs)
    if more or pack.alone:
        raise ConfigError(f"a population is one program: {pack.alone or 'the space changes what is compiled'}")
    write_folder(workdir, runs)
    return runs, attempt(pack, workdir, strategy=strategy, retries=retries, say=say, policy=population)


@contextlib.contextmanager
def pruning(workdir: str | Path, pruner: str, storage: str = "") -> Iterator[Policy]:
    """The policy of a study that another process asks, which has called this one to train a part of its points."""
    with _quiet_optuna() as optuna:
        yield _Pruning(_Study(optuna, {}, Path(workdir), "random", pruner, storage, 0, ("", True)), pruner, storage)


def check_space(config: Mapping, space: Mapping[str, Distribution]) -> None:
    """Refuses what is no space, and one that reaches to values that the config's options may not hold."""
    if not isinstance(space, Mapping) or not space:
        raise ConfigError(f"search() is {space!r}; it must be {{'optimizer.lr': log_uniform(1e-4, 1.0), …}}")
    for path, distribution in space.items():
        if not isinstance(distribution, Distribution):
            raise ConfigError(f"search: {path} is {distribution!r}; write uniform(…), log_uniform(…) or choice(…)")
    ends = {path: each.values or (each.low, each.high) for path, each in space.items()}
    first = {path: values[0] for path, values in ends.items()}
    others = [{**first, path: value} for path, values in ends.items() for value in values[1:]]
    resolved(config, [first, *others], "")


class _Study:
    """An Optuna study whose next point is a function of its seed and of the points before."""

    def __init__(self, optuna, space, workdir, sampler, pruner, storage, seed, goal):
        self._optuna, self._workdir, self._sampler, self._seed = optuna, workdir, sampler, seed
        metric, higher = goal
        self._space = {path: self._distribution(each) for path, each in space.items()}
        self._study = optuna.create_study(
            study_name=workdir.resolve().name,
            storage=storage or self._journal(),
            direction="maximize" if higher else "minimize",
            load_if_exists=True,
            pruner={
                "none": optuna.pruners.NopPruner,
                "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=4),
                "halving": optuna.pruners.SuccessiveHalvingPruner,
            }[pruner](),
        )
        if "metric" not in self._study.user_attrs:
            self._study.set_user_attr("metric", metric)
        self._metric = self._study.user_attrs["metric"]

    @property
    def metric(self) -> str:
        return self._metric.partition(".")[2]

    def asked(self, count: int) -> dict[str, object]:
        """The trials of the next batch by name: those that a stopped search has left, and new ones."""
        state = self._optuna.trial.TrialState.RUNNING
        left = [trial.number for trial in self._study.get_trials(deepcopy=False, states=(state,))]
        batch = []
        for number in left:
            self._study.sampler = self._sampler_for(number)
            batch.append(self._trial(number))
        while len(batch) < count:
            self._study.sampler = self._sampler_for(len(self._study.trials))
            batch.append(self._study.ask())
        for trial in batch:
            self._study.sampler = self._sampler_for(trial.number)
            for path, distribution in self._space.items():
                _versions.suggested(trial, path, distribution)
        return {self._name(trial.number): trial for trial in batch}

    def runs(self, config: Mapping, allow_changes: bool) -> list[Run]:
        """All points that were asked for, as runs."""
        runs = []
        for trial in self._study.get_trials(deepcopy=False):
            if set(trial.params) == set(self._space):
                (run,) = resolved(config, [trial.params], self._workdir)
                name = self._name(trial.number)
                runs.append(Run(name, run.overrides, run.config, self._workdir / name, allow_changes))
        return runs

    def tell(self, runs: Sequence[Run], batch: Mapping) -> None:
        """Tells what came of the batch."""
        states = self._optuna.trial.TrialState
        for run in runs:
            status = run.status.get("status")
            values = curves_of(run.workdir, self._metric)[1]
            if status == "pruned":
                self._study.tell(batch[run.name], state=states.PRUNED)
            elif status == "complete" and values:
                self._study.tell(batch[run.name], values[-1])
            else:
                self._study.tell(batch[run.name], state=states.FAIL)

    def finished(self) -> int:
        """How many trials have ended."""
        return sum(trial.state.is_finished() for trial in self._study.get_trials(deepcopy=False))

    def best(self) -> str:
        """The best point so far, in words."""
        try:
            trial = self._study.best_trial
        except ValueError:
            return "none is complete"
        return f"best {self._metric} {trial.value:.4f} by {self._name(trial.number)}"

    def seen(self, name: str, step: int, value: float) -> bool:
        """Reports a value of a point; whether it is not worth more steps."""
        number = int(name.removeprefix("trial"))
        trial = self._trial(number)
        if step not in self._study.trials[number].intermediate_values:
            trial.report(value, step)
        return trial.should_prune()

    def _trial(self, number: int):
        return _versions.trial_of(self._study, number)

    def _name(self, number: int) -> str:
        return f"trial{number:04}"

    def _sampler_for(self, number: int):
        samplers, seed = self._optuna.samplers, self._seed * 100_003 + number
        if self._sampler == "random":
            return samplers.RandomSampler(seed=seed)
        if self._sampler == "cma":
            return samplers.CmaEsSampler(seed=seed)
        return samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=8)

    def _distribution(self, each: Distribution):
        kinds = self._optuna.distributions
        if each.kind == "choice":
            return kinds.CategoricalDistribution(each.values)
        return kinds.FloatDistribution(each.low, each.high, log=each.kind == "log_uniform")

    def _journal(self):
        journal = self._optuna.storages.journal
        self._workdir.mkdir(parents=True, exist_ok=True)
        return self._optuna.storages.JournalStorage(journal.JournalFileBackend(str(self._workdir / "study.log")))


class _Pruning(Policy):
    """Ends members that the study's pruner gives up."""

    def __init__(self, study: _Study, pruner: str, storage: str):
        self._study = study
        self.flags = (f"--prune={pruner}", f"--storage={storage}")

    def decide(self, step, runs, metrics, numbers) -> Decision:
        ended = []
        for k, (run, found) in enumerate(zip(runs, metrics, strict=True)):
            value = found.get(self._study.metric, math.nan)
            if not math.isnan(value) and self._study.seen(run.name, step, value):
                ended.append(k)
        return Decision(ended=tuple(ended))


@contextlib.contextmanager
def _quiet_optuna() -> Iterator:
    """Optuna, without its log lines and its notes on what is experimental in it."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("--search needs Optuna: pip install 'cnnjax[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield optuna
