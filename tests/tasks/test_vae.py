"""The variational autoencoder: of a linear one the likelihood is that of probabilistic PCA, and bounds are ordered."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import PCA

from cnnjax.data import Facts
from cnnjax.tasks import vae

BLACK, WHITE = (-1.0,), (3.0,)
FACTS = Facts(shape=(4, 4, 1), black=BLACK, white=WHITE, fields={"image": ((4, 4, 1), np.float32)})
DRAW = np.random.default_rng(0)
IMAGES = np.clip(0.5 + 0.1 * DRAW.normal(size=(40, 3)) @ DRAW.normal(size=(3, 16)), 0, 1)
IMAGES = np.clip(IMAGES + 0.03 * DRAW.normal(size=IMAGES.shape), 0, 1).reshape(40, 4, 4, 1).astype(np.float32)
BATCH = {
    "image": BLACK[0] + (WHITE[0] - BLACK[0]) * IMAGES,
    "valid": np.ones(40, np.float32),
    "index": np.arange(40, dtype=np.int32),
}
FITTED = PCA(3).fit(IMAGES.reshape(40, 16).astype(np.float64))


def linear(train=False, off=0.0):
    """The linear net whose decoder is the fitted one and whose posterior is exact, or `off` by so much in its means."""
    noise = FITTED.noise_variance_
    loads = (FITTED.components_ * np.sqrt(FITTED.explained_variance_ - noise)[:, None]).astype(np.float32)  # (3, 16)
    precision = (np.sum(loads**2, 1) + noise).astype(np.float32)
    middle = FITTED.mean_.astype(np.float32)

    def net(params, fields, key, *, train=True, part="", state=()):
        (given,) = fields
        if part == "decode":
            return (middle + given @ loads).reshape(-1, 4, 4, 1), {}
        image = ((given - BLACK[0]) / (WHITE[0] - BLACK[0])).reshape(-1, 16)
        mean = (image - middle) @ loads.T / precision + off
        return jnp.stack([mean, jnp.broadcast_to(jnp.log(noise / precision), mean.shape)], 1), {}

    net.train = train
    return net


@functools.partial(jax.jit, static_argnames=("options", "off", "train"))
def found(batch, options=(), off=0.0, train=False):
    """(losses, outputs, sums, prediction) of a task with these options."""
    task = vae(FACTS, sigma=jnp.sqrt(FITTED.noise_variance_), **dict(options))
    losses, _, (outputs, _) = task.loss(linear(train, off), {}, batch, jax.random.key(0))
    return losses, outputs, task.tally(outputs, batch), task.predict(outputs, batch)


SHADES = (("pixels", "shades"), ("importance", (1, 2, 8)))


def test_a_linear_one_has_the_likelihood_of_probabilistic_pca():
    """Where the posterior is exact every sample tells log p(x) to the last digit, whatever was drawn (Lucas 2019)."""
    _, outputs, sums, _ = found(BATCH, SHADES)
    known = FITTED.score_samples(IMAGES.reshape(40, 16).astype(np.float64))
    assert np.ptp(known) > 5
    for number in (1, 2, 8):
        np.testing.assert_allclose(outputs[f"iwae_{number}"], known, rtol=1e-3, atol=2e-3)
    metrics = vae(FACTS).summarize(sums, {})
    assert metrics["iwae_8"] == pytest.approx(FITTED.score(IMAGES.reshape(40, 16)), rel=1e-3)
    assert metrics["elbo"] == pytest.approx(metrics["iwae_1"], abs=0.5), "of one sample, whose mean it is"


def test_more_samples_bound_it_better_where_the_posterior_is_not_exact():
    metrics = vae(FACTS).summarize(found(BATCH, SHADES, off=0.3)[2], {})
    assert metrics["iwae_1"] < metrics["iwae_2"] < metrics["iwae_8"] < FITTED.score(IMAGES.reshape(40, 16))
    assert metrics["elbo"] == pytest.approx(metrics["reconstruction"] - metrics["kl"])


def test_pixels_are_drawn_by_their_shade_and_of_an_index_the_same():
    options = (("importance", ()),)
    twice, again = (found(BATCH, options)[1]["target"] for _ in range(2))
    np.testing.assert_array_equal(twice, again)
    assert set(np.unique(twice)) == {0, 1}
    grey = {**BATCH, "image": np.full_like(BATCH["image"], BLACK[0] + 0.8 * (WHITE[0] - BLACK[0]))}
    assert found(grey, options)[1]["target"].mean() == pytest.approx(0.8, abs=0.05)
    turned = jax.tree.map(lambda x: x[::-1], BATCH)
    np.testing.assert_array_equal(found(turned, options)[1]["target"][::-1], twice)


def test_the_loss_is_the_negative_bound_and_no_number_of_it_comes_from_padding():
    losses, _, sums, words = found(BATCH, (("importance", ()),), train=True)
    metrics = vae(FACTS).summarize(sums, {})
    assert float(np.mean(losses)) == pytest.approx(-metrics["elbo"], rel=1e-5)
    assert set(metrics) == {"elbo", "reconstruction", "kl"}
    assert words["image"].shape == BATCH["image"].shape
    torn = {**BATCH, "valid": np.float32([1] * 20 + [0] * 20)}
    torn["image"] = np.concatenate([BATCH["image"][:20], np.full_like(BATCH["image"][20:], np.nan)])
    assert np.isfinite(sum(map(float, found(torn, (("importance", ()),), train=True)[2].values())))


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"task\.name is 'vae', which draws pictures; .* read series"):
        vae(Facts(input="series", shape=(3, 1)))
    with pytest.raises(ValueError, match="leaves neither black nor white"):
        vae(Facts(shape=(3, 3, 1)))
    with pytest.raises(ValueError, match=r"task\.pixels is 'bits'"):
        vae(FACTS, pixels="bits")
