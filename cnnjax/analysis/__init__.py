"""Looking into networks: what they cost, what each unit sees, why they answer, which mistakes they make."""

from cnnjax.analysis.attacks import *
from cnnjax.analysis.attribution import *
from cnnjax.analysis.calibration import *
from cnnjax.analysis.connections import *
from cnnjax.analysis.counting import *
from cnnjax.analysis.effective import *
from cnnjax.analysis.equivariance import *
from cnnjax.analysis.field_pictures import *
from cnnjax.analysis.footprint import *
from cnnjax.analysis.gabor_fits import *
from cnnjax.analysis.invariance import *
from cnnjax.analysis.judging import *
from cnnjax.analysis.mistakes import *
from cnnjax.analysis.moved_pictures import *
from cnnjax.analysis.objectives import *
from cnnjax.analysis.physiology import *
from cnnjax.analysis.pictures import *
from cnnjax.analysis.portraits import *
from cnnjax.analysis.receptive import *
from cnnjax.analysis.rewriting import *
from cnnjax.analysis.spectra import *
from cnnjax.analysis.tapping import *
from cnnjax.analysis.units import *
from cnnjax.analysis.visualization import *
