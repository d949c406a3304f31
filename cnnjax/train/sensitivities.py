"""How the loss after some steps of training would change with the numbers that the training was told."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax import config as sections
from cnnjax.annotations import AtLeastOne
from cnnjax.config import ConfigError
from cnnjax.ops import compiler_options
from cnnjax.refusals import one_of, refuse_misfits
from cnnjax.train.initial_weights import with_initial_weights
from cnnjax.train.job import PreparedRun, prepare
from cnnjax.train.state import State
from cnnjax.train.step import eval_step, train_step

__all__ = ["Sensitivity", "sensitivity"]


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """The loss on `examples` of the eval split after `steps` steps, and by option the loss's derivative."""

    steps: int
    examples: int
    loss: float
    derivatives: dict[str, float]
    values: dict[str, float]

    def __repr__(self) -> str:
        lines = [f"loss {self.loss:.4g} on {self.examples} examples after {self.steps} steps"]
        width = max(map(len, self.derivatives), default=0)
        for path, slope in self.derivatives.items():
            value = self.values[path]
            lines.append(f"{path:{width}} = {value:<10.4g} d loss {slope:+.4g}, per 1 % {0.01 * value * slope:+.3g}")
        return "\n".join(lines)


def sensitivity(
    config: Mapping, options: Sequence[str], *, steps: AtLeastOne = 20, examples: AtLeastOne = 1000
) -> Sensitivity:
    """The derivative of the eval loss after `steps` steps of a config's training by each of its numeric `options`.

    `("optimizer.lr", "task.smoothing", "augment.rotate.strength")`: every option that is an argument of the compiled
    step may be asked for; all of them go through one program, in forward mode through every step, augmentation and
    first weights included. What is drawn counts as drawn: a chance, or dropout's, moves no draw over its threshold. At
    most `examples` of the eval split are measured, evenly spaced.
    """
    refuse_misfits(sensitivity, {"steps": steps, "examples": examples})
    options = (options,) if isinstance(options, str) else tuple(options)
    prepared = prepare(sections.change(config, {"train.devices": 1, "train.parallel": "jit"}))
    numbers = sections.numeric(prepared.config)
    if not options:
        raise ConfigError("options is empty; name one or more, such as 'optimizer.lr'")
    for path in options:
        one_of(path, numbers, path="options")
    wide = jnp.float64 if prepared.plan.precision == "float64" else jnp.float32
    program, rows = differentiated(prepared, options), _measured(prepared, examples)
    values = jnp.asarray([numbers[path] for path in options], wide)
    slopes, (loss, bad) = program(values, *arrays_of(prepared, steps, examples))
    if bad or not np.isfinite(loss):
        raise ConfigError(f"{int(bad)} of {steps} steps were not finite: at these numbers the training goes wrong")
    found = dict(zip(options, np.asarray(slopes, float).tolist(), strict=True))
    return Sensitivity(steps, len(rows), float(loss), found, {path: numbers[path] for path in options})


def differentiated(prepared: PreparedRun, options: Sequence[str]) -> Callable:
    """f(values of options, *arrays_of(…)) -> (derivatives of the eval loss, (the loss, steps not finite)), compiled."""
    after = _after(prepared, options)

    def both(values, *data):
        loss, bad = after(values, *data)
        return loss, (loss, bad)

    return jax.jit(jax.jacfwd(both, has_aux=True), compiler_options=compiler_options(jax.default_backend()))


def _after(prepared: PreparedRun, options: Sequence[str]) -> Callable:
    """f(values of options, *arrays_of(…)) -> (the eval loss after the steps, how many of these were not finite)."""
    numbers, step = sections.numeric(prepared.config), train_step(prepared.program)
    measure, begun = eval_step(prepared.program, lambda *_: {}), _beginning(prepared)

    def after(values: jax.Array, store: Mapping, batches: Mapping, eval_store: Mapping, asked: Mapping):
        hparams = {path: jnp.asarray(value, values.dtype) for path, value in numbers.items()}
        hparams |= dict(zip(options, values, strict=True))
        state = begun(hparams).replace(hparams=hparams)
        state, _ = lax.scan(lambda state, batch: (step(state, store, batch)[0], None), state, batches)
        variables = state.ema or {"params": state.params, "model_state": state.model_state}

        def measured(total, batch):
            sums, _ = measure(variables, hparams, eval_store, batch)
            return jax.tree.map(jnp.add, total, {name: sums[name] for name in ("loss", "weight")}), None

        first = jax.eval_shape(lambda: measure(variables, hparams, eval_store, jax.tree.map(lambda x: x[0], asked))[0])
        nothing = {name: jnp.zeros((), first[name].dtype) for name in ("loss", "weight")}
        total, _ = lax.scan(measured, nothing, asked)
        return total["loss"] / total["weight"], state.bad

    return after


def _beginning(prepared: PreparedRun) -> Callable[[Mapping], State]:
    """The state before the first step, as a function of the numbers; that of a file of weights is the file's."""
    if not prepared.config["train"]["init"]:
        made, seed = prepared.initial(traced=True), prepared.config["seed"]
        return lambda hparams: made(seed, hparams)
    state = with_initial_weights(prepared, prepared.start(), lambda text: None)
    return lambda hparams: state


def arrays_of(prepared: PreparedRun, steps: int, examples: int) -> tuple[dict, dict, dict, dict]:
    """(training arrays, batches of these steps, eval arrays, batches measured), as the step is given them."""
    train, evaluated = prepared.source.train, prepared.source.eval
    with prepared.batches(train) as stream:
        batches = stream.batches(0, steps)
    rows, size = _measured(prepared, examples), prepared.plan.eval_batch
    filled = np.resize(rows, -(-len(rows) // size) * size)
    valid = (np.arange(len(filled)) < len(rows)).astype(np.float32)
    fields = {} if evaluated.resident else evaluated.read(filled)
    fields = {**fields, "index": filled, "epoch": np.zeros_like(filled), "valid": valid}
    asked = {name: value.reshape(-1, size, *value.shape[1:]) for name, value in fields.items()}
    return _resident(train), batches, _resident(evaluated), asked


def _resident(split) -> dict:
    return split.arrays if split.resident else {}


def _measured(prepared: PreparedRun, examples: int) -> np.ndarray:
    """The rows (n,) of the eval split that are measured, evenly spaced."""
    count = len(prepared.source.eval)
    kept = min(examples, count)
    return (np.arange(kept) * count // kept).astype(np.int32)
