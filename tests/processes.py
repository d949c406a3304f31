"""Processes that tests start."""

import os
import subprocess
import sys

from tests.conftest import ROOT


def python(code: str, *arguments, **environment: str) -> subprocess.Popen:
    """A process that runs `code` in the root of the project, with warnings as errors; its pipes are text."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
    )


def printed(code: str) -> str:
    """What a fresh Python prints for this code, which must succeed."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
