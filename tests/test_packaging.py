"""What is installed, and how."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_lock_holds_hashes_and_no_addresses():
    text = (ROOT / "requirements.lock").read_text()
    packages = [line for line in text.splitlines() if line[:1].isalpha()]
    assert len(packages) > 50
    assert text.count("--hash=sha256:") > len(packages)
    assert all("==" in line for line in packages)
    assert "://" not in text
    assert " @ " not in text
    assert not [line for line in text.splitlines() if line.startswith("-")]  # options would say where from


def test_the_lock_has_everything_that_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {requirement.partition(">=")[0].lower() for requirement in asked}
    text = (ROOT / "requirements.lock").read_text()
    locked = {line.partition("==")[0] for line in text.splitlines() if line[:1].isalpha()}
    assert names <= locked


def test_a_machine_without_a_fitting_python_is_told_so_in_a_line(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "install", tmp_path / ".ci")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname"):
        (tools / name).symlink_to(shutil.which(name))
    environment = {"PATH": str(tools), "HOME": str(tmp_path)}
    done = subprocess.run([tmp_path / ".ci" / "install"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "No Python 3.12 or 3.13 with venv found; install one (apt install python3.12-venv, or pyenv install 3.12)."
    ]


def test_the_wheel_holds_the_package_with_its_data(tmp_path):
    pytest.importorskip("setuptools", reason="setuptools is in the lock, not here")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "cnnjax", tmp_path / "cnnjax", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").touch()
    pip = [sys.executable, "-m", "pip", "-qq", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "made", "."]
    subprocess.run(pip, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "made").iterdir()
    held = set(zipfile.ZipFile(wheel).namelist())
    data = [path for path in (ROOT / "cnnjax").rglob("*") if path.suffix in (".npz", ".md", ".json", ".py")]
    missing = {str(path.relative_to(ROOT)) for path in data} - held
    assert not missing
    assert not [name for name in held if name.startswith("experiments")]
