"""Every CPU lowering agrees with XLA's convolution, is the one chosen for its shape, and hides no naive loop."""

import functools
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import ops
from cnnjax.ops import _cpu, _plain, compilation
from cnnjax.ops._trilinear import Geometry


def _geometry(sizes, window, stride=1, padding=0, dilation=1, groups=1):
    n = len(sizes)
    return Geometry(sizes, (window,) * n, (stride,) * n, ((padding, padding),) * n, (dilation,) * n, groups)


CASES = {  # name: (lowering of output and input, of the kernel, batch, inputs, outputs, geometry)
    "pointwise": ("tiles", "tiles", 2, 5, 7, _geometry((6, 5), 1)),
    "strided pointwise": ("tiles", "tiles", 2, 5, 7, _geometry((6, 5), 1, 2)),
    "padded pointwise": ("tiles", "tiles", 2, 5, 7, _geometry((6, 5), 1, 3, 1)),
    "patches": ("tiles", "tiles", 2, 3, 7, _geometry((8, 9), 2, 2)),
    "winograd 1D": ("blocks", "winograd", 2, 64, 64, _geometry((12321,), 3, padding=1)),
    "winograd 1D dilated": ("blocks", "winograd", 2, 64, 64, _geometry((12322,), 3, padding=2, dilation=3)),
    "winograd 2D": ("blocks", "winograd", 8, 64, 64, _geometry((31, 29), 3, padding=1)),
    "winograd 2D in strips": ("blocks", "winograd", 1, 64, 64, _geometry((110, 120), 3)),
    "winograd 2D uneven padding": (
        "blocks",
        "winograd",
        4,
        96,
        64,
        Geometry((30, 30), (3,) * 2, (1,) * 2, ((0, 4), (3, 1)), (1,) * 2, 1),
    ),
    "winograd 3D": ("blocks", "winograd", 2, 64, 64, _geometry((12, 11, 14), 3, padding=1)),
    "places 1D": ("blocks", "places", 32, 24, 40, _geometry((3001,), 5, padding=2, dilation=2)),
    "places 2D": ("blocks", "places", 32, 20, 33, _geometry((23, 25), 3, padding=1)),
    "places 2D of a few outputs": ("blocks", "places", 34, 56, 12, _geometry((25, 24), 3)),
    "places 3D": ("blocks", "places", 32, 9, 20, _geometry((7, 9, 11), 3, padding=1)),
    "bands 1D": ("narrow", "bands", 16, 4, 32, _geometry((400,), 5, padding=2)),
    "bands 2D": ("narrow", "bands", 16, 1, 6, _geometry((32, 32), 5, padding=2)),
    "lines 3D": ("narrow", "lines", 2, 3, 8, _geometry((9, 13, 17), 3, padding=1)),
    "lines 3D in pieces": ("narrow", "lines", 1, 3, 4, _geometry((12, 40, 44), 3, padding=1)),
    "lines 3D dilated, in pieces": ("narrow", "lines", 2, 2, 4, _geometry((12, 60, 64), 3, 1, 2, 2)),
    "bands of a prime line": ("narrow", "bands", 8, 3, 24, _geometry((41, 41), 3, padding=1)),
    "blocks": ("blocks", "blocks", 2, 16, 24, _geometry((9, 8), 3, 2, 1)),
    "blocks 1D": ("blocks", "blocks", 2, 16, 24, _geometry((19,), 5, 3, 2)),
    "blocks 3D": ("blocks", "blocks", 2, 4, 6, _geometry((7, 6, 5), 3, 2, 1)),
    "blocks 5x5": ("blocks", "blocks", 2, 16, 24, _geometry((9, 8), 5, 1, 2)),
    "blocks strided and dilated": ("blocks", "blocks", 2, 4, 6, _geometry((19, 18), 3, 2, 1, 2)),
    "a stride above the window in one dimension": (
        "blocks",
        "blocks",
        2,
        4,
        6,
        Geometry((13, 12), (2, 3), (3, 2), ((0, 0), (1, 1)), (1,) * 2, 1),
    ),
    "stem": ("blocks", "blocks", 2, 3, 16, _geometry((33, 31), 7, 2, 3)),
    "depthwise": ("groups", "one by one", 2, 6, 6, _geometry((9, 8), 3, 1, 1, groups=6)),
    "depthwise strided": ("groups", "one by one", 2, 6, 6, _geometry((9, 8), 3, 2, 1, groups=6)),
    "depthwise dilated": ("groups", "one by one", 2, 6, 6, _geometry((9, 8), 3, 1, 2, 2, groups=6)),
    "depthwise series": ("groups", "one by one", 2, 6, 6, _geometry((19,), 5, 1, 2, groups=6)),
    "depthwise with a multiplier": ("groups", "shifts", 2, 6, 18, _geometry((9, 8), 3, 2, 1, 1, groups=6)),
}


