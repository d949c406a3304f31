"""Everything that a run needs before its first step: data, program, compiled step, and the state it starts from."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import config as sections
from cnnjax.augment.pipeline import black_and_white
from cnnjax.config import ConfigError
from cnnjax.data.source import DataError, Facts, Source, check
from cnnjax.data.stream import Stream, orders, passes, patiently
from cnnjax.ops import single_use_options
from cnnjax.refusals import LackingError
from cnnjax.runs.lines import COUNTS
from cnnjax.runs.processes import of_all
from cnnjax.tasks.contract import Task, once
from cnnjax.train._contract import check_answers, check_call, check_outputs, explained, metrics_of
from cnnjax.train._sources import refuse_others, source_of
from cnnjax.train._tables import check_tables
from cnnjax.train._views import check_views
from cnnjax.train.parallel import Layout, MemberLayout
from cnnjax.train.plan import Plan, resolve
from cnnjax.train.program import Parts, Program, facts_seen
from cnnjax.train.state import State, key_for
from cnnjax.train.step import eval_step, evaluated, summed, train_step
from cnnjax.train.watching import nothing_seen, refuse_selection_by_test

__all__ = ["FOR_TRAINING", "PreparedRun", "opened", "prepare", "recalled", "valid_rows"]

FOR_TRAINING = ("opt_state", "sums")
"""What of a state is for training alone."""

_PREPARE_EXAMPLES = 5000  # what data-dependent initialisation looks at


@dataclasses.dataclass(frozen=True)
class PreparedRun:
    """A run that is ready to go: what stays the same while its state changes.

    `opened()` gives the data, which nothing but training and measuring needs. `selects` says whether something may be
    selected by the eval split: it is not the test set.
    """

    config: Mapping
    opened: Callable[[], Source]
    selects: bool
    plan: Plan
    program: Program
    layout: Layout
    step: Callable
    measure: Callable

    @functools.cached_property
    def source(self) -> Source:
        """The data; those of a run that was loaded are opened when they are first asked for."""
        return self.opened()

    @property
    def facts(self) -> Facts:
        """The facts of the data, which are known without them."""
        return self.program.facts

    def batches(self, split, bad_records: str = "") -> Stream:
        """The training batches of a split, this process's part of them; broken files are listed in `bad_records`."""
        data = self.config["data"]
        return Stream(
            split,
            batch=self.plan.batch,
            seed=data["seed"],
            sampling=data["sampling"],
            accumulate=self.plan.accumulate,
            workers=data["workers"],
            part=(jax.process_index(), jax.process_count()),
            bad_records=bad_records,
        )

    def store(self, split) -> dict:
        """A resident split as arrays on every device; {} for one that is streamed."""
        return self.layout.replicate(split.arrays) if split.resident else {}

    def evaluate(self, state: State, split, store: Mapping, *, averaged: bool = False) -> dict[str, Any]:
        """The loss, the task's metrics and its tables (arrays) over a split, every example counted once."""
        variables = state.ema if averaged else {"params": state.params, "model_state": state.model_state}
        measured = MemberLayout("turns", 1, self.layout).evaluation(self.measure, alone=self.measure)
        (found,) = self.totals(split, lambda batch: measured([variables], [state.hparams], store, batch))
        return self.metrics(state, *found)

    def totals(self, split, measured: Callable, waiting: Callable[[], None] = patiently) -> list[tuple[dict, dict]]:
        """Each member's (sums, rows) over a split, of which `measured(batch)` gives those of one batch.

        `waiting` is called after each batch, and while one is waited for; it may raise.
        """
        totals, rows, count = [], [], 0
        for batch in self.passes(split, waiting):
            waiting()
            count += int(batch["valid"].sum())
            for k, (sums, found) in enumerate(measured(batch)):
                sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
                if k == len(totals):
                    totals.append(sums)
                    rows.append([])
                else:
                    totals[k] = jax.tree.map(np.add, totals[k], sums)
                rows[k] += [found] if found else []
        counts = {"measured": of_all(count), "examples": len(split) + getattr(split, "left_out", 0)}
        return [(sums | counts, valid_rows(found)) for sums, found in zip(totals, rows, strict=True)]

    def passes(self, split, waiting: Callable[[], None] = patiently) -> Iterator[dict]:
        """The batches of one pass over a split, this process's part of them, every example valid once."""
        part = (jax.process_index(), jax.process_count())
        return passes(split, self.plan.eval_batch, part, workers=self.config["data"]["workers"], waiting=waiting)

    def metrics(self, state: State, sums: Mapping, rows: Mapping) -> dict[str, Any]:
        """Metrics and tables from sums and rows: the loss, then what the task makes of its own.

        Where a file can't be read, also of how many examples they are, and how many there were.
        """
        task = self.program.parts({path: float(value) for path, value in state.hparams.items()}).task
        found = {"loss": float(sums["loss"] / max(sums["weight"], 1e-30)), **task.summarize(sums["task"], rows)}
        counts = {name: sums[name] for name in COUNTS if name in sums}
        return found | counts if len(set(counts.values())) > 1 else found

    def check(self) -> None:
        """Refuses, before anything compiles, data, task and network that do not fit together.

        What is traced here, the start traces no more. Of our own nets the first weights say how they are evaluated.
        """
        _check_normalized(self.config, self.source.facts)
        _check_filled(self.config, self.program.parts(sections.numeric(self.config)).net)
        state, _ = self.outline(), self.goal
        task, net, *_ = self.program.parts(sections.numeric(self.config))
        if self.config["data"].get("folds", 0) and jax.tree.leaves(state.model_state):
            raise ConfigError(
                f"data.folds is {self.config['data']['folds']}, but the net keeps statistics of its batches "
                f"({', '.join(state.model_state)}), in which the fold's examples are too; take model.norm=group or none"
            )
        if self.facts.input == "tokens":
            variables = {"params": state.params, **state.model_state}
            check_tables(self.config["model"], net, variables, self.source)
        if _takes_one_call(task) and not any(":" in name for name in _names(self.config["model"])):
            return

        def answered(state: State, fields: Mapping) -> None:
            parts = self.program.parts(state.hparams)
            net, fields, key = evaluated(self.program, parts, state.model_state, fields)
            _, _, (outputs, _) = parts.task.loss(net, state.params, fields, key)
            check_answers(parts.task, outputs, parts.task.forward(net, state.params, fields, key)[0], fields)

        jax.eval_shape(answered, state, self._shapes(1))

    @functools.cached_property
    def goal(self) -> tuple[str, bool]:
        """The metric by which checkpoints and points are chosen, and whether more of it is better.

        Refuses one that the task does not give, where its summary of made sums and rows can be had.
        """
        task, wanted = self.program.parts(sections.numeric(self.config)).task, self.config["checkpoint"]["metric"]
        metric = wanted or task.metric
        if metric not in ("loss", task.metric):
            state = self.outline()
            variables = {"params": state.params, "model_state": state.model_state}
            shapes = jax.eval_shape(eval_step(self.program), variables, state.hparams, {}, self._shapes(1))
            sums, rows = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)
            if known := metrics_of(task, sums["task"], rows):
                raw = [f"raw_{name}" for name in known] if self.plan.ema else []
                sections.one_of(metric, [*known, *raw], path="checkpoint.metric")
        return metric, task.more_is_better(metric)

    def _shapes(self, count: int) -> dict:
        """The shapes of so many examples as a step is given them."""
        like, fields = jax.ShapeDtypeStruct, self.facts.fields
        batch = {name: like((count, *shape), dtype) for name, (shape, dtype) in fields.items()}
        words = (("index", jnp.int32), ("epoch", jnp.int32), ("valid", jnp.float32))
        return batch | {name: like((count,), dtype) for name, dtype in words}

    def start(self) -> State:
        """The state before the first step, on the host's default device."""
        return self.initial()(self.config["seed"], sections.numeric(self.config))

    def outline(self, *, trains: bool = True) -> State:
        """The shapes of the state before the first step, by the facts alone; nothing is read or drawn.

        One that no longer `trains` has nothing `FOR_TRAINING`.
        """
        return self._outline if trains else self._traced(1).replace(opt_state={})

    @functools.cached_property
    def _outline(self) -> State:
        """Traces the first weights, and the step for what it adds up: whoever starts the run finds both traced."""
        state = self._traced(len(self._rows))
        batch = self._shapes(self.plan.batch // self.plan.accumulate)  # whole: groups of statistics count examples
        return state.replace(sums=jax.eval_shape(summed(self.program), state, batch))

    def _traced(self, examples: int) -> State:
        """The shapes of the state before the first step, but for its sums, of a net that is shown so many examples."""
        like, numbers = jax.ShapeDtypeStruct, sections.numeric(self.config)
        seed, hparams = like((), jnp.uint32), {path: like((), jnp.float32) for path in numbers}
        drawn = self._drawn.eval_shape(seed, hparams, self._shapes(examples))
        return jax.eval_shape(lambda: _begun(seed, hparams, drawn, {}))

    def answering(self) -> State:
        """The shapes of a trained state where they are to lie, without what is for training alone (`FOR_TRAINING`).

        Its numbers are those of the config, for checkpoints of releases that had fewer.
        """
        numbers = {path: jnp.float32(value) for path, value in sections.numeric(self.config).items()}
        shapes = self.layout.replicated(self.outline(trains=False))
        return shapes.replace(hparams=self.layout.replicate(numbers))

    def initial(self, *, traced: bool = False) -> Callable:
        """make(seed, hparams) -> the state before the first step with these; compiled once for any of them.

        One that is `traced` becomes a part of the program that calls it.
        """
        fields, sums, drawn = self._looked_at(), self.outline().sums, self._draw if traced else self._drawn

        def start(seed: int, hparams: Mapping) -> State:
            seed = jnp.uint32(seed)
            hparams = {path: jnp.float32(value) for path, value in hparams.items()}
            zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), sums)
            return _begun(seed, hparams, drawn(seed, hparams, fields), zeros)

        return start

    def _draw(self, seed: jax.Array, hparams: Mapping, fields: Mapping) -> tuple[dict, dict, dict, dict]:
        """(params, model_state, opt_state, ema) of a seed, numbers and the examples looked at."""
        parts = self.program.parts(hparams)
        variables = self._variables(seed, parts, fields)
        params, model_state = variables["params"], {k: v for k, v in variables.items() if k != "params"}
        if self.plan.precision == "float64":
            params, model_state = jax.tree.map(lambda x: x.astype(jnp.float64), (params, model_state))
        self.program.check(params, parts.task.parts)
        memory = {
            part: optimizer.init({part: params[part]} if part else params)
            for part, optimizer in parts.optimizers.items()
        }
        ema = {"params": params, "model_state": model_state} if self.plan.ema else {}
        return params, model_state, memory, jax.tree.map(jnp.copy, ema)

    @functools.cached_property
    def _drawn(self) -> Callable:
        """`_draw`, compiled."""
        return jax.jit(self._draw, compiler_options=single_use_options(jax.default_backend()))

    @functools.cached_property
    def _rows(self) -> np.ndarray:
        """The examples that initialisation is shown: one, or many where the net looks at their values."""
        net, examples = self.program.parts(sections.numeric(self.config)).net, len(self.source.train)
        rows = np.linspace(0, examples - 1, min(_PREPARE_EXAMPLES, examples)).astype(np.int32)
        return rows if hasattr(net, "prepare") else rows[:1]

    def _looked_at(self) -> dict:
        """The fields of the examples that initialisation is shown."""
        fields = self.source.train.read(self._rows)
        ones, zeros = np.ones(len(self._rows), np.float32), np.zeros(len(self._rows), np.int32)
        return fields | {"index": self._rows, "epoch": zeros, "valid": ones}

    def _variables(self, seed: jax.Array, parts: Parts, fields: Mapping) -> dict:
        """The network's variables, drawn by the seed; refuses a network and a task that do not fit together."""
        fields = parts.augment["eval"](key_for(seed, "augment"), fields)
        net, key, images = parts.net, key_for(seed, "init"), fields[self.facts.input]
        with sections.errors_name_option("model", self.config["model"]), explained(self.config["model"]):
            check_call(net, self.config["model"])
            streams = {"params": key, "noise": key}
            outputs, variables = net.init_with_output(streams, images[:1], **sections.mode(net, False))
        if parts.task.forward is once:
            check_outputs(self.config, parts.task, outputs, self.plan.batch // self.plan.accumulate)
        if _takes_one_call(parts.task):
            check_answers(parts.task, outputs, outputs, {name: value[:1] for name, value in fields.items()})
        return net.prepare(variables, images) if hasattr(net, "prepare") else variables


def prepare(config: Mapping) -> PreparedRun:
    """The run that a config describes, on the devices at hand; whatever is wrong with it is said here."""
    prepared = opened(config)
    prepared.check()
    return prepared


def opened(config: Mapping) -> PreparedRun:
    """The run that a config describes, whose data, task and network nobody has held together yet."""
    source = source_of(config)
    config = sections.freeze(config).as_configdict().to_dict()
    seen = facts_seen(config, source.facts)
    try:
        sections.call("tasks", config["task"], seen)  # what the data lack comes before how many there are
    except LackingError as error:
        raise ConfigError(f"{error}\n{sections.readers_of(error.words)}") from None
    plan = resolve(config, source.facts, jax.device_count())
    check(source, plan.batch)
    refuse_selection_by_test(config, source)
    sampling = config["data"]["sampling"]
    if {"balanced": "label", "labelled": "labelled"}.get(sampling, source.facts.input) not in source.facts.fields:
        orders(source.train, plan.batch, sampling=sampling)  # says what is missing
    program = Program(config, source.facts, plan, seen)
    parts = program.parts(sections.numeric(config))
    check_views(program, parts.task, parts.net)
    return _of(program, lambda: source, selects=source.eval is not source.test)


def recalled(config: Mapping, facts: Facts, *, selects: bool) -> PreparedRun:
    """The prepared of a run that was trained, by what is known of its data; they are opened where it is measured.

    It needs neither as many devices as its training had, nor a batch that they divide.
    """
    config = sections.freeze(config).as_configdict().to_dict()
    plan = resolve(config, facts, jax.device_count(), trains=False)

    def again() -> Source:
        try:
            source = source_of(config)
        except (ValueError, OSError) as error:
            raise DataError(f"this needs the data of the training: {error}") from error
        check(source, 1)
        refuse_others(source.facts, facts)
        return source

    return _of(Program(config, facts, plan, facts_seen(config, facts)), again, selects=selects)


def _of(program: Program, opened: Callable[[], Source], *, selects: bool) -> PreparedRun:
    plan = program.plan
    layout = Layout(plan.parallel, tuple(jax.devices()[: plan.devices]))
    step = layout.compile_training(train_step(program), plan.dispatch)
    measure = layout.compile_evaluation(eval_step(program))
    return PreparedRun(program.config, opened, selects, plan, program, layout, step, measure)


def _check_filled(config: Mapping, net: nn.Module) -> None:
    """Refuses a net of which a part is to come from a file or a run, and is left as it was drawn."""
    options, name = config["train"], config["model"]["name"]
    for part in getattr(net, "given", ()):
        if not (options["init"] and options["init_into"] in ("", part)):
            raise ConfigError(
                f"model.name is {name!r}, but its {part} knows nothing yet; train.init=RUN train.init_into={part} "
                "gives it the weights of a run, or of a file"
            )


def _check_normalized(config: Mapping, facts: Facts) -> None:
    """Refuses pipelines that leave other numbers of a picture in training than in evaluation."""
    train, eval = config["augment"]["train"], config["augment"]["eval"]
    if black_and_white(facts, train) != black_and_white(facts, eval):
        one, other = ("train", "eval") if "normalize" in train else ("eval", "train")
        raise ConfigError(
            f"augment.{one} has 'normalize', augment.{other} has not: the net would be measured on other numbers than "
            "it learns from\nname it in both, or in neither"
        )


def _takes_one_call(task: Task) -> bool:
    """Whether loss and prediction both have the outputs of one call of the net."""
    return task.forward is once and getattr(task.loss, "forward", None) is once


def _names(section: Mapping) -> Iterator[str]:
    """The names of the entry of a section and of those in it."""
    yield section["name"]
    for value in section.values():
        if isinstance(value, Mapping):
            yield from _names(value)


def _begun(seed: jax.Array, hparams: Mapping, drawn: tuple, sums: dict) -> State:
    """The state before the first step, of what was drawn, or of its shapes."""
    params, model_state, memory, ema = drawn
    counters = {name: np.int32(0) for name in ("step", "streak", "bad", "skipped", "rollbacks")}
    return State(
        seed=seed,
        params=params,
        model_state=model_state,
        opt_state=memory,
        ema=ema,
        hparams=hparams,
        sums=sums,
        watch=nothing_seen(),
        **counters,
    )


def valid_rows(rows: list[dict]) -> dict:
    """The rows of examples that are not padding, of all batches."""
    if not rows:
        return {}
    joined = {name: np.concatenate([batch[name] for batch in rows]) for name in rows[0]}
    keep = joined.pop("valid") > 0
    return {name: values[keep] for name, values in joined.items()}
