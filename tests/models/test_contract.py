"""Every net keeps the contract of the room: all of them abstractly, a tiny one of each family for real."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cnnjax import _versions
from cnnjax.config import section
from cnnjax.config.signatures import options_of
from tests.models.variants import (
    DEEP,
    ENTRIES,
    SLOW_TINY,
    TINY,
    abstract_variables,
    built,
    filled,
    flat,
    like,
    outputs_of,
    quickly,
    shape_of,
    tiny,
)

# a preset is its family's function with other defaults: one of each stands for all of them, which are for `make proofs`
FIRST = {ENTRIES[name].__code__: name for name in reversed(ENTRIES) if name not in DEEP}.values()
QUICK = [name if name in FIRST else pytest.param(name, marks=pytest.mark.proofs) for name in ENTRIES]
REAL = [*TINY, *(pytest.param(name, marks=pytest.mark.proofs) for name in SLOW_TINY)]  # their compilation is slow
NOISE = {"noise": jax.random.key(3)}


def main(outputs):
    return outputs["main"] if isinstance(outputs, dict) else outputs


@pytest.mark.parametrize("name", QUICK)
def test_every_net_has_explicit_names_float32_parameters_and_ordered_maps(name):
    shape = shape_of(name)
    net, image = built(name, shape), like((2, *shape), jnp.bfloat16)
    out, variables = jax.eval_shape(lambda key, x: net.init_with_output(key, x, train=False), jax.random.key(0), image)
    paths = flat(variables["params"])
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", part) for path in paths for part in path.split("/"))
    assert {leaf.dtype for leaf in flat(variables).values()} == {jnp.dtype("float32")}
    assert set(variables) <= {"params", "batch_stats"}
    assert main(out).shape[0] == 2
    points = main(out).shape[1:] == (outputs_of(name), 2)  # whose digits are pixels
    assert points or main(out).shape[-1] == outputs_of(name)
    wide = points or len(shape) == 1  # nor does a number of a word say how finely to count
    assert main(out).dtype == (jnp.float32 if wide else jnp.bfloat16)
    maps = features(net, variables, image)
    assert len(maps) == len(net.strides)
    assert list(net.strides) == sorted(net.strides)
    areas = [np.prod(leaf.shape[1:-1]) for leaf in maps.values()]
    assert areas == sorted(areas, reverse=True)
    for leaf, stride in zip(maps.values(), net.strides, strict=True):
        assert leaf.dtype == (jnp.float32 if len(shape) == 1 else jnp.bfloat16)
        if stride:
            side = shape[1] if len(shape) == 4 else shape[0]  # of video, space
            found = leaf.shape[2] if len(shape) == 4 else leaf.shape[1]
            assert found <= -(-side // stride) + 1


def features(net, variables, image):
    """The maps of a net in their order, which a traced dict would lose."""
    names = []

    def run(variables, x):
        maps = net.apply(variables, x, method="features")
        names.extend(maps)
        return list(maps.values())

    leaves = jax.eval_shape(run, variables, image)
    return dict(zip(names, leaves, strict=True))


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_is_a_documented_function_of_keywords_whose_defaults_a_config_can_hold(name):
    entry = ENTRIES[name]
    assert inspect.isfunction(entry)
    assert entry.__name__ == name
    assert entry.__doc__.strip().endswith(".")
    config = section("models", name)
    for parameter in inspect.signature(entry).parameters.values():
        assert parameter.kind is parameter.KEYWORD_ONLY or parameter.name == "facts"
        if parameter.name not in ("outputs", "facts"):
            assert parameter.default is not None
            held = config[parameter.name]  # a net's name is filled in as a section of its own
            assert (held.name if isinstance(held, ConfigDict) else held) == parameter.default


@pytest.mark.parametrize("family", REAL)
def test_numeric_options_may_be_traced(family):
    name, options, shape = {**TINY, **SLOW_TINY}[family]
    parameters = inspect.signature(ENTRIES[name]).parameters
    numbers = {key: 0.1 for key, option in options_of(ENTRIES[name]).items() if option.numeric}
    options = {**options, "norm": "batch"} if "norm" in parameters else options
    variables = abstract_variables(tiny(family, **options)[0], shape)

    def run(numbers, variables, x):
        net = built(name, shape, **{**options, **numbers})
        return net.apply(variables, x, train=True, rngs=NOISE, mutable=["batch_stats"])

    image = like((4, *shape))
    traced = jax.jit(run).trace(numbers, variables, image)
    used = {e for eqn in traced.jaxpr.jaxpr.eqns for e in eqn.invars if not hasattr(e, "val")}
    for variable, number in zip(traced.jaxpr.jaxpr.invars, sorted(numbers), strict=False):
        assert variable in used or number == "auxiliary_dropout", f"{number} changes nothing"


def _trained(net, family):
    """A function of variables and images: a loss that every parameter plays a part in, with the outputs."""

    def loss(params, stats, x):
        variables = {"params": params, **stats}
        kwargs = {"train": True, "rngs": NOISE, "mutable": ["batch_stats"]}
        if family == "dcgan":
            z = np.random.default_rng(5).normal(size=(4, net.latent)).astype(np.float32)
            made, _ = net.apply(variables, z, method="generator", **kwargs)
            out, _ = net.apply(variables, made, method="discriminator", **kwargs)
        else:
            out, _ = net.apply(variables, x, **kwargs)
        leaves = jax.tree.leaves(out)
        weights = np.random.default_rng(0)
        return sum(jnp.sum(leaf * weights.normal(size=leaf.shape).astype(np.float32)) for leaf in leaves)

    return loss


@pytest.mark.parametrize("family", REAL)
def test_every_parameter_gets_a_finite_gradient_and_evaluation_is_independent_of_batch_mates(family):
    net, x = tiny(family)
    variables = filled(net, x.shape[1:])
    params = variables.pop("params")

    def both(params, stats, x):
        return jax.grad(_trained(net, family))(params, stats, x), main(net.apply({"params": params, **stats}, x))

    run = quickly(both, params, variables, x)
    gradients, first = run(params, variables, x)
    for path, leaf in flat(gradients).items():
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path
    _, other = run(params, variables, np.concatenate([x[:1], 1 - x[1:]]))
    np.testing.assert_allclose(first[0], other[0], rtol=1e-5, atol=1e-6)
    assert np.abs(first[1] - other[1]).max() > 0


def equations(jaxpr):
    """All equations of a jaxpr, those of functions inside them too."""
    for equation in jaxpr.eqns:
        yield equation
        for inner, _ in _versions.inner_jaxprs(equation):
            yield from equations(inner)


_LAYERS = ("lenet5", "whitened_cnn", "convnext")  # between them every layer that sums; tracing all takes a minute


@pytest.mark.parametrize(
    "family",
    [name if name in _LAYERS else pytest.param(name, marks=pytest.mark.proofs) for name in (*TINY, *SLOW_TINY)],
)
def test_training_in_bfloat16_adds_up_in_float32_and_keeps_no_wide_copy_of_a_map(family):
    """Processors that add in bfloat16 would lose a bias's gradient; what a barrier holds stands in memory."""
    net, x = tiny(family)
    variables = abstract_variables(net, x.shape[1:])
    rest = {name: value for name, value in variables.items() if name != "params"}

    def loss(params, rest, x):
        options = {"train": True} if "train" in inspect.signature(type(net).__call__).parameters else {}
        variables, rngs = {"params": params, **rest}, {"noise": jax.random.key(0)}
        outputs, _ = net.apply(variables, x, mutable=list(rest), rngs=rngs, **options)
        return sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(outputs))

    half = x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x  # words are numbered
    traced = jax.make_jaxpr(jax.grad(loss))(variables["params"], rest, half)
    narrow, wide = set(), set()
    for equation in equations(traced.jaxpr):
        (first, *_) = [*equation.invars, None]
        name, added = equation.primitive.name, equation.outvars[0].aval.size
        adds = name == "cumsum" or (name == "reduce_sum" and first.aval.size > added)  # of one number nothing is lost
        if adds and first.aval.dtype == jnp.bfloat16:
            narrow.add(f"{first.aval.str_short()} -> {equation.outvars[0].aval.str_short()}")
        if equation.primitive.name in ("checkpoint", "remat2", "optimization_barrier"):
            held = [value.aval for value in equation.invars if hasattr(value.aval, "dtype")]
            wide |= {aval.str_short() for aval in held if aval.ndim > 2 and aval.dtype == jnp.float32}
    assert not narrow
    assert not wide


