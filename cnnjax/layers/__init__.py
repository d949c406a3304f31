"""Flax modules around `cnnjax.ops`: parameters with explicit names, computed in the dtype of the input."""

from cnnjax.layers.activations import *
from cnnjax.layers.initializers import *
from cnnjax.layers.linear import *
from cnnjax.layers.noise import *
from cnnjax.layers.normalizing import *
from cnnjax.layers.pools import *
from cnnjax.layers.styles import *
