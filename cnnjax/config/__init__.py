"""Configs: sections filled from signatures, flags that change them, checks before a run; imports no jax."""

from cnnjax.config.public import *
