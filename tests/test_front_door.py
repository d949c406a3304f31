"""What the README tells a stranger to type works in a fresh clone, section by section.

`bash` blocks run as they are, but `make test` itself; `python` blocks that begin with a file's name (`# my_nets.py`)
become that file, others run. A block after the comment `<!-- not run: reason -->` is left out. All sections share one
clone, also where several workers run them; a section whose commands need what an earlier one made is in NEEDS.
"""

import contextlib
import fcntl
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
NEEDS = {"Weights, predict, export": ("Two commands",)}  # the run of `make train`
_BLOCK = re.compile(r"(<!-- not run: [^>]+ -->\n+)?```(bash|python)\n(.*?)```\n", re.DOTALL)
_FILE = re.compile(r"# ([\w/]+\.py)\n")
_SECTION = re.compile(r"^## (.+)\n", re.MULTILINE)


class Block(NamedTuple):
    """A piece of the README: its language, its text, the line it stands on, the section it belongs to."""

    language: str
    text: str
    line: int
    section: str = ""


def blocks(text: str) -> list[Block]:
    """What is to be typed, in order."""
    found = []
    for match in _BLOCK.finditer(text):
        if not match[1]:
            lines = [line for line in match[3].splitlines() if line.strip() != "make test"]
            if any(line.strip() for line in lines):
                before = text[: match.start()]
                section = (_SECTION.findall(before) or [""])[-1]
                found.append(Block(match[2], "\n".join(lines) + "\n", before.count("\n") + 1, section))
    return found


SECTIONS = list(dict.fromkeys(block.section for block in blocks(README.read_text()))) if README.exists() else []


@pytest.fixture(scope="session")
def clone(tmp_path_factory) -> Path:
    """The last commit in a folder for all workers; with this checkout's environment, where `make` has made it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "front_door" / "cnnjax"
    with alone(folder.with_suffix(".lock")):
        if not folder.exists():
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
            if (ROOT / ".venv" / "installed").exists():
                (folder / ".venv").symlink_to(ROOT / ".venv")
                for path in ("requirements.lock", "pyproject.toml", ".ci/install"):
                    os.utime(folder / path, (0, 0))  # older than .venv/installed: nothing to install
    return folder


@contextlib.contextmanager
def alone(lock: Path):
    """While one process is in here, others wait."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def do(section: str, folder: Path) -> None:
    """Types what a section says, after those that it needs, where nobody has yet."""
    for need in NEEDS.get(section, ()):
        do(need, folder)
    place = folder.parent / f"section{SECTIONS.index(section)}"
    with alone(place.with_suffix(".lock")):
        if not place.exists():
            for block in blocks((folder / "README.md").read_text()):
                if block.section == section:
                    typed(block, folder)
            place.touch()


def typed(block: Block, folder: Path) -> None:
    """Does what a block says; says which one where it fails."""
    file = _FILE.match(block.text) if block.language == "python" else None
    if file:
        (folder / file[1]).parent.mkdir(parents=True, exist_ok=True)
        (folder / file[1]).write_text(block.text)
        return
    command = block.text if block.language == "bash" else f"python -c {shlex.quote(block.text)}\n"
    ours = {"XLA_FLAGS", "JAX_PLATFORMS", "CNNJAX_ONEDNN"}
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    if "make train" not in command:  # the rest is compiled more than it computes
        environment |= {"CNNJAX_ONEDNN": "0", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", f"[ ! -d .venv ] || . .venv/bin/activate\n{command}"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )
    told = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert done.returncode == 0, f"README.md, line {block.line}, ended with {done.returncode}:\n{block.text}\n{told}"
    assert "Traceback" not in told, f"README.md, line {block.line}:\n{told}"


def test_blocks_are_found_in_order_with_their_lines_and_sections_and_without_those_left_out():
    text = "a\n```bash\nmake test\n```\n<!-- not run: needs a pod -->\n```bash\nx\n```\n```python\n# a/b.py\ny\n```\n"
    text += "## Section\n```bash\nmake test\nz\n```\n```\nprose\n```\n"
    assert blocks(text) == [Block("python", "# a/b.py\ny\n", 9), Block("bash", "z\n", 14, "Section")]


def test_every_fault_of_the_readme_names_tests_that_there_are_and_how_many_were_tried():
    section = README.read_text().partition("\n## Faults\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 18
    for fault, _, tried, shown in rows:
        survived, total = re.match(r" ([\d,]+) / ([\d,]+)", tried).groups()
        assert survived == total, fault
        for path, words in re.findall(r"`(tests/\S+?\.py)(?: -k ([^`]+))?`", shown) or [("no test", "")]:
            names = re.findall(r"^def (test_\w+)", (ROOT / path).read_text(), re.MULTILINE)
            for word in re.findall(r"\w+", words):
                assert word in ("or", "not") or any(word in name for name in names), f"{fault}: {path} has no {word}"


@pytest.mark.doors
@pytest.mark.skipif(not README.exists(), reason="there is no README.md")
@pytest.mark.parametrize("section", SECTIONS)
def test_every_command_of_a_section_works_in_a_fresh_clone(section, clone):
    do(section, clone)


@pytest.mark.doors
@pytest.mark.skipif(not README.exists(), reason="there is no README.md")
def test_make_train_reads_ninety_eight_of_a_hundred_digits(clone):
    assert set(NEEDS) <= set(SECTIONS)
    (section,) = {block.section for block in blocks(README.read_text()) if "make train" in block.text}
    do(section, clone)
    status = json.loads((clone / "runs" / "digits" / "status.json").read_text())
    assert status["status"] == "complete"
    assert status["test"]["accuracy"] >= 0.98
