"""Everything that a run needs before its first step: data, program, compiled step, and the state it starts from."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import config as sections
from cnnjax.data.source import DataError, Facts, Part, Source, check, labels_of
from cnnjax.data.stream import Stream, into_memory, orders, passes
from cnnjax.ops import single_use_options
from cnnjax.train._views import check_views
from cnnjax.train.parallel import Layout, MemberLayout
from cnnjax.train.plan import Plan, resolve
from cnnjax.train.program import Parts, Program
from cnnjax.train.state import State, key_for
from cnnjax.train.step import eval_step, summed, train_step
from cnnjax.train.watching import nothing_seen, refuse_selection_by_test

__all__ = ["FOR_TRAINING", "PreparedRun", "prepare", "recalled", "valid_rows"]

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

    def totals(self, split, measured: Callable) -> list[tuple[dict, dict]]:
        """Each member's (sums, rows) over a split, of which `measured(batch)` gives those of one batch."""
        totals, rows = [], []
        for batch in self.passes(split):
            for k, (sums, found) in enumerate(measured(batch)):
                sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
                if k == len(totals):
                    totals.append(sums)
                    rows.append([])
                else:
                    totals[k] = jax.tree.map(np.add, totals[k], sums)
                rows[k] += [found] if found else []
        return [(sums, valid_rows(found)) for sums, found in zip(totals, rows, strict=True)]

    def passes(self, split) -> Iterator[dict]:
        """The batches of one pass over a split, this process's part of them, every example valid once."""
        part = (jax.process_index(), jax.process_count())
        return passes(split, self.plan.eval_batch, part, workers=self.config["data"]["workers"])

    def metrics(self, state: State, sums: Mapping, rows: Mapping) -> dict[str, Any]:
        """Metrics and tables from sums and rows: the loss, then what the task makes of its own."""
        task = self.program.parts({path: float(value) for path, value in state.hparams.items()}).task
        return {"loss": float(sums["loss"] / max(sums["weight"], 1e-30)), **task.summarize(sums["task"], rows)}

    def start(self) -> State:
        """The state before the first step, on the host's default device."""
        return self.initial()(self.config["seed"], sections.numeric(self.config))

    def outline(self, *, trains: bool = True) -> State:
        """The shapes of the state before the first step, by the facts alone; nothing is read or drawn.

        One that no longer `trains` has nothing `FOR_TRAINING`.
        """
        like, numbers = jax.ShapeDtypeStruct, sections.numeric(self.config)
        fields = {name: like((1, *shape), dtype) for name, (shape, dtype) in self.facts.fields.items()}
        fields |= {"index": like((1,), "int32"), "valid": like((1,), "float32")}

        def begun(fields):
            state = self._starts(fields, compiled=False, sums=trains)(self.config["seed"], numbers)
            return state if trains else state.replace(opt_state={})

        return jax.eval_shape(begun, fields)

    def answering(self) -> State:
        """The shapes of a trained state where they are to lie, without what is for training alone (`FOR_TRAINING`).

        Its numbers are those of the config, for checkpoints of releases that had fewer.
        """
        numbers = {path: jnp.float32(value) for path, value in sections.numeric(self.config).items()}
        shapes = self.layout.replicated(self.outline(trains=False))
        return shapes.replace(hparams=self.layout.replicate(numbers))

    def initial(self) -> Callable:
        """make(seed, hparams) -> the state before the first step with these; compiled once for any of them."""
        return self._starts(self._looked_at(), compiled=True)

    def _starts(self, fields: Mapping, *, compiled: bool, sums: bool = True) -> Callable:
        """`initial` for nets that are shown these fields (B, …)."""

        def make(seed, hparams, fields):
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

        options, zeros = single_use_options(jax.default_backend()), []
        drawn = jax.jit(make, compiler_options=options) if compiled else make

        def start(seed: int, hparams: Mapping) -> State:
            seed = jnp.uint32(seed)
            hparams = {path: jnp.float32(value) for path, value in hparams.items()}
            params, model_state, memory, ema = drawn(seed, hparams, fields)
            counters = {name: np.int32(0) for name in ("step", "streak", "bad", "skipped", "rollbacks")}
            state = State(
                seed=seed,
                params=params,
                model_state=model_state,
                opt_state=memory,
                ema=ema,
                hparams=hparams,
                sums={},
                watch=nothing_seen(),
                **counters,
            )
            if not sums:
                return state
            zeros[:] = zeros or [self._no_sums(state, fields)]  # tracing the step for its shapes takes a while
            return state.replace(sums=jax.tree.map(jnp.copy, zeros[0]))

        return start

    def _looked_at(self) -> dict:
        """The examples that initialisation is shown: many where it looks at their values."""
        count = min(_PREPARE_EXAMPLES, len(self.source.train))
        rows = np.linspace(0, len(self.source.train) - 1, count).astype(int)
        wants_images = hasattr(self.program.parts(sections.numeric(self.config)).net, "prepare")
        rows = rows if wants_images else rows[:1]
        return self.source.train.read(rows) | {"index": rows, "valid": np.ones(len(rows), np.float32)}

    def _variables(self, seed: jax.Array, parts: Parts, fields: Mapping) -> dict:
        """The network's variables, drawn by the seed."""
        fields = parts.augment["eval"](key_for(seed, "augment"), fields)
        net, key, images = parts.net, key_for(seed, "init"), fields[self.facts.input]
        with sections.errors_name_option("model", self.config["model"]):
            variables = net.init({"params": key, "noise": key}, images[:1], train=False)
        return net.prepare(variables, images) if hasattr(net, "prepare") else variables

    def _no_sums(self, state: State, fields: Mapping) -> dict:
        """Zeros of the shapes of what the step adds up."""
        many = self.plan.batch // self.plan.accumulate  # whole: groups of statistics count examples
        fields = {name: jnp.asarray(value) for name, value in fields.items()} | {"epoch": np.zeros(1, np.int32)}
        batch = {name: jax.ShapeDtypeStruct((many, *v.shape[1:]), v.dtype) for name, v in fields.items()}
        shapes = jax.eval_shape(summed(self.program), state, batch)
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)


