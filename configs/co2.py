"""Carbon dioxide above Mauna Loa, weekly: from two years to the next half.

python -m experiments.train --config=configs/co2.py --config.data.path=…/co2_weekly.csv --workdir=runs/co2
Must show: better than the same weeks a year before, and than a linear regression on the same two years.
The second holds on the part that selected the net, not on the test part, where the two are as good (the regression 1.1
% better where both are fitted to all that is before it, --config.data.holdout=0, n = 1). On two busy cores of an AMD
EPYC, jax 0.12.0.1, commit 77ca700, 21 s of processor each, config.seed = config.data.seed = 0, 1, 2 (n = 3; eval
n = 1); the test part is the last 229 weeks, eval the 228 before. Mean absolute error in ppm (MASE):

                      eval     test
  a year before       1.645    1.797 (1.435)
  linear regression   0.365    0.456 (0.364)
  tcn                 0.344    0.457 ± 0.004 (0.365)

The number of steps was chosen on eval; the test errors of six runs, and of about fifty other fits, were seen.
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
        train={"steps": 400, "batch": 64},
        eval={"steps": 100},
    )
