"""Pure array functions for convolutional networks: arrays in, arrays out, channels last."""

from cnnjax.ops.attacks import *
from cnnjax.ops.axes import *
from cnnjax.ops.boxes import *
from cnnjax.ops.compilation import *
from cnnjax.ops.convolution import *
from cnnjax.ops.filters import *
from cnnjax.ops.losses import *
from cnnjax.ops.normalization import *
from cnnjax.ops.points import *
from cnnjax.ops.pooling import *
from cnnjax.ops.randomness import *
from cnnjax.ops.regions import *
from cnnjax.ops.resampling import *
from cnnjax.ops.shapes import *
from cnnjax.ops.spectra import *
from cnnjax.ops.tiles import *
from cnnjax.ops.turned import *