LONG = [  # LLVM's work: a neighbour shows in a moment that their lowering needs no options
    "winograd 1D",
    "winograd 1D dilated",
    "winograd 2D in strips",
    "winograd 2D uneven padding",
    "winograd 3D",
    "places 1D",
    "places 2D of a few outputs",
    "places 3D",
    "lines 3D",
    "lines 3D in pieces",
    "lines 3D dilated, in pieces",
    "bands 1D",
    "bands of a prime line",
]


def _without_library():
    names = [name for name, case in CASES.items() if case[:2] != ("tiles", "tiles")]
    return [pytest.param(each, marks=pytest.mark.proofs) if each == "lines 3D in pieces" else each for each in names]


@pytest.mark.parametrize("name", _without_library())
def test_a_machine_without_the_library_agrees_as_well(name, monkeypatch):
    monkeypatch.setattr(_cpu, "has_onednn", lambda: False)
    *_, batch, inputs, outputs, geometry = CASES[name]
    if _cpu._way(geometry, batch, inputs, outputs, jnp.float32) != "blocks":
        _all_agree(*_arrays(batch, inputs, outputs, geometry), geometry, {})


def _arrays(batch, inputs, outputs, geometry, members=()):
    numbers = np.random.default_rng(0)
    shapes = (
        (*members, batch, *geometry.sizes, inputs),
        (*members, *geometry.window, inputs // geometry.groups, outputs),
        (*members, batch, *geometry.places, outputs),
    )
    return [numbers.normal(size=shape).astype(np.float32) for shape in shapes]


def _three(room, x, kernel, y, geometry):
    pairs = {"output_of": (x, kernel), "input_of": (kernel, y), "kernel_of": (x, y)}
    return {name: getattr(room, name)(*pair, geometry=geometry) for name, pair in pairs.items()}


_theirs = jax.jit(functools.partial(_three, _plain), static_argnums=3)


def _all_agree(x, kernel, y, geometry, *options):
    """Compiled with each of these options."""
    theirs = jax.tree.map(np.asarray, _theirs(x, kernel, y, geometry))
    for each in options:
        ours = jax.jit(functools.partial(_three, _cpu, geometry=geometry), compiler_options=each)(x, kernel, y)
        for name, wanted in theirs.items():
            assert (ours[name].shape, ours[name].dtype) == (wanted.shape, wanted.dtype)
            bound = 2e-5 * float(np.abs(wanted).max())
            np.testing.assert_allclose(ours[name], wanted, rtol=0, atol=bound, err_msg=name)


DEAR = ("winograd 2D uneven padding", "winograd 3D")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.proofs) if n in DEAR else n for n in CASES])
def test_a_lowering_agrees_with_xlas_convolution_and_its_gradients(name):
    way, kernel_way, batch, inputs, outputs, geometry = CASES[name]
    with_library = {"narrow": "blocks", "groups": "blocks"}
    without = {"narrow": "bands", "groups": "shifts", "one by one": "shifts"}
    expected = [(with_library if ops.has_onednn() else without).get(each, each) for each in (way, kernel_way)]
    arguments = (geometry, batch, inputs, outputs, jnp.float32)
    assert [_cpu._way(*arguments), _cpu._kernel_way(*arguments)] == expected
    options = [ops.compiler_options("cpu"), *([] if name in LONG else [{}])]
    _all_agree(*_arrays(batch, inputs, outputs, geometry), geometry, *options)


