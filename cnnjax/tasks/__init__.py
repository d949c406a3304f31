"""What is predicted, and how it is scored: one file per kind of thing."""

from cnnjax.tasks.images import *  # noqa: F403
from cnnjax.tasks.labels import *  # noqa: F403
from cnnjax.tasks.pixels import *  # noqa: F403
