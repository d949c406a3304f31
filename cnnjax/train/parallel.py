"""The one file that knows devices: it binds the axis `batch`, places arrays, and compiles the step.

Three ways give the same numbers: `jit` (one device, or the compiler's own partitioning of a sharded batch),
`pmap` (several devices of one process), `shard_map` (any number of processes).
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cnnjax.ops.compilation import compiler_options
from cnnjax.train.state import State

__all__ = ["Layout"]

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
        return jax.tree.map(
            lambda x: jax.make_array_from_callback(np.shape(x), sharding, np.asarray(x).__getitem__), tree
        )

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

        def run(state: State, store, batches, count):
            def body(i, state):
                batch = {
                    name: jax.lax.dynamic_index_in_dim(array, i, keepdims=False) for name, array in batches.items()
                }
                return _accumulated(step, state, store, batch)

            if dispatch == 1:
                state = _accumulated(step, state, store, {name: array[0] for name, array in batches.items()})
            else:
                state = jax.lax.fori_loop(0, count, body, state)
            return state, state.step + 0

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


def _accumulated(step: Callable, state: State, store, batch) -> State:
    state, sums = step(state, store, batch)
    return state.replace(sums=jax.tree.map(jnp.add, state.sums, sums))


def _split(array: np.ndarray, axis: int, devices: int) -> np.ndarray:
    """(…, B, …) -> (…, D, B / D, …)"""
    array = np.asarray(array)
    return array.reshape(*array.shape[:axis], devices, array.shape[axis] // devices, *array.shape[axis + 1 :])
