"""What can be done with a run that stands in a workdir: load it, measure it, ask it."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.ops import compiler_options
from cnnjax.runs.checkpoints import CheckpointError, Checkpoints
from cnnjax.runs.provenance import recorded
from cnnjax.train._views import seen_in_views
from cnnjax.train.job import PreparedRun, prepare
from cnnjax.train.state import State

__all__ = ["Trained", "evaluate", "load"]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network with all that belongs to it; `metrics` holds the last measures by split."""

    config: Mapping
    workdir: Path
    prepared: PreparedRun
    state: State
    metrics: Mapping

    @property
    def net(self):
        """The network, with the run's own numbers."""
        return self.prepared.program.net(self._hparams)

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
        return self.prepared.program.task(self._hparams)

    @property
    def _hparams(self) -> dict:
        return {path: float(value) for path, value in self.state.hparams.items()}

    def predict(self, inputs: np.ndarray, *, batch: int = 256) -> dict[str, np.ndarray]:
        """What the task reads off the outputs (`label`, `probabilities`, …) for inputs (N, …) as the data has them."""
        apply = jax.jit(self.answer, compiler_options=compiler_options(jax.default_backend()))
        found = []
        for start in range(0, len(inputs), batch):
            chunk = np.asarray(inputs[start : start + batch])
            missing = (batch - len(chunk)) if len(inputs) > batch else 0  # one shape, one compilation
            padded = np.concatenate([chunk, np.repeat(chunk[-1:], missing, 0)]) if missing else chunk
            answer = apply(self.variables, padded)
            found.append({name: np.asarray(value)[: len(chunk)] for name, value in answer.items()})
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]} if found else {}

    def answer(self, variables: Mapping, inputs: jax.Array) -> dict[str, jax.Array]:
        """What `predict` gives, as a function that can be compiled, differentiated or exported."""
        program, field, hparams = self.prepared.program, self.facts.input, self._hparams
        index = jax.lax.iota(jnp.int32, inputs.shape[0])  # also where the size of the batch is open
        batch = {field: inputs, "index": index, "valid": (index >= 0).astype(jnp.float32), "epoch": index * 0}
        fields = program.augment(hparams, "eval")(jax.random.key(0), batch)

        def net(params, fields, key):
            return self.net.apply(variables, fields[field], train=False), {}

        return self.task.predict(seen_in_views(program, net)({}, fields, jax.random.key(0))[0])

    def measure(self, split: str = "test") -> dict[str, float]:
        """Metrics over a split (train, eval or test), every example counted once."""
        examples = getattr(self.source, split)
        return self.prepared.evaluate(
            self.state, examples, self.prepared.store(examples), averaged=bool(self.state.ema)
        )


def load(workdir: str | Path, *, checkpoint: str = "best") -> Trained:
    """The network that a workdir holds, from its `best` checkpoint, its `last`, or that of a step.

    The best is so by the eval split; where nothing was held out to select by, it is the last.
    """
    config = sections.from_json(json.dumps(recorded(workdir)["config"]))
    prepared = prepare(config)
    like = prepared.layout.replicate(prepared.start())
    task = prepared.program.task(sections.numeric(config))
    selects = prepared.source.eval is not prepared.source.test
    metric = (config.checkpoint.metric or task.metric) if selects else ""
    with Checkpoints(workdir, keep=config.checkpoint.keep, metric=metric, higher=task.higher) as checkpoints:
        if not checkpoints.steps():
            raise CheckpointError(f"{workdir} holds no checkpoint yet; train it first, or wait for its first save")
        step = _chosen(checkpoints, checkpoint)
        _, state, metrics = checkpoints.restore(like, step)
    return Trained(prepared.config, Path(workdir), prepared, state, {"eval": metrics})


def evaluate(workdir: str | Path, *, split: str = "test", checkpoint: str = "best") -> dict[str, float]:
    """Metrics of a workdir's network over a split (train, eval or test), every example counted once."""
    sections.one_of(split, ("train", "eval", "test"), path="split")
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
