"""The training step and the evaluation step, written once, per device.

Both are pure functions; `parallel` binds the axis over which `axes.total` adds up, and compiles them.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from cnnjax.config import ConfigError, mode
from cnnjax.ops import axes
from cnnjax.tasks.contract import Outputs, Task
from cnnjax.train._contract import check_losses, explained
from cnnjax.train._freezing import frozen_statistics, still
from cnnjax.train._views import seen_in_views
from cnnjax.train.program import Parts, Program
from cnnjax.train.state import State, key_for

__all__ = ["bind", "eval_step", "evaluated", "fetch", "summed", "train_step"]


def fetch(store: Mapping, batch: Mapping) -> dict:
    """The batch with its fields: gathered from the resident arrays by index, or as they were streamed."""
    return {**batch, **{name: array[batch["index"]] for name, array in store.items()}}


def _counting(program: Program, task: Task, hparams: Mapping, fields: dict, *, trains: bool) -> dict:
    """The fields of a batch, in which only those examples are valid that count.

    They are those of the fold, or where it `trains` the others; and, but for training by a task that asks for more,
    those of which the label is known.
    """
    if "labelled" in fields and not (trains and task.unlabelled):
        fields = {**fields, "valid": fields["valid"] * fields["labelled"]}
    folds = program.config["data"].get("folds", 0)
    if not folds:
        return fields
    inside = fields.get("group", fields["index"]) % folds == hparams["data.fold"]
    return {**fields, "valid": jnp.where(inside != trains, fields["valid"], 0.0)}


def bind(program: Program, module: nn.Module, model_state: Mapping, *, train: bool) -> Callable:
    """net(params, fields, key, part="") -> (float32 outputs, model_state), in the plan's precision.

    `fields` is a batch, of which the module reads its input, or a tuple of arrays, which it reads as they are.
    `net.train` says whether this is training; `train=False` in a call asks for running statistics even then.
    """
    dtype = jnp.dtype(program.plan.precision)
    wide, training = jnp.promote_types(dtype, jnp.float32), train

    def net(params, fields, key, *, train=True, part="", state=model_state):
        inputs = fields if isinstance(fields, tuple) else (fields[program.facts.input],)
        train = train and training
        if part and not hasattr(module, part):
            raise ConfigError(
                f"model.name is {program.config['model']['name']!r}; its net has no part {part!r} (a method, or a "
                f"submodule that is a field), which {program.config['task']['name']} asks for"
            )
        # dropout of plain linen draws from a stream of its own, which is there in training alone
        streams = {"noise": key} | ({"dropout": jax.random.fold_in(key, 1)} if train else {})
        options = {"rngs": streams, **mode(module, train, part)} | ({"method": part} if part else {})
        variables = {"params": still(program, params), **state}
        with frozen_statistics(program, params), explained(program.config["model"]):
            if train and state:
                outputs, state = module.apply(variables, *_as(dtype, inputs), mutable=list(state), **options)
            else:
                outputs = module.apply(variables, *_as(dtype, inputs), **options)
        return _as(wide, outputs), state

    net.train, net.state = training, model_state
    return net


def _as(dtype: jnp.dtype, tree):
    """The tree with its floats in another precision."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def train_step(program: Program) -> Callable:
    """step(state, store, batch) -> (state, sums); batch holds microbatches (K, B, …), sums are over all devices."""

    def step(state: State, store: Mapping, batch: Mapping) -> tuple[State, dict]:
        parts = program.parts(state.hparams)

        def microbatch(model_state, number, fields):
            fields = _counting(program, parts.task, state.hparams, fetch(store, fields), trains=True)
            numerator = _numerator(program, parts, state, model_state, number, fields)
            (_, (sums, model_state)), gradient = jax.value_and_grad(numerator, has_aux=True)(state.params)
            if program.plan.sam:
                gradient = _at_the_worst(numerator, state, gradient)
            return model_state, gradient, sums

        model_state, *here = _over_microbatches(microbatch, state.model_state, batch)
        return _update(program, parts, state, model_state, *axes.total(tuple(here)))

    return step


def _at_the_worst(numerator: Callable, state: State, gradient: dict) -> dict:
    """The gradient at the parameters moved up their gradient, over all devices, by `optimizer.sam` (Foret 2021)."""
    upwards = axes.total(gradient)
    share = state.hparams["optimizer.sam"] / jnp.maximum(jnp.sqrt(_squares(upwards)), 1e-12)
    worst = jax.tree.map(lambda p, g: p + (share * g).astype(p.dtype), state.params, upwards)
    return jax.grad(numerator, has_aux=True)(worst)[0]


