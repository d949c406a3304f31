"""Sweeps: many trainings as one program, many machines as one queue, and what came of them."""

from cnnjax.sweep.space import *
