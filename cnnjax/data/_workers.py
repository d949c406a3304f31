"""Processes that read examples ahead of time.

They are plain `python -c` processes at the other end of a socket, not `multiprocessing` ones: those import the main
script again, which costs seconds where it imports jax and fails where it has no `if __name__ == "__main__"`. A worker
ends when its socket closes, so none outlives a main process that was killed.
"""

import contextlib
import json
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import time
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor, wait
from multiprocessing.connection import Connection

import numpy as np

from cnnjax.data.source import DataError, examples, record, within_budget
from cnnjax.refusals import plain

_SLOW = 10.0  # seconds of reading after which a word is due; then after twice as many, and so on
_LOOK = 0.5  # seconds between two looks at what is waited for
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from cnnjax.data._workers import serve
serve(int(sys.argv[1]))
"""


class Workers:
    """Reads rows of a split in `count` processes; -1: one per core, 16 at most; 0: a thread of this process.

    What is in memory already is read by a thread in any case: a process would need a copy of it.
    """

    def __init__(self, split, count):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        in_memory = split.resident or getattr(split, "in_memory", False)
        count = 0 if in_memory else min(cores, 16) if count < 0 else count
        self.split, self.width = split, max(count, 1)
        self._idle = queue.SimpleQueue()
        pickled = _pickled(split) if count else b""
        self._members = members = [_Worker(pickled) for _ in range(count)] or [_Here(split)]
        for member in members:
            self._idle.put(member)
        self._threads = ThreadPoolExecutor(self.width, thread_name_prefix="cnnjax-data")
        self._end = weakref.finalize(self, _end, members, self._threads)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self._end()

    @property
    def processes(self):
        """Their numbers."""
        return [member.process.pid for member in self._members if isinstance(member, _Worker)]

    def results(self, futures, waiting):
        """What the futures give, in order; `waiting` is called now and then until all is there, and may raise."""
        while wait(futures, timeout=_LOOK).not_done:
            waiting()
            for member in self._members:
                self._tell_slow(member)
        return [future.result() for future in futures]

    def _tell_slow(self, member):
        indices, since, patience = member.reading
        if len(indices) and (seconds := time.monotonic() - since) > patience:
            member.reading = indices, since, 2 * patience
            cure = "" if isinstance(member, _Here) else "; once it is killed, another reads them"
            _say(
                f"{member} has been reading {len(indices)} examples from {record(self.split, indices[0])} on "
                f"for {seconds:.0f} s: is the disk there?{cure}"
            )

    def submit(self, indices):
        """Futures that together give the rows, in order; each result is (fields, found)."""
        parts = np.array_split(indices, min(self.width, len(indices)))
        return [self._threads.submit(_ask, self._idle, part) for part in parts]


def _ask(idle, indices):
    member = idle.get()
    member.reading = indices, time.monotonic(), _SLOW
    try:
        return member.read(indices)
    finally:
        member.reading = _NOTHING
        idle.put(member)  # a dead one too: whoever waits for it must hear so


def _end(members, threads):
    threads.shutdown(wait=False, cancel_futures=True)
    for member in members:
        member.kill()
    threads.shutdown(wait=all(member.reading is _NOTHING or isinstance(member, _Worker) for member in members))
    for member in members:
        member.close()


_NOTHING = ((), 0.0, _SLOW)  # what is read, since when, and after how many seconds a word is due


def _say(words):
    print(plain(words), file=sys.stderr, flush=True)


class _Here:
    """Reads in this process."""

    def __init__(self, split):
        self.split, self.reading = split, _NOTHING

    def __str__(self):
        return "a data thread (data.workers=0)"

    def read(self, indices):
        try:
            return examples(self.split, indices), dict(getattr(self.split, "bad", {}))
        except DataError:
            raise
        except Exception as error:
            raise DataError(_trouble(indices, error)) from error

    def kill(self):
        pass

    def close(self):
        pass


class _Worker:
    """One process and our end of its socket; where it dies, another reads the same examples once more."""

    def __init__(self, pickled):
        self._pickled, self.reading, self._ended = pickled, _NOTHING, False
        self._start()

    def __str__(self):
        return f"data worker {self.process.pid}"

    def _start(self):
        self._split = self._pickled
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), json.dumps(sys.path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for the main process
            )
        self._line = Connection(ours.detach())

    def read(self, indices):
        try:
            return self._asked(indices)
        except (EOFError, OSError) as error:
            died = self._obituary(indices)
            if self._ended:
                raise DataError(died) from error
        _say(f"{died}: another one reads them")
        self._line.close()
        self._start()
        if self._ended:
            self.process.kill()
        try:
            return self._asked(indices)
        except (EOFError, OSError) as error:
            raise DataError(
                f"{self._obituary(indices)}, as one did before it; "
                f"fewer data.workers need less memory, data.workers=0 reads in the main process"
            ) from error

    def _asked(self, indices):
        if self._split:
            self._line.send_bytes(self._split)
            self._split = b""
        self._line.send(indices)
        while not self._line.poll(_LOOK):
            if self._ended:  # and can't even be killed: it waits for a disk
                raise EOFError
        kind, *answer = self._line.recv()
        if kind == "read":
            return tuple(answer)
        raise DataError(answer[0])

    def _obituary(self, indices):
        try:
            code = self.process.wait(timeout=0 if self._ended else 5)
        except subprocess.TimeoutExpired:
            code = "unknown"
        cause = "killed, perhaps for want of memory" if code == -signal.SIGKILL else f"exit code {code}"
        return f"a data worker process died ({cause}) while reading {len(indices)} examples from {indices[0]} on"

    def kill(self):
        self._ended = True
        self.process.kill()

    def close(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        self._line.close()


def _pickled(split):
    try:
        return pickle.dumps(split)
    except Exception as error:
        raise DataError(
            f"{type(split).__name__} cannot be sent to data worker processes ({type(error).__name__}: {error}); "
            f"define it in an importable module, or set data.workers=0"
        ) from error


def serve(descriptor):
    """A worker's life: a split, then indices, each answered by their rows, until the socket closes."""
    # these go to the whole job; the main process decides when to end
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    line = Connection(descriptor)
    try:
        try:
            split = pickle.loads(line.recv_bytes())
        except (EOFError, OSError):
            raise
        except Exception as error:
            line.recv()
            line.send(("failed", f"a split {_UNLOADED.format(kind=type(error).__name__, error=error)}"))
            return
        known = set()
        while True:
            indices = line.recv()
            line.send(_answer(split, indices, known))
    except (EOFError, OSError):
        return