def summed(program: Program) -> Callable:
    """sums(state, fields) of a training step on one microbatch: for their shapes, which need no backward pass."""

    def sums_of(state: State, fields: Mapping) -> dict:
        parts = program.parts(state.hparams)
        numerator = _numerator(program, parts, state, state.model_state, jnp.uint32(0), fields)
        _, (sums, model_state) = numerator(state.params)
        return _update(program, parts, state, model_state, state.params, sums)[1]

    return sums_of


def _numerator(
    program: Program, parts: Parts, state: State, model_state: dict, number: jax.Array, fields: Mapping
) -> Callable:
    """f(params) -> (the losses of a microbatch added up, (its sums, the statistics after it))."""
    task = parts.task
    noise, moves = (
        jax.random.fold_in(jax.random.fold_in(key_for(state.seed, what), state.step), number)
        for what in ("noise", "augment")
    )
    fields = parts.augment["train"](moves, fields)
    net = bind(program, parts.net, model_state, train=True)

    def numerator(params):
        losses, weights, (outputs, new_state) = task.loss(net, params, fields, noise)
        check_losses(program.config, losses, weights, fields["index"].shape[0])
        loss = jnp.sum(losses)
        return loss, ({"loss": loss, "weight": jnp.sum(weights), "task": task.tally(outputs, fields)}, new_state)

    return numerator


def _over_microbatches(microbatch: Callable, model_state: dict, batch: Mapping) -> tuple[dict, dict, dict]:
    """(model_state, gradient, sums) of all microbatches, one after another: a loop, but for a single one."""
    count = batch["index"].shape[0]
    numbers = jnp.arange(count, dtype=jnp.uint32)
    if count == 1:
        return microbatch(model_state, numbers[0], jax.tree.map(lambda x: x[0], batch))

    def body(carry, item):
        model_state, *so_far = carry
        model_state, *more = microbatch(model_state, *item)
        return (model_state, *jax.tree.map(jnp.add, so_far, more)), ()

    first = jax.tree.map(lambda x: x[0], batch)
    _, *shapes = jax.eval_shape(microbatch, model_state, numbers[0], first)
    nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    (model_state, gradient, sums), _ = jax.lax.scan(body, (model_state, *nothing), (numbers, batch))
    return model_state, gradient, sums


def _update(
    program: Program, parts: Parts, state: State, model_state: dict, gradient: dict, sums: dict
) -> tuple[State, dict]:
    """(state, sums) after one update of every part; a part whose update is not finite keeps what it had.

    `gradient` and `sums` are of the losses added up, not yet divided by the examples' weight. What is decided once for
    all parameters (a factor, whether to keep them) stands behind barriers: XLA would else work it out anew in the
    program of every parameter, and ResNet-50 would compile for minutes.
    """
    weight = jnp.where(sums["weight"] == 0, 1.0, sums["weight"])
    factor = jax.lax.optimization_barrier(parts.factor(state.step, state.watch["drops"]))
    frozen = state.streak >= program.plan.nonfinite
    fine = jnp.isfinite(sums["loss"]) & jnp.isfinite(_total(model_state))
    params, opt_state, norms, squares = dict(state.params), {}, {}, jnp.float32(0.0)
    for part, optimizer in parts.optimizers.items():
        moved, memory, good, size, found = _moved(optimizer, part, state, gradient, weight, factor)
        good = jax.lax.optimization_barrier(good & jnp.isfinite(sums["loss"]) & ~frozen)
        params |= _keep(good, moved, _of(part, state.params))
        opt_state[part] = _keep(good, memory, state.opt_state[part])
        fine, squares = fine & good, squares + size
        norms |= {f"{part}_{name}" if part else name: value for name, value in found.items()}
    fine = jax.lax.optimization_barrier(fine)
    norms["parameter_norm"] = jnp.sqrt(squares)
    lr = {"lr": state.hparams["optimizer.lr"] * factor} if "optimizer.lr" in state.hparams else {}
    sums = {**sums, "step": {"count": jnp.float32(1.0), **norms, **lr}}
    # a skipped step reports nothing: one NaN would hide every other step of its line
    sums = jax.tree.map(lambda s: jnp.where(fine, s, 0).astype(jnp.float32), sums)
    state = state.replace(
        step=state.step + jnp.where(frozen, 0, 1),  # a frozen state keeps the step at which it froze
        params=params,
        model_state=_keep(fine, model_state, state.model_state),
        opt_state=opt_state,
        streak=jnp.where(frozen, state.streak, jnp.where(fine, 0, state.streak + 1)),
        bad=state.bad + jnp.where(fine | frozen, 0, 1),
    )
    averages = _averaged(program, state, fine)
    if program.plan.lookahead:
        turns = fine & (state.step % program.plan.lookahead == 0)
        state = state.replace(**_keep(turns, averages, {name: getattr(state, name) for name in averages}))
    return state.replace(ema=averages), sums


