"""A variational autoencoder of binarised MNIST: how many nats a digit costs, and what is drawn from noise.

python -m experiments.train --config=configs/mnist_vae.py --workdir=runs/vae --config.seed=S
must show: an ELBO of at least −100 nats a test digit, pixels drawn with their shade as the probability
Four epochs (train.epochs=4 eval.epochs=4 data.holdout=1000) on two busy cores of an AMD EPYC, jax 0.12.0.1, 177
processor seconds, 88 seconds in its steps (in 19 minutes on a busier day), n = 1: an ELBO of −99.13 (reconstruction
−70.20, divergence 28.93), bounds by 1, 5 and 50 samples of −99.09, −95.90 and −93.84; reconstructions are digits, of
those drawn from noise about half are
`:plane`, two numbers a digit, with the same flags at commit 88f7158 with this file: −161.9, 178 seconds (n = 1); the
walk in its plane (analysis.latent_plane, draw_pictures) goes over from digit to digit, but for a third of it, where no
digit's code lies and nothing is drawn. The twelve epochs that stand here are not yet run
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "convolutional"):
    """`convolutional` (24 numbers a digit), or `plane` (two)."""
    latent = {"convolutional": 24, "plane": 2}[one_of(variant, ("convolutional", "plane"))]
    return experiment(
        data=section("data", "mnist", holdout=5000),
        model=section("models", "vae", latent=latent),
        task=section("tasks", "vae"),
        augment=augmentation(train=(), eval=()),
        optimizer=section("optimizers", "adam", lr=2e-3),
        schedule=section("schedules", "cosine", floor=0.02, warmup_epochs=0.2),
        train={"epochs": 12.0, "batch": 100},
        eval={"epochs": 4.0, "batch": 500},
    )
