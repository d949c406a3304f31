"""The flags that say where a network comes from: a run, or the zoo with a file of weights."""

import re
from collections.abc import Mapping

from absl import flags

from cnnjax import config as sections
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


_READING = ("outputs", "size", "resize", "mean", "std", "names")


def apart(argv: list[str]) -> tuple[list[str], list[str]]:
    """The arguments without the `--config.…` flags among them, and those."""
    end = argv.index("--") if "--" in argv else len(argv)
    path, options, rest = sections.split(argv[:end])
    return [*([f"--config={path}"] if path else []), *rest, *argv[end:]], options


def check(values: flags.FlagValues, options: list[str]) -> None:
    """Refuses flags that name no network, or two, and options that are none of a network's."""
    if bool(values.workdir) == bool(values.weights) or (values.model and not values.weights):
        raise ConfigError("give the directory of a run, --workdir=runs/a, or --model=resnet18 with --weights=FILE")
    for option in options:
        if not values.model:
            raise ConfigError(f"{option} changes a net that --model names; a run brings its own")
        if not re.match(r"--?(no)?config\.model\.", option):
            raise ConfigError(f"{option} is no option of the net; --config.model.… alone are known here")


def network(values: flags.FlagValues, options: list[str]):
    """The network that the flags name, as `_served.Served`."""
    from cnnjax import weights
    from cnnjax.programs import _served  # imports jax, which --help can do without
    from cnnjax.train.weight_files import told

    if values.workdir:
        return _served.of_workdir(values.workdir, values.checkpoint)
    section = _section(values.model, options) if values.model else {}
    if section and weights.is_published(values.weights):
        return _of_published(values, section)
    if "facts" in told(values.weights):
        return _served.of_file(values.weights, section, {n: values[n].value for n in _READING if values[n].present})
    if not section:
        raise ConfigError(
            f"--weights={values.weights} does not say how its net is made and what it reads; give --model=NAME, "
            "and --outputs, --size, --mean, --std where they are not those of ImageNet"
        )
    return _served.of_weights(section, values.weights, **{name: values[name].value for name in _READING})


def _of_published(values: flags.FlagValues, section: Mapping):
    """A network with weights that are published, reading as torchvision does where no flag says otherwise."""
    from cnnjax import weights
    from cnnjax.programs import _served

    try:
        path = weights.pretrained(section["name"], source=values.weights)
        usual = weights.reading(section["name"], values.weights)
    except ValueError as error:
        raise ConfigError(f"--weights is {values.weights!r}: {error}") from None
    reads = {name: values[name].value for name in _READING}
    for name in ("resize", "size", "mean", "std"):
        value = getattr(usual, name)
        if not values[name].present:
            reads[name] = value if isinstance(value, int) else [f"{number:g}" for number in value]
    return _served.of_weights(section, str(path), **reads)


def _section(model: str, options: list[str]) -> Mapping:
    """The section of a model with these options, as in a config that says nothing else."""
    section, augment = sections.section, sections.augmentation()
    config = sections.experiment(
        data=section("data", "digits"),
        model=section("models", model),
        task=section("tasks", "classification"),
        augment=augment,
        optimizer=section("optimizers", "sgd"),
        schedule=section("schedules", "constant"),
    )
    return sections.change(config, sections.given(options))["model"]
