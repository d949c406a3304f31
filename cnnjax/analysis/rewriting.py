"""The same function with other gradients: what a rectifier lets through backwards is exchanged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax

from cnnjax import _versions

__all__ = ["rewritten"]

Rules = Mapping[str, Callable[[jax.Array, jax.Array], jax.Array]]


def rewritten(f: Callable, rules: Rules) -> Callable:
    """`f` with the gradient of some of its elementwise functions exchanged; its values stay as they are.

    `rules` has for the name of a function, as `jax.nn` has it (`relu`, `relu6`, `leaky_relu`), the new way back: from
    what it was given and the gradient behind it, shaped alike, to the gradient before it. A maximum with 0 is a `relu`,
    however it is written. Nothing need be registered, for it is the traced function that is changed. Where there is
    none of these it is refused when it is called: its gradient would be the plain one, and nobody would know.
    """

    def function(*arguments: Any) -> Any:
        closed, shapes = jax.make_jaxpr(f, return_shape=True)(*arguments)
        if not any(named(closed.jaxpr, rules)):
            raise ValueError(
                f"none of {', '.join(rules)} is in the function, so that no gradient of it would be changed\n"
                "choose a method that leaves gradients as they are (saliency, integrated_gradients), or other rules"
            )
        outputs = evaluated(closed.jaxpr, closed.consts, jax.tree.leaves(arguments), rules)
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return function


def named(jaxpr: Any, rules: Rules) -> Iterator[str]:
    """The rule of every equation that has one, wherever it stands."""
    for equation in jaxpr.eqns:
        rule = _rule(equation, rules)
        if rule:
            yield rule
        else:
            for part, _ in _versions.inner_jaxprs(equation):
                yield from named(part, rules)


def _rule(equation: Any, rules: Rules) -> str:
    """The name of the rule for an equation, or nothing."""
    name = equation.params.get("name", "") if equation.primitive.name in ("jit", "pjit") else ""
    if equation.primitive.name == "max" and any(_is_zero(value) for value in equation.invars):
        name = "relu"
    alike = [value for value in equation.invars if value.aval.shape == equation.outvars[0].aval.shape]
    return name if name in rules and alike else ""


def _is_zero(value: Any) -> bool:
    return hasattr(value, "val") and np.ndim(value.val) == 0 and float(value.val) == 0


def evaluated(jaxpr: Any, constants: Sequence, values: Sequence, rules: Rules = {}) -> list:  # noqa: B006
    """What a traced function gives for values, with the rules in the place of gradients of the functions they name."""
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *values), strict=True))
    read = lambda value: value.val if hasattr(value, "val") else known[value]  # noqa: E731
    for equation in jaxpr.eqns:
        found = _equation(equation, [read(value) for value in equation.invars], rules)
        known.update(zip(equation.outvars, found, strict=True))
    return [read(value) for value in jaxpr.outvars]


def _equation(equation: Any, values: list, rules: Rules) -> list:
    """What an equation gives: by its rule, through the functions inside where one of them has a rule, or as it is."""
    rule, kind = _rule(equation, rules), equation.primitive.name
    if rule:
        return _changed(equation, values, rules[rule])
    parts = list(_versions.inner_jaxprs(equation))
    if not any(next(named(part, rules), "") for part, _ in parts):
        return _versions.rebound(equation, values)
    if kind == "cond":
        branches = [lambda *values, part=part, own=own: evaluated(part, own, values, rules) for part, own in parts]
        return lax.switch(values[0], branches, *values[1:])
    if kind == "scan":
        return _scanned(equation, values, rules)
    if kind == "while":
        raise ValueError("a rectifier stands in a loop whose length is not known: it has no gradient to be changed")
    (part, own), *_ = parts  # of a function with a gradient of its own, the function
    return evaluated(part, own, values, rules)


def _changed(equation: Any, values: list, backward: Callable) -> list:
    """The equation with another gradient in the operand that is no number."""
    shape = equation.outvars[0].aval.shape
    place = next(i for i, value in enumerate(equation.invars) if value.aval.shape == shape and not _is_zero(value))

    def plain(x):
        return _versions.rebound(equation, [*values[:place], x, *values[place + 1 :]])[0]

    @jax.custom_vjp
    def function(x):
        return plain(x)

    function.defvjp(lambda x: (plain(x), x), lambda x, gradient: (backward(x, gradient),))
    return [function(values[place])]


def _scanned(equation: Any, values: list, rules: Rules) -> list:
    (body, own), *_ = _versions.inner_jaxprs(equation)
    # what runs along the loop has an axis more outside of it; how many constants there are stands nowhere for sure
    carried = sum(out.aval.ndim == inside.aval.ndim for out, inside in zip(equation.outvars, body.outvars, strict=True))
    whole = sum(value.aval.ndim == inside.aval.ndim for value, inside in zip(equation.invars, body.invars, strict=True))
    fixed, params = whole - carried, equation.params
    constants, carry, rows = values[:fixed], values[fixed : fixed + carried], values[fixed + carried :]

    def step(carry, row):
        found = evaluated(body, own, [*constants, *carry, *row], rules)
        return found[:carried], found[carried:]

    options = {"length": params["length"], "reverse": params["reverse"], "unroll": params["unroll"]}
    carry, gathered = lax.scan(step, carry, rows, **options)
    return [*carry, *gathered]
