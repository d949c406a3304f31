"""Adversarial training: what a linear net withstands is known, padding and batches change nothing, fail-safes hold."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data import Facts
from cnnjax.ops import pgd, random_start
from cnnjax.tasks import adversarial

BLACK, WHITE = (-0.5,), (2.0,)
FACTS = Facts(
    shape=(3, 3, 1), names=("dark", "light"), black=BLACK, white=WHITE, fields={"image": ((3, 3, 1), np.float32)}
)
DRAW = np.random.default_rng(0)
WEIGHT, SHARE = DRAW.normal(size=9).astype(np.float32), np.float32(0.06)
IMAGES = DRAW.uniform(0.35, 0.65, (32, 3, 3, 1)).astype(np.float32)  # where no attack of 0.3 meets black or white
MARGINS = (IMAGES.reshape(32, 9) - 0.5) @ WEIGHT
BATCH = {
    "image": BLACK[0] + (WHITE[0] - BLACK[0]) * IMAGES,
    "label": (MARGINS > 0).astype(np.int32),
    "valid": np.ones(32, np.float32),
    "index": np.arange(32, dtype=np.int32),
}


def linear(train=False):
    """The net whose two outputs differ by the margin of a picture, as the step would bind it."""

    def net(params, batch, key, *, train=True, state=()):
        image = (batch["image"] - BLACK[0]) / (WHITE[0] - BLACK[0])
        margin = params["scale"] * ((image.reshape(len(image), 9) - 0.5) @ WEIGHT)
        return jnp.stack([-margin / 2, margin / 2], -1), {}

    net.train = train
    return net


@functools.partial(jax.jit, static_argnames=("options", "train"))
def found(batch, epsilon=0.1, scale=1.0, options=(), train=False):
    """(losses, sums) of a task with these options."""
    task = adversarial(FACTS, epsilon=epsilon, **dict(options))
    losses, _, (outputs, _) = task.loss(linear(train), {"scale": scale}, batch, jax.random.key(0))
    return losses, task.tally(outputs, batch)


def measured(batch=BATCH, **options):
    """Metrics of the linear net; epsilon is traced."""
    epsilon, tested = options.pop("epsilon", 0.1), options.get("tested", ())
    task = adversarial(FACTS, epsilon=0.1, tested=tested)
    return task.summarize(found(batch, epsilon, options=tuple(options.items()))[1], {})


def withstood(epsilon, norm="inf"):
    """The share of pictures whose margin is more than an attack can take from it."""
    most = epsilon * (np.abs(WEIGHT).sum() if norm == "inf" else np.linalg.norm(WEIGHT))
    return float(np.mean(np.abs(MARGINS) > most))


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_a_linear_net_withstands_what_its_margins_say(norm):
    tested = (0.01, 0.03, 0.2)
    metrics = measured(epsilon=0.06, tested=tested, norm=norm)
    assert 0 < withstood(0.06, norm) < withstood(0.01, norm) < 1
    assert metrics["accuracy"] == 1
    assert metrics["robust_accuracy"] == pytest.approx(withstood(0.06, norm))
    for each in tested:
        assert metrics[f"robust_accuracy_{each}"] == pytest.approx(withstood(each, norm))


def test_within_everything_nothing_is_withstood_and_within_nothing_all_is():
    metrics = measured(epsilon=1.0, tested=(1e-6,))
    assert metrics["robust_accuracy"] == 0
    assert metrics["robust_accuracy_1e-06"] == 1


def test_more_steps_more_starts_and_a_longer_reach_never_help_the_defender():
    reaches = (0.02, 0.04, 0.06)
    names = [*(f"robust_accuracy_{each}" for each in reaches), "robust_accuracy", "accuracy"]
    few, more = (measured(epsilon=0.08, tested=reaches, tested_steps=steps, restarts=steps) for steps in (1, 3))
    assert all(more[name] <= few[name] for name in names)
    for metrics in (few, more):
        shares = [metrics[name] for name in names]
        assert shares[-1] >= shares[0]
        assert sorted(shares[:-1], reverse=True) == shares[:-1]


def test_a_restart_begins_with_the_same_draw_whatever_else_is_tested_so_that_more_of_them_find_no_less():
    def worst(**options):
        options = {"norm": "2", "tested_steps": 1, **options}
        return np.asarray(found(BATCH, SHARE, options=tuple(options.items()))[0])

    alone, more = worst(), worst(tested=(0.02,), restarts=2)
    assert (more >= alone - 1e-6).all()
    assert more.sum() > alone.sum()


def test_the_loss_of_training_is_that_of_the_worst_picture_within_reach():
    """Up a straight slope one step of 2 epsilons ends in the same corner whatever the start."""
    losses, sums = found(BATCH, SHARE, options=(("travel", 2.0),), train=True)
    worst = np.abs(MARGINS) - SHARE * np.abs(WEIGHT).sum()
    np.testing.assert_allclose(losses, np.log1p(np.exp(-worst)), rtol=1e-4)
    assert set(sums) == {"robust", "examples"}
    half, sums = found(BATCH, SHARE, options=(("travel", 2.0), ("clean", 0.5)), train=True)
    calm = np.log1p(np.exp(-np.abs(MARGINS)))
    np.testing.assert_allclose(half, (losses + calm) / 2, rtol=1e-4)
    assert float(sums["correct"]) == 32


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_a_picture_is_attacked_within_more_each_time_that_it_is_seen(norm):
    seen = np.arange(32, dtype=np.int32) % 5
    options = (("steps", 8), ("travel", 32.0), ("ramp", 4), ("norm", norm))
    losses, _ = found({**BATCH, "epoch": seen}, SHARE, options=options, train=True)
    reach = SHARE * np.minimum(1, (seen + 1) / 4)
    worst = np.abs(MARGINS) - reach * (np.abs(WEIGHT).sum() if norm == "inf" else np.linalg.norm(WEIGHT))
    np.testing.assert_allclose(losses, np.log1p(np.exp(-worst)), rtol=1e-3)


def test_an_attack_gives_the_parameters_no_gradient():
    slope = jax.grad(lambda scale: found(BATCH, SHARE, scale, options=(("travel", 2.0),), train=True)[0].sum())(1.0)
    worst = np.abs(MARGINS) - SHARE * np.abs(WEIGHT).sum()
    np.testing.assert_allclose(slope, np.sum(-worst / (1 + np.exp(worst))), rtol=1e-4)


def test_training_starts_beyond_black_so_that_no_attack_ends_in_corners_alone():
    """From within, one step of 1.25 epsilons up ends a whole epsilon above black wherever it began."""
    black, key = jnp.zeros((4, 3, 3, 1)), jax.random.key(1)

    @functools.partial(jax.jit, static_argnames="clip")
    def ends(clip):
        start = random_start(key, black, 0.3, clip=clip)
        return pgd(lambda x: x.sum((1, 2, 3)), black, 0.3, step=0.375, steps=1, start=start)

    np.testing.assert_allclose(ends(True), 0.3, rtol=1e-6)
    free = np.asarray(ends(False))
    assert free.min() < 0.15 < free.max() <= 0.3 + 1e-6


def test_pictures_keep_their_attack_in_any_batch():
    whole = found(BATCH, options=(("tested_steps", 2),))[0]
    turned = jax.tree.map(lambda x: x[::-1], BATCH)
    np.testing.assert_allclose(found(turned, options=(("tested_steps", 2),))[0][::-1], whole, rtol=1e-6)


def test_data_that_cannot_be_attacked_are_refused():
    with pytest.raises(ValueError, match=r"adversarial.*two classes or more; the data has none"):
        adversarial(Facts(shape=(3, 3, 1)))
    with pytest.raises(ValueError, match="between black and white; the nets of these data read tokens"):
        adversarial(Facts(input="tokens", shape=(3,), names=("a", "b")))
    with pytest.raises(ValueError, match=r"task\.epsilon"):
        adversarial(FACTS, epsilon=0.0)
    with pytest.raises(ValueError, match=r"task\.norm is '1'"):
        adversarial(FACTS, norm="1")
