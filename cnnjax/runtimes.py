"""What a machine and its Python have, what is to be installed for its GPU or TPU, and what a notebook begins with.

Needs nothing but Python: it runs before anything is installed.
"""

import dataclasses
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["Runtime", "device_words", "extra_of", "mismatched", "outdated", "prepare_notebook", "this_runtime"]

_DRIVERS = {"cuda13": 580, "cuda12": 525}  # the oldest NVIDIA driver that each of JAX's builds runs on, newest first
_TPU_WORDS = ("COLAB_TPU_ADDR", "COLAB_TPU_1VM", "TPU_ACCELERATOR_TYPE", "TPU_NAME")
_PLUGIN = re.compile(r"jax-cuda\d+-(plugin|pjrt)")


@dataclasses.dataclass(frozen=True)
class Runtime:
    """The versions of the packages that are installed, and of those that this process has loaded; what it could run on.

    `driver` is the major version of NVIDIA's.
    """

    packages: Mapping[str, str]
    loaded: Mapping[str, str] = dataclasses.field(default_factory=dict)
    gpu: str = ""
    driver: int = 0
    tpu: bool = False
    colab: bool = False


def this_runtime() -> Runtime:
    """The runtime that asks."""
    packages = _packages()
    owners = importlib.metadata.packages_distributions()
    modules = {name.partition(".")[0] for name in sys.modules}
    names = {_canonical(owner) for module in modules for owner in owners.get(module, ())}
    gpu, driver = _nvidia()
    tpu = any(os.environ.get(word) for word in _TPU_WORDS) or Path("/dev/accel0").exists()
    loaded = {name: packages[name] for name in sorted(names & packages.keys())}
    return Runtime(packages, loaded, gpu, driver, tpu, "google.colab" in sys.modules)


def extra_of(runtime: Runtime) -> str:
    """The extra of this project that brings JAX's build for the runtime: `tpu`, `cuda13`, `cuda12`; "" is the CPU's.

    Of the two for NVIDIA it is the one whose plugin is there already, so that this is replaced and none is left beside
    it; else the newest that the driver runs.
    """
    if runtime.tpu:
        return "tpu"
    fitting = [name for name, oldest in _DRIVERS.items() if runtime.gpu and runtime.driver >= oldest]
    there = [name for name in fitting if f"jax-{name}-plugin" in runtime.packages]
    return next(iter(there or fitting), "")


def mismatched(packages: Mapping[str, str]) -> list[str]:
    """The plugins of JAX that are of another version than it is: JAX passes them over, and runs on the CPU."""
    jax = packages.get("jaxlib", "")
    return sorted(name for name, version in packages.items() if _PLUGIN.fullmatch(name) and version != jax)


def outdated(loaded: Mapping[str, str], packages: Mapping[str, str]) -> list[str]:
    """What a process has loaded in another version than is installed now, in words; it goes on with the old one."""
    return [
        f"{name} {version} is loaded, {packages.get(name, 'none')} installed"
        for name, version in loaded.items()
        if packages.get(name) != version
    ]


def device_words(kind: str, platform: str, runtime: Runtime) -> str:
    """The line that says which device will train, and where a GPU or TPU stands idle, what to do."""
    extra = extra_of(runtime)
    if platform != "cpu":
        return f"trains on {kind}"
    if extra:
        idle = "a TPU" if runtime.tpu else runtime.gpu
        cure = f"pip install 'cnnjax[{extra}]' (-e '.[{extra}]' in a checkout), and restart"
        return f"trains on the CPU: {idle} stands idle; {cure}"
    if runtime.gpu:
        oldest = min(_DRIVERS.values())
        return f"trains on the CPU: the driver of {runtime.gpu} is {runtime.driver}, and JAX needs {oldest} or newer"
    hint = "; Runtime → Change runtime type has GPUs and TPUs" if runtime.colab else ""
    return f"trains on the CPU: no GPU or TPU is found{hint}"


def prepare_notebook(checkout: str | Path) -> None:
    """Installs the checkout where cnnjax is missing, with JAX's build for this runtime, and says which device trains.

    Where something is loaded already in another version it asks for a restart, and ends the cell.
    """
    before = this_runtime()
    packages = before.packages
    if "cnnjax" not in packages:
        extra = extra_of(before)
        print(f"installing cnnjax{f' and what it needs for {extra}' if extra else ''}: a minute or two", flush=True)
        _pip("install", "--quiet", "--editable", f"{checkout}[{extra}]" if extra else str(checkout))
        packages = _packages()
        if stale := mismatched(packages):
            _pip("uninstall", "--quiet", "--yes", *stale)
    if changed := outdated(before.loaded, packages):
        where = "Runtime → Restart session" if before.colab else "Kernel → Restart"
        raise SystemExit(f"restart ({where}), then run this cell again: {'; '.join(changed)}")
    import jax

    device = jax.devices()[0]
    version = importlib.metadata.version("cnnjax")
    print(f"cnnjax {version}, jax {jax.__version__}: {device_words(device.device_kind, device.platform, before)}")


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", *arguments], check=True)
    importlib.invalidate_caches()


def _packages() -> dict[str, str]:
    found = {}
    for each in importlib.metadata.distributions():  # the first of a name is the one that is imported
        found.setdefault(_canonical(each.name), each.version)
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _nvidia() -> tuple[str, int]:
    """Name of the first NVIDIA GPU and major version of its driver; ("", 0) where there is none."""
    if shutil.which("nvidia-smi"):
        said = _said("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines()
        if said and re.fullmatch(r".+, \d+\.[\d.]+", said[0]):
            name, _, driver = said[0].rpartition(", ")
            return name, int(driver.partition(".")[0])
    version = Path("/proc/driver/nvidia/version")
    driver = re.search(r"\s(\d{3})\.\d+", version.read_text()) if version.exists() else None
    return ("an NVIDIA GPU", int(driver[1])) if driver and list(Path("/dev").glob("nvidia[0-9]*")) else ("", 0)


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
