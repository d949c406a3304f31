"""The package as it is installed: the wheel in an environment of its own, in a folder away from the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.doors

ROOT = Path(__file__).parents[1]
OWN = """
from cnnjax.config import change, load

def get_config():
    quiet = {"report.tensorboard": False, "report.curves": False}
    return change(load("digits:mlp"), {"train.steps": 4, "eval.steps": 2, "model.hidden": (8,)} | quiet)

def sweep():
    return [{"optimizer.lr": lr} for lr in (1e-3, 1e-2)] + [{"model.hidden": (16,)}]
"""
NETS = """
import flax.linen as nn

class Tiny(nn.Module):
    outputs: int = 10

    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(self.outputs, name="head")(x.reshape(x.shape[0], -1))

def tiny(*, outputs: int):
    return Tiny(outputs)
"""

pytest.importorskip("setuptools", reason="setuptools is in the lock, not here")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """What of the checkout a package is built from, in a folder of its own."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("cnnjax", "configs", "experiments"):
        rest = shutil.ignore_patterns("__pycache__", "notebooks", "results")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=rest)
    return folder


@pytest.fixture(scope="module")
def wheel(source) -> Path:
    """The wheel that pip builds of it."""
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "made", ".", cwd=source)
    (wheel,) = (source / "made").iterdir()
    return wheel


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of programs of an environment that has the wheel, and of this one all but the project.

    It stands in a repository of someone else's, whose commit is not that of the package.
    """
    repository = tmp_path_factory.mktemp("installed")
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (("init", "--quiet"), ("commit", "--quiet", "--allow-empty", "--message=theirs")):
        subprocess.run([*git, *words], check=True)
    folder = environment(repository / ".venv")
    pip("--python", folder / "python", "install", "--no-deps", "--no-index", wheel)
    return folder


@pytest.fixture(scope="module")
def away(tmp_path_factory) -> Path:
    """An empty folder away from the checkout."""
    return tmp_path_factory.mktemp("away")


def pip(*arguments, cwd=None) -> None:
    command = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def environment(folder: Path) -> Path:
    """A new environment that finds what is installed here, but follows none of its links to a checkout."""
    venv.create(folder, symlinks=True)
    ours = {key: str(folder) for key in ("base", "platbase")}
    theirs = {sysconfig.get_path(key) for key in ("purelib", "platlib")}
    Path(sysconfig.get_path("purelib", "venv", ours), "lock.pth").write_text("\n".join(sorted(theirs)) + "\n")
    return folder / "bin"


def run(installed: Path, folder: Path, line: str, **changes) -> subprocess.CompletedProcess:
    """What `line` does, typed in a folder where the environment is active."""
    words = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words["XLA_FLAGS"] = "--xla_backend_optimization_level=0"  # compiled more than it computes
    words |= {"PATH": f"{installed}:{os.environ['PATH']}", "VIRTUAL_ENV": str(installed.parent)} | changes
    return subprocess.run(line, shell=True, cwd=folder, env=words, capture_output=True, text=True, timeout=300)


def done(installed: Path, folder: Path, line: str) -> str:
    """What it prints, where it must succeed."""
    ended = run(installed, folder, line)
    assert ended.returncode == 0, f"{line} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended.stdout


def test_the_wheel_holds_every_file_of_the_package_and_the_configs_and_nothing_else(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for path in (ROOT / "cnnjax").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    asked = {str(path.relative_to(ROOT)) for path in files if "configs" not in path.parts}
    asked |= {f"cnnjax/{path.relative_to(ROOT)}" for path in (ROOT / "configs").glob("*.py")}
    assert held == asked
    assert {"cnnjax/py.typed", "cnnjax/augment/gallery.png", "cnnjax/configs/digits.py"} <= held


def test_the_wheel_says_what_it_is_and_holds_the_licences_of_code_and_data(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
        held = archive.namelist()
    assert "License-Expression: Apache-2.0 AND CC-BY-4.0\n" in text
    assert "Classifier: Typing :: Typed\n" in text
    assert "Project-URL" not in text
    assert [name.partition("/licenses/")[2] for name in held if "/licenses/" in name] == [
        "LICENSE", "cnnjax/data/optdigits.md"
    ]  # fmt: skip


def test_the_command_comes_from_the_wheel_and_knows_its_programs_without_jax(installed, away):
    where = done(installed, away, "python -c 'import cnnjax; print(cnnjax.__file__)'").strip()
    assert Path(where).is_relative_to(installed.parent)
    page = done(installed, away, "cnnjax --help")
    assert "\n  train      Trains a network\n" in page
    assert done(installed, away, "cnnjax --version") == f"cnnjax {__import__('cnnjax').__version__}\n"
    page = run(installed, away, "cnnjax train --help", PYTHONVERBOSE="1")
    assert "\n  cnnjax train --config=digits --workdir=runs/a\n" in page.stdout
    assert "import 'cnnjax.programs.train'" in page.stderr
    assert "import 'jax'" not in page.stderr
    wrong = run(installed, away, "cnnjax trian")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("cnnjax has no program 'trian'; nearest: train")
    assert len(wrong.stderr.splitlines()) == 1


def test_away_from_the_checkout_it_trains_evaluates_predicts_and_shows(installed, away):
    from PIL import Image

    printed = done(installed, away, "cnnjax train --config=digits --workdir=runs/a --config.train.epochs=2")
    assert "\nevaluate     cnnjax evaluate --workdir=runs/a\n" in printed
    assert "\nresume       cnnjax train --config=digits --workdir=runs/a --config.train.epochs=2\n" in printed
    record = json.loads((away / "runs" / "a" / "config.json").read_text())
    assert record["command"][:2] == ["cnnjax train", "--config=digits"]
    assert "accuracy" in done(installed, away, "python -m cnnjax evaluate --workdir=runs/a")
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(away / "black.png")
    assert "black.png" in done(installed, away, "cnnjax predict --workdir=runs/a black.png")
    done(installed, away, "cnnjax show --config=digits --out=sheet.png")
    assert (away / "sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_away_from_the_checkout_it_sweeps_in_processes_and_finds_networks_that_stand_there(installed, away):
    (away / "own.py").write_text(OWN)
    (away / "my_nets.py").write_text(NETS)
    printed = done(installed, away, "cnnjax sweep --config=own.py --workdir=runs/s --launcher=local --workers=2")
    assert "3 points are complete\nlook at them  cnnjax sweep --workdir=runs/s --table" in printed
    points = [json.loads(path.read_text()) for path in (away / "runs" / "s").glob("*/config.json")]
    assert len(points) == 3
    assert sorted(point["config"]["model"]["hidden"] for point in points) == [[8], [8], [16]]
    assert {point["commit"] for point in points} == {""}
    listed = done(installed, away, "cnnjax train --config=own.py --config.model.name=my_nets:tiny --print_config")
    assert json.loads(listed)["model"] == {"name": "my_nets:tiny"}


def test_an_editable_install_finds_the_experiments_beside_the_package(source, tmp_path_factory, away):
    folder = environment(tmp_path_factory.mktemp("editable"))
    pip("--python", folder / "python", "install", "--no-deps", "--no-index", "--no-build-isolation", "-e", source)
    where = done(folder, away, "python -c 'import cnnjax.configs.digits as d; print(d.__file__)'").strip()
    assert Path(where).resolve() == (source / "configs" / "digits.py").resolve()
    printed = done(folder, away, "cnnjax train --config=digits:mlp --print_config")
    assert json.loads(printed)["model"]["name"] == "mlp"
