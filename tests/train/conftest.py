"""What tests of trainings share."""

import pytest

from tests.trainings import prepared_once


@pytest.fixture(scope="module")
def once():
    """Runs of the same config in a module are one program in memory, which is traced and compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("cnnjax.train.loop", "cnnjax.sweep.training"):
            patch.setattr(f"{module}.prepare", prepared_once)
        yield
