"""Fourteen shapes that a task may have, as a user's own files would have them: made data, tiny nets, small tasks."""

from tests.tasks.shapes_of_task.data import *
from tests.tasks.shapes_of_task.nets import *
from tests.tasks.shapes_of_task.tasks import *
