"""Whether an accelerator of this machine stands idle, and what would put it to work."""

import re
from pathlib import Path

_DRIVERS = ((580, "cuda13"), (525, "cuda12"))  # the first NVIDIA driver that runs programs of each


def idle_accelerator(platform: str, *, wanted: str, jax: str, root: Path = Path("/")) -> str:
    """A line on a GPU or TPU of this machine that JAX, which runs on `platform`, does not use; "" where none is idle.

    `wanted` is what the user has asked for (JAX_PLATFORMS), `jax` the release that is installed.
    """
    if platform != "cpu" or wanted:
        return ""
    install = f'pip install "jax[{{}}]=={jax}"'
    if any((root / "dev").glob("accel[0-9]*")):
        return f"a TPU stands idle: {install.format('tpu')}"
    if not any((root / "dev").glob("nvidia[0-9]*")):
        return ""
    driver = _driver(root / "proc/driver/nvidia/version")
    extra = next((extra for first, extra in _DRIVERS if driver >= first), "")
    if not extra:
        return f"an NVIDIA GPU stands idle: its driver is {driver or 'not known'}, JAX needs {_DRIVERS[-1][0]} or later"
    return f"an NVIDIA GPU stands idle: {install.format(extra)}"


def _driver(file: Path) -> int:
    """The number of the NVIDIA driver's release, from what it says of itself; 0 where it says nothing."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+)\.\d", file.read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0
