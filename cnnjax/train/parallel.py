"""The one file that knows devices: it binds the axis `batch`, places arrays, and compiles the step.

Three ways give the same numbers: `jit` (one device, or the compiler's own partitioning of a sharded batch),
`pmap` (several devices of one process), `shard_map` (any number of processes).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cnnjax.ops.compilation import compiler_options
from cnnjax.train.state import State

__all__ = ["STRATEGIES", "Layout", "MemberLayout"]

_AXIS = "batch"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a run is spread over devices: `mode` is jit, pmap or shard_map."""

    mode: str
    devices: tuple

    @property
    def mesh(self) -> Mesh:
        """The devices in one row."""
        return Mesh(np.asarray(self.devices), (_AXIS,))

    def replicate(self, tree):
        """The tree as one copy on every device, of this process and of the others."""
        sharding = NamedSharding(self.mesh, P())
        if jax.process_count() == 1:
            return jax.device_put(tree, sharding)

        def placed(x):
            if getattr(x, "sharding", ()) == sharding:
                return x
            return jax.make_array_from_callback(np.shape(x), sharding, np.asarray(x).__getitem__)

        return jax.tree.map(placed, tree)

    def replicated(self, shapes):
        """The shapes of a tree as they are once it is replicated: for what is read from a disk into its place."""
        sharding = NamedSharding(self.mesh, P())
        return jax.tree.map(lambda x: x.update(sharding=sharding), shapes)

    def share(self, batches: Mapping, axis: int) -> dict:
        """Batches with `axis` cut over the devices; each process gives its own slice of it."""
        if self.mode == "pmap":
            return {name: _split(array, axis, len(self.devices)) for name, array in batches.items()}
        sharding = NamedSharding(self.mesh, P(*(None,) * axis, _AXIS))
        return {name: jax.make_array_from_process_local_data(sharding, np.asarray(a)) for name, a in batches.items()}

    def compile_training(self, step: Callable, dispatch: int) -> Callable:
        """run(state, store, batches, count) -> (state after `count` steps, marker); batches are (N, K, B, …).

        The state is donated; the marker is there to wait for when it is gone. With several steps per dispatch every
        step goes through the same loop of a traced length, a lone one too.
        """

        run = several(step, dispatch)
        return self._wrap(run, axis=2, donate=(0,), batch_argument=2, arguments=4, rows=False)

    def compile_evaluation(self, measure: Callable) -> Callable:
        """measure(variables, hparams, store, batch) -> (sums, rows) over all devices, batch (B, …)."""
        return self._wrap(measure, axis=0, donate=(), batch_argument=3, arguments=4, rows=True)

    def _wrap(self, function, *, axis, donate, batch_argument, arguments, rows):
        options = compiler_options(self.devices[0].platform)
        if self.mode == "jit":
            return jax.jit(function, donate_argnums=donate, compiler_options=options)
        if self.mode == "pmap":
            in_axes = tuple(axis if i == batch_argument else None for i in range(arguments))
            mapped = jax.pmap(
                function,
                axis_name=_AXIS,
                in_axes=in_axes,
                out_axes=(None, 0) if rows else None,
                devices=self.devices,
                donate_argnums=donate,
            )
            return _Flattened(mapped) if rows else mapped
        cut = P(*(None,) * axis, _AXIS)
        mapped = jax.shard_map(
            function,
            mesh=self.mesh,
            in_specs=tuple(cut if i == batch_argument else P() for i in range(arguments)),
            out_specs=(P(), P(_AXIS)) if rows else P(),
            check_vma=False,  # with True an explicit sum multiplies gradients by the number of devices
        )
        return jax.jit(mapped, donate_argnums=donate, compiler_options=options)

    def local_rows(self, rows: Mapping) -> dict:
        """The rows of all processes' examples, on the host."""
        if jax.process_count() == 1:
            return {name: np.asarray(value) for name, value in rows.items()}
        from jax.experimental import multihost_utils

        return {name: np.asarray(multihost_utils.process_allgather(value, tiled=True)) for name, value in rows.items()}


