"""Augmentation: pure functions of a key, composed into one function of a batch that runs inside the step."""

from cnnjax.augment.cifar_c import *
from cnnjax.augment.colors import *
from cnnjax.augment.corruptions import *
from cnnjax.augment.erasing import *
from cnnjax.augment.hearing import *
from cnnjax.augment.mixing import *
from cnnjax.augment.moves import *
from cnnjax.augment.pipeline import *
from cnnjax.augment.policies import *
from cnnjax.augment.temporal import *
from cnnjax.augment.textures import *
from cnnjax.augment.views import *
from cnnjax.augment.weather import *
