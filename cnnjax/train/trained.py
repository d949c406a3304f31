"""What can be done with a run that stands in a workdir: load it, measure it, ask it."""

import dataclasses
import functools
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import config as sections
from cnnjax import weights
from cnnjax.carrying import carried, placed
from cnnjax.config import ConfigError
from cnnjax.data.source import DataError
from cnnjax.fields import of_kind
from cnnjax.ops import compiler_options
from cnnjax.runs.checkpoints import CheckpointError, Checkpoints
from cnnjax.runs.provenance import origin_of, recorded, recorded_facts
from cnnjax.runs.tables import numbers_and_tables
from cnnjax.train._input_pixels import affine_maps, check_planes, plane
from cnnjax.train.job import FOR_TRAINING, PreparedRun, prepare, recalled
from cnnjax.train.program import Parts
from cnnjax.train.state import State
from cnnjax.train.step import bind, evaluated
from cnnjax.train.watching import watch_of
from cnnjax.train.weight_files import as_notes, from_file, told

__all__ = ["Trained", "evaluate", "load"]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network with all that belongs to it; `metrics` holds the last measures by split."""

    config: Mapping
    workdir: Path
    prepared: PreparedRun
    state: State
    metrics: Mapping

    def __repr__(self):
        program = self.prepared.program
        size = sum(leaf.size for leaf in jax.tree.leaves(self.variables["params"]))
        reads = f"{program.facts.input} ({', '.join(map(str, program.facts.shape))})"
        classes = f", {program.facts.classes} classes" if program.facts.classes else ""
        measures = [
            f"{split} {', '.join(f'{name} {value:.4g}' for name, value in numbers.items())}"
            for split, numbers in self.metrics.items()
            if numbers
        ]
        return (
            f"{self.config['model']['name']} for {self.config['task']['name']}: {size:,} parameters, "
            f"reads {reads}{classes}\n"
            f"{self.workdir} at step {int(self.state.step)} of {program.plan.steps}\n"
            f"{'; '.join(measures) or 'not measured yet'}"
        )

    @functools.cached_property
    def _parts(self) -> Parts:
        return self.prepared.program.parts({path: float(value) for path, value in self.state.hparams.items()})

    @property
    def net(self):
        """The network, with the run's own numbers."""
        return self._parts.net

    @property
    def variables(self) -> dict:
        """Parameters and statistics as `net.apply` takes them; the averaged ones where the run keeps averages."""
        source = self.state.ema or {"params": self.state.params, "model_state": self.state.model_state}
        return {"params": source["params"], **source["model_state"]}

    @property
    def facts(self):
        """The facts of the data that it was trained on."""
        return self.prepared.facts

    @property
    def source(self):
        """The data that it was trained on; a network that was loaded opens them here, and nowhere else."""
        return self.prepared.source

    @property
    def task(self):
        """The task that it was trained for."""
        return self._parts.task

    def predict(self, inputs: np.ndarray, *, batch: int = 256, first: int = 0) -> dict[str, np.ndarray]:
        """What the task predicts (`label`, `probabilities`, `boxes`, …) for inputs (N, …) as the data has them.

        Boxes, points, corners, segments and masks are in the inputs' own pixels, whatever the evaluation pipeline does
        to pictures; `visible` and `present`, where the task predicts them, are 0 of what lies outside. What is drawn by
        chance is a function of an input's index, the first of which is `first`.
        """
        found = []
        for start in range(0, len(inputs), batch):
            chunk = np.asarray(inputs[start : start + batch])
            last = first and (batch, *chunk.shape[1:]) in self._asked  # of inputs that came chunk by chunk
            missing = (batch - len(chunk)) if len(inputs) > batch or last else 0  # one shape, one compilation
            padded = np.concatenate([chunk, np.repeat(chunk[-1:], missing, 0)]) if missing else chunk
            self._asked.add(padded.shape)
            found.append({name: value[: len(chunk)] for name, value in self._predicted(padded, first + start).items()})
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]} if found else {}

    def _predicted(self, inputs: np.ndarray, first: int) -> dict[str, np.ndarray]:
        """The words that the task predicts, and no others, in pixels of the inputs (B, …)."""
        program, input, first = self.prepared.program, self.facts.input, np.int32(first)
        foretold, maps = self._apply.eval_shape(self.variables, inputs, first), ()
        if input in of_kind("picture") and placed(foretold):  # refused, if it is, before the net compiles
            check_planes(foretold, plane(input, (1, *program.seen.shape)))
            maps = self._maps(inputs, first)
        words = {name: np.asarray(value) for name, value in self._apply(self.variables, inputs, first).items()}
        if not len(maps):
            return words
        there = carried(words, maps, plane(input, inputs.shape), tuple(self.facts.extra.get("mirror", ())))
        return {name: there[name] for name in words}

    @functools.cached_property
    def _apply(self) -> Callable:
        """`answer`, compiled once for every shape of inputs that it is asked."""
        return jax.jit(self.answer, compiler_options=compiler_options(jax.default_backend()))

    @functools.cached_property
    def _maps(self) -> Callable:
        return affine_maps(self.prepared.program, self.state.hparams)

    @functools.cached_property
    def _asked(self) -> set:
        """The shapes of inputs that it was asked."""
        return set()

    def answer(self, variables: Mapping, inputs: jax.Array, first: jax.Array | int = 0) -> dict[str, jax.Array]:
        """What the task predicts for inputs (B, …), the first of which has the index `first`.

        A function that can be compiled, differentiated or exported; pixels are those of the pictures that the net sees.
        """
        outputs, fields = self._forward(variables, inputs, first)
        return self.task.predict(outputs, fields)

    def outputs(self, variables: Mapping, inputs: jax.Array, first: jax.Array | int = 0) -> Any:
        """What the net gives for inputs (B, …), before the task makes words of it; a function as `answer` is."""
        return self._forward(variables, inputs, first)[0]

    def seen(self, inputs: jax.Array) -> jax.Array:
        """Inputs (B, …) as the net reads them: what the evaluation pipeline makes of them; can be compiled."""
        fields = self._parts.augment["eval"](jax.random.key(0), self._batch(inputs, 0))
        return fields[self.facts.input]

    def _forward(self, variables: Mapping, inputs: jax.Array, first: jax.Array | int) -> tuple[Any, dict]:
        """The outputs for inputs (B, …), and the batch as the net has read it."""
        program, parts = self.prepared.program, self._parts
        model_state = {name: value for name, value in variables.items() if name != "params"}
        net, fields, key = evaluated(program, parts, model_state, self._batch(inputs, first))
        return parts.task.forward(net, variables["params"], fields, key)[0], fields

    def _batch(self, inputs: jax.Array, first: jax.Array | int) -> dict[str, jax.Array]:
        index = jax.lax.iota(jnp.int32, inputs.shape[0])  # also where the size of the batch is open
        words = {"index": index + first, "valid": (index >= 0).astype(jnp.float32), "epoch": index * 0}
        return {self.facts.input: inputs, **words}

    def features(self, inputs: np.ndarray, *, batch: int = 256) -> dict[str, np.ndarray]:
        """The net's named maps (N, *sizes, C), finest to coarsest, of inputs (N, …) as the data has them."""
        if not hasattr(self.net, "features"):
            raise ConfigError(f"model.name is {self.config['model']['name']!r}; its net has no features(x, train)")
        found, count = [], len(inputs)
        for start in range(0, count, batch):
            rows = np.arange(start, start + min(batch, count))  # one shape, one compilation
            maps = self._features(self.variables, np.asarray(inputs[np.minimum(rows, count - 1)]), np.int32(start))
            found.append({name: np.asarray(value)[: count - start] for name, value in maps.items()})
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]} if found else {}

    @functools.cached_property
    def _features(self) -> Callable:
        program, parts, key = self.prepared.program, self._parts, jax.random.key(0)

        def maps(variables, inputs, first):
            model_state = {name: value for name, value in variables.items() if name != "params"}
            net = bind(program, parts.net, model_state, train=False)
            fields = parts.augment["eval"](key, self._batch(inputs, first))
            return net(variables["params"], fields, key, part="features")[0]

        return jax.jit(maps, compiler_options=compiler_options(jax.default_backend()))

    @property
    def notes(self) -> dict[str, str]:
        """What a file of the weights says of them, as text: all that `load` needs to make this network of it."""
        origin = origin_of(self.workdir) or {name: told(self.workdir).get(name, "") for name in ("cnnjax", "commit")}
        return as_notes(self.prepared, self.state, origin)

    def save(self, path: str | Path, *, dialect: Literal["native", "torchvision", "timm"] = "native") -> None:
        """Writes the weights as safetensors, of which `load` makes this network again.

        The names are our own, or those of torchvision or timm, where the file is a state dict.
        """
        weights.save(self.net, self.variables, path, dialect=dialect, notes=self.notes)

    def measure(self, split: str = "test") -> dict[str, float]:
        """Metrics over a split (train, eval or test), every example counted once."""
        return numbers_and_tables(self._summary(split))[0]

    def tables(self, split: str = "test") -> dict[str, np.ndarray]:
        """Arrays of metrics over a split (train, eval or test): `confusion` (K, K), `calibration` (bins, 3), …"""
        return numbers_and_tables(self._summary(split))[1]

    def _summary(self, split: str) -> dict[str, Any]:
        examples = getattr(self.source, sections.one_of(split, ("train", "eval", "test"), path="split"))
        store = self.prepared.store(examples)
        return self.prepared.evaluate(self.state, examples, store, averaged=bool(self.state.ema))


