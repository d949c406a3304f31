"""The flags that say where a network comes from: a run, or the zoo with a file of weights."""

from absl import flags

from cnnjax.config import ConfigError


def define(values: flags.FlagValues) -> None:
    """Defines them."""
    flags.DEFINE_string("workdir", "", "the directory of a run", flag_values=values)
    flags.DEFINE_string("checkpoint", "best", "which checkpoint", flag_values=values)
    flags.DEFINE_string("model", "", "a network of the zoo", flag_values=values)
    flags.DEFINE_string("weights", "", "a file of weights", flag_values=values)
    flags.DEFINE_integer("outputs", 1000, "how many classes", 1, flag_values=values)
    flags.DEFINE_string("names", "", "a file of names", flag_values=values)
    flags.DEFINE_integer("size", 224, "side of the picture", 1, flag_values=values)
    flags.DEFINE_integer("resize", 256, "shorter side before the cut", 1, flag_values=values)
    flags.DEFINE_list("mean", "0.485,0.456,0.406", "mean by channel", flag_values=values)
    flags.DEFINE_list("std", "0.229,0.224,0.225", "deviation by channel", flag_values=values)


def check(values: flags.FlagValues) -> None:
    """Refuses flags that name no network, or two."""
    if bool(values.workdir) == bool(values.model) or bool(values.model) != bool(values.weights):
        raise ConfigError("give the directory of a run, --workdir=runs/a, or --model=resnet18 with --weights=FILE")


def network(values: flags.FlagValues):
    """The network that the flags name, as `_served.Served`."""
    from cnnjax.programs import _served  # imports jax, which --help can do without

    if values.workdir:
        return _served.of_workdir(values.workdir, values.checkpoint)
    names = ("outputs", "size", "resize", "mean", "std", "names")
    return _served.of_weights(values.model, values.weights, **{name: values[name].value for name in names})
