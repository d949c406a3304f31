"""Variables of a net filled from a file, and written to one."""

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import jax
import numpy as np

from cnnjax.annotations import ChannelWeights, HeadWeights
from cnnjax.refusals import refuse_misfits
from cnnjax.weights import _names
from cnnjax.weights.files import read, write

__all__ = ["WeightsError", "fill", "load", "save", "tensors"]

_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_GAINS = {"torchvision": "layer_scale", "timm": "gamma"}
_COUNTERS = ".num_batches_tracked"


class WeightsError(ValueError):
    """A file whose tensors do not fit the net; every name is in `missing`, `misshapen` and `unused`."""

    exit_code = 2

    def __init__(self, message: str, missing: Sequence = (), misshapen: Sequence = (), unused: Sequence = ()):
        super().__init__(message)
        self.missing, self.misshapen, self.unused = list(missing), list(misshapen), list(unused)


def load(
    net: Any,
    variables: Mapping,
    path: str | os.PathLike,
    *,
    head: HeadWeights = "file",
    channels: ChannelWeights = "file",
    dialect: Literal["any", _names.Dialect] = "any",
) -> dict:
    """The variables of a net with every number from a file, in float32: safetensors, .npz or PyTorch's .pth.

    The names may be our own, torchvision's, timm's or, of EfficientNet and MobileNet v2, those of their early ports
    (`dialect` says which; "any" takes the one that fits best).
    `head="fresh"` keeps the output layer of `variables`, whose size may then be new. `channels="adapt"` lets the first
    layer read another number of channels: grey as if it were the same in all colours, colours as their mean. What the
    net needs and the file lacks, or has in another shape, is an error that lists it; what only the file has is listed
    in a warning.
    """
    refuse_misfits(load, locals())
    return fill(net, variables, read(path), head=head, channels=channels, dialect=dialect, source=str(path))


def fill(
    net: Any,
    variables: Mapping,
    found: Mapping[str, np.ndarray],
    *,
    head: HeadWeights = "file",
    channels: ChannelWeights = "file",
    dialect: Literal["any", _names.Dialect] = "any",
    source: str = "these tensors",
) -> dict:
    """The variables of a net with every number from tensors by name: `load` without a file; `source` names them."""
    refuse_misfits(fill, locals())
    found = {_names.renamed(name): value for name, value in found.items() if not name.endswith(_COUNTERS)}
    leaves = _leaves(variables)
    if not leaves:
        raise ValueError("variables are empty; give those of net.init, or their shapes by jax.eval_shape")
    kept = _outputs(leaves) if head == "fresh" else set()
    if any(isinstance(leaves[leaf], jax.ShapeDtypeStruct) for leaf in kept):
        raise ValueError("head is 'fresh', which keeps the output layer of variables; they must be numbers, not shapes")
    choices = _names.DIALECTS if dialect == "any" else (dialect,)
    plans = {choice: plan for choice in choices if (plan := _plan(net, leaves, choice))}
    if not plans:
        raise WeightsError(f"{dialect} has no names for {type(net).__name__}; the file can be in our own names")
    fits = {choice: sum(name in found for name, _ in plan.values()) for choice, plan in plans.items()}
    foreign = any(name.endswith((".weight", ".running_mean")) for name in found)  # decides where none fits
    dialect = max(fits, key=lambda choice: (fits[choice], foreign and choice != "native"))
    plan = plans[dialect]
    filled, missing, misshapen = dict(leaves), [], []
    for leaf, (name, sides) in plan.items():
        if leaf in kept:
            continue
        if name not in found:
            missing.append(f"{name} for {'/'.join(leaf)} {tuple(leaves[leaf].shape)}")
            continue
        value, shape = found[name], tuple(leaves[leaf].shape)
        if dialect != "native":
            value = _ours(value, leaf[-1], shape, sides)
        if channels == "adapt" and value is not None:
            value = _recoloured(value, shape)
        if value is None or value.shape != shape:
            misshapen.append(f"{name} {found[name].shape} for {'/'.join(leaf)} {shape}")
        else:
            filled[leaf] = _float32(name, value)
    unused = sorted(set(found) - {name for name, _ in plan.values()})
    unused = [f"{name} {tuple(found[name].shape)}" for name in unused]
    if missing or misshapen:
        head = f"{source} does not fit {type(net).__name__}: {len(plan) - len(missing) - len(misshapen)} of the net's"
        unfit = _report(f"{head} {len(plan)} tensors are in it", missing, misshapen, unused)
        raise WeightsError(unfit, missing, misshapen, unused)
    if unused:
        warnings.warn(f"{source}: {len(unused)} tensors are not used: {_some(unused)}", stacklevel=3)
    return _tree(variables, filled)


