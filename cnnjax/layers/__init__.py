"""Flax modules around `cnnjax.ops`: they own parameters, with explicit names, and compute in the dtype of their input."""

from cnnjax.layers.activations import *
from cnnjax.layers.initializers import *
from cnnjax.layers.linear import *
from cnnjax.layers.noise import *
from cnnjax.layers.normalizing import *
from cnnjax.layers.pooling import *
from cnnjax.layers.styles import *
