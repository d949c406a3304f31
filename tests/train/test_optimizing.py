"""What surrounds the optimizer: groups, frozen parts, factors, clipping, microbatches, warm-up."""

import functools
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from optax import contrib

from cnnjax.config import augmentation, experiment, section
from cnnjax.train import optimizers
from cnnjax.train.job import prepare
from cnnjax.train.step import _at_the_worst
from tests.trainings import advanced, prepared_once, stepped


def config(*, steps=4, batch=32, **optimizer):
    return experiment(
        data=section("data", "digits"),
        model=section("models", "tests.train.nets:dense"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", **{"lr": 0.1, **optimizer}),
        schedule=section("schedules", "constant"),
        train={"steps": steps, "batch": batch, "devices": 1},
    )


def moved(made):
    """Parameters before and after the run's first step, and its sums."""
    before, after = stepped(made)
    return before.params, after.params, after.sums


def states(made):
    """The states of a run after each of its steps, the first of all before them."""
    prepared = prepared_once(made)
    state = prepared.layout.replicate(prepared.start())
    found = [jax.tree.map(np.asarray, state)]
    for t in range(prepared.plan.steps):
        state = advanced(prepared, state, t)
        found.append(jax.tree.map(np.asarray, state))
    return found


def distance(before, after):
    return {
        name: float(
            sum(
                np.abs(a - b).sum()
                for a, b in zip(jax.tree.leaves(before[name]), jax.tree.leaves(after[name]), strict=True)
            )
        )
        for name in before
    }


def test_frozen_parameters_stay_and_the_others_move():
    before, after, _ = moved(config(freeze=("c1", "*/bias")))
    assert distance(before, after)["c1"] == 0
    assert distance(before, after)["c3"] > 0
    assert (before["head"]["bias"] == after["head"]["bias"]).all()


def test_factors_scale_the_learning_rate_of_what_they_fit():
    plain, slow = (distance(*moved(config(factors=factors))[:2]) for factors in ((), (("head", 0.1),)))
    assert slow["head"] == pytest.approx(0.1 * plain["head"], rel=1e-3)
    assert slow["c3"] == pytest.approx(plain["c3"], rel=1e-5)


def test_a_group_has_an_optimizer_of_its_own():
    made = config(groups=(("*/bias", "biases"),), biases=section("optimizers", "sgd", lr=0.0))
    before, after, _ = moved(made)
    assert all((before[name]["bias"] == after[name]["bias"]).all() for name in before)
    assert distance(before, after)["c3"] > 0


def test_muon_gives_kernels_updates_whose_singular_values_are_about_the_learning_rate():
    muon = section("optimizers", "muon", lr=0.1, rest_lr=0.0)
    before, after, _ = moved(config(groups=(("c3", "muon"),), muon=muon))
    step = (after["c3"]["kernel"] - before["c3"]["kernel"]).reshape(-1, 16)
    values = np.linalg.svd(step, compute_uv=False)
    assert 0.05 < values.min()
    assert values.max() < 0.13
    assert (before["c3"]["bias"] == after["c3"]["bias"]).all()


@pytest.mark.parametrize(("rows", "columns"), [(8, 2), (2, 8)])
def test_muon_steps_of_tall_kernels_are_the_root_of_their_shape_as_long(rows, columns):
    kernel = {"kernel": np.random.default_rng(0).normal(size=(columns, rows)).astype(np.float32)}

    def step(**options):
        made = optimizers.muon(lr=1.0, **options)
        return made.update(kernel, made.init(kernel), kernel)[0]["kernel"]

    wanted = max(1.0, rows / columns) ** 0.5
    scaled, plain = jax.jit(lambda: (step(), step(shape_scale=False)))()
    np.testing.assert_allclose(scaled, wanted * np.asarray(plain), rtol=1e-6)


def test_muon_can_keep_kernels_at_the_root_of_their_outputs():
    muon = section("optimizers", "muon", lr=0.0, constant=True)
    before, after, _ = moved(config(groups=(("c3/kernel", "muon"),), muon=muon))
    assert np.linalg.norm(before["c3"]["kernel"]) != pytest.approx(4.0, rel=1e-3)
    assert np.linalg.norm(after["c3"]["kernel"]) == pytest.approx(4.0, rel=1e-5)


def test_clipping_bounds_the_update():
    _before, _after, sums = moved(config(clip=0.01, momentum=0.0))
    assert float(sums["step"]["gradient_norm"]) > 0.01
    assert float(sums["step"]["update_norm"]) == pytest.approx(0.1 * 0.01, rel=1e-4)


def test_microbatches_give_the_gradient_of_the_whole_batch():
    whole, parts = (moved(config(accumulate=k))[1] for k in (1, 4))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_learning_rate_warms_up_and_then_follows_its_schedule():
    made = config(steps=10).copy_and_resolve_references()
    with made.unlocked():
        made.schedule = section("schedules", "linear", warmup_steps=2)
    factor = prepare(made).program.parts({}).factor
    factors = jax.jit(jax.vmap(factor))(np.arange(11, dtype=np.int32))
    np.testing.assert_allclose(factors, [0.5, 1.0, *np.linspace(1, 0, 9)], atol=1e-6)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"steps": 0}, "train.steps, train.epochs and train.examples are all 0"),
        ({"batch": 2000}, "train.batch is 2000, but the training split has 1437 examples"),
        (
            {"batch": 30, "devices": 8},
            "train.batch is 30, which 8 devices don't divide; the nearest that fit: 24 or 32",
        ),
        ({"devices": 9}, "train.devices is 9; 8 available here"),
        ({"precision": "float64"}, "train.precision is 'float64', but JAX keeps to 32 bits; set JAX_ENABLE_X64=1"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_before_anything_compiles(train, words):
    made = config().copy_and_resolve_references()
    with made.unlocked():
        for key, value in train.items():
            made.train[key] = value
    with pytest.raises(ValueError, match=words):
        prepare(made)


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        ({"freeze": ("c11",)}, r"optimizer\.freeze has 'c11', which fits no parameter; nearest: c1"),
        ({"factors": (("haed", 0.1),)}, r"optimizer\.factors has 'haed', which fits no parameter; nearest: head"),
        ({"factors": (("head", -0.1),)}, r"optimizer\.factors holds -0.1; it must be ≥ 0"),
        ({"factors": (("head", float("inf")),)}, r"optimizer\.factors holds inf; it must be a finite number"),
        ({"groups": (("*/bais", "adam"),)}, r"optimizer\.groups has '\*/bais', which fits no parameter"),
        (
            {"biases": section("optimizers", "adam")},
            r"optimizer\.biases is a section that neither optimizer\.groups nor",
        ),
    ],
)
def test_patterns_that_fit_nothing_and_sections_nobody_names_are_refused(optimizer, words):
    with pytest.raises(ValueError, match=words):
        prepare(config(**optimizer)).start()


