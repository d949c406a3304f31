"""Series of the UCR archive by three nets, five seeds as one pack, on the official splits.

python -m experiments.sweep --config=configs/ucr.py:VARIANT --config.data.path=…/GunPoint --workdir=runs/gunpoint
Must show: within 2 points of the residual net published by Fawaz et al. (2019), about 99 % on GunPoint, 96 on
ItalyPowerDemand, 85 on ArrowHead, 98 on OSULeaf. OSULeaf does by twice the steps alone: 97.4 ± 0.6 with
--config.train.steps=800 --config.eval.steps=800 (commit f1cf5b1, 191 seconds of processor for all five), a third of a
point short of it in 400. On two busy cores of an AMD EPYC, jax 0.12.0.1, commit 77ca700, test accuracy in % of seeds 0
to 4 after 400 steps, nothing selected by it:

            GunPoint      ItalyPowerDemand   ArrowHead     OSULeaf
  resnet1d  99.6 ± 0.4    94.8 ± 0.5         85.0 ± 1.5    95.7 ± 1.5
  tdnn      99.6 ± 0.6    95.2 ± 0.3         82.2 ± 0.9    not run
  tcn       98.4 ± 1.2    93.4 ± 0.3         80.8 ± 4.8    not run
"""

from cnnjax.config import augmentation, experiment, one_of, section
from cnnjax.sweep.space import seeds


def get_config(variant: str = "resnet1d"):
    """The published net, or a time-delay or a causal net; series are already standardised one by one."""
    nets = {
        "resnet1d": section("models", "resnet1d", width=32),
        "tdnn": section("models", "tdnn", layers=((64, 7, 1), (64, 3, 2), (64, 3, 3))),
        "tcn": section("models", "tcn", width=32, blocks=5, pool="avg"),
    }
    return experiment(
        data=section("data", "ucr"),
        model=nets[one_of(variant, nets)],
        task=section("tasks", "classification"),
        augment=augmentation(train=("series_shift", "normalize"), eval=("normalize",), series_shift={"steps": 4}),
        optimizer=section("optimizers", "adamw", lr=2e-3, decay=0.01),
        schedule=section("schedules", "cosine", warmup_steps=20),
        train={"steps": 400, "batch": 16},
        eval={"steps": 400},
    )


def sweep():
    """Five seeds: one program."""
    return seeds(5)
