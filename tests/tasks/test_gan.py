"""Two networks in one: the same step that trains a classifier trains a generator against its critic."""

import jax
import numpy as np
import pytest
from scipy import linalg

import cnnjax
from cnnjax.config import load
from tests.trainings import equal, stepped

QUIET = (
    "--config.report.quiet=true",
    "--config.report.tensorboard=false",
    "--config.report.page=false",
    "--config.train.devices=1",
)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory, train_apart):
    """LeNet-5, which reads at least 98 % of the test digits."""
    trained = train_apart("configs/digits.py", tmp_path_factory.mktemp("classifier"), "--config.train.epochs=20")
    assert trained.measure("test")["accuracy"] >= 0.98
    return trained


@pytest.fixture(scope="module")
def gan(tmp_path_factory, train_apart, root):
    """The generator, trained to the end and for one hundredth of that."""
    workdir, config = tmp_path_factory.mktemp("gan"), "configs/digits_gan.py"
    few = load(str(root / config)).train.steps // 100
    return train_apart(config, workdir / "late"), train_apart(config, workdir / "early", f"--config.train.steps={few}")


def samples(trained, count=1000):
    """Digits (N, 28, 28, 1) as the classifier's data set stores them, from noise."""
    noise = jax.random.normal(jax.random.key(1), (count, 32))
    images = jax.jit(lambda v, z: trained.net.apply(v, z, method="generator"))(trained.variables, noise)
    return np.asarray((images + 1) * 127.5).round().astype(np.uint8)


def features(classifier, images):
    """What the last hidden layer (N, 84) of the classifier says of images."""
    net = cnnjax.models.lenet5(outputs=0, activation="relu", pool="max")
    facts = classifier.facts
    params = {name: value for name, value in classifier.variables["params"].items() if name != "head"}
    seen = ((images / 255 - facts.mean[0]) / facts.std[0]).astype(np.float32)
    return np.asarray(net.apply({"params": params}, seen)).astype(np.float64)


def frechet(a, b):
    """The Fréchet distance between two clouds of points (N, D), taken as Gaussians."""
    difference = a.mean(0) - b.mean(0)
    first, second = np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(first @ second + 1e-6 * np.eye(len(first))).real
    return difference @ difference + np.trace(first + second - 2 * root)


@pytest.mark.proofs
def test_a_classifier_sees_at_least_eight_digits_in_what_was_made(classifier, gan, at_home):
    seen = classifier.predict(samples(gan[0]))
    share = np.bincount(seen["label"], minlength=10) / 1000
    assert (share >= 0.03).sum() >= 8, share
    assert seen["probabilities"].max(-1).mean() >= 0.8


@pytest.mark.proofs
def test_what_was_made_comes_nearer_to_the_digits_by_training(classifier, gan):
    real = features(classifier, classifier.source.train.arrays["image"])
    late, early = (frechet(real, features(classifier, samples(trained))) for trained in gan)
    assert late <= early / 2, (late, early)


@pytest.mark.proofs
def test_each_half_is_moved_by_its_own_optimizer(gan):
    memory = gan[0].prepared.outline().opt_state
    assert set(memory) == {"generator", "discriminator"}
    assert set(memory["generator"][1].mu) == {"generator"}


@pytest.mark.proofs
def test_a_half_with_a_learning_rate_of_zero_stays_as_it_was(at_home):
    small = ("--config.train.batch=8", "--config.model.width=4")
    before, after = stepped(load("configs/digits_gan.py", (*QUIET, *small, "--config.optimizer.generator.lr=0")))
    for half, moved in (("generator", False), ("discriminator", True)):
        assert equal(before.params[half], after.params[half]) != moved
