"""Looking into networks: what they cost, what each unit sees, why they answer, which mistakes they make."""

from cnnjax.analysis.attacks import *
from cnnjax.analysis.attribution import *
from cnnjax.analysis.calibration import *
from cnnjax.analysis.counting import *
from cnnjax.analysis.footprint import *
from cnnjax.analysis.frechet import *
from cnnjax.analysis.judging import *
from cnnjax.analysis.latents import *
from cnnjax.analysis.mistakes import *
from cnnjax.analysis.pictures import *
from cnnjax.analysis.receptive import *
from cnnjax.analysis.rewriting import *
from cnnjax.analysis.tapping import *
from cnnjax.analysis.units import *
