"""Processes that read examples ahead of time.

They are plain `python -c` processes at the other end of a socket, not `multiprocessing` ones: those import the main
script again, which costs seconds where it imports jax and fails where it has no `if __name__ == "__main__"`. A worker
ends when its socket closes, so none outlives a main process that was killed.
"""

import json
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import numpy as np

from cnnjax.data.source import DataError, examples, within_budget

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
        members = [_Worker(pickled) for _ in range(count)] or [_Here(split)]
        self.processes = [member.process.pid for member in members if count]
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

    def submit(self, indices):
        """Futures that together give the rows, in order; each result is (fields, found)."""
        parts = np.array_split(indices, min(self.width, len(indices)))
        return [self._threads.submit(_ask, self._idle, part) for part in parts]


def _ask(idle, indices):
    member = idle.get()
    try:
        return member.read(indices)
    finally:
        idle.put(member)  # a dead one too: whoever waits for it must hear so


def _end(members, threads):
    threads.shutdown(wait=False, cancel_futures=True)
    for member in members:
        member.kill()
    threads.shutdown(wait=True)
    for member in members:
        member.close()


class _Here:
    """Reads in this process."""

    def __init__(self, split):
        self.split = split

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
    """One process and our end of its socket."""

    def __init__(self, pickled):
        self._split = pickled
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
            if self._split:
                self._line.send_bytes(self._split)
                self._split = b""
            self._line.send(indices)
            kind, *answer = self._line.recv()
        except (EOFError, OSError) as error:
            raise DataError(self._obituary(indices)) from error
        if kind == "read":
            return tuple(answer)
        raise DataError(answer[0])

    def _obituary(self, indices):
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = "unknown"
        cause = "killed, perhaps for want of memory" if code == -signal.SIGKILL else f"exit code {code}"
        return (
            f"a data worker process died ({cause}) while reading {len(indices)} examples from {indices[0]} on; "
            f"fewer data.workers need less memory, data.workers=0 reads in the main process"
        )

    def kill(self):
        self.process.kill()

    def close(self):
        self.process.wait()
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
    for number in (signal.SIGINT, signal.SIGTERM):  # these go to the whole group; the main process decides when to end
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

    def collect(self, futures):
        """The fields of all these rows, joined in order."""
        parts = []
        for future in futures:
            fields, found = future.result()
            self._keep(found)
            parts.append(fields)
        return parts[0] if len(parts) == 1 else {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _keep(self, found):
        new = {name: reason for name, reason in found.items() if name not in self._written}
        if new and self.path:
            try:
                with open(self.path, "a", encoding="utf-8") as lines:
                    lines.write("\n" * self._torn)
                    lines.writelines(json.dumps({"record": n, "reason": r}) + "\n" for n, r in new.items())
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
            print(f"{self.path}: {what}, and passed over", file=sys.stderr, flush=True)
        return set(names) - {""}

    def _give_up(self, error):
        print(f"{self.path}: {error.strerror}; what is broken is listed no more", file=sys.stderr, flush=True)
        self.path = ""


def _recorded_name(line):
    """The name of the broken file that a line lists; "" where it is no such line."""
    try:
        name = json.loads(line)["record"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return ""
    return name if isinstance(name, str) else ""