def save(
    net: Any,
    variables: Mapping,
    path: str | os.PathLike,
    *,
    dialect: _names.Dialect = "native",
    notes: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Writes the variables of a net as safetensors under our own names, or those of torchvision or timm.

    Under their names the layout is PyTorch's, and the state dict loads there. `notes` are texts that stay in the file.
    """
    told = {"net": type(net).__name__, "names": dialect, **notes}
    write(path, tensors(net, variables, dialect=dialect), metadata=told)


def tensors(net: Any, variables: Mapping, *, dialect: _names.Dialect = "native") -> dict[str, np.ndarray]:
    """The variables of a net by the names of a dialect, in its layout."""
    refuse_misfits(tensors, locals())
    leaves = _leaves(variables)
    plan = _plan(net, leaves, dialect)
    if not plan:
        raise WeightsError(f"{dialect} has no names for {type(net).__name__}; dialect='native' saves it under our own")
    found = {}
    for leaf, (name, sides) in plan.items():
        value = np.asarray(leaves[leaf])
        if dialect != "native":
            value = _theirs(value, leaf[-1], sides, dialect)
        layer = (_names.family(net), "/".join(leaf[1:-1]))
        if dialect == "timm" and leaf[-1] == "kernel" and layer in _names.CONVOLVED:
            value = value.reshape(*value.shape[:1], -1, *(sides or (1, 1)))
        found[name] = value
    return found


def _float32(name: str, value: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        narrow = value.astype(np.float32)
    if value.dtype == np.float64 and not np.array_equal(np.isinf(narrow), np.isinf(value)):
        raise WeightsError(f"{name} has numbers beyond float32, up to {np.abs(value).max():.1e}")
    return narrow


def _leaves(variables: Mapping) -> dict[tuple[str, ...], Any]:
    """Every array by its path: collection, modules, name."""
    found = jax.tree_util.tree_flatten_with_path(variables)[0]
    return {tuple(key.key for key in path): leaf for path, leaf in found}


def _tree(variables: Mapping, leaves: Mapping) -> dict:
    order, structure = jax.tree_util.tree_flatten_with_path(variables)
    values = [leaves[tuple(key.key for key in path)] for path, _ in order]
    return jax.tree_util.tree_unflatten(structure, [jax.numpy.asarray(value) for value in values])


def _outputs(leaves: Mapping) -> set:
    """The leaves of the output layers: those called `output`, or the head where it is one layer."""
    named = {leaf for leaf in leaves if "output" in leaf[1:-1]}
    return named or {leaf for leaf in leaves if leaf[1] == "head"}


def _plan(net: Any, leaves: Mapping, dialect: str) -> dict:
    """For every leaf its name in a dialect, and the sides of the map that its layer reads flattened."""
    rule = _names.rule(net, dialect)
    paths = frozenset("/".join(leaf[1:-1]) for leaf in leaves)
    plan = {}
    for leaf in leaves if rule else ():
        *modules, last = leaf[1:]
        sides = _names.FLATTENED.get((_names.family(net), "/".join(modules)), ())
        try:
            module = rule(modules, paths)
        except (KeyError, AttributeError, TypeError, ValueError):
            return {}  # a variant that the dialect has no names for: AlexNet with normalisation, say
        if module is None:
            return {}
        if dialect == "native":
            plan[leaf] = (f"{module}.{last}" if module else last, ())
        else:
            plan[leaf] = (f"{module}.{_GAINS[dialect] if last == 'gain' else _LEAVES[last]}", sides)
    return plan if len(dict(plan.values())) == len(plan) else {}  # two leaves of one name would overwrite one another


def _ours(value: np.ndarray, last: str, shape: tuple[int, ...], sides: tuple[int, ...]) -> np.ndarray | None:
    """A tensor of PyTorch in our layout and shape, or None where it does not fit."""
    if last != "kernel":
        return value.reshape(shape) if _without_ones(value.shape) == _without_ones(shape) else None
    if value.ndim < 2:
        return None
    if sides and value.ndim == 2 and value.shape[1] % (sides[0] * sides[1]) == 0:
        value = value.reshape(value.shape[0], -1, *sides)  # PyTorch flattens channels first
    value = np.moveaxis(value, (0, 1), (-1, -2))
    if value.ndim == len(shape) + 1 and value.shape[-3] == 1:
        value = value.squeeze(-3)  # a window over time alone that PyTorch has in two dimensions
    # 1×1 convolutions and dense layers stand for one another, as do a window of the whole map and a dense layer
    dense = len(shape) == 2 or (value.ndim == 2 and math.prod(shape[:-2]) == 1)
    fits = value.shape == shape or (dense and value.size == np.prod(shape) and value.shape[-1] == shape[-1])
    return value.reshape(shape) if fits else None


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return [n for n in shape if n != 1]


def _recoloured(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The kernel of a first layer for another number of channels, or the value as it is where it is none."""
    here, there = value.shape[-2:-1], tuple(shape[-2:-1])
    rest = (*value.shape[:-2], value.shape[-1:]) == (*shape[:-2], tuple(shape[-1:]))
    if value.ndim < 3 or not rest or here == there or (1,) not in (here, there):
        return value
    summed = value.astype(np.float32).sum(-2, keepdims=True)
    return np.repeat(summed / there[0], there[0], -2)


def _theirs(value: np.ndarray, last: str, sides: tuple[int, ...], dialect: str) -> np.ndarray:
    """An array of ours in PyTorch's layout."""
    if last == "gain" and dialect == "torchvision":
        return value.reshape(-1, 1, 1)
    if last != "kernel":
        return value
    if sides:
        value = value.reshape(*sides, -1, value.shape[-1])
    moved = np.moveaxis(value, (-1, -2), (0, 1))
    return moved.reshape(moved.shape[0], -1) if sides else moved


def _report(head, missing, misshapen, unused) -> str:
    """What does not fit in two lines, the first names of each kind; the error itself has them all."""
    kinds = (("missing", missing), ("of another shape", misshapen), ("not used", unused))
    return "\n".join([head, "; ".join(f"{kind}: {_some(names, 3)}" for kind, names in kinds if names)])


def _some(names: list[str], most: int = 12) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
