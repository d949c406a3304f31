"""Digits that nobody wrote: a DCGAN of MNIST, its critic kept smooth by one of three normalisations.

python -m experiments.train --config=configs/mnist_gan.py[:VARIANT] --workdir=runs/gan --config.seed=S
must show: digits that a person reads, and a Fréchet distance to the test digits of at most three times that of the
training digits, by analysis.frechet_digits of 10,000 from latent_samples; the classifier is a LeNet-5 with rectifiers
and maxima (99.2 % after six epochs), whose last hidden layer has 84 numbers
missed by far. Two busy cores of an AMD EPYC, jax 0.12.0.1, commit 478acb2, n = 1 each: 31.3 in 241 processor seconds,
where training digits have 0.75 and noise 353; inception score 6.7. About half of what is made is a digit that one
reads, the rest are strokes of several. The critic is held back too far: its mean scores are 0.48 and 0.42
`:batch`, six epochs, 142 processor seconds: 70.4, inception score 4.7; one in four is a digit. Tried without gain,
commit dbfba47: the critic five times as fast as the generator (1e-3, 2e-4, no smoothing), 32.7 and 6.4; `:batch` half
as wide again at 2e-4, eight epochs, 369 processor seconds, 78.1 and 4.5, by statistics of batches as by running ones.
`:group` is not yet run
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "spectral"):
    """`spectral` (norms of the critic's kernels), `group`, or `batch`: statistics in both halves, as in the paper."""
    norms = {
        "spectral": {"norm": "batch", "spectral": True},
        "group": {"norm": "group", "critic_norm": "group"},
        "batch": {"norm": "batch", "critic_norm": "batch"},
    }[one_of(variant, ("spectral", "group", "batch"))]
    half = section("optimizers", "adam", lr=5e-4, b1=0.5)
    return experiment(
        data=section("data", "mnist", holdout=1000),
        model=section("models", "dcgan", width=32, latent=64, **norms),
        task=section("tasks", "gan", latent=64),
        augment=augmentation(),
        optimizer=section("optimizers", "adam", ema=0.999, generator=half, discriminator=half),
        schedule=section("schedules", "linear"),
        train={"epochs": 10.0, "batch": 64},
        checkpoint={"keep": 2},
    )
