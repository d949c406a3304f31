"""Networks: `cnnjax.models.resnet18(outputs=10)` is a Flax module with `features` and `strides`; it knows no labels."""

from cnnjax.models.alexnets import *
from cnnjax.models.autoencoders import *
from cnnjax.models.convnets import *
from cnnjax.models.convnexts import *
from cnnjax.models.densenets import *
from cnnjax.models.detectors import *
from cnnjax.models.efficientnets import *
from cnnjax.models.fcns import *
from cnnjax.models.gans import *
from cnnjax.models.googlenets import *
from cnnjax.models.inceptions import *
from cnnjax.models.lenets import *
from cnnjax.models.mlps import *
from cnnjax.models.mobilenets import *
from cnnjax.models.pairs import *
from cnnjax.models.pitches import *
from cnnjax.models.poses import *
from cnnjax.models.resnets import *
from cnnjax.models.series import *
from cnnjax.models.texts import *
from cnnjax.models.unets import *
from cnnjax.models.vggs import *
from cnnjax.models.videos import *
from cnnjax.models.whitened import *
