"""Population-based training inside one program: the worst members go on as perturbed copies of the best."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.sweep.decisions import Decision, Policy
from cnnjax.sweep.points import Run
from cnnjax.sweep.space import Distribution

__all__ = ["Population"]


class Population(Policy):
    """After each evaluation the worst `share` of the members copy one of the best, numbers times or over `factor`.

    The numbers stay within their distributions. What is copied is a function of the seed, the step and the metrics,
    so that a population that was stopped goes on as it would have.
    """

    rescues = True

    def __init__(
        self,
        space: Mapping[str, Distribution],
        metric: str,
        *,
        higher: bool = True,
        share: float = 0.25,
        factor: float = 1.25,
        seed: int = 0,
    ):
        self._space, self._metric, self._higher = dict(space), metric, higher
        self._share, self._factor, self._seed = share, factor, seed

    def check(self, config: Mapping) -> None:
        """Refuses a space that holds more than traced numbers: a population is one program."""
        numbers = sections.numeric(config)
        for path, distribution in self._space.items():
            if path not in numbers or distribution.kind == "choice":
                raise ConfigError(
                    f"{path} is no number of the compiled step between two bounds; a population changes such alone: "
                    f"uniform or log_uniform of {', '.join(numbers)}"
                )

    def decide(
        self,
        step: int,
        runs: Sequence[Run],
        metrics: Sequence[Mapping[str, float]],
        numbers: Sequence[Mapping[str, float]],
    ) -> Decision:
        """The worst members' sources and numbers."""
        draw = np.random.default_rng((self._seed, step))
        sign = 1 if self._higher else -1
        scores = [sign * found.get(self._metric, math.nan) for found in metrics]
        good = sorted((k for k, score in enumerate(scores) if not math.isnan(score)), key=lambda k: -scores[k])
        lost = [k for k, score in enumerate(scores) if math.isnan(score)]
        count = max(1, round(self._share * len(runs)))
        best, worst = good[:count], [*good[max(count, len(good) - count) :], *lost]
        if not best:
            return Decision()
        source, hparams = list(range(len(runs))), [{} for _ in runs]
        for k in sorted(worst):
            source[k] = best[draw.integers(len(best))]
            hparams[k] = {path: self._moved(path, numbers[source[k]][path], draw) for path in sorted(self._space)}
        return Decision(source=tuple(source), hparams=tuple(hparams))

    def _moved(self, path: str, value: float, draw: np.random.Generator) -> float:
        """A value times or over the factor, within its distribution."""
        distribution = self._space[path]
        moved = float(value) * self._factor ** draw.choice((-1.0, 1.0))
        return min(max(moved, distribution.low), distribution.high)
