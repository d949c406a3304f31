"""The learning-rate range test: a short training at ever greater rates, which shows where the loss falls and bursts."""

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.runs.curves import INK, dressed
from cnnjax.runs.workdir import write_file
from cnnjax.train.initial_weights import with_initial_weights
from cnnjax.train.job import PreparedRun, prepare

__all__ = ["LrRange", "lr_range"]

_BURST = 4.0  # times the least loss so far, which ends the test
_PACE = 0.9  # of the running mean that is compared with it
_WINDOW = 0.03  # of the test, one standard deviation of the mean that is drawn
_STILL = {"schedule.name": "constant", **{f"schedule.warmup_{unit}": 0 for unit in ("steps", "epochs", "examples")}}


@dataclasses.dataclass(frozen=True)
class LrRange:
    """Rates (n,), the losses (n,) of the batches seen at them and their local means (n,), and what to train with.

    `suggestion` is the rate at which the loss has come half the way down, where it falls steepest: one that is safe for
    a whole training, ever lower than that of the least loss (Smith 2017); NaN where it falls nowhere.
    """

    rates: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray
    suggestion: float

    def draw(self, path: str | Path) -> None:
        """Draws loss by rate to a picture, of the kind that the path's ending says."""
        picture = io.BytesIO()
        self.figure().savefig(picture, format=Path(path).suffix.removeprefix(".") or "png")
        write_file(path, picture.getvalue())

    def figure(self) -> Any:
        """The picture as a matplotlib figure, which a notebook shows."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5.6, 4.2), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        axes = dressed(figure.subplots(), "loss by learning rate", size=12)
        axes.set_xscale("log")
        axes.set_xlabel("optimizer.lr", color=INK)
        axes.plot(self.rates, self.losses, color="#c8cfd9", linewidth=1.0)
        axes.plot(self.rates, self.smooth, color="#5b5f97", linewidth=2.0)
        axes.set_ylim(*_seen(self.smooth))
        if np.isfinite(self.suggestion):
            axes.axvline(self.suggestion, color="#d1495b", linewidth=1.2)
            words = {"color": "#d1495b", "fontsize": 9, "va": "top"}
            axes.text(self.suggestion, axes.get_ylim()[1], f"  {self.suggestion:g}", **words)
        return figure

    def __repr__(self) -> str:
        least = int(np.nanargmin(self.smooth))
        return (
            f"LrRange: {len(self.rates)} steps at {self.rates[0]:.3g} to {self.rates[-1]:.3g}; loss "
            f"{self.smooth[0]:.4g} at first, least {self.smooth[least]:.4g} at {self.rates[least]:.3g}; "
            f"suggestion {self.suggestion:g}"
        )


def lr_range(config: Mapping, *, low: float = 1e-6, high: float = 10.0, steps: int = 100) -> LrRange:
    """What `steps` steps find at rates from `low` to `high`, each a little greater than the one before.

    The training is that of the config, from its first weights on its first batches, without warm-up and schedule.
    Rates of other groups of parameters keep their proportion to `optimizer.lr`. It ends before `high` where the loss
    bursts.
    """
    if not 0 < low < high < float("inf") or steps < 10:
        raise ConfigError(f"rates {low:g} to {high:g} in {steps} steps: give 0 < low < high, and at least 10 steps")
    prepared = prepare(sections.change(config, {**_STILL, "train.dispatch": 1}))
    numbers = sections.numeric(prepared.config)
    if not numbers.get("optimizer.lr"):
        name = prepared.config["optimizer"]["name"]
        raise ConfigError(f"optimizer.lr is {numbers.get('optimizer.lr', f'no option of {name}')}; it must be positive")
    rates = np.geomspace(low, high, steps)
    losses = _losses(prepared, numbers, rates)
    smooth = _averaged(losses, _WINDOW * steps)
    return LrRange(rates[: len(losses)], losses, smooth, _halfway(rates[: len(losses)], smooth))


def _losses(prepared: PreparedRun, numbers: Mapping, rates: np.ndarray) -> np.ndarray:
    """The losses of the batches seen at these rates, up to where they burst."""
    fresh = prepared.layout.replicate(prepared.start())
    state, train = with_initial_weights(prepared, fresh, lambda text: None), prepared.source.train
    nothing, store = jax.tree.map(np.array, jax.device_get(state.sums)), prepared.store(train)
    losses, running, least = [], 0.0, float("inf")
    with prepared.batches(train) as stream:
        for t, rate in enumerate(rates):
            now = prepared.layout.replicate({"hparams": _at(rate, numbers), "sums": nothing})
            state = state.replace(hparams={**state.hparams, **now["hparams"]}, sums=now["sums"])
            state, _ = prepared.step(state, store, prepared.layout.share(stream.batches(t, 1), 2), np.int32(1))
            sums = jax.device_get(state.sums)
            if not sums["weight"] > 0:  # the step was not finite
                break
            losses.append(float(sums["loss"] / sums["weight"]))
            running = _PACE * running + (1 - _PACE) * losses[-1]
            mean = running / (1 - _PACE ** (t + 1))
            least = min(least, mean)
            if mean > _BURST * least:
                break
    if len(losses) < 3:
        raise ConfigError(f"the loss is not finite at a rate of {rates[len(losses)]:.3g} already; begin with less")
    return np.asarray(losses)


def _at(rate: float, numbers: Mapping) -> dict[str, np.float32]:
    """The rates among the numbers, those of groups too, where `optimizer.lr` is this one."""
    paths = [path for path in numbers if path.startswith("optimizer.") and path.endswith("lr")]
    return {path: np.float32(numbers[path] * rate / numbers["optimizer.lr"]) for path in paths}


def _averaged(values: np.ndarray, width: float) -> np.ndarray:
    """Means (n,) of values (n,) around each, under a bell `width` wide: no later than what they are means of."""
    places = np.arange(len(values))
    bells = np.exp(-0.5 * ((places[:, None] - places) / max(width, 1e-3)) ** 2)
    return bells @ values / bells.sum(1)


def _halfway(rates: np.ndarray, losses: np.ndarray) -> float:
    """The rate, to two digits, at which losses have come half the way from the first to the least; NaN if never."""
    least = int(np.argmin(losses))
    above = np.flatnonzero(losses[:least] >= (losses[0] + losses[least]) / 2)
    return float(f"{rates[above[-1]]:.1e}") if len(above) else float("nan")


def _seen(losses: np.ndarray) -> tuple[float, float]:
    """The limits between which the losses are worth seeing: a burst would leave the rest flat."""
    low, high = float(losses.min()), float(max(losses[0], np.median(losses)))
    margin = 0.15 * max(high - low, 1e-3)
    return low - margin, high + 2 * margin
