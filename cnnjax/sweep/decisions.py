"""What becomes of the members of a pack while it trains: a policy is asked after every evaluation."""

import dataclasses
from collections.abc import Mapping, Sequence

from cnnjax.sweep.points import Run

__all__ = ["LENIENT", "Decision", "Policy"]


@dataclasses.dataclass(frozen=True)
class Decision:
    """What becomes of the members after an evaluation: some end here, each goes on as a copy of another.

    `ended` holds places in the pack; `source[k]`, where it is given, is the member whose state k goes on from, with
    the numbers `hparams[k]` in place of that member's.
    """

    ended: tuple[int, ...] = ()
    source: tuple[int, ...] = ()
    hparams: tuple[Mapping[str, float], ...] = ()


class Policy:
    """Is asked after every evaluation but the last what becomes of the members; this one lets them be.

    `rescues` says that members whose updates are not finite are left to it, and not taken out of the pack; `flags` are
    those of `cnnjax sweep --part` that ask the same policy in another process.
    """

    rescues = False
    flags: tuple[str, ...] = ()

    def decide(
        self,
        step: int,
        runs: Sequence[Run],
        metrics: Sequence[Mapping[str, float]],
        numbers: Sequence[Mapping[str, float]],
    ) -> Decision:
        """The decision at a step; metrics of members that have ended or come to nothing are {}."""
        return Decision()


LENIENT = Policy()
