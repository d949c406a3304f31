"""Data sets: sources with their splits and facts, and the order in which their examples are seen."""

from cnnjax.data.annotated import *
from cnnjax.data.birdseye import *
from cnnjax.data.catalogue import *
from cnnjax.data.coco_names import *
from cnnjax.data.corpora import *
from cnnjax.data.curves import *
from cnnjax.data.embedded import *
from cnnjax.data.filmed import *
from cnnjax.data.folders import *
from cnnjax.data.in_memory import *
from cnnjax.data.masked import *
from cnnjax.data.motions import *
from cnnjax.data.placing import *
from cnnjax.data.printed import *
from cnnjax.data.recorded import *
from cnnjax.data.skeletons import *
from cnnjax.data.source import *
from cnnjax.data.stream import *
from cnnjax.data.synthetic import *
from cnnjax.data.tables import *
from cnnjax.data.volumes import *