@pytest.mark.proofs
@pytest.mark.parametrize("name", LONG)
def test_a_lowering_that_takes_long_to_compile_agrees_without_options_as_well(name):
    *_, batch, inputs, outputs, geometry = CASES[name]
    _all_agree(*_arrays(batch, inputs, outputs, geometry), geometry, {})


@pytest.mark.parametrize("with_options", [True, pytest.param(False, marks=pytest.mark.proofs)])
@pytest.mark.parametrize(("groups", "members"), [(2, ()), (40, ()), (1, (3,)), (2, (2,)), (1, (20,)), (4, (20,))])
def test_groups_and_members_agree_with_grouped_convolution(groups, members, with_options):
    geometry = _geometry((6, 5), 3, 2, 1, groups=groups)
    options = ops.compiler_options("cpu") if with_options else {}
    _all_agree(*_arrays(2, 2 * groups, 3 * groups, geometry, members), geometry, options)


def _compiled(f, *arrays):
    return jax.jit(f, compiler_options=ops.compiler_options("cpu")).lower(*arrays).compile()


@pytest.mark.parametrize(
    "name", ["blocks", "blocks 5x5", "places 2D", "winograd 2D", "bands 2D", "depthwise", "patches"]
)
def test_no_naive_convolution_hides_in_a_loop_body(name):
    *_, batch, inputs, outputs, geometry = CASES[name]
    x, kernel, _ = _arrays(batch, inputs, outputs, geometry)
    options = {"stride": geometry.stride, "padding": geometry.padding, "groups": geometry.groups}

    def step(carry, _):
        x, kernel = carry
        dx, dk = jax.grad(lambda x, k: jnp.sum(ops.conv(x, k, **options) ** 2), (0, 1))(x, kernel)
        return (x - 1e-3 * dx, kernel - 1e-3 * dk), ()

    text = _compiled(lambda x, k: jax.lax.scan(step, (x, k), None, length=3), x, kernel).as_text()
    n = geometry.n
    canonical = f"b{'012'[:n]}f_{'012'[:n]}io->b{'012'[:n]}f"
    found = re.findall(r"dim_labels=([\w>\-]+)", text)
    assert all(labels == canonical for labels in found), found
    assert found or "__onednn$convolution" in text or not name.startswith("blocks")


def test_a_step_in_a_scan_costs_what_a_step_alone_costs():
    *_, inputs, outputs, geometry = CASES["blocks 5x5"]
    x, kernel, _ = _arrays(32, inputs, outputs, geometry)

    def step(kernel, _):
        return kernel - 1e-3 * jax.grad(lambda k: jnp.sum(ops.conv(x, k, padding=2) ** 2))(kernel), ()

    alone = _compiled(lambda k: step(k, None)[0], kernel)
    looped = _compiled(lambda k: jax.lax.scan(step, k, None, length=4)[0], kernel)
    ratio = min(_seconds(looped, kernel) for _ in range(5)) / (4 * min(_seconds(alone, kernel) for _ in range(5)))
    assert ratio < 4  # naive loops are 5 to 70 times slower; the machine is never quiet


def _seconds(program, *arrays):
    start = time.process_time()
    for _ in range(5):
        jax.block_until_ready(program(*arrays))
    return time.process_time() - start


def test_an_unknown_compiler_option_is_left_out_not_fatal():
    assert not compilation._accepted("cpu", "xla_no_such_option", "true")
    options = ops.compiler_options("cpu")
    assert float(jax.jit(lambda x: x + 1, compiler_options=options)(1.0)) == 2.0
    assert ops.compiler_options("cuda") == {}