_UNLOADED = (
    "cannot be loaded in a data worker process ({kind}: {error}); "
    "define its class in an importable module, not in the script, or set data.workers=0"
)


def _answer(split, indices, known):
    try:
        fields = examples(split, indices)
    except DataError as error:
        return "failed", str(error)
    except Exception as error:
        return "failed", _trouble(indices, error)
    bad = getattr(split, "bad", {})
    found = {name: bad[name] for name in bad if name not in known}
    known.update(found)
    return "read", fields, found


def _trouble(indices, error):
    return f"reading {len(indices)} examples from {indices[0]} on failed: {type(error).__name__}: {error}"


class Ledger:
    """Keeps what was found broken while reading: in `split.bad`, in a file of JSON lines, and within the budget."""

    def __init__(self, split, path):
        self.split, self.path, self._torn = split, str(path), False
        self._written = self._recorded() if self.path else set()
        self._keep(dict(getattr(split, "bad", {})))

    def collect(self, results):
        """The fields of all these rows, each (fields, found), joined in order."""
        parts = []
        for fields, found in results:
            self._keep(found)
            parts.append(fields)
        return parts[0] if len(parts) == 1 else {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _keep(self, found):
        new = {name: reason for name, reason in found.items() if name not in self._written}
        if new and self.path:
            try:
                with open(self.path, "a", encoding="utf-8") as lines:
                    lines.write("\n" * self._torn)
                    lines.writelines(_sealed(name, reason) for name, reason in new.items())
                self._torn = False
            except OSError as error:
                self._give_up(error)
        self._written.update(new)
        if found:
            self.split.bad.update(found)
            within_budget(self.split)

    def _recorded(self):
        """The names that the file lists; what is torn or no record is passed over, and said."""
        try:
            with open(self.path, "rb") as file:
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return set()
        except OSError as error:
            self._give_up(error)
            return set()
        self._torn = bool(lines[-1])
        names = [_recorded_name(line) for line in lines if line]
        if count := names.count(""):
            what = f"{count} lines are no records" if count > 1 else "a line is no record"
            _say(f"{self.path}: {what}, and passed over")
        return set(names) - {""}

    def _give_up(self, error):
        _say(f"{self.path}: {error.strerror}; what is broken is listed no more")
        self.path = ""


def _sealed(record, reason):
    """The line that lists a broken file, with a checksum of what it says."""
    told = {"record": record, "reason": reason}
    return json.dumps({**told, "crc32": zlib.crc32(json.dumps(told).encode())}) + "\n"


def _recorded_name(line):
    """The name of the broken file that a line lists; "" where it is no such line, or not as it was written."""
    try:
        told = json.loads(line)
        name, plainly = told["record"], {"record": told["record"], "reason": told["reason"]}
        whole = isinstance(name, str) and told in (plainly, json.loads(_sealed(**plainly)))
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return ""
    return name if whole else ""  # earlier releases wrote no checksum