@pytest.mark.parametrize(("family", "options"), [("lenet5", {}), ("convnext", {"blocks": (1,)})])
def test_a_net_gives_the_same_under_jit_and_in_bfloat16_to_its_precision(family, options):
    net, x = tiny(family, **options)
    variables = filled(net, x.shape[1:])
    plain = net.apply(variables, x)
    np.testing.assert_allclose(jax.jit(net.apply)(variables, x), plain, rtol=1e-4, atol=1e-5)
    half = jax.jit(net.apply)(variables, x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    assert np.abs(half - plain).max() <= 0.05 * np.abs(plain).max()


@pytest.mark.parametrize("family", REAL)
def test_without_outputs_the_head_is_left_off_and_nothing_else(family):
    name, options, shape = {**TINY, **SLOW_TINY}[family]
    whole = flat(abstract_variables(tiny(family)[0], shape)["params"])
    bare = flat(abstract_variables(built(name, shape, **{**options, "outputs": 0}), shape)["params"])
    assert set(bare) <= set(whole)
    assert all(bare[path].shape == whole[path].shape for path in bare)
    if family != "lenet5_1998":  # its output has fixed weights
        assert set(bare) != set(whole)


@pytest.mark.parametrize(
    ("family", "options"),
    [("resnet", {"stem": "cifar"}), pytest.param("convnext", {"window": 1}, marks=pytest.mark.proofs)],
)
def test_equal_blocks_run_as_a_loop_change_neither_names_nor_numbers(family, options):
    options = {"blocks": (3,), "drop_path": 0.0, **options}  # noise is drawn anew in a loop
    net, x = tiny(family, **options)
    loop, _ = tiny(family, **options, stack=True)
    variables = filled(net, x.shape[1:])
    params = variables.pop("params")

    def both(net):
        def run(params, stats, x):
            out, kept = net.apply({"params": params, **stats}, x, train=True, mutable=["batch_stats"])
            return jnp.sum(jnp.square(out)), kept

        return quickly(jax.value_and_grad(run, has_aux=True), params, variables, x)(params, variables, x)

    plain, stacked = both(net), both(loop)
    assert jax.tree.structure(plain) == jax.tree.structure(stacked)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(a).max()), plain, stacked)


def test_a_loop_makes_the_program_shorter():
    def lines(net):
        variables = abstract_variables(net, (32, 32, 3))
        return jax.jit(net.apply).lower(variables, jnp.zeros((1, 32, 32, 3))).as_text().count("\n")

    plain, loop = (lines(tiny("resnet", blocks=(1, 24), stack=stack)[0]) for stack in (False, True))
    assert loop < 0.7 * plain


@pytest.mark.parametrize("noise", [{"drop_path": 0.5}, {"block_dropout": 0.5, "drop_path": 0.0, "version": "2"}])
def test_noise_in_looped_blocks_is_that_of_its_key(noise):
    net, x = tiny("resnet", **{"blocks": (3,), "stack": True, **noise})
    variables = filled(net, x.shape[1:])
    run = quickly(
        lambda key: net.apply(variables, x, train=True, rngs={"noise": key}, mutable=["batch_stats"])[0],
        jax.random.key(0),
    )
    first, again, other = (run(jax.random.key(i)) for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0
