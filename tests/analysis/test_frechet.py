"""Distances of clouds of points are SciPy's, and what is drawn from noise goes where the prior goes."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from scipy.linalg import sqrtm

from cnnjax import models
from cnnjax.analysis import (
    draw_pictures,
    draw_reconstructions,
    frechet_digits,
    frechet_distance,
    kernel_distance,
    latent_plane,
    latent_samples,
)
from cnnjax.fields import Facts
from cnnjax.tasks import gan, vae
from tests.models.variants import filled

DRAW = np.random.default_rng(0)


def test_the_frechet_distance_is_that_by_scipys_root():
    one, other = DRAW.normal(size=(60, 7)) @ DRAW.normal(size=(7, 7)), 2 + DRAW.normal(size=(50, 7))
    first, second = np.cov(one.T), np.cov(other.T)
    apart = one.mean(0) - other.mean(0)
    known = apart @ apart + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(one, other) == pytest.approx(known, rel=1e-9)
    assert frechet_distance(other, one) == pytest.approx(known, rel=1e-9)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, one + 3) == pytest.approx(7 * 9)
    assert frechet_distance(one[:4], other[:4]) > 0, "fewer points than numbers"


def test_the_kernel_distance_is_its_definition_and_about_0_of_the_same():
    one, other = DRAW.normal(size=(9, 3)), 1 + DRAW.normal(size=(7, 3))

    def k(a, b):
        return (a @ b / 3 + 1) ** 3

    within = [np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]) for x in (one, other)]
    between = np.mean([k(a, b) for a in one for b in other])
    assert kernel_distance(one, other) == pytest.approx(sum(within) - 2 * between)
    same = DRAW.normal(size=(2, 400, 3))
    assert abs(kernel_distance(*same)) < 0.2 < kernel_distance(one, other)
    with pytest.raises(ValueError, match=r"\(N, D\) and \(M, D\)"):
        kernel_distance(one, other[:, :2])


def test_noise_is_further_from_digits_than_digits_are(digits_run):
    source = digits_run.source
    found = frechet_digits(digits_run, source.train.read(np.arange(64))["image"][::-1], batch=48)
    assert found.count == 64
    assert found.distance == pytest.approx(found.floor), "the same pictures in another order"
    assert found.floor < found.ceiling / 4
    with pytest.raises(ValueError, match="as the test pictures of the classifier are"):
        frechet_digits(digits_run, np.zeros((4, 8, 8, 1)))


def test_what_a_vae_draws_is_a_function_of_the_key_and_of_the_plane():
    facts = Facts(shape=(8, 8, 1), black=(0.0,), white=(1.0,))
    net = models.vae(facts, outputs=1, latent=3, width=2)
    trained = SimpleNamespace(
        config={"model": {"name": "vae"}}, facts=facts, net=net, variables=filled(net, facts.shape), task=vae(facts)
    )
    trained.prepared = SimpleNamespace(program=SimpleNamespace(seen=facts))
    drawn = [latent_samples(jax.random.key(seed), trained, 6) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).max() > 0
    assert 0 <= drawn[0].min() <= drawn[0].max() <= 1
    plane = latent_plane(trained, across=3, axes=(2, 0))
    assert plane.shape == (3, 3, *trained.facts.shape)
    turned = latent_plane(trained, across=3, axes=(0, 2))
    np.testing.assert_allclose(plane, turned[::-1, ::-1].swapaxes(0, 1), atol=1e-6)
    with pytest.raises(ValueError, match="two numbers from 0 to 2"):
        latent_plane(trained, axes=(1, 3))
    for figure in (draw_pictures(plane, caption="a plane"), draw_reconstructions(drawn[0], drawn[2], columns=4)):
        assert len(figure.axes) == 1


@pytest.mark.proofs
def test_what_a_gan_draws_is_its_generators_from_the_same_noise():
    net = models.dcgan(outputs=1, latent=3, width=2, size=8, norm="none")
    trained = SimpleNamespace(config={"model": {"name": "dcgan"}}, net=net, variables=filled(net, (8, 8, 1)))
    trained.task = gan(Facts(shape=(8, 8, 1), black=(0.0,), white=(1.0,)), latent=3)
    noise = jax.random.normal(jax.random.key(2), (5, 3))
    drawn = latent_samples(jax.random.key(2), trained, 5)
    made = jax.jit(lambda variables, z: net.apply(variables, z, method="generator"))(trained.variables, noise)
    np.testing.assert_allclose(drawn, (1 + np.asarray(made)) / 2, atol=1e-6)
    assert latent_plane(trained, across=2).shape == (2, 2, 8, 8, 1)


def test_a_net_that_draws_nothing_is_refused(digits_run):
    with pytest.raises(ValueError, match=r"model\.name is 'mlp', which has neither the encode and decode of vae nor"):
        latent_samples(jax.random.key(0), digits_run)
