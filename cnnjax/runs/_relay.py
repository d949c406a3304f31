"""A line to the coordinator that stays open when the coordinator is gone.

JAX's client ends its process, with a stack of C++ and signal 6, at the moment when its line to the coordinator closes:
nobody would hear which process died, no status be written. It is given an address of this process instead.
"""

import contextlib
import socket
import threading
from typing import Any

__all__ = ["Relay"]

_BYTES = 65536


class Relay:
    """Passes on what comes to `address`, here, to a coordinator elsewhere; `closed` says that this one hung up."""

    def __init__(self, coordinator: str):
        host, _, port = coordinator.rpartition(":")
        self._target = host.strip("[]"), int(port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.closed = False
        self._lines: list[Any] = []  # held, so that none is closed behind the client's back
        _in_background(self._listen)

    def _listen(self) -> None:
        while True:
            ours, _ = self._listening.accept()
            try:
                theirs = socket.create_connection(self._target)
            except OSError:  # not there yet: the client tries again
                if not self.closed:
                    ours.close()
                continue
            for line in (ours, theirs):
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._lines += [ours, theirs]
            _in_background(self._outward, ours, theirs)
            _in_background(self._inward, theirs, ours)

    def _outward(self, ours: socket.socket, theirs: socket.socket) -> None:
        _pass_on(ours, theirs)
        with contextlib.suppress(OSError):
            theirs.shutdown(socket.SHUT_WR)

    def _inward(self, theirs: socket.socket, ours: socket.socket) -> None:
        _pass_on(theirs, ours)
        self.closed = True


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(_BYTES):
            target.sendall(content)


def _in_background(work: Any, *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, name="coordinator", daemon=True).start()
