"""Reading what a module inside a net gives, and asking what would come out were it a little different."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax

from cnnjax.analysis import _jaxprs
from cnnjax.analysis._functions import main
from cnnjax.config import mode
from cnnjax.refusals import one_of

__all__ = ["module_maps", "tapped"]


def tapped(net: nn.Module, path: str) -> tuple[Callable, Callable]:
    """(`reads(variables, images)`, `resumes(variables, images, delta)`) of the map of the module at a path.

    `reads` is that map; `resumes` is the net's output with `delta`, shaped like the map, added to it: its gradient with
    respect to `delta` is that at the layer. The path is that of the module in the parameters ("stage4/block2"), or the
    name of the last of the net's `features`. The net is in evaluation; variables are arguments, so that programs made
    of these have them as inputs.
    """
    net = _jaxprs.unrolled(net)

    def reads(variables: Mapping, images: jax.Array) -> jax.Array:
        seen: dict[str, list] = {}
        _call(net, variables, images, lambda where, out: seen.setdefault(where, []).append(out) or out)
        return _only(seen, path)

    def resumes(variables: Mapping, images: jax.Array, delta: jax.Array) -> jax.Array:
        seen: dict[str, list] = {}

        def moved(where, out):
            seen.setdefault(where, []).append(out)
            return out + delta if where == path else out

        out = _call(net, variables, images, moved)
        _only(seen, path)
        return main(out)

    return reads, resumes


def module_maps(net: nn.Module, variables: Mapping, images: jax.Array) -> dict[str, jax.Array]:
    """What each module of the net gives for images (B, *sizes, C) in evaluation, by path, in the order of
    the calls (under `jit` JAX sorts them).

    Of a module that is called several times the last. Modules that give no array, such as a pair of them, are left out.
    """
    found: dict[str, Any] = {}

    def kept(where, out):
        found.pop(where, None)
        found[where] = out
        return out

    _call(_jaxprs.unrolled(net), variables, images, kept)
    return found


def net_maps(net: nn.Module, variables: Mapping, images: jax.Array) -> dict[str, jax.Array]:
    """The features of a net in evaluation, by name; of one that has none the maps (B, *sizes, C) of its modules."""
    if hasattr(net, "features"):
        return dict(net.apply(variables, images, method="features", **mode(net, False, "features")))
    return {path: out for path, out in module_maps(net, variables, images).items() if out.ndim == images.ndim}


@dataclasses.dataclass(frozen=True)
class MapOf:
    """One map of a net by its name: "output", the main one of its outputs, or one of its `net_maps`."""

    net: nn.Module
    name: str

    def __call__(self, variables: Mapping, images: jax.Array) -> jax.Array:
        if self.name == "output":
            return main(self.net.apply(variables, images, **mode(self.net, False)))
        maps = net_maps(self.net, variables, images)
        one_of(self.name, maps, path="name")
        return maps[self.name]


def _call(net: nn.Module, variables: Mapping, images: jax.Array, touch: Callable[[str, Any], Any]) -> Any:
    """The net's outputs, with what each of its modules gives, and the last of its features, touched on the way."""

    touched = set()

    def interceptor(call, args, kwargs, context):
        out = call(*args, **kwargs)
        path = "/".join(context.module.path)
        if path and context.method_name == "__call__" and hasattr(out, "shape"):
            touched.add(path)
            return touch(path, out)
        if not path and context.method_name == "features" and isinstance(out, Mapping) and out:
            *_, last = out
            return out if last in touched else {**out, last: touch(last, out[last])}  # often a module of that name
        return out

    with nn.intercept_methods(interceptor):
        return net.apply(variables, images, **mode(net, False))


def _only(seen: Mapping[str, list], path: str) -> jax.Array:
    """The one map at a path, or an error."""
    one_of(path, seen, path="layer")
    if len(seen[path]) > 1:
        raise ValueError(
            f"layer is {path!r}; it is called {len(seen[path])} times for one image, so that it has no one map"
        )
    return seen[path][0]


def map_shapes(net: nn.Module, variables: Mapping, images: jax.Array) -> dict[str, tuple[int, ...]]:
    """The shape of what each module gives for images (B, *sizes, C), by path in the order of the calls; traced."""
    shapes: dict[str, tuple[int, ...]] = {}

    def noted(variables, images):  # JAX sorts the names of what a traced function gives
        shapes.update({path: out.shape for path, out in module_maps(net, variables, images).items()})

    jax.eval_shape(noted, variables, images)
    return shapes


def last_map(net: nn.Module, variables: Mapping, images: jax.Array) -> str:
    """The path of the last map (B, *sizes, C) of more than one place that a net makes on its way to its output."""
    shapes = map_shapes(net, variables, images)
    found = [path for path, shape in shapes.items() if len(shape) == images.ndim and max(shape[1:-1]) > 1]
    if not found:
        raise ValueError(f"layer is not given, and no module of {type(net).__name__} gives a map of several places")
    return found[-1]
