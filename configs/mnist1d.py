"""MNIST-1D: digits as curves of 40 steps, that tell nets which know of shifts from those that do not.

python -m experiments.train --config=configs/mnist1d.py:VARIANT --workdir=runs/VARIANT
on two cores of an AMD EPYC shared with many other processes, jax 0.12.0.1, commit 2ee03d5; 1,000 curves never seen,
accuracy in %, at the last step (the published numbers are of other curves of the kind, made in the same way):

  VARIANT       here                                          published  processor seconds
  cnn           92.1, 92.5, 92.5 (92.4 ± 0.2, n = 3)          94         18
  mlp           65.5 (n = 1)                                  68         14
  logistic      31.2 (n = 1)                                  32         11
  shuffled_cnn  59.0, 58.6, 58.3 (58.6 ± 0.4, n = 3)          56         13
  shuffled_mlp  66.8 (n = 1)                                  68         10

So the order of the steps is nothing to dense layers, and all that the convolutional net was ahead by (commit 32feb48).
The second and third of a net have --config.seed=S --config.data.world=S, S = 1, 2. `cnn` and `mlp` know all 4,000
curves of training by then.
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "cnn"):
    """The paper's convolutional net, `mlp` or `logistic` regression; the first two also of `shuffled_…` steps."""
    shuffled, variant = variant.startswith("shuffled_"), variant.removeprefix("shuffled_")
    layers = (("conv", 25, 5, 2), ("conv", 25, 3, 2), ("conv", 25, 3, 2))
    nets = {
        "cnn": (section("models", "convnet", layers=layers), 1e-2),
        "mlp": (section("models", "mlp", hidden=(100, 100)), 1e-2),
        "logistic": (section("models", "mlp", hidden=()), 1e-2),
    }
    net, lr = nets[one_of(variant, nets)]
    return experiment(
        data=section("data", "mnist1d", shuffled=shuffled),
        model=net,
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=lr, decay=0.05),
        schedule=section("schedules", "cosine", warmup_steps=100),
        train={"steps": 3000, "batch": 100},
        eval={"steps": 3000},
    )
