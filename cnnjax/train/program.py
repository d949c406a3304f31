"""From sections to functions: what a config names, called with the current values of its numeric options.

`parts(hparams)` may be asked for while the step is traced: hparams are the numeric options by dotted path.
"""

import dataclasses
import difflib
import fnmatch
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import optax
from flax import linen as nn

from cnnjax import config as sections
from cnnjax.augment.pipeline import black_and_white, compose
from cnnjax.config import ConfigError
from cnnjax.data.source import Facts
from cnnjax.tasks.contract import Task
from cnnjax.train.plan import Plan

__all__ = ["Parts", "Program", "facts_seen", "matches", "pipeline"]


def matches(path: str, pattern: str) -> bool:
    """Whether a parameter's path (`stage1/block1/conv1/kernel`) is the pattern, lies below it, or fits it as a glob."""
    return path == pattern or path.startswith(f"{pattern}/") or fnmatch.fnmatchcase(path, pattern)


def pipeline(config: Mapping, facts: Facts, split: str) -> Callable:
    """apply(key, batch) -> batch, by the entries that a config names for `train`, or for `eval`: there by index."""
    options = config["augment"]
    own = {name: dict(options[sections.label(name)]) for name in options[split]}
    return compose(facts, options[split], own, by_index=split == "eval")


def facts_seen(config: Mapping, facts: Facts) -> Facts:
    """The facts as the evaluation pipeline leaves them: what tasks and networks are given.

    `mean` and `std` stay those of the data; `black` and `white` are () where it makes other channels of them.
    """
    like = jax.ShapeDtypeStruct
    batch = {name: like((1, *size), dtype) for name, (size, dtype) in facts.fields.items()}
    batch |= {"index": like((1,), "int32"), "epoch": like((1,), "int32"), "valid": like((1,), "float32")}
    apply = pipeline(config, facts, "eval")
    seen = jax.eval_shape(lambda batch: apply(jax.random.key(0), batch), batch)
    fields = {name: (x.shape[1:], x.dtype) for name, x in seen.items() if name not in ("index", "epoch", "valid")}
    shape, ends = fields[facts.input][0], black_and_white(facts, config["augment"]["eval"])
    black, white = (end if shape[-1:] == (len(end),) else () for end in ends)
    return dataclasses.replace(facts, shape=shape, fields=fields, black=black, white=white)


class Parts(NamedTuple):
    """What the sections of a config have become, with the numbers of one trace.

    `augment[split](key, batch)` -> batch, by the pipeline for `train` or `eval`; `optimizers` by the task's parts:
    their section, its groups, what is frozen or slowed down; `factor(step, drops)` of the learning rate: a linear
    warm-up, then the schedule over what is left.
    """

    task: Task
    net: nn.Module
    augment: Mapping[str, Callable]
    optimizers: Mapping[str, optax.GradientTransformation]
    factor: Callable


@dataclasses.dataclass(frozen=True)
class Program:
    """A config, the facts of its data and its plan, as the functions that the step is made of.

    `seen` are the facts as the evaluation pipeline leaves them.
    """

    config: Mapping
    facts: Facts
    plan: Plan
    seen: Facts

    def parts(self, hparams: Mapping) -> Parts:
        """What the sections have become, with these numbers, traced or not: to be made once in a trace."""
        options = sections.with_numbers(self.config, hparams)
        task = sections.call("tasks", options["task"], self.seen)
        return Parts(
            task=task,
            net=sections.call("models", options["model"], self.seen, outputs=task.outputs),
            augment={split: pipeline(options, self.facts, split) for split in ("train", "eval")},
            optimizers={part: self._optimizer(options["optimizer"], part) for part in task.parts},
            factor=functools.partial(self._factor, options["schedule"]),
        )

    def _factor(self, schedule: Mapping, step: jax.Array, drops: jax.Array | int = 0) -> jax.Array:
        warmup = self.plan.warmup
        progress = jax.numpy.clip((step - warmup) / max(1, self.plan.steps - warmup), 0.0, 1.0).astype("float32")
        factor = sections.call("schedules", schedule, progress, drops)
        return jax.numpy.where(step < warmup, (step + 1) / max(1, warmup), factor).astype("float32")

    def _optimizer(self, options: Mapping, part: str) -> optax.GradientTransformation:
        transformation = sections.call("optimizers", options.get(part, options))
        if not (self.plan.freeze or self.plan.groups or self.plan.factors):
            return transformation
        transformations = {"": transformation, "frozen": optax.set_to_zero()}
        for _, name in self.plan.groups:
            transformations[name] = sections.call("optimizers", options[name])
        return optax.chain(optax.partition(transformations, self._labels), _scaled(self.plan.factors))

    def frozen(self, path: str) -> bool:
        """Whether the config freezes the parameter at a path."""
        return any(matches(path, pattern) for pattern in self.plan.freeze)

    def check(self, params, parts: tuple[str, ...]) -> None:
        """Refuses parts that there are not, patterns that fit no parameter and sections that nothing names."""
        names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        plan, options = self.plan, self.config["optimizer"]
        asked = [("freeze", pattern) for pattern in plan.freeze]
        asked += [(key, pattern) for key in ("factors", "groups") for pattern, _ in getattr(plan, key)]
        for key, pattern in asked:
            if not any(matches(name, pattern) for name in names):
                tops = list(dict.fromkeys(name.partition("/")[0] for name in names))
                near = difflib.get_close_matches(pattern, tops + names, 3, 0.4)
                hint = f"; nearest: {', '.join(near)}" if near else ""
                raise ValueError(
                    f"optimizer.{key} has {pattern!r}, which fits no parameter{hint}; groups: {', '.join(tops)}"
                )
        missing = [part for part in parts if part and part not in params]
        if missing:
            raise ConfigError(
                f"task.name is {self.config['task']['name']!r}, which trains {', '.join(parts)} each by itself, but "
                f"{self.config['model']['name']} has no parameters {missing[0]!r}, only {', '.join(params)}; "
                "choose another model.name"
            )
        known = {*parts, *(name for _, name in plan.groups)}
        for name, section in options.items():
            if isinstance(section, Mapping) and name not in known:
                raise ValueError(
                    f"optimizer.{name} is a section that neither optimizer.groups nor the task's parts name"
                )

    def _labels(self, params) -> dict:
        """The key of the optimizer section that each parameter belongs to."""

        def label(path, _):
            name = path_name(path)
            if self.frozen(name):
                return "frozen"
            return next((group for pattern, group in self.plan.groups if matches(name, pattern)), "")

        return jax.tree_util.tree_map_with_path(label, params)


def path_name(path: tuple) -> str:
    """A tree path as words between slashes."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _scaled(factors: tuple) -> optax.GradientTransformation:
    """Updates times the factor of the first pattern that fits their path."""

    def update(updates, state, params=None):
        def scale(path, value):
            return value * next((factor for pattern, factor in factors if matches(path_name(path), pattern)), 1.0)

        return jax.tree_util.tree_map_with_path(scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
