"""What processes that train together do alone, and agree upon: what one refuses is refused by all, and none waits.

Each reads its data, the weights to begin from and modules of one's own from its own disk, under the same path. The
workdir is the first one's alone: the others neither read nor write there.
"""

import json
import os
import pickle
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from cnnjax import _versions
from cnnjax.runs._relay import Relay
from cnnjax.runs._watch import Watch, watching

__all__ = [
    "ProcessFailed",
    "by_all",
    "by_first",
    "check_alike",
    "end",
    "first_array",
    "join",
    "join_cluster",
    "of_all",
    "on_lost",
    "settle",
]

_LONGEST = 4000  # bytes of what went wrong
_FEW = 4  # differences that are named
_HOUR = 3_600_000  # milliseconds: whoever is lost meanwhile is seen by the watch
_MORE = 20.0  # seconds that the watch may take beyond its patience until it has ended the process
_TORN = re.compile(r"[A-Z_]{5,}: ")  # how a program of XLA begins to say that it was torn off
_SHARED = "every host reads data, train.init and your own modules under the same path; the workdir is the first one's"


class ProcessFailed(ValueError):
    """Another of the processes that train together can't go on."""

    exit_code = 2


def join(coordinator: str, processes: int, process: int, devices: Sequence[int] = (), *, patience: float) -> None:
    """Joins the processes that train together; one that is not heard of for `patience` seconds ends them all.

    `devices` are those of the host that are this process'; without any, those that JAX gives it.
    """
    relay = Relay(coordinator) if process and "JAX_MTLS_CERT_FILE" not in os.environ else None
    address = relay.address if relay else coordinator
    # JAX's own heartbeat ends a process without a word to its user: it is there for where the watch can't be
    own = max(100, int(4 * patience))
    jax.distributed.initialize(address, processes, process, list(devices) or None, heartbeat_timeout_seconds=own)
    if processes > 1:
        hung_up = (lambda: relay.closed) if relay else (lambda: False)
        Watch(_versions.coordination_client(), process, processes, patience, hung_up).start()


def join_cluster(*, patience: float) -> None:
    """Joins the processes that a cluster has started together, as JAX finds out by itself."""
    coordinator, processes, process, devices = _versions.cluster()
    if None in (coordinator, processes, process):
        jax.distributed.initialize()  # says what is missing
    else:
        join(coordinator, processes, process, devices or (), patience=patience)


def on_lost(act: Callable[[str], None]) -> None:
    """Has `act` called, with words, before this process ends because another is lost."""
    if watch := watching():
        watch.on_lost = act


def settle(error: BaseException) -> None:
    """Returns where an error is this process' own; one of a program that was torn off waits for who is lost."""
    torn = isinstance(error, jax.errors.JaxRuntimeError) or _TORN.match(str(error))
    if (watch := watching()) and torn and not hasattr(error, "exit_code"):
        time.sleep(watch.patience + _MORE)  # the watch ends the process meanwhile
    if watch:
        watch.settled()


def end(code: int, words: str = "") -> None:
    """Says to the others that this process ends, and why."""
    if watch := watching():
        watch.end(code, " ".join(words.split()))


def check_alike(story: Mapping[str, Any]) -> None:
    """Refuses, in every process, processes of which not all say the same of themselves; needs nothing compiled."""
    if jax.process_count() == 1:
        return
    client, process = _versions.coordination_client(), jax.process_index()
    place = f"cnnjax/alike/{client.key_value_increment(f'cnnjax/calls/{process}', 1)}"
    if process == 0:
        client.key_value_set(f"{place}/story", json.dumps({**story, "host": socket.gethostname()}))
    first = json.loads(client.blocking_key_value_get(f"{place}/story", _HOUR))
    host = first.pop("host")
    mine = json.loads(json.dumps(story))
    other = [key for key in {**first, **mine} if mine.get(key) != first.get(key)]
    if other:
        words = "; ".join(f"{key} {_value(mine, key)}, there {_value(first, key)}" for key in other[:_FEW])
        more = f" and {len(other) - _FEW} more" if len(other) > _FEW else ""
        said = f"process {process} on {socket.gethostname()} is not as process 0 on {host}: {words}{more}"
        client.key_value_set(f"{place}/others/{process:06}", said)
    client.wait_at_barrier(f"{place}/compared", _HOUR)
    if others := [said for _, said in sorted(client.key_value_dir_get(f"{place}/others/"))]:
        more = [f"and {len(others) - 2} more processes"] if len(others) > 2 else []
        alike = "start all with the same config, commit and versions"
        raise ProcessFailed("\n".join([*others[:2], *more, alike]))


def _value(story: Mapping[str, Any], key: str) -> str:
    return str(story[key]) if key in story else "none"


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


def of_all(count: int) -> int:
    """The sum of what each process counts."""
    return int(np.sum(multihost_utils.process_allgather(np.asarray(count)))) if jax.process_count() > 1 else count


def first_array(array: np.ndarray) -> np.ndarray:
    """The array (…) of the first process; the others give one of its shape."""
    return np.asarray(multihost_utils.broadcast_one_to_all(array))
