"""Convolutional networks in JAX: pure functions, one training step, sweeps that train as one program.

The rooms (`ops layers models augment data tasks train sweep analysis weights config`) load on first use,
so that importing the package costs nothing and does not import jax.
"""

import importlib

from cnnjax.annotations import Static

__version__ = "0.1.0"

_ROOMS = (
    *("analysis", "augment", "config", "data", "layers", "models", "ops", "programs", "runs", "sweep", "tasks"),
    *("train", "weights"),
)
_FILES = {"optimizers": "cnnjax.train.optimizers", "schedules": "cnnjax.train.schedules"}  # rooms of entries too
_NAMES = {
    "run": "cnnjax.programs.train",
    "evaluate": "cnnjax.train.trained",
    "load": "cnnjax.train.trained",
    "lr_range": "cnnjax.train.range_test",
    "sensitivity": "cnnjax.train.sensitivities",
}

__all__ = ["Static", "__version__", *_ROOMS, *_FILES, *_NAMES]


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f"cnnjax.{name}")
    if name in _FILES:
        return importlib.import_module(_FILES[name])
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'cnnjax' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__():
    return sorted(__all__)
