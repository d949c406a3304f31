"""Digits that nobody wrote: a DCGAN of MNIST, its critic kept smooth by one of three normalisations.

python -m experiments.train --config=configs/mnist_gan.py[:VARIANT] --workdir=runs/gan --config.seed=S
must show: digits that a person reads; a Fréchet distance to the test digits, as LeNet-5 sees them
(analysis.frechet_digits), of at most three times that of the training digits
Not yet run
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
