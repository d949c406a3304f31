"""Two networks that make digits: a DCGAN on the embedded set, trained by the same single step as everything else.

python -m experiments.train --config=configs/digits_gan.py --config.seed=S --workdir=runs/ganS, S = 0, 1, 2
on two cores of an AMD EPYC, jax 0.12.0.1, commit ae6ce4c, 42 to 50 s: balance of the critic's scores on test images
0.968, 0.976, 0.951 (1 = it can't tell them apart); what is made looks like digits, if blurred ones
"""

from cnnjax.config import augmentation, experiment, section


def get_config():
    """A small DCGAN; `--config.optimizer.generator.lr` and `--config.optimizer.discriminator.lr` are its two speeds."""
    half = section("optimizers", "adam", lr=1e-3, b1=0.5)
    return experiment(
        data=section("data", "digits"),
        model=section("models", "dcgan", width=16, latent=32),
        task=section("tasks", "gan", latent=32),
        augment=augmentation(),
        optimizer=section("optimizers", "adam", ema=0.99, generator=half, discriminator=half),
        schedule=section("schedules", "constant"),
        train={"steps": 1200, "batch": 64},
        checkpoint={"keep": 2},
    )
