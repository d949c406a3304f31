"""The leaves of a state by name: to the host, to other processes, and back to where they were."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import _versions
from cnnjax.runs.processes import first_array

_CHUNK = 1 << 26  # bytes sent to the other processes at a time


def named(tree: Any) -> dict[str, Any]:
    """The leaves of `tree` by their path, as in `params/head/kernel`."""
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/") or "value"
        if name in leaves:
            raise ValueError(f"two leaves of the state have the name {name!r}; a checkpoint can't tell them apart")
        leaves[name] = leaf
    return leaves


def on_host(leaves: dict[str, Any]) -> dict[str, np.ndarray]:
    """Copies of the leaves, all transfers at once; never views, for the device may overwrite a donated buffer."""
    data = {name: _data(leaf) for name, leaf in leaves.items()}
    for leaf in data.values():
        if isinstance(leaf, jax.Array):
            leaf.copy_to_host_async()
    arrays = {name: np.array(leaf, copy=True) for name, leaf in data.items()}
    for name, array in arrays.items():
        if array.dtype.kind in "OSU":
            raise ValueError(f"{name} of the state is {leaves[name]!r}; a checkpoint holds arrays of numbers only")
    return arrays


def checksums(arrays: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Shape, dtype and checksum of every array."""
    return {
        name: {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "crc32": zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8)),
        }
        for name, array in arrays.items()
    }


def describe(leaf: Any) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of the data of a leaf."""
    if _is_key(leaf):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    elif not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return tuple(leaf.shape), str(leaf.dtype)


def difference(saved: dict[str, tuple], wanted: dict[str, tuple]) -> str:
    """What differs between the leaves of a checkpoint and those asked for, in one line; empty if nothing does."""
    found = [
        f"{name} is {_words(saved[name])} there, {_words(wanted[name])} here"
        for name in wanted
        if name in saved and saved[name] != wanted[name]
    ]
    found += [f"{name} is missing there" for name in wanted if name not in saved]
    found += [f"{name} is unknown here" for name in saved if name not in wanted]
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more


def placed(array: np.ndarray, like: Any) -> Any:
    """`array` as what `like` is: the same kind of array on the same devices."""
    if not hasattr(like, "dtype"):
        return array.item() if array.ndim == 0 else array
    if isinstance(like, (np.ndarray, np.generic)):
        return array
    if _is_key(like):
        implementation = (
            str(jax.random.key_impl(like)) if isinstance(like, jax.Array) else _versions.implementation_of(like.dtype)
        )
        key = jax.random.wrap_key_data(jnp.asarray(array), impl=implementation)
        return jax.device_put(key, like.sharding) if like.sharding is not None else key
    if getattr(like, "weak_type", False) and array.ndim == 0:
        return jax.device_put(jnp.asarray(array.item()), like.sharding)
    if like.sharding is None:
        return jnp.asarray(array)
    return jax.make_array_from_callback(array.shape, like.sharding, lambda index: array[index])


def broadcast(found: Any, failure: str, like: dict[str, Any]) -> tuple[dict, dict[str, np.ndarray]]:
    """What process 0 has found, in every process: a head {step, metrics, failure} and the arrays."""
    step, arrays, metrics = found or (-1, {}, {})
    head = {"step": step, "metrics": metrics, "failure": failure}
    if jax.process_count() == 1:
        return head, arrays
    text = np.frombuffer(json.dumps(head).encode(), np.uint8)
    length = int(first_array(np.asarray([text.size], np.int32))[0])
    if jax.process_index():
        text = np.zeros(length, np.uint8)
    head = json.loads(first_array(text).tobytes())
    if head["step"] < 0 or head["failure"]:
        return head, {}
    received = {}
    for name, leaf in like.items():
        shape, dtype = describe(leaf)
        array = np.ascontiguousarray(arrays[name]) if name in arrays else np.zeros(shape, jnp.dtype(dtype))
        # As bytes: a sum over processes, which is how they travel, turns -0.0 into 0.0.
        flat = array.reshape(-1).view(np.uint8)
        parts = [first_array(flat[at : at + _CHUNK]) for at in range(0, flat.size, _CHUNK)]
        received[name] = np.concatenate([np.zeros(0, np.uint8), *parts]).view(array.dtype).reshape(shape)
    return head, received


def _data(leaf: Any) -> Any:
    if _is_key(leaf):
        leaf = jax.random.key_data(leaf)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        if not leaf.is_fully_replicated:
            raise ValueError(f"an array of shape {leaf.shape} is spread over processes; save the replicated state")
        leaf = leaf.addressable_data(0)
    return leaf


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _words(shape_and_dtype: tuple) -> str:
    shape, dtype = shape_and_dtype
    return f"({', '.join(map(str, shape))}) {dtype}"