def test_an_option_that_a_layer_refuses_is_named_by_its_config_path():
    made = config().copy_and_resolve_references()
    with made.unlocked():
        made.model.activation = "rleu"
    with pytest.raises(ValueError, match=r"^model\.activation is 'rleu'"):
        prepare(made).start()


def test_sharpness_is_looked_at_where_optax_looks():
    """Against optax's transparent way of the same (contrib.sam), on a loss whose slope depends on the place."""
    params = {"a": np.float32([1.0, -2.0]), "b": np.float32([[0.5]])}

    def loss(p):
        return (p["a"] ** 4).sum() + jax.lax.sin(p["b"]).sum() * p["a"][0]

    ascent = optax.chain(contrib.normalize(), optax.sgd(0.3))
    sam = contrib.sam(optax.sgd(1.0), ascent, opaque_mode=True)
    updates, _ = sam.update(jax.grad(loss)(params), sam.init(params), params, grad_fn=lambda p, _: jax.grad(loss)(p))
    state = SimpleNamespace(params=params, hparams={"optimizer.sam": np.float32(0.3)})
    found = _at_the_worst(lambda p: (loss(p), ()), state, jax.grad(loss)(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, -b, rtol=1e-5), found, updates)


def test_a_step_goes_by_the_gradient_of_the_worst_place_nearby():
    before, plain, _ = moved(config())
    _, sharp, _ = moved(config(sam=0.05))
    apart = sum(distance(plain, sharp).values())
    assert 0 < apart < sum(distance(before, plain).values())


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        (("cosine", {}), "'cosine'; set it to constant, without one"),
        (("constant", {"warmup_steps": 2}), "'constant' with a warm-up; set it to constant, without one"),
    ],
)
def test_a_schedule_beside_an_optimizer_that_averages_instead_is_refused(schedule, told):
    made = config()
    name, options = schedule
    made["optimizer"], made["schedule"] = section("optimizers", "schedule_free"), section("schedules", name, **options)
    with pytest.raises(ValueError, match=f"optimizer.name is 'schedule_free', .* schedule.name is {told}"):
        prepare(made)


