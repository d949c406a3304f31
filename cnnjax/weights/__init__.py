"""Weights of other frameworks in and out, by rule, through readers that run nothing; programs that run elsewhere."""

from cnnjax.weights.files import *
from cnnjax.weights.programs import *
from cnnjax.weights.published import *
from cnnjax.weights.transfer import *
