"""Weights of other frameworks in and out, by rule, through readers that run nothing."""

from cnnjax.weights.files import *
from cnnjax.weights.transfer import *