def prepare(config: Mapping) -> PreparedRun:
    """The prepared that a config describes, on the devices at hand; whatever is wrong with it is said here."""
    source = _opened(config)
    config = sections.freeze(config).as_configdict().to_dict()
    plan = resolve(config, source.facts, jax.device_count())
    check(source, plan.batch)
    refuse_selection_by_test(config, source)
    if config["data"]["sampling"] == "balanced" and "label" not in source.facts.fields:
        orders(source.train, plan.batch, sampling="balanced")  # says what is missing
    program = Program(config, source.facts, plan)
    check_views(program, program.parts(sections.numeric(config)).task)
    return _of(program, lambda: source, selects=source.eval is not source.test)


def recalled(config: Mapping, facts: Facts, *, selects: bool) -> PreparedRun:
    """The prepared of a run that was trained, by what is known of its data; they are opened where it is measured.

    It needs neither as many devices as its training had, nor a batch that they divide.
    """
    config = sections.freeze(config).as_configdict().to_dict()
    plan = resolve(config, facts, jax.device_count(), trains=False)

    def opened() -> Source:
        try:
            source = _opened(config)
        except (ValueError, OSError) as error:
            raise DataError(f"this needs the data of the training: {error}") from error
        check(source, 1)
        _refuse_others(source.facts, facts)
        return source

    return _of(Program(config, facts, plan), opened, selects=selects)


def _of(program: Program, opened: Callable[[], Source], *, selects: bool) -> PreparedRun:
    plan = program.plan
    layout = Layout(plan.parallel, tuple(jax.devices()[: plan.devices]))
    step = layout.compile_training(train_step(program), plan.dispatch)
    measure = layout.compile_evaluation(eval_step(program))
    return PreparedRun(program.config, opened, selects, plan, program, layout, step, measure)


def _refuse_others(found: Facts, trained: Facts) -> None:
    """Refuses data of another form or meaning than those of the training."""
    for word in ("input", "shape", "names", "extra"):
        here, there = getattr(found, word), getattr(trained, word)
        if here != there:
            raise DataError(f"the data are not those of the training: {word} is {_short(here)}, was {_short(there)}")


def _short(value: object) -> str:
    return text if len(text := str(value)) <= 80 else f"{text[:77]}…"


def _opened(config: Mapping) -> Source:
    """The data of a config, where it wants them, and all that is to be known of them."""
    return _counted(_housed(_described(sections.call("data", config["data"])), config["data"]))


def _described(source: Source) -> Source:
    """The source with what its facts leave out: shape and type of an example's words, what black and white are."""
    facts = source.facts
    if not facts.fields:
        example = {name: np.asarray(value) for name, value in source.train.read(np.zeros(1, int)).items()}
        fields = {name: (value.shape[1:], value.dtype) for name, value in example.items() if name != "valid"}
        facts = dataclasses.replace(facts, fields=fields)
    if not facts.black and facts.mean:
        ends = {"black": (0.0,) * len(facts.mean), "white": (1.0,) * len(facts.mean)}
        facts = dataclasses.replace(facts, **ends)
    return source if facts is source.facts else dataclasses.replace(source, facts=facts)


def _counted(source: Source) -> Source:
    """The source whose facts say how many training examples each class has, where that can be known without reading."""
    facts, labels = source.facts, labels_of(source.train)
    if not facts.classes or facts.class_counts or labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        return source
    counts = np.bincount(labels[(labels >= 0) & (labels < facts.classes)], minlength=facts.classes)
    return dataclasses.replace(source, facts=dataclasses.replace(facts, class_counts=tuple(counts.tolist())))


def _housed(source: Source, options: Mapping) -> Source:
    """The source with its splits on the device (`resident` yes), streamed (no), or as they come (auto)."""
    wanted = options["resident"]
    if wanted == "auto":
        return source

    def housed(split):
        return into_memory(split, workers=options["workers"]) if wanted == "yes" else Part(split, np.arange(len(split)))

    train, test = housed(source.train), housed(source.test)
    # eval stays the very same object as test where nothing is held out: that is how selection knows
    return Source(train, test if source.eval is source.test else housed(source.eval), test, source.facts)


def valid_rows(rows: list[dict]) -> dict:
    """The rows of examples that are not padding, of all batches."""
    if not rows:
        return {}
    joined = {name: np.concatenate([batch[name] for batch in rows]) for name in rows[0]}
    keep = joined.pop("valid") > 0
    return {name: values[keep] for name, values in joined.items()}
