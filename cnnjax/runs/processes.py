"""What processes that train together do alone, and agree upon: what one refuses is refused by all, and none waits.

Each reads its data, the weights to begin from and modules of one's own from its own disk, under the same path. The
workdir is the first one's alone: the others neither read nor write there.
"""

import pickle
import socket
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

__all__ = ["ProcessFailed", "by_all", "by_first", "first_array"]

_LONGEST = 4000  # bytes of what went wrong
_SHARED = "every host reads data, train.init and your own modules under the same path; the workdir is the first one's"


class ProcessFailed(ValueError):
    """Another of the processes that train together can't go on."""

    exit_code = 2


def by_first[T](make: Callable[[], T]) -> T:
    """What the first process makes, in every process (it is pickled); where it refuses, all do."""
    if jax.process_count() == 1:
        return make()
    found, refused = None, None
    if jax.process_index() == 0:
        try:
            found = make()
        except (ValueError, OSError) as error:
            refused = error
    text = np.frombuffer(pickle.dumps((found, refused)), np.uint8)
    length = int(first_array(np.asarray([text.size], np.int32))[0])
    if jax.process_index():
        text = np.zeros(length, np.uint8)
    found, refused = pickle.loads(first_array(text).tobytes())
    if refused is not None:
        raise refused
    return found


def by_all[T](make: Callable[[], T]) -> T:
    """What each process makes for itself; where one fails, all end, the others with its words."""
    if jax.process_count() == 1:
        return make()
    found, failed = None, None
    try:
        found = make()
    except Exception as error:
        failed = error
    words = f"{socket.gethostname()}: {type(failed).__name__}: {failed}" if failed else ""
    text = words.encode()[:_LONGEST]
    everybody = multihost_utils.process_allgather(np.frombuffer(text.ljust(_LONGEST, b"\0"), np.uint8))
    if failed:
        raise failed
    for process, each in enumerate(np.asarray(everybody)):
        if words := each.tobytes().rstrip(b"\0").decode(errors="replace"):
            raise ProcessFailed(f"process {process} on {words}\n{_SHARED}")
    return found


def first_array(array: np.ndarray) -> np.ndarray:
    """The array (…) of the first process; the others give one of its shape."""
    return np.asarray(multihost_utils.broadcast_one_to_all(array))
