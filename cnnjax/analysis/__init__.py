"""Looking into networks: what they cost, what each unit sees, which mistakes they make."""

from cnnjax.analysis.calibration import *
from cnnjax.analysis.counting import *
from cnnjax.analysis.footprint import *
from cnnjax.analysis.mistakes import *
from cnnjax.analysis.receptive import *
