"""Pictures with one bright spot, and a net that says where it is without having to learn it."""

import signal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax.data import Source, from_arrays
from cnnjax.tasks import Task, count, supervised
from cnnjax.train.loop import Preempted
from cnnjax.train.trained import Trained

RADIUS = 3.0


def begun(config, workdir) -> Trained:
    """The network of a run that was stopped before its first step: what would train it is never compiled."""
    with pytest.raises(Preempted):
        cnnjax.run(config, workdir, describe=lambda *_: signal.raise_signal(signal.SIGINT) or "")
    return cnnjax.load(workdir)


def spot(height, width, y, x, radius=2.0):
    """A dark picture (H, W, 3) with a soft spot around a pixel."""
    places = np.stack(np.mgrid[:height, :width], -1)
    light = 250 * np.exp(-((places - [y, x]) ** 2).sum(-1) / radius**2)
    return np.repeat(np.rint(light).astype(np.uint8)[..., None], 3, -1)


def spots(*, fit: str = "pad") -> Source:
    """A few of them, and where the spot is."""
    points = np.random.default_rng(0).integers(8, 24, (11, 1, 2)).astype(np.float32)
    images = np.stack([spot(32, 40, *point) for point in points[:, 0]])
    fields = {"image": images, "points": points, "label": np.arange(11) % 2}
    return from_arrays(
        {name: value[:8] for name, value in fields.items()},
        {name: value[8:] for name, value in fields.items()},
        names=("lamp", "star"),
    )


def centroid(*, outputs: int) -> nn.Module:
    """Where the light of a picture lies, (B, 2), but for two numbers that could be learned."""
    return Centroid(outputs)


class Centroid(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x, train=False):
        light = jnp.where(x > 0.05, x, 0).sum(-1)
        lines = [jnp.arange(n, dtype=jnp.float32) for n in light.shape[1:]]
        whole = light.sum((1, 2)) + 1e-6
        found = jnp.stack([(light.sum(2) * lines[0]).sum(1), (light.sum(1) * lines[1]).sum(1)], -1) / whole[:, None]
        return found + self.param("head", nn.initializers.zeros, (self.outputs,))


def finding(facts, *, what: str = "points") -> Task:
    """The place of the spot: as a point, as a box with a class and a score beside one that is absent, and so on."""

    def criterion(outputs, batch):
        gaps = jnp.square(outputs - batch["points"][:, 0]).sum(-1)
        return gaps, jnp.ones_like(gaps)

    def predict(outputs, *batch):
        box = jnp.concatenate([outputs - RADIUS + 0.5, outputs + RADIUS + 0.5], -1)
        rows = jnp.ones((len(outputs), 2))
        return {
            "points": {"points": outputs[:, None]},
            "boxes": {
                "boxes": jnp.stack([0 * box, box], 1),
                "classes": jnp.tile(jnp.array([0, 1]), (len(outputs), 1)),
                "scores": rows * jnp.array([0.3, 0.9]),
                "present": rows * jnp.array([0.0, 1.0]),
            },
            "values": {"target": jnp.stack([outputs, 2 * outputs], 1)},
            "secret": {"secret": jnp.repeat(outputs, 50, 1)},
            "image": {"image": jnp.ones((len(outputs), 6, 8, 1)) * outputs[:, :1, None, None] / 32},
        }[what]

    return Task(
        outputs=2,
        loss=supervised(criterion),
        predict=predict,
        tally=lambda outputs, batch: {"examples": count(jnp.ones(len(outputs)), batch["valid"])},
        summarize=lambda sums, rows: {"examples": float(sums["examples"])},
        metric="examples",
    )


def windows() -> Source:
    """Waves (24, 1) and how they go on (6, 1)."""
    start = np.random.default_rng(0).random((11, 1)) * 6
    waves = np.sin(start + np.arange(30) / 3).astype(np.float32)[..., None]
    fields = {"series": waves[:, :24], "target": waves[:, 24:]}
    return from_arrays(*({name: value[part] for name, value in fields.items()} for part in (slice(8), slice(8, 11))))


def lasting(*, outputs: int) -> nn.Module:
    """A forecast (B, L, C) that all stays as it is at last."""
    return Lasting(outputs)


class Lasting(nn.Module):
    outputs: int

    @nn.compact
    def __call__(self, x, train=False):
        return x[:, -1:].repeat(self.outputs, 1) + self.param("head", nn.initializers.zeros, (1,))


def forecast(facts) -> Task:
    """The values that follow a series."""

    def criterion(outputs, batch):
        gaps = jnp.square(outputs - batch["target"]).mean((1, 2))
        return gaps, jnp.ones_like(gaps)

    return Task(
        outputs=6,
        loss=supervised(criterion),
        predict=lambda outputs, *batch: {"target": outputs},
        tally=lambda outputs, batch: {"examples": count(jnp.ones(len(outputs)), batch["valid"])},
        summarize=lambda sums, rows: {"examples": float(sums["examples"])},
        metric="examples",
    )
