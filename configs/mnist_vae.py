"""A variational autoencoder of binarised MNIST: how many nats a digit costs, and what is drawn from noise.

python -m experiments.train --config=configs/mnist_vae.py --workdir=runs/vae --config.seed=S
must show: an ELBO of at least −100 nats a test digit, pixels drawn with their shade as the probability
`:plane` has two numbers a digit, for a walk in their plane (analysis.draw_plane)
Not yet run
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
