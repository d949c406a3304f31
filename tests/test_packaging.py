"""What is installed, and how."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]


LOCKS = ("requirements.lock", ".ci/lowest.lock")


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_holds_hashes_and_no_addresses(lock):
    text = (ROOT / lock).read_text()
    packages = [line for line in text.splitlines() if line[:1].isalpha()]
    assert len(packages) > 50
    assert text.count("--hash=sha256:") > len(packages)
    assert all("==" in line for line in packages)
    assert "://" not in text
    assert " @ " not in text
    assert not [line for line in text.splitlines() if line.startswith("-")]  # options would say where from


def locked_by(lock):
    """The versions that a lock holds, by package."""
    lines = [line for line in (ROOT / lock).read_text().splitlines() if line[:1].isalpha()]
    return dict(line.partition(";")[0].rstrip(" \\").split("==") for line in lines)


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_has_everything_that_the_project_asks_for(lock):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = locked_by(lock)
    for asked in map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["dev"]]):
        assert asked.specifier.contains(locked[canonicalize_name(asked.name)]), asked


def test_the_lowest_lock_holds_the_lower_bounds_themselves():
    """What `make lowest` runs on is what pyproject.toml promises."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = locked_by(".ci/lowest.lock")
    for asked in map(Requirement, project["dependencies"]):
        (low,) = (each.version for each in asked.specifier if each.operator == ">=")
        found = Version(locked[canonicalize_name(asked.name)])
        assert found.release[: len(Version(low).release)] == Version(low).release, asked


def test_python_versions_are_said_alike_by_all_that_name_them():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [word.rpartition(" ")[2] for word in project["classifiers"] if "Python :: 3." in word]
    install = (ROOT / ".ci" / "install").read_text()
    assert named == ["3.12", "3.13", "3.14"]
    assert "(3, 12) <= sys.version_info[:2] <= (3, 14)" in install
    assert all(f"python{version} " in install for version in named)
    assert project["requires-python"] == f">={named[0]}"


def test_extras_are_installed_by_make_once_and_kept_in_mind(tmp_path):
    """`make train EXTRAS=cuda13` with an installer that only writes down what it was asked for."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".venv").mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    install = tmp_path / ".ci" / "install"
    lines = ("#!/bin/sh", 'echo "asked for $EXTRAS"', 'echo "${EXTRAS:-$(cat .venv/installed)}" >.venv/installed')
    install.write_text("\n".join(lines))
    install.chmod(0o755)

    def make(*words):
        command = ["make", "--no-print-directory", ".venv/installed", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert "asked for cuda13\n" in make("EXTRAS=cuda13")
    assert "asked for" not in make("EXTRAS=cuda13")
    assert "asked for" not in make()
    assert "asked for cuda13 search\n" in make("EXTRAS=cuda13 search")
    assert "asked for" not in make("EXTRAS=search")


def test_what_has_undocumented_names_in_use_has_an_upper_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [each for name, extra in project["optional-dependencies"].items() if name != "dev" for each in extra]
    bounded = {asked.name for asked in map(Requirement, [*project["dependencies"], *extras]) if "<" in str(asked)}
    assert bounded == {"jax", "optuna", "tensorflow-datasets", "tensorboardX"}


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
        "No Python 3.12 to 3.14 with venv found; install one (apt install python3.12-venv, or pyenv install 3.12)."
    ]
