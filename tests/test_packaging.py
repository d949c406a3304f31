"""What is installed, and how."""

import shutil
import subprocess
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
    text = (ROOT / "requirements.lock").read_text()
    lines = [line.partition(";")[0].rstrip(" \\") for line in text.splitlines() if line[:1].isalpha()]
    locked = dict(line.split("==") for line in lines)
    for asked in map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["dev"]]):
        assert asked.specifier.contains(locked[canonicalize_name(asked.name)]), asked


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
        "No Python 3.12 or 3.13 with venv found; install one (apt install python3.12-venv, or pyenv install 3.12)."
    ]
