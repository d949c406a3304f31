"""The command `cnnjax`: its programs, and the ways to start them that come to the same."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from cnnjax.config import ConfigError
from cnnjax.programs import command, process

ROOT = Path(__file__).parents[2]
TOLD = """
import os, sys
from cnnjax.config import load
from cnnjax.programs import process

def get_config():
    print(os.environ.get("GLIBC_TUNABLES", "none"), file=sys.stderr)
    print(process.command("evaluate", "--workdir=a b"), file=sys.stderr)
    print(process.command("train"), file=sys.stderr)
    return load("digits:mlp")
"""
SCRIPT = "import sys\nfrom cnnjax.programs.command import main\nsys.exit(main())\n"  # as pip writes it


def started(*words, cwd=ROOT, **changes):
    """What a command gives, started by this Python with this checkout's package."""
    environment = {key: value for key, value in os.environ.items() if key not in ("GLIBC_TUNABLES", "VIRTUAL_ENV")}
    environment |= {"PYTHONPATH": str(ROOT)} | changes
    return subprocess.run([sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture
def script(tmp_path) -> Path:
    """The console script."""
    file = tmp_path / "bin" / "cnnjax"
    file.parent.mkdir()
    file.write_text(f"#!{sys.executable}\n{SCRIPT}")
    file.chmod(0o755)
    return file


def test_every_program_says_in_a_sentence_what_it_does():
    known = command.programs()
    assert {"train", "evaluate", "predict", "export", "sweep", "show", "results"} <= set(known)
    assert not {"command", "process"} & set(known)
    for name, sentence in known.items():
        assert sentence, name
        assert len(sentence) <= 108, name
        assert (ROOT / "experiments" / f"{name}.py").exists()


@pytest.mark.doors
def test_the_front_page_lists_them_and_imports_neither_jax_nor_a_program():
    done = started("-v", "-m", "cnnjax", "--help")
    assert done.returncode == 0
    for name, sentence in command.programs().items():
        assert f"\n  {name:10s} {sentence}\n" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert "import 'jax'" not in done.stderr
    assert "import 'cnnjax.programs.train'" not in done.stderr
    assert started("-m", "cnnjax").stdout == done.stdout


@pytest.mark.doors
def test_a_program_that_there_is_not_is_refused_in_a_line_with_the_nearest():
    done = started("-m", "cnnjax", "evalute", "--workdir=runs/a")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cnnjax has no program 'evalute'; nearest: evaluate")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.doors
@pytest.mark.parametrize("program", ["train", "sweep", "show"])
def test_config_alone_says_which_experiments_there_are(program):
    done = started("-m", "cnnjax", program, "--config")
    assert done.returncode == 2
    assert done.stderr.startswith("--config is missing; give one of bccd, cifar10, ")
    assert ", digits, digits_gan, " in done.stderr


@pytest.mark.doors
def test_help_begins_its_commands_as_it_was_asked_for(script):
    by_module = started("-m", "cnnjax", "sweep", "--help", cwd=script.parent).stdout
    by_file = started("-m", "experiments.sweep", "--help").stdout
    by_script = started(str(script), "sweep", "--help", cwd="/", PATH=f"{script.parent}:{os.environ['PATH']}").stdout
    assert "\n  python -m cnnjax sweep --config=digits --workdir=runs/s\n" in by_module
    assert "python -m experiments.sweep --config=digits --workdir=runs/s\n" in by_file
    assert "\n  cnnjax sweep --config=digits --workdir=runs/s\n" in by_script
    for page in (by_module, by_file, by_script):
        assert "as in cnnjax train; beside its get_config" in page


@pytest.mark.doors
@pytest.mark.parametrize("way", ["script", "script by its path", "module", "experiments"])
def test_however_it_was_started_it_has_the_allocator_and_says_the_same_words_again(way, script, tmp_path):
    (tmp_path / "own.py").write_text(TOLD)
    path = os.environ["PATH"] if way == "script by its path" else f"{script.parent}:{os.environ['PATH']}"
    words = {
        "module": ("-m", "cnnjax", "train"),
        "experiments": ("-m", "experiments.train"),
    }.get(way, (str(script), "train"))
    done = started(*words, "--config=own.py", "--print_config", cwd=tmp_path, PATH=path)
    assert done.returncode == 0, done.stderr
    tunables, evaluate, train = done.stderr.splitlines()
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        assert "hugetlb=1" in tunables
    typed = {"script": "cnnjax ", "script by its path": "bin/cnnjax ", "module": "python -m cnnjax "}
    begin = typed.get(way, "python -m experiments.")
    assert evaluate == f"{begin}evaluate '--workdir=a b'"
    assert train == f"{begin}train --config=own.py --print_config"


@pytest.mark.doors
def test_a_network_that_stands_in_the_folder_is_found_by_the_script_too(script, tmp_path):
    (tmp_path / "my_nets.py").write_text("def tiny(*, outputs: int, width: int = 3):\n    return None\n")
    asked = ("--config=digits", "--config.model.name=my_nets:tiny", "--print_config")
    done = started(str(script), "train", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"width": 3' in done.stdout


def test_escape_sequences_in_a_name_that_an_error_tells_are_shown(capsys):
    error = ConfigError("--workdir=\x1b[2Jruns is a file\ngive a directory")
    assert process._explained(error, flags.FlagValues()) == 2
    assert capsys.readouterr().err == "--workdir=\\x1b[2Jruns is a file\ngive a directory\n"