def _moved(
    optimizer: optax.GradientTransformation,
    part: str,
    state: State,
    gradient: dict,
    weight: jax.Array,
    factor: jax.Array,
) -> tuple:
    """(parameters, memory, whether all is finite, squared norm, norms) of one part after its optimizer has moved it.

    Every pass over the parameters costs memory traffic and a program for each, so the norms that are reported tell what
    is finite; memory that is not shows in the parameters that it moves.
    """
    clip, gradient, old = state.hparams["optimizer.clip"], _of(part, gradient), _of(part, state.params)
    norm = jnp.sqrt(_squares(gradient)) / weight
    divisor = weight * jnp.where((clip > 0) & (norm > clip), norm / clip, 1.0)
    divisor = jax.lax.optimization_barrier(divisor)
    gradient = jax.tree.map(lambda g: g / divisor.astype(g.dtype), gradient)
    updates, memory = optimizer.update(gradient, state.opt_state[part], old)
    updates = jax.tree.map(lambda u: u * factor.astype(u.dtype), updates)
    new = optax.apply_updates(old, updates)
    squares = _squares(new)
    good = jnp.isfinite(norm) & jnp.isfinite(squares)
    return new, memory, good, squares, {"gradient_norm": norm, "update_norm": jnp.sqrt(_squares(updates))}


def _of(part: str, params: dict) -> dict:
    """The parameters of one part, under its name; all of them for the part without a name."""
    return {part: params[part]} if part else params


def _averaged(program: Program, state: State, fine: jax.Array) -> dict:
    """The averages of parameters and statistics, quick to forget at first; {} where averaging is off."""
    if not program.plan.ema:
        return {}
    steps = state.step.astype(jnp.float32)
    rate, every = state.hparams["optimizer.ema"], program.plan.lookahead
    if every:
        decay = rate**every * (steps / program.plan.steps) ** 3
        decay = jnp.where(fine & (state.step % every == 0), decay, 1.0)
    else:
        decay = jnp.where(fine, jnp.minimum(rate, (1 + steps) / (10 + steps)), 1.0)
    now = {"params": state.params, "model_state": state.model_state}
    return jax.tree.map(lambda a, b: (a + (1 - decay) * (b - a)).astype(a.dtype), state.ema, now)


def _squares(tree) -> jax.Array:
    """The sum of the squares of all numbers in a tree."""
    return sum((jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree)), jnp.float32(0.0))


def _total(tree) -> jax.Array:
    """The sum of all numbers in a tree: not finite where one of them is not."""
    return sum((jnp.sum(leaf) for leaf in jax.tree.leaves(tree)), jnp.float32(0.0))


def _keep(good: jax.Array, new, old):
    return jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)


def evaluated(program: Program, parts: Parts, model_state: Mapping, batch: Mapping) -> tuple[Callable, dict, jax.Array]:
    """(net, fields, key) for a batch (B, …) as evaluation and prediction see it: the same every time."""
    key = jax.random.key(0)
    net = seen_in_views(program, parts.task, bind(program, parts.net, model_state, train=False))
    return net, parts.augment["eval"](key, batch), key


def _rows_of_task(task: Task, outputs: Outputs, fields: Mapping, losses: jax.Array, weights: jax.Array) -> dict:
    return task.rows(outputs, fields)


def eval_step(program: Program, rows: Callable = _rows_of_task) -> Callable:
    """measure(variables, hparams, store, batch) -> (sums over all devices, rows of this device's examples).

    rows(task, outputs, fields, losses, weights) -> fields (B, …) are by default what the task keeps.
    """

    def measure(variables: Mapping, hparams: Mapping, store: Mapping, batch: Mapping) -> tuple[dict, dict]:
        parts = program.parts(hparams)
        task = parts.task
        fields = _counting(program, task, hparams, fetch(store, batch), trains=False)
        net, fields, key = evaluated(program, parts, variables["model_state"], fields)
        losses, weights, (outputs, _) = task.loss(net, variables["params"], fields, key)
        sums = {"loss": jnp.sum(losses), "weight": jnp.sum(weights), "task": task.tally(outputs, fields)}
        kept = rows(task, outputs, fields, losses, weights)
        return axes.total(sums), {**kept, "valid": fields["valid"]} if kept else kept

    return measure