def load(workdir: str | Path, *, checkpoint: str = "best", trusted: Collection[str] = ()) -> Trained:
    """The network that a workdir holds, from its `best` checkpoint, its `last`, or that of a step; or that of a file.

    The best is so by the eval split; where nothing was held out to select by, it is the last. A file of weights that
    `Trained.save` or an export wrote says which net it is of. Functions that are not the package's own
    (`my_nets:tiny`) are called for a file where they are `trusted`.
    """
    if Path(workdir).is_file():
        prepared, state = from_file(workdir, trusted)
        return Trained(prepared.config, Path(workdir), prepared, state, {})
    config = sections.from_json(json.dumps(recorded(workdir)["config"]))
    prepared = _known(workdir, config)
    task = prepared.program.parts(sections.numeric(config)).task
    watch = watch_of(config, task, selects=prepared.selects)
    best = {"metric": watch.metric, "higher": watch.higher}
    with Checkpoints(workdir, keep=config.checkpoint.keep, **best) as checkpoints:
        if not checkpoints.steps():
            raise CheckpointError(f"{workdir} holds no checkpoint yet; train it first, or wait for its first save")
        step = _chosen(checkpoints, checkpoint)
        _, state, metrics = checkpoints.restore(prepared.answering(), step, without=FOR_TRAINING)
    return Trained(prepared.config, Path(workdir), prepared, state, {"eval": metrics})


def _known(workdir: str | Path, config: Mapping) -> PreparedRun:
    """The prepared of a run by the facts that stand in its workdir; one of an older release opens its data."""
    known = recorded_facts(workdir)
    if known:
        return recalled(config, known[0], selects=known[1])
    try:
        return prepare(config)
    except DataError as error:
        raise DataError(f"{error}\n{workdir} has no facts.json (an older release): it needs its data") from None


def evaluate(workdir: str | Path, *, split: str = "test", checkpoint: str = "best") -> dict[str, float]:
    """Metrics of a workdir's network over a split (train, eval or test), every example counted once."""
    sections.one_of(split, ("train", "eval", "test"), path="split")  # before anything is loaded
    trained = load(workdir, checkpoint=checkpoint)
    return {"step": int(trained.state.step), **trained.measure(split)}


def _chosen(checkpoints: Checkpoints, wanted: str) -> int:
    """The step that `best`, `last` or a number means; -1 is the newest."""
    if wanted == "last":
        return -1
    if wanted == "best":
        return checkpoints.best()
    if not wanted.isdigit():
        raise ConfigError(f"checkpoint is {wanted!r}; it must be best, last or a step: {checkpoints.steps()}")
    return int(wanted)
