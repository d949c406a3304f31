"""One convolution under every transformation of JAX, compared with XLA's own under the same one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from cnnjax import ops

OPTIONS = {"stride": (2, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 2), "groups": 2}
X = np.random.default_rng(0).normal(size=(8, 7, 6, 4)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(3, 2, 2, 6)).astype(np.float32)


def ours(x, kernel):
    return jnp.sin(ops.conv(x, kernel, **OPTIONS))


def plain(x, kernel):
    return jnp.sin(
        jax.lax.conv_general_dilated(
            x,
            kernel,
            OPTIONS["stride"],
            OPTIONS["padding"],
            rhs_dilation=OPTIONS["dilation"],
            feature_group_count=2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
    )


def _loss(f):
    return lambda x, kernel: jnp.sum(f(x, kernel) ** 2)


plain_gradient = jax.jit(jax.grad(_loss(plain), 1))


def _scanned(f):
    def step(kernel, _):
        return kernel - 1e-3 * jax.grad(_loss(f), 1)(X, kernel), ()

    return jax.lax.scan(step, KERNEL, None, length=3)[0]


def _mapped(f, axes):
    def many(a, mapped):
        return jnp.stack([a, 2 * a, -a]) if mapped == 0 else a

    return jax.vmap(jax.value_and_grad(_loss(f), (0, 1)), axes)(many(X, axes[0]), many(KERNEL, axes[1]))


def _twice(f, outer, inner):
    x = jnp.stack([X, -X]) if outer[0] == 0 else X
    x = jnp.stack([x, 2 * x], 1 if outer[0] == 0 else 0) if inner[0] == 0 else x
    kernel = jnp.stack([KERNEL, -KERNEL]) if outer[1] == 0 else KERNEL
    kernel = jnp.stack([kernel, 2 * kernel], 1 if outer[1] == 0 else 0) if inner[1] == 0 else kernel
    return jax.vmap(jax.vmap(jax.grad(_loss(f), (0, 1)), inner), outer)(x, kernel)


TABLE = {
    "jit": lambda f: jax.jit(f)(X, KERNEL),
    "eager": lambda f: f(X, KERNEL),
    "grad": lambda f: jax.grad(_loss(f), (0, 1))(X, KERNEL),
    "jvp": lambda f: jax.jvp(f, (X, KERNEL), (X[::-1], KERNEL[::-1])),
    "jacfwd": lambda f: jax.jacfwd(lambda k: f(X[:1], k))(KERNEL),
    "hessian": lambda f: jax.hessian(_loss(f), (0, 1))(X[:1, :4, :4], KERNEL),
    "linearize": lambda f: jax.linearize(f, X, KERNEL)[1](X, KERNEL),
    "remat": lambda f: jax.grad(jax.checkpoint(_loss(f)), (0, 1))(X, KERNEL),
    "scan": _scanned,
    "grad of scan": lambda f: jax.grad(
        lambda k: jax.lax.scan(lambda c, x: (c + _loss(f)(x, k), ()), 0.0, X[:, None])[0]
    )(KERNEL),
    "map": lambda f: jax.lax.map(lambda x: f(x[None], KERNEL), X),
    "while": lambda f: jax.lax.fori_loop(0, 2, lambda _, k: k - 1e-3 * jax.grad(_loss(f), 1)(X, k), KERNEL),
    "vmap both": lambda f: _mapped(f, (0, 0)),
    "vmap inputs": lambda f: _mapped(f, (0, None)),
    "vmap kernels": lambda f: _mapped(f, (None, 0)),
    "vmap vmap, both and inputs": lambda f: _twice(f, (0, 0), (0, None)),
    "vmap vmap, kernels and inputs": lambda f: _twice(f, (None, 0), (0, None)),
    "vmap vmap, inputs and both": lambda f: _twice(f, (0, None), (0, 0)),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_transformation_gives_what_xla_gives(name):
    def both():
        return TABLE[name](ours), TABLE[name](plain)

    found, expected = both() if name == "eager" else jax.jit(both)()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-4), found, expected)


@pytest.mark.parametrize("check", [False, True])
def test_gradients_are_summed_over_devices_in_a_shard_map(check):
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))

    def step(x, kernel):
        gradient = jax.grad(_loss(ours), 1)(x, kernel)
        return gradient if check else ops.total(gradient)  # checked, JAX sums by itself

    batch = PartitionSpec("batch")
    spread = jax.shard_map(
        step, mesh=mesh, in_specs=(batch, PartitionSpec()), out_specs=PartitionSpec(), check_vma=check
    )
    np.testing.assert_allclose(jax.jit(spread)(X, KERNEL), plain_gradient(X, KERNEL), rtol=1e-4, atol=1e-4)


def test_gradients_are_summed_over_devices_in_a_pmap():
    step = jax.pmap(
        lambda x, kernel: ops.total(jax.grad(_loss(ours), 1)(x, kernel)), axis_name="batch", in_axes=(0, None)
    )
    found = np.asarray(step(X[:, None], KERNEL))[0]
    np.testing.assert_allclose(found, plain_gradient(X, KERNEL), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_an_export_for_another_platform_holds_xlas_convolution(platform):
    exported = jax.export.export(jax.jit(jax.grad(_loss(ours), (0, 1))), platforms=[platform])(X, KERNEL)
    assert exported.mlir_module().count("stablehlo.convolution") == 3


def test_an_export_for_the_cpu_runs_for_any_batch():
    (batch,) = jax.export.symbolic_shape("batch")
    exported = jax.export.export(jax.jit(ours), platforms=["cpu"])(
        jax.ShapeDtypeStruct((batch, *X.shape[1:]), X.dtype), KERNEL
    )
    np.testing.assert_allclose(exported.call(X[:3], KERNEL), jax.jit(plain)(X[:3], KERNEL), rtol=1e-5, atol=1e-5)


def test_one_convolution_is_one_equation_on_every_platform():
    for f in (ours, lambda x, k: jnp.sin(ops.conv(x, k[:1, :1].reshape(1, 1, 2, 6), groups=2))):
        names = [equation.primitive.name for equation in jax.make_jaxpr(f)(X, KERNEL).eqns]
        assert names.count("conv_output") == 1


OTHERS = {
    "max_pool of tiles": lambda x: ops.max_pool(x, 2),
    "max_pool": lambda x: ops.max_pool(x, 3, stride=2, padding=1, ceil=True),
    "avg_pool of tiles": lambda x: ops.avg_pool(x, 2),
    "avg_pool": lambda x: ops.avg_pool(x, 3, stride=2, padding=1, ceil=True),
    "lp_pool": lambda x: ops.lp_pool(x, 3, stride=1),
    "batch_norm": lambda x: ops.batch_norm(x, 1.0, 0.0, *ops.batch_statistics(x)),
    "group_norm": lambda x: ops.group_norm(x, 1.0, 0.0, groups=2),
    "local_response_norm": lambda x: ops.local_response_norm(x, 3, alpha=0.5),
    "dropout": lambda x: ops.dropout(jax.random.key(0), x, 0.3),
    "resize": lambda x: ops.resize(x, (9, 4), method="cubic"),
    "conv_transpose": lambda x: ops.conv_transpose(x, KERNEL[..., :2].repeat(2, 3), stride=2, padding=1, groups=2),
    "roi_align": lambda x: ops.roi_align(x, jnp.tile(jnp.asarray([[0.0, 0.5, 3.0, 4.0]]), (4, 1, 1)), 2),
}


@pytest.mark.parametrize("name", OTHERS)
def test_an_operator_has_one_derivative_however_it_is_taken(name):
    def loss(x):
        return jnp.sum(jnp.sin(OTHERS[name](x)))

    @jax.jit
    def ways(x, way):
        _, (slope, curvature) = jax.jvp(lambda x: jax.jvp(loss, (x,), (way,)), (x,), (way,))
        gradient, turned = jax.jvp(jax.grad(loss), (x,), (way,))
        two = jnp.stack([-x, x])
        mapped = jax.vmap(jax.grad(loss))(two)[1]
        looped = jax.lax.map(jax.grad(jax.checkpoint(loss)), two)[1]
        ahead, behind = loss(x + 1e-5 * way), loss(x - 1e-5 * way)
        slopes = [slope, (ahead - behind) / 2e-5, *(jnp.vdot(g, way) for g in (gradient, mapped, looped))]
        return slopes, [curvature, jnp.vdot(turned, way)]

    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        slopes, curvatures = ways(rng.normal(size=(4, 6, 5, 4)), rng.normal(size=(4, 6, 5, 4)))
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-6)
    np.testing.assert_allclose(curvatures, curvatures[0], rtol=1e-6)
