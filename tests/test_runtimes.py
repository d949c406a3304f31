"""What is installed where: runtimes as they were recorded, and what each is to get and to be told."""

import dataclasses
import json
import tomllib
from pathlib import Path

import pytest

from cnnjax.runtimes import Runtime, device_words, extra_of, mismatched, outdated, this_runtime

ROOT = Path(__file__).parents[1]
PLUGIN = {"jax-cuda12-plugin": "0.7.2", "jax-cuda12-pjrt": "0.7.2"}
IMAGE = {  # Colab, August 2026, Python 3.13; the same packages on all its runtimes
    **{"jax": "0.7.2", "jaxlib": "0.7.2", "flax": "0.11.2", "numpy": "2.1.3", "protobuf": "5.29.6", "libtpu": "0.0.21"},
    **PLUGIN,
}
LOADED = {"numpy": "2.1.3", "protobuf": "5.29.6"}  # by its kernel, before the first cell
COLAB = Runtime(IMAGE, LOADED, colab=True)
GPU = dataclasses.replace(COLAB, gpu="Tesla T4", driver=550)
TPU = dataclasses.replace(COLAB, tpu=True)
BARE = Runtime({}, gpu="NVIDIA H100 80GB HBM3", driver=580)


@pytest.mark.parametrize(
    ("runtime", "extra"),
    [
        (COLAB, ""),
        (GPU, "cuda12"),
        (TPU, "tpu"),
        (dataclasses.replace(GPU, driver=580), "cuda12"),  # whose plugin stands there: no second one beside it
        (BARE, "cuda13"),
        (dataclasses.replace(BARE, driver=535), "cuda12"),
        (dataclasses.replace(BARE, driver=470), ""),
        (Runtime({"jax-cuda13-plugin": "0.11.2"}, gpu="NVIDIA L4", driver=570), "cuda12"),  # too old for what is there
        (Runtime({}), ""),
    ],
)
def test_a_runtime_gets_the_build_of_jax_that_it_can_run(runtime, extra):
    assert extra_of(runtime) == extra
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extra in ("", *extras)


def test_plugins_that_an_installation_leaves_behind_are_found():
    new = {"jax": "0.12.0.1", "jaxlib": "0.12.0.1"}
    assert mismatched(IMAGE) == []
    assert mismatched(IMAGE | new) == ["jax-cuda12-pjrt", "jax-cuda12-plugin"]
    assert mismatched(IMAGE | new | dict.fromkeys(PLUGIN, "0.12.0.1")) == []


def test_a_restart_is_asked_for_where_something_is_loaded_in_another_version():
    assert outdated(LOADED, IMAGE) == []
    assert outdated(LOADED, IMAGE | {"jax": "0.12.0.1"}) == []  # jax is not loaded yet
    assert outdated(LOADED, IMAGE | {"numpy": "2.5.5"}) == ["numpy 2.1.3 is loaded, 2.5.5 installed"]
    assert outdated({}, IMAGE) == []  # after the restart


@pytest.mark.parametrize(
    ("kind", "platform", "runtime", "words"),
    [
        ("Tesla T4", "gpu", GPU, "trains on Tesla T4"),
        ("TPU v5 lite", "tpu", TPU, "trains on TPU v5 lite"),
        ("cpu", "cpu", COLAB, "no GPU or TPU is found; Runtime → Change runtime type has GPUs and TPUs"),
        ("cpu", "cpu", Runtime({}), "trains on the CPU: no GPU or TPU is found"),
        ("cpu", "cpu", GPU, "trains on the CPU: Tesla T4 stands idle; pip install 'cnnjax[cuda12]'"),
        ("cpu", "cpu", TPU, "trains on the CPU: a TPU stands idle; pip install 'cnnjax[tpu]'"),
        ("cpu", "cpu", dataclasses.replace(BARE, driver=470), "is 470, and JAX needs 525 or newer"),
    ],
)
def test_it_is_said_which_device_trains_and_what_stands_idle(kind, platform, runtime, words):
    assert words in device_words(kind, platform, runtime)


def test_this_very_runtime_is_seen():
    here = this_runtime()
    assert {"pytest", "hypothesis"} <= here.loaded.keys()
    assert {"jax", "numpy"} <= here.packages.keys()
    assert outdated(here.loaded, here.packages) == []
    assert not here.colab


def test_every_notebook_begins_with_the_same_cell_that_knows_what_to_do_alone_and_no_address(tmp_path, monkeypatch):
    cells = set()
    for path in (ROOT / "experiments" / "notebooks").glob("*.ipynb"):
        sources = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]
        cells.add(next(source for source in sources if "REPOSITORY" in source))
    (cell,) = cells
    assert "://" not in cell
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="write the address of its repository into REPOSITORY"):
        exec(compile(cell, "cell", "exec"), {})