def test_lookahead_goes_back_to_averages_that_optax_would_hold():
    """Against optax's lookahead, one turn of which is the last step here: a whole 1 − ema^k of the way."""
    made = config(steps=3, ema=0.9, lookahead=3)
    first, *_, last = states(made)
    *_, fast = states(config(steps=3))
    twin = optax.LookaheadParams(jax.tree.map(np.asarray, fast.params), first.params)
    ahead = optax.lookahead(optax.sgd(0.0), sync_period=1, slow_step_size=1 - 0.9**3)
    updates, _ = ahead.update(jax.tree.map(np.zeros_like, fast.params), ahead.init(twin), twin)
    expected = optax.apply_updates(twin, updates).slow
    for found in (last.params, last.ema["params"]):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), found, expected)


def test_between_its_turns_lookahead_changes_nothing_and_its_pace_grows():
    """Turns at steps 2 and 4 of 4: 1 − ema^2 / 8 of the way, then 1 − ema^2 of it."""
    start, one, two, three, four = states(config(steps=4, ema=0.5, lookahead=2))
    plain = states(config(steps=4))
    same = functools.partial(jax.tree.map, lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7))
    same(one.params, plain[1].params)
    same(one.ema["params"], start.params)
    way = 1 - 0.25 / 8
    same(two.params, jax.tree.map(lambda a, b: a + way * (b - a), start.params, plain[2].params))
    same(three.ema["params"], two.params)
    same(four.params, four.ema["params"])


def test_lookahead_without_a_rate_or_longer_than_the_training_says_so():
    with pytest.raises(ValueError, match=r"optimizer\.lookahead is 4, but optimizer\.ema is 0"):
        prepare(config(lookahead=4))
    with pytest.raises(ValueError, match=r"optimizer\.lookahead is 5, but there are 4 steps"):
        prepare(config(ema=0.9, lookahead=5))


def test_a_kernel_without_a_gradient_stays_under_muon_and_its_derivative_is_nothing():
    """A norm has no derivative at 0, of which one NaN would become the whole net's."""
    made = optimizers.muon(lr=0.1, rest_lr=0.1, iterations=2)
    numbers = np.random.default_rng(0)
    params = {name: numbers.normal(size=(4, 3)).astype(np.float32) for name in ("seen", "idle")}
    slope = {name: numbers.normal(size=(4, 3)).astype(np.float32) for name in params}

    @jax.jit
    def moved(share):
        state, at = made.init(params), params
        for _ in range(2):
            gradients = {"seen": slope["seen"] * (1 + share * at["seen"]), "idle": share * slope["idle"]}
            change, state = made.update(gradients, state, at)
            at = optax.apply_updates(at, change)
        return at

    after, way = jax.jit(lambda share: jax.jvp(moved, (share,), (1.0,)))(0.0)
    np.testing.assert_array_equal(after["idle"], params["idle"])
    np.testing.assert_array_equal(way["idle"], 0)
    ahead, behind = (np.asarray(moved(share)["seen"], float) for share in (0.01, -0.01))
    np.testing.assert_allclose(way["seen"], (ahead - behind) / 0.02, atol=2e-3)