class _Flattened:
    """A pmapped evaluation whose rows (D, B/D, …) come out as (B, …)."""

    def __init__(self, mapped):
        self._mapped = mapped

    def __call__(self, *arguments):
        sums, rows = self._mapped(*arguments)
        return sums, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)


def several(step: Callable, dispatch: int) -> Callable:
    """run(state, store, batches, count) -> (state after `count` steps, marker), per device and not compiled."""

    def run(state: State, store, batches, count):
        def body(i, state):
            batch = {name: jax.lax.dynamic_index_in_dim(array, i, keepdims=False) for name, array in batches.items()}
            return _accumulated(step, state, store, batch)

        if dispatch == 1:
            state = _accumulated(step, state, store, {name: array[0] for name, array in batches.items()})
        else:
            state = jax.lax.fori_loop(0, count, body, state)
        return state, state.step + 0

    return run


def _accumulated(step: Callable, state: State, store, batch) -> State:
    state, sums = step(state, store, batch)
    return state.replace(sums=jax.tree.map(jnp.add, state.sums, sums))


def _split(array: np.ndarray, axis: int, devices: int) -> np.ndarray:
    """(…, B, …) -> (…, D, B / D, …)"""
    array = np.asarray(array)
    return array.reshape(*array.shape[:axis], devices, array.shape[axis] // devices, *array.shape[axis + 1 :])


STRATEGIES = ("turns", "map", "vmap", "devices")
"""How one program trains several members: one after another by the solo program, by a compiled loop, as one batch of
states, or spread over devices, each with a compiled loop over its own."""


@dataclasses.dataclass(frozen=True)
class MemberLayout:
    """`count` states of one program, trained side by side in one of `STRATEGIES`.

    In turns each lies and trains as a solo run does, on any `layout`; elsewhere no axis `batch` is bound, and of the
    layout only the devices are used. `states` is what `join` returns: a list in turns, elsewhere one tree with a
    leading axis (filled up to a multiple of the devices), and goes through these methods alone.
    """

    strategy: str
    count: int
    layout: Layout

    def join(self, trees: Sequence):
        """The states of all members, on their devices."""
        if self.strategy == "turns":
            return [self.layout.replicate(tree) for tree in trees]
        return jax.device_put(self._stacked(trees), self._sharding(P("member")))

    def apart(self, states) -> list:
        """Each member's tree on the host; views, so copy them before the next step."""
        found = jax.device_get(states)
        if self.strategy == "turns":
            return found
        return [jax.tree.map(lambda x, k=k: x[k], found) for k in range(self.count)]

    def trees(self, states) -> list:
        """Each member's tree: in turns as it lies on its devices, elsewhere as from `apart`."""
        return list(states) if self.strategy == "turns" else self.apart(states)

    def each(self, function: Callable, states):
        """The function of every member's tree; it must not care for a leading axis."""
        return [function(tree) for tree in states] if self.strategy == "turns" else function(states)

    def exchange(self, states, source: Sequence[int], hparams: list):
        """Member k as a copy of member `source[k]` that keeps its own seed and has the numbers `hparams[k]`."""
        seeds = self.each(lambda s: s.seed, states)
        if self.strategy == "turns":
            copies = [jax.tree.map(jnp.copy, states[k]) for k in source]
            mine = zip(copies, seeds, self.layout.replicate(hparams), strict=True)
            return [state.replace(seed=jnp.copy(seed), hparams=number) for state, seed, number in mine]
        filled = [*source, *[source[-1]] * (-self.count % len(self._placed()))]
        copies = jax.tree.map(lambda x: jax.device_put(x[np.asarray(filled)], x.sharding), states)
        return copies.replace(seed=seeds, hparams=self.join(hparams))

    def put(self, states, field: str, values: Sequence):
        """The states with each member's own value in one of their fields."""
        values = self.join(values)
        if self.strategy == "turns":
            return [state.replace(**{field: value}) for state, value in zip(states, values, strict=True)]
        return states.replace(**{field: values})

    def everywhere(self, tree):
        """A tree that all members read: one copy on every device."""
        return self.layout.replicate(tree) if self.strategy == "turns" else jax.device_put(tree, self._sharding(P()))

    def share(self, batches: Mapping | list):
        """Batches that all members read, or a list with each member's own, where the program wants them."""
        if self.strategy == "turns":
            mine = batches if isinstance(batches, list) else [batches]
            shared = [self.layout.share(each, 2) for each in mine]
            return shared if isinstance(batches, list) else shared[0]
        if isinstance(batches, list):
            return jax.device_put(self._stacked(batches), self._sharding(P("member")))
        return self.everywhere(dict(batches))

    def training(self, step: Callable, dispatch: int, *, alone: Callable, shared: bool) -> Callable:
        """run(states, store, batches, count) -> (states after `count` steps, marker); batches as from `share`.

        `alone` is the compiled step of a solo run, which turns call as it is.
        """
        if self.strategy != "turns":
            return self._compiled(several(step, dispatch), (True, False, not shared, False), donate=(0,))

        def run(states, store, batches, count):
            each = [batches] * self.count if shared else batches
            done = [alone(state, store, batch, count) for state, batch in zip(states, each, strict=True)]
            return [state for state, _ in done], [marker for _, marker in done]

        return run

    def evaluation(self, measure: Callable, *, alone: Callable) -> Callable:
        """measured(variables, hparams, store, batch) -> each member's (sums, rows), those with `valid`, on the host.

        `alone` is the compiled evaluation of a solo run. Of several processes each gives its part of the batch and
        gets the rows of all.
        """
        if self.strategy == "turns":

            def found(variables, hparams, store, batch):
                batch = self.layout.share(batch, 0)
                return [alone(*both, store, batch) for both in zip(variables, hparams, strict=True)]
        else:
            together = self._compiled(measure, (True, True, False, False), donate=())

            def found(variables, hparams, store, batch):
                return self.apart(together(variables, hparams, store, self.everywhere(batch)))

        def measured(variables, hparams, store, batch):
            return [
                (sums, self.layout.local_rows({"valid": batch["valid"], **rows}) if rows else {})
                for sums, rows in found(variables, hparams, store, batch)
            ]

        return measured

    def _compiled(self, function: Callable, own: tuple, donate: tuple) -> Callable:
        """The function of all members at once; `own` says of which arguments every member has one of its own."""

        def looped(*arguments):
            def one(mine):
                mine = iter(mine)
                return function(*(next(mine) if o else a for o, a in zip(own, arguments, strict=True)))

            return jax.lax.map(one, tuple(a for o, a in zip(own, arguments, strict=True) if o))

        if self.strategy == "vmap":
            mapped = jax.vmap(function, in_axes=tuple(0 if o else None for o in own))
        elif self.strategy == "map":
            mapped = looped
        else:
            specs = tuple(P("member") if o else P() for o in own)
            mapped = jax.shard_map(looped, mesh=self._mesh(), in_specs=specs, out_specs=P("member"), check_vma=False)
        options = compiler_options(self.layout.devices[0].platform)
        return jax.jit(mapped, donate_argnums=donate, compiler_options=options)

    def _stacked(self, trees: Sequence):
        missing = -self.count % len(self._placed())
        return jax.tree.map(lambda *x: np.stack(jax.device_get(x)), *trees, *[trees[-1]] * missing)

    def _placed(self) -> tuple:
        return self.layout.devices if self.strategy == "devices" else self.layout.devices[:1]

    def _mesh(self) -> Mesh:
        return Mesh(np.asarray(self._placed()), ("member",))

    def _sharding(self, spec: P) -> NamedSharding:
        return NamedSharding(self._mesh(), spec)
