"""What is predicted, and how it is scored: one file per kind of thing."""

from cnnjax.tasks.attacks import *
from cnnjax.tasks.boxes import *
from cnnjax.tasks.boxes3d import *
from cnnjax.tasks.contract import *
from cnnjax.tasks.images import *
from cnnjax.tasks.labels import *
from cnnjax.tasks.pixels import *
from cnnjax.tasks.points import *
from cnnjax.tasks.semisupervised import *
from cnnjax.tasks.series import *
from cnnjax.tasks.teaching import *
