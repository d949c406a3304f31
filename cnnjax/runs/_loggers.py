"""Where a report goes beside its lines: TensorBoard, wandb, the terminal. Each may fail; `report` deals with that."""

import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnjax import _versions
from cnnjax.refusals import plain
from cnnjax.runs.json_files import read_json
from cnnjax.runs.workdir import write_json

_FLUSH = 5.0  # seconds between two flushes of the events, each of which waits for the disk


class TensorBoard:
    """Event files in `tensorboard/`, written in place: tensorboardX's own thread blocks for ever on a full disk."""

    name = "tensorboard"

    def __init__(self, directory: Path):
        self._directory = directory
        self._purge = 0
        self._flushed = 0.0
        self._file: Any = None

    def write(self, line: Mapping[str, Any]) -> None:
        self._open()
        messages = _versions.event_messages()
        values = [messages.Summary.Value(tag=tag, simple_value=value) for tag, value in _scalars(line).items()]
        if values:
            summary = messages.Summary(value=values)
            self._put(messages.Event(wall_time=time.time(), step=line["step"], summary=summary))
        if time.monotonic() - self._flushed > _FLUSH:
            self._file.flush()
            self._flushed = time.monotonic()

    def picture(self, step: int, name: str, path: Path) -> None:
        """Shows a PNG."""
        self._open()
        messages, content = _versions.event_messages(), path.read_bytes()
        width, height = (int.from_bytes(content[i : i + 4]) for i in (16, 20))
        image = messages.Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=content)
        summary = messages.Summary(value=[messages.Summary.Value(tag=name, image=image)])
        self._put(messages.Event(wall_time=time.time(), step=step, summary=summary))

    def truncate(self, step: int) -> None:
        """Tells TensorBoard to forget what was logged after `step`."""
        self.close()
        self._purge = step + 1

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _open(self) -> None:
        if self._file is not None:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files by name. tensorboardX counts in seconds: two files of one second would be one.
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = _versions.record_writer(str(self._directory / name))
        messages = _versions.event_messages()
        self._put(messages.Event(wall_time=time.time(), file_version="brain.Event:2"))
        if self._purge:
            start = messages.SessionLog(status=messages.SessionLog.SessionStatus.START)
            self._put(messages.Event(wall_time=time.time(), step=self._purge, session_log=start))

    def _put(self, event: Any) -> None:
        self._file.write(event.SerializeToString())


class Wandb:
    """A run of Weights & Biases, the same one when training resumes."""

    name = "wandb"

    def __init__(self, workdir: Path, project: str, config: Mapping[str, Any]):
        try:
            import wandb
        except ImportError:
            raise ValueError(
                f"report.wandb is {project!r}, but wandb is not installed\n"
                'install it with `pip install "cnnjax[wandb]"`, or leave report.wandb empty'
            ) from None
        self._module, self._workdir, self._project, self._config = wandb, workdir, project, dict(config)
        self._run: Any = None

    def write(self, line: Mapping[str, Any]) -> None:
        self._begin()
        self._run.log({"step": line["step"], **_scalars(line)})

    def picture(self, step: int, name: str, path: Path) -> None:
        """Shows a PNG."""
        self._begin()
        self._run.log({"step": step, name: self._module.Image(str(path))})

    def _begin(self) -> None:
        if self._run is None:
            self._run = self._module.init(
                project=self._project,
                name=self._workdir.name,
                dir=str(self._workdir),
                id=self._id(),
                resume="allow",
                config=self._config,
            )
            # Its own step never goes back, ours does: after a roll-back and on resuming.
            self._run.define_metric("*", step_metric="step")

    def _id(self) -> str:
        path = self._workdir / "wandb.json"
        if not path.exists():
            write_json(path, {"id": secrets.token_hex(4)})
        return read_json(path, {"id": str})["id"]

    def truncate(self, step: int) -> None:
        """Nothing: later values of a step replace earlier ones in the picture."""

    def close(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.finish()


class Terminal:
    """Lines on the standard output; on a real terminal the last one lives in place."""

    name = "the terminal"

    def __init__(self):
        self._width = 0  # of the live line on the screen

    def say(self, text: str) -> None:
        """Prints lines that stay."""
        stream = sys.stdout
        if self._width and stream.isatty():
            stream.write("\r\x1b[K")
        self._width = 0
        stream.write(plain(text) + "\n")
        stream.flush()

    def live(self, text: str, *, stays: bool = True) -> None:
        """Shows a line in place of the last live one; elsewhere than on a terminal prints it, if it `stays`."""
        stream = sys.stdout
        if not stream.isatty():
            if stays:
                self.say(text)
            return
        text = plain(text)[: shutil.get_terminal_size().columns - 1]
        stream.write(f"\r\x1b[K{text}")
        stream.flush()
        self._width = len(text)

    def close(self) -> None:
        """Leaves the cursor on a fresh line, with what was last shown."""
        if self._width and sys.stdout.isatty():
            sys.stdout.write("\n")
            sys.stdout.flush()
        self._width = 0


def _scalars(line: Mapping[str, Any]) -> dict[str, float]:
    """Tag → value of the numbers in a line: `train/loss`, `eval/accuracy`, `time/step_ms`."""
    part = line.get("split") or line.get("name", "").replace(" ", "_") or line["kind"]
    found = {f"{part}/{key}": value for key, value in line.items() if key not in ("step", "kind")}
    if line["kind"] == "train":
        found |= {f"time/{key}": value for key, value in line.get("time", {}).items() if key != "at"}
    lost = {f"{part}/{key}": float("nan") for key in line.get("not_finite", ()) if line.get(key, 0) is None}
    return {
        tag: float(value)
        for tag, value in (found | lost).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
