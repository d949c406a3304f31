"""Looking into networks: what they cost, what each unit sees."""

from cnnjax.analysis.counting import *
from cnnjax.analysis.mistakes import *
from cnnjax.analysis.receptive import *
