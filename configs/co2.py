"""Carbon dioxide above Mauna Loa, weekly: from two years to the next half.

python -m experiments.train --config=configs/co2.py --config.data.path=…/co2_weekly.csv --workdir=runs/co2
Must show: better than the same weeks a year before, and than a linear regression on the same two years.
Not yet run.
"""

from cnnjax.config import augmentation, experiment, section


def get_config():
    """A causal dilated net that sees how far each week is from the last one, for the level rises from year to year."""
    return experiment(
        data=section("data", "windows", past=104, future=26, season=52, gaps="fill", holdout=228),
        model=section("models", "tcn", width=32, blocks=4, patch=2, linear=True),
        task=section("tasks", "forecasting", around="last", scaled=True),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=2e-3, decay=0.01, ema=0.99),
        schedule=section("schedules", "cosine", warmup_steps=50),
        train={"steps": 1200, "batch": 64},
        eval={"steps": 200},
    )
