"""Every test sees a CPU with eight devices, and the same draws whenever it runs."""

import copy
import gc
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

if "jax" in sys.modules:
    raise RuntimeError("jax was imported before tests/conftest.py could ask for eight devices")
os.environ["JAX_PLATFORMS"] = "cpu"
# Tests compile a thousand programs and run each for a moment: at this level LLVM takes a third of its time.
_FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAGS}".strip()

# The same small programs are compiled by many tests and by the processes that they start.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

pytest_plugins = ["tests.spending"]

# Traced programs are many small objects that live long: at the usual thresholds a tenth of the time goes to looking
# through them for garbage.
gc.set_threshold(100_000, 50, 50)

# What calls oneDNN can't be kept in the cache: trainings do without, in processes that tests start too.
os.environ["CNNJAX_ONEDNN"] = "0"

hypothesis.settings.register_profile("house", deadline=None, max_examples=10, derandomize=True, database=None)
hypothesis.settings.load_profile("house")


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder that pyproject.toml stands in."""
    return ROOT


@pytest.fixture(autouse=True)
def _library(request, monkeypatch):
    """Functions, what they weigh and the benchmarks are tested as users run them, with oneDNN."""
    if request.path.relative_to(ROOT / "tests").parts[0] in ("experiments", "ops", "weights"):
        monkeypatch.delenv("CNNJAX_ONEDNN", raising=False)


@pytest.fixture(scope="session")
def real():
    """A function from a file's name to its place in CNNJAX_DATA; where that has it not, the test is skipped."""

    def found(name):
        path = Path(os.environ.get("CNNJAX_DATA", ROOT / "no such folder")) / name
        if not path.exists():
            pytest.skip(f"CNNJAX_DATA names no folder with {name}")
        return path

    return found


@pytest.fixture
def at_home(monkeypatch) -> Path:
    """The test runs in the project's folder, as its commands do."""
    monkeypatch.chdir(ROOT)
    return ROOT


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """A small net that has seen the digits for a moment: for whatever reads a run and does not mind which."""
    import cnnjax
    from cnnjax.config import load

    flags = "train.steps=20 train.devices=1 model.name=mlp model.hidden=32 augment.train=normalize eval.test=no"
    quiet = "report.quiet=yes report.tensorboard=no report.page=no report.curves=no"
    made = load(str(ROOT / "configs" / "digits.py"), [f"--config.{flag}" for flag in f"{flags} {quiet}".split()])
    return cnnjax.run(made, tmp_path_factory.mktemp("digits") / "run")


@pytest.fixture(scope="session")
def train_apart():
    """A function that trains a config of the repository by the command line, in a process of its own, and loads it.

    For trainings of a minute: there LLVM may take its time, and the loops it makes run three times as fast.
    """
    import cnnjax

    def train(config, workdir, *flags):
        environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
        command = [sys.executable, "-m", "experiments.train", f"--config={config}", f"--workdir={workdir}", *flags]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return cnnjax.load(workdir)

    return train


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests that share a fixture of their module run in one worker, so that it is made once."""
    from tests.scheduling import Sharing

    return Sharing(config, log)


_FIRST = {}  # states of generators, by file and name


@pytest.fixture(autouse=True)
def _the_same_draws(request):
    """A test draws the same from its file's generators whatever ran before it, and in whichever process."""
    for name, value in vars(request.module).items():
        if isinstance(value, np.random.Generator):
            first = _FIRST.setdefault((request.module.__name__, name), copy.deepcopy(value.bit_generator.state))
            value.bit_generator.state = copy.deepcopy(first)
