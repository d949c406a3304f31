"""Attacks: equal to torchattacks' and foolbox's, inside their bounds, and never for the good of the attacked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.analysis import attack_curves, fgsm, pgd, random_start, targeted
from tests.analysis.references import FIXTURES, filled

KERNEL = np.random.default_rng(2).normal(size=(6 * 6 * 3, 4)).astype(np.float32)
X = np.random.default_rng(1).random((8, 6, 6, 3), np.float32)


def linear(x):
    return (x.reshape(len(x), -1) - 0.5) @ KERNEL


LABELS = linear(X).argmax(-1)


def loss_of(f, labels):
    return lambda x: -jnp.take_along_axis(jax.nn.log_softmax(f(x)), jnp.asarray(labels)[:, None], 1)[:, 0]


@pytest.fixture(scope="module")
def attacked():
    """What they answered, and a function that does (loss for a class, image) → image as one program."""
    with np.load(FIXTURES / "attacks.npz") as file:
        fixture = dict(file)
    net, variables = filled("vgg", 32)
    numbers = np.random.Generator(np.random.PCG64(int(fixture["seed"])))
    image = numbers.random((1, 3, 32, 32), np.float32).transpose(0, 2, 3, 1)

    def done(attack):
        def run(variables, image):
            return attack(lambda labels: loss_of(lambda x: net.apply(variables, x), labels), image)

        found = np.asarray(jax.jit(run)(variables, image))
        assert np.abs(found - image).max() > 0.01
        return found

    return fixture, done


def test_no_sign_of_the_reference_is_in_doubt(attacked):
    """One undecided sign grows to a third of the pixels in ten steps: then nothing could be compared."""
    assert attacked[0]["least"] > 1e-4


def test_the_sign_of_the_gradient_is_torchattacks_and_foolboxs(attacked):
    fixture, done = attacked
    found = done(lambda loss, image: fgsm(loss(fixture["label"]), image, 0.03))
    np.testing.assert_allclose(found, fixture["fgsm"], atol=1e-6)
    np.testing.assert_allclose(found, fixture["fgsm_foolbox"], atol=1e-6)


@pytest.mark.parametrize("name", ["pgd", "pgd_foolbox", "pgd_targeted", "pgd_2_foolbox"])
def test_ten_steps_up_the_gradient_are_theirs_in_every_pixel(attacked, name):
    fixture, done = attacked
    if name == "pgd_targeted":
        found = done(lambda loss, x: pgd(targeted(loss(fixture["other"])), x, 0.03, step=0.01, steps=10))
    elif name == "pgd_2_foolbox":
        found = done(lambda loss, x: pgd(loss(fixture["label"]), x, 0.5, step=0.1, steps=10, norm="2"))
    else:
        found = done(lambda loss, x: pgd(loss(fixture["label"]), x, 0.03, step=0.01, steps=10))
    np.testing.assert_allclose(found, fixture[name], atol=2e-6)


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_attacks_stay_in_their_ball_and_among_images(norm):
    @jax.jit
    def attacked(key):
        start = random_start(key, X, 0.2, norm=norm)
        return start, pgd(loss_of(linear, LABELS), X, 0.2, step=0.1, steps=5, norm=norm, start=start)

    (start, found), (other, _) = (map(np.asarray, attacked(jax.random.key(seed))) for seed in (0, 1))
    for x in (start, found):
        assert 0 <= float(x.min()) <= float(x.max()) <= 1
        way = (x - X).reshape(8, -1)
        size = np.abs(way).max(-1) if norm == "inf" else np.linalg.norm(way, axis=-1)
        assert (size <= 0.2 + 1e-6).all()
        assert (size > 0.1).all()
    assert not np.array_equal(start, other)


def test_of_a_linear_margin_the_fall_of_the_loss_is_known():
    """Of w·x the greatest change within epsilon is epsilon · Σ|w|, or in Euclidean length epsilon · ‖w‖."""
    weight = KERNEL[:, 0].reshape(6, 6, 3)
    x = np.full_like(X, 0.5)

    def loss(x):
        return jnp.sum(x * weight, (1, 2, 3))

    @jax.jit
    def falls(x):
        options = {"step": 0.05, "steps": 4}
        found = fgsm(loss, x, 0.1), pgd(loss, x, 0.1, **options), pgd(loss, x, 0.1, norm="2", **options)
        return [loss(each) - loss(x) for each in found]

    by_sign, by_steps, by_length = falls(x)
    for fall in (by_sign, by_steps):
        np.testing.assert_allclose(fall, 0.1 * np.abs(weight).sum(), rtol=1e-4)
    np.testing.assert_allclose(by_length, 0.1 * np.sqrt(np.sum(weight**2)), rtol=1e-4)


def test_more_is_never_for_the_good_of_the_attacked_and_all_is_lost_in_the_end():
    few = attack_curves(jax.random.key(0), linear, X, LABELS, (0, 0.01, 0.03, 0.1, 1), steps=5)
    many = attack_curves(jax.random.key(0), linear, X, LABELS, (0, 0.01, 0.03, 0.1, 1), steps=20)
    assert list(few.accuracy) == ["fgsm", "noise", "pgd-5"]
    for name, accuracy in {**few.accuracy, **many.accuracy}.items():
        assert accuracy[0] == 1
        if name != "noise":
            assert (np.diff(accuracy) <= 0).all()
            assert accuracy[-1] == 0
            assert (accuracy <= few.accuracy["noise"]).all()
    assert (many.accuracy["pgd-20"] <= few.accuracy["pgd-5"]).all()


def test_an_attack_on_another_net_harms_less_than_one_on_the_net_itself():
    other = np.random.default_rng(5).normal(size=KERNEL.shape).astype(np.float32)

    @jax.jit
    def attacked(x):
        lent = loss_of(lambda x: x.reshape(8, -1) @ (KERNEL + other), LABELS)
        return [fgsm(loss, x, 0.1) for loss in (loss_of(linear, LABELS), lent)]

    own, lent = (np.mean(linear(np.asarray(x)).argmax(-1) == LABELS) for x in attacked(X))
    assert own <= lent


def test_epsilon_can_be_traced_and_mapped():
    loss = loss_of(linear, LABELS)
    mapped = jax.jit(jax.vmap(lambda epsilon: pgd(loss, X, epsilon, step=epsilon / 2, steps=3)))
    several = np.asarray(mapped(np.float32([0.0, 0.1])))
    np.testing.assert_array_equal(several[0], X)
    np.testing.assert_allclose(several[1], jax.jit(lambda: pgd(loss, X, 0.1, step=0.05, steps=3))(), atol=1e-6)


def test_curves_in_euclidean_length_are_drawn_too():
    found = attack_curves(jax.random.key(0), linear, X, LABELS, (0, 0.5, 4), steps=5, norm="2").accuracy
    assert (found["pgd-5"] <= found["noise"]).all()
    assert found["pgd-5"][-1] < found["pgd-5"][0] == 1


def test_what_is_no_attack_is_refused():
    with pytest.raises(ValueError, match=r"images go from -0\.5 to .*; attacks take them in \[0, 1\]"):
        attack_curves(jax.random.key(0), linear, X - 0.5 - X.min(), LABELS, (0.1,))
    with pytest.raises(ValueError, match="epsilons are "):
        attack_curves(jax.random.key(0), linear, X, LABELS, ())
    with pytest.raises(ValueError, match="norm"):
        pgd(loss_of(linear, LABELS), X, 0.1, step=0.1, norm="1")
