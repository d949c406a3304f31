"""Evaluation that sees every image in several ways: what `eval.views` names."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnjax.augment.views import averaged
from cnnjax.config import ConfigError
from cnnjax.tasks.contract import Task, main_output
from cnnjax.train.program import Program


def check_views(program: Program, task: Task, net: nn.Module) -> None:
    """Refuses views of what is no image, of outputs that can't be averaged, and views that there are not."""
    views, seen = program.config["eval"]["views"], program.seen
    if not views:
        return
    if seen.input != "image":
        raise ConfigError(f"eval.views is {views}, but the nets of this data read {seen.input}")
    if not task.views:
        raise ConfigError(
            f"eval.views is {views}, but what {program.config['task']['name']} predicts can't be averaged over views; "
            "leave eval.views empty, or choose another task.name"
        )
    image = jax.ShapeDtypeStruct((1, *seen.shape), jnp.float32)
    tiled = "tiles" in views
    if tiled and task.rank not in (0, 4):
        raise ConfigError(
            f"eval.views is {views}: tiles are put together to a map, which {program.config['task']['name']} does not "
            "predict; leave tiles out"
        )

    def nothing(view):
        return jnp.zeros((1, *view.shape[1:3], 2) if tiled else (1, 2))

    jax.eval_shape(lambda x: averaged(nothing, x, views, _settings(program), dense=tiled), image)
    if tiled:
        _check_tiles(program.config["eval"], net)


def _check_tiles(options: Mapping, net: nn.Module) -> None:
    """Refuses tiles that don't lie on the grid of the net's coarsest map: together they would not be the whole."""
    stride = max((s for s in getattr(net, "strides", ()) or () if isinstance(s, int)), default=1) or 1
    for name in ("view_side", "view_margin"):
        if options[name] % stride:
            near = max(round(options[name] / stride), 1) * stride
            raise ConfigError(
                f"eval.{name} is {options[name]}; of tiles it must be a multiple of the net's stride, {stride}: {near}"
            )


def seen_in_views(program: Program, task: Task, net: Callable) -> Callable:
    """The net as the step binds it, its outputs averaged over the views of the config; itself without any.

    Outputs (B, h, w, K) that are as large as the image are mapped back to it. A part of the net sees what it is given.
    """
    views = program.config["eval"]["views"]
    if not views:
        return net

    def viewed(params, fields, key, **others):
        if isinstance(fields, tuple):
            return net(params, fields, key, **others)

        def outputs_of(image):
            return main_output(net(params, {**fields, "image": image}, key, **others)[0])

        rank = jax.eval_shape(outputs_of, fields["image"]).ndim
        if rank not in (2, 4):
            raise ConfigError(f"eval.views is {views}, but outputs of rank {rank} can't be averaged; leave it empty")
        outputs = averaged(outputs_of, fields["image"], views, _settings(program), of=task.views, dense=rank == 4)
        return outputs, others.get("state", net.state)

    viewed.train, viewed.state = net.train, net.state
    return viewed


def _settings(program: Program) -> dict:
    options = program.config["eval"]
    return {
        "shifts": {"pixels": options["view_pixels"]},
        "scales": {"factors": options["view_scales"]},
        **{name: {"side": options["view_side"]} for name in ("five_crop", "ten_crop")},
        "tiles": {"side": options["view_side"], "margin": options["view_margin"]},
    }
