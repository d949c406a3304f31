"""From sections to functions: what a config names, called with the current values of its numeric options.

All methods may be called while the step is traced: `hparams` holds the numeric options by dotted path, traced or not.
"""

import dataclasses
import difflib
import fnmatch
from collections.abc import Callable, Mapping

import jax
import optax
from flax import linen as nn

from cnnjax import config as sections
from cnnjax.augment.pipeline import compose
from cnnjax.data.source import Facts
from cnnjax.tasks.contract import Task
from cnnjax.train.plan import Plan

__all__ = ["Program", "matches"]


def matches(path: str, pattern: str) -> bool:
    """Whether a parameter's path (`stage1/block1/conv1/kernel`) is the pattern, lies below it, or fits it as a glob."""
    return path == pattern or path.startswith(f"{pattern}/") or fnmatch.fnmatchcase(path, pattern)


@dataclasses.dataclass(frozen=True)
class Program:
    """A config, the facts of its data and its plan, as the functions that the step is made of."""

    config: Mapping
    facts: Facts
    plan: Plan

    def task(self, hparams: Mapping) -> Task:
        """The task, with its numeric options."""
        return sections.call("tasks", self._options(hparams)["task"], self.facts)

    def net(self, hparams: Mapping) -> nn.Module:
        """The network with as many outputs as the task asks for."""
        return sections.call("models", self._options(hparams)["model"], outputs=self.task(hparams).outputs)

    def augment(self, hparams: Mapping, split: str) -> Callable:
        """apply(key, batch) -> batch, by the pipeline that the config names for `train` or `eval`."""
        options = self._options(hparams)["augment"]
        return compose(
            self.facts, options[split], {name: dict(options[sections.label(name)]) for name in options[split]}
        )

    def factor(self, hparams: Mapping, step: jax.Array) -> jax.Array:
        """Learning-rate factor at a step: a linear warm-up, then the schedule over what is left."""
        warmup = self.plan.warmup
        progress = jax.numpy.clip((step - warmup) / max(1, self.plan.steps - warmup), 0.0, 1.0).astype("float32")
        factor = sections.call("schedules", self._options(hparams)["schedule"], progress)
        return jax.numpy.where(step < warmup, (step + 1) / max(1, warmup), factor).astype("float32")

    def optimizer(self, hparams: Mapping, part: str) -> optax.GradientTransformation:
        """The transformation of one part's parameters: its section, its groups, what is frozen or slowed down."""
        options = self._options(hparams)["optimizer"]
        section = options.get(part, options)
        transformation = sections.call("optimizers", section)
        if not (self.plan.freeze or self.plan.groups or self.plan.factors):
            return transformation
        transformations = {"": transformation, "frozen": optax.set_to_zero()}
        for _, name in self.plan.groups:
            transformations[name] = sections.call("optimizers", options[name])
        return optax.chain(optax.partition(transformations, self._labels), _scaled(self.plan.factors))

    def frozen(self, path: str) -> bool:
        """Whether the config freezes the parameter at a path."""
        return any(matches(path, pattern) for pattern in self.plan.freeze)

    def check(self, params) -> None:
        """Refuses patterns that fit no parameter and sections that nothing names: most likely they are misspelt."""
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
        known = {*self.task(sections.numeric(self.config)).parts, *(name for _, name in plan.groups)}
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

    def _options(self, hparams: Mapping) -> dict:
        return sections.with_numbers(self.config, hparams)


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
