"""Evaluation that sees every image in several ways: what `eval.views` names."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from cnnjax.augment.views import averaged
from cnnjax.config import ConfigError
from cnnjax.tasks.contract import Task, main_output
from cnnjax.train.program import Program


def check_views(program: Program, task: Task) -> None:
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
    jax.eval_shape(lambda x: averaged(lambda view: jnp.zeros((1, 2)), x, views, _settings(program)), image)


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
    }
