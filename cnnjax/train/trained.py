"""What can be done with a run that stands in a workdir: load it, measure it, ask it."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.ops import compiler_options
from cnnjax.runs.checkpoints import CheckpointError, Checkpoints
from cnnjax.runs.provenance import recorded
from cnnjax.runs.tables import numbers_and_tables
from cnnjax.train._input_pixels import affine_maps, brought_back, placed, plane
from cnnjax.train.job import PreparedRun, prepare
from cnnjax.train.program import Parts
from cnnjax.train.state import State
from cnnjax.train.step import evaluated

__all__ = ["Trained", "evaluate", "load"]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network with all that belongs to it; `metrics` holds the last measures by split."""

    config: Mapping
    workdir: Path
    prepared: PreparedRun
    state: State
    metrics: Mapping

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
        return self.prepared.source.facts

    @property
    def source(self):
        """The data that it was trained on."""
        return self.prepared.source

    @property
    def task(self):
        """The task that it was trained for."""
        return self._parts.task

    def predict(self, inputs: np.ndarray, *, batch: int = 256) -> dict[str, np.ndarray]:
        """What the task predicts (`label`, `probabilities`, `boxes`, …) for inputs (N, …) as the data has them.

        Boxes, points, corners, segments and masks are in the inputs' own pixels, whatever the evaluation pipeline does
        to pictures. What is drawn by chance is a function of an input's place.
        """
        apply = jax.jit(self.answer, compiler_options=compiler_options(jax.default_backend()))
        maps, found = affine_maps(self.prepared.program, self.state.hparams), []
        for start in range(0, len(inputs), batch):
            chunk = np.asarray(inputs[start : start + batch])
            missing = (batch - len(chunk)) if len(inputs) > batch else 0  # one shape, one compilation
            padded = np.concatenate([chunk, np.repeat(chunk[-1:], missing, 0)]) if missing else chunk
            moved = placed(apply.eval_shape(self.variables, padded, start), self.facts.input)
            places = maps(padded, start)[: len(chunk)] if moved else ()  # refused, if it is, before the net compiles
            answer = apply(self.variables, padded, start)
            words = {name: np.asarray(value)[: len(chunk)] for name, value in answer.items()}
            found.append(self._in_input_pixels(words, places, padded.shape) if moved else words)
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]} if found else {}

    def _in_input_pixels(self, words: Mapping, maps: np.ndarray, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        seen, input = self.prepared.program.seen.shape, self.facts.input
        size, mirror = plane(input, shape), tuple(self.facts.extra.get("mirror", ()))
        return brought_back(words, maps, plane(input, (1, *seen)), size, mirror)

    def answer(self, variables: Mapping, inputs: jax.Array, first: jax.Array | int = 0) -> dict[str, jax.Array]:
        """What the task predicts for inputs (B, …), the first of which has the index `first`.

        A function that can be compiled, differentiated or exported; pixels are those of the pictures that the net sees.
        """
        program, parts = self.prepared.program, self._parts
        index = jax.lax.iota(jnp.int32, inputs.shape[0])  # also where the size of the batch is open
        batch = {"index": index + first, "valid": (index >= 0).astype(jnp.float32), "epoch": index * 0}
        model_state = {name: value for name, value in variables.items() if name != "params"}
        net, fields, key = evaluated(program, parts, model_state, {self.facts.input: inputs, **batch})
        outputs, _ = parts.task.forward(net, variables["params"], fields, key)
        return parts.task.predict(outputs, fields)

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


def load(workdir: str | Path, *, checkpoint: str = "best") -> Trained:
    """The network that a workdir holds, from its `best` checkpoint, its `last`, or that of a step.

    The best is so by the eval split; where nothing was held out to select by, it is the last.
    """
    config = sections.from_json(json.dumps(recorded(workdir)["config"]))
    prepared = prepare(config)
    like = prepared.layout.replicate(prepared.start())
    metric, higher = prepared.goal if prepared.source.eval is not prepared.source.test else ("", True)
    with Checkpoints(workdir, keep=config.checkpoint.keep, metric=metric, higher=higher) as checkpoints:
        if not checkpoints.steps():
            raise CheckpointError(f"{workdir} holds no checkpoint yet; train it first, or wait for its first save")
        step = _chosen(checkpoints, checkpoint)
        _, state, metrics = checkpoints.restore(like, step)
    return Trained(prepared.config, Path(workdir), prepared, state, {"eval": metrics})


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
