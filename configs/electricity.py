"""Demand for electricity in England and Wales, half-hourly: from nine days to the next.

python -m experiments.train --config=configs/electricity.py --config.data.path=…/electricity_half_hourly.csv --workdir=…
Must show: better than the same day a week before, and than a linear regression on the same nine days.
Not yet run.
"""

from cnnjax.config import augmentation, experiment, section


def get_config():
    """A causal dilated net beside a linear map of all nine days; the tenth before the test part selects."""
    return experiment(
        data=section("data", "windows", past=432, future=48, season=336, holdout=403),
        model=section("models", "tcn", width=64, blocks=2, patch=48, linear=True, norm="none"),
        task=section("tasks", "forecasting", around="last"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=2e-3, decay=0.01, ema=0.99),
        schedule=section("schedules", "cosine", warmup_steps=50),
        train={"steps": 2000, "batch": 64},
        eval={"steps": 200},
    )
