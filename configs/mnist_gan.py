"""Digits that nobody wrote: a DCGAN of MNIST, its critic kept smooth by one of three normalisations.

python -m experiments.train --config=configs/mnist_gan.py[:VARIANT] --workdir=runs/gan --config.seed=S
must show: digits that a person reads, and a Fréchet distance to the test digits of at most three times that of the
training digits, by analysis.frechet_digits of 10,000 from latent_samples; the classifier is a LeNet-5 with rectifiers
and maxima (99.2 % after six epochs), whose last hidden layer has 84 numbers
Two busy cores of an AMD EPYC, jax 0.12.0.1, commit 04253ff with this file's numbers, seed 0, n = 1: 2.16, where
training digits have 0.75 and noise 353; inception score 8.7; nine in ten are digits that one reads. 1,113 seconds of
processor, 19 minutes beside others; the weights as they last were, not averaged, have 8.3
What it hung on is `hidden`: without it a critic's score is a sum over places, and what it makes of that are strokes
that are right by themselves. Narrower (32), the critic at 2e-4: 50.9 after three epochs, 4.14 after ten (461 seconds).
With it, but statistics of batches in the generator alone, all digits became one (408; with spectral norms 394)
`:spectral`, no `hidden`: 31.3 in 241 seconds, inception score 6.7, half are digits (commit 478acb2); as wide a `batch`
without it 70.4 after six epochs, half as wide again at 2e-4 78.1 after eight. `:group` is not yet run
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "batch"):
    """Statistics of each `batch` in both halves, as in the paper; of a `group`; or `spectral` norms of the critic."""
    norms = {
        "batch": {"norm": "batch", "critic_norm": "batch", "hidden": 512, "width": 48},
        "group": {"norm": "group", "critic_norm": "group", "hidden": 512, "width": 48},
        "spectral": {"norm": "batch", "spectral": True, "width": 32},
    }[one_of(variant, ("batch", "group", "spectral"))]
    made, judged, epochs = (5e-4, 5e-4, 10.0) if variant == "spectral" else (1e-3, 3e-4, 15.0)
    halves = {
        name: section("optimizers", "adam", lr=lr, b1=0.5)
        for name, lr in (("generator", made), ("discriminator", judged))
    }
    return experiment(
        data=section("data", "mnist", holdout=1000),
        model=section("models", "dcgan", latent=64, **norms),
        task=section("tasks", "gan", latent=64),
        augment=augmentation(),
        optimizer=section("optimizers", "adam", ema=0.999, **halves),
        schedule=section("schedules", "linear"),
        train={"epochs": epochs, "batch": 64},
        checkpoint={"keep": 2},
    )
