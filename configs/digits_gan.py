"""Two networks that make digits: a DCGAN on the embedded set, trained by the same single step as everything else."""

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
