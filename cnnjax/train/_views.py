"""Evaluation that sees every image in several ways: what `eval.views` names."""

from collections.abc import Callable

import jax

from cnnjax.augment.views import averaged
from cnnjax.config import ConfigError
from cnnjax.tasks.contract import main_output
from cnnjax.train.program import Program


def seen_in_views(program: Program, net: Callable) -> Callable:
    """The net as the step binds it, its probabilities averaged over the views of the config; itself without any.

    Outputs (B, h, w, K) that are as large as the image are mapped back to it.
    """
    options = program.config["eval"]
    if not options["views"]:
        return net
    if program.facts.input != "image":
        raise ConfigError(f"eval.views is {options['views']}, but the nets of this data read {program.facts.input}")
    settings = {
        "shifts": {"pixels": options["view_pixels"]},
        "scales": {"factors": options["view_scales"]},
        **{name: {"side": options["view_side"]} for name in ("five_crop", "ten_crop")},
    }

    def viewed(params, fields, key, **others):
        def outputs_of(image):
            return main_output(net(params, {**fields, "image": image}, key, **others)[0])

        rank = jax.eval_shape(outputs_of, fields["image"]).ndim
        if rank not in (2, 4):
            raise ConfigError(f"eval.views is {options['views']}, but the outputs are no probabilities of classes")
        outputs = averaged(outputs_of, fields["image"], options["views"], settings, dense=rank == 4)
        return outputs, {}

    return viewed
