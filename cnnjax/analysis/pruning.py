"""What of a net can be left out: weights, filters, channels; what accuracy is left then, and how many multiplies."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from cnnjax.analysis._functions import Evaluating, compiled_program
from cnnjax.analysis.counting import cost
from cnnjax.analysis.tapping import map_shapes
from cnnjax.annotations import Share
from cnnjax.refusals import one_of, refuse_misfits

__all__ = ["PruningCurves", "inner_layers", "pruned", "pruning_curves", "remaining_macs"]

Removing = Literal["weights", "filters", "channels"]


def pruned(
    variables: Mapping, share: Share, *, by: Removing = "weights", layers: Sequence[str] = (), norm: Literal[1, 2] = 1
) -> dict:
    """Variables of which a share is 0: of the smallest weights, filters, or channels by the scale of their norm.

    `weights` of all kernels together by magnitude (Han 2015). `filters` of each kernel by the `norm` of what gives one
    output, with its bias, the same share in every layer (Li 2017). `channels` of all norm layers together by |scale|,
    with their bias, so that what stood before is not needed any more (Liu 2017). Where `layers` are named, of these
    alone. Rounded down, so that a share of 0 changes nothing; of filters one stays at least.
    """
    refuse_misfits(pruned, {"share": share, "by": by, "norm": norm})
    leaves = traverse_util.flatten_dict(jax.tree.map(np.asarray, dict(variables)))
    chosen = {path: leaves[path] for path in _removable(leaves, by, layers)}
    if by == "filters":
        for path, kernel in chosen.items():
            sizes = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), norm, axis=0)
            gone = np.argsort(sizes, kind="stable")[: min(int(share * len(sizes)), len(sizes) - 1)]
            for name in (path, (*path[:-1], "bias")):
                if name in leaves:
                    leaves[name] = _zeroed(leaves[name], gone)
        return traverse_util.unflatten_dict(leaves)
    sizes = np.concatenate([np.abs(leaf).reshape(-1) for leaf in chosen.values()])
    order = np.argsort(np.argsort(sizes, kind="stable"), kind="stable")
    ends = np.cumsum([leaf.size for leaf in chosen.values()])[:-1]
    for (path, leaf), ranks in zip(chosen.items(), np.split(order, ends), strict=True):
        gone = (ranks < int(share * len(sizes))).reshape(leaf.shape)
        leaves[path] = np.where(gone, 0, leaf).astype(leaf.dtype)
        bias = (*path[:-1], "bias")
        if by == "channels" and bias in leaves:
            leaves[bias] = np.where(gone, 0, leaves[bias]).astype(leaf.dtype)
    return traverse_util.unflatten_dict(leaves)


def _zeroed(leaf: np.ndarray, gone: np.ndarray) -> np.ndarray:
    leaf = leaf.copy()
    leaf[..., gone] = 0
    return leaf


def _removable(leaves: Mapping, by: str, layers: Sequence[str]) -> list[tuple]:
    """The paths of the kernels, or of norms' scales, of which something can be removed."""
    last, least = ("scale", 1) if by == "channels" else ("kernel", 2)
    found = {
        "/".join(path[1:-1]): path
        for path, leaf in leaves.items()
        if path[0] == "params" and path[-1] == last and leaf.ndim >= least
    }
    if not found:
        raise ValueError(
            f"by is {by!r}, and the net has no {last}s; it has {', '.join(sorted({p[-1] for p in leaves}))}"
        )
    for layer in layers:
        one_of(layer, found, path="layers")
    return [path for name, path in found.items() if not layers or name in layers]


@dataclasses.dataclass(frozen=True)
class PruningCurves:
    """Accuracy (S,) with `shares` (S,) removed of each layer alone, by path, and of all ("") together."""

    shares: np.ndarray
    accuracy: dict[str, np.ndarray]


def pruning_curves(
    net: nn.Module,
    variables: Mapping,
    images: jax.Array,
    labels: np.ndarray,
    shares: Sequence[float],
    *,
    by: Removing = "weights",
    each: bool = True,
) -> PruningCurves:
    """Accuracy on images (B, *sizes, C) of classes `labels` (B,) against the share that is removed, without retraining.

    Of every layer alone, if `each`, which shows where a net is sensitive, and of all layers together. The filters of
    the last layer are its classes: they stay.
    """
    leaves = traverse_util.flatten_dict(dict(variables))
    layers = ["/".join(path[1:-1]) for path in _removable(leaves, by, ())]
    layers = [name for name in layers if name in inner_layers(net, variables, images)] if by == "filters" else layers
    program, found = compiled_program(_accuracy, "net"), {}
    for name in ("", *(layers if each else ())):
        made = (pruned(variables, share, by=by, layers=(name,) if name else layers) for share in shares)
        found[name] = np.array([float(program(left, images, np.asarray(labels), net=net)) for left in made])
    return PruningCurves(np.asarray(shares, float), found)


def inner_layers(net: nn.Module, variables: Mapping, images: jax.Array) -> tuple[str, ...]:
    """The paths of layers with a kernel that images (B, *sizes, C) pass, in the order of calls, but for the last."""
    kernels = _kernels(variables["params"])
    return tuple(path for path in map_shapes(net, variables, images) if path in kernels)[:-1]


def _accuracy(variables, images, labels, *, net):
    return jnp.mean(jnp.argmax(Evaluating(net)(variables, images), -1) == labels)


def remaining_macs(net: nn.Module, variables: Mapping, left: Mapping, images: jax.Array) -> dict[str, int]:
    """Multiplies for one of images (B, *sizes, C), by layer, once what is idle in the variables `left` is cut out.

    Of a layer's pairs of input and output those are idle whose filter is 0, whose input is 0 in each of the images,
    random ones will do, or whose output nothing reads: the gradient of their weights is 0. What was so
    before, in `variables`, counts. A filter of zeros costs nothing, nor does what would have read it, unless a norm
    behind it makes a constant of it.
    """
    before, after = (_reached(net, each, images) for each in (variables, left))
    kernels, found = _kernels(left["params"]), {}
    for layer in cost(net, (1, *np.shape(images)[1:])).layers:
        share = 1.0
        if layer.path in kernels:
            empty = ~np.any(kernels[layer.path].reshape(-1, kernels[layer.path].shape[-1]) != 0, 0)
            share = 1 - float(np.mean((before[layer.path] & ~after[layer.path]) | empty))
        found[layer.path] = round(layer.macs * share)
    return found


def _kernels(params: Mapping) -> dict[str, np.ndarray]:
    leaves = traverse_util.flatten_dict(dict(params), sep="/")
    return {path.removesuffix("/kernel"): np.asarray(x) for path, x in leaves.items() if path.endswith("/kernel")}


def _reached(net: nn.Module, variables: Mapping, images: jax.Array) -> dict[str, np.ndarray]:
    """By layer whether (inputs, outputs) of its kernel have a part in what the net answers."""
    gradient = compiled_program(_moved_answers, "net")(dict(variables), images, net=net)
    return {
        path: np.any(x != 0, tuple(range(x.ndim - 2))) if x.ndim > 1 else x != 0
        for path, x in _kernels(gradient).items()
    }


def _moved_answers(variables, images, *, net):
    def told(params):
        outputs = Evaluating(net)({**variables, "params": params}, images)
        return jnp.sum(outputs * jax.random.normal(jax.random.key(0), outputs.shape, outputs.dtype))

    return jax.grad(told)(variables["params"])
