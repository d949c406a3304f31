"""Every notebook runs from top to bottom, through the public functions alone."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "experiments" / "notebooks").glob("*.ipynb"))

# the first thing that a reader runs is run by the suite, the others, half a minute each, by `make proofs`
RUN = [path if path.stem == "quickstart" else pytest.param(path, marks=pytest.mark.proofs) for path in NOTEBOOKS]


@pytest.mark.doors
@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
# jupyter's own client tells of its own plans
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::DeprecationWarning:zmq")
def test_the_notebook_runs_and_draws_its_pictures(path, root, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")  # one device, as most readers have
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(root)}})
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    if path.stem == "finetune":  # as its last words say: frozen filters stay, those of a net from nothing are others
        moved = ast.literal_eval(outputs[-1]["data"]["text/plain"])
        assert moved["letters from digits"] == 0
        assert moved["letters from nothing"] > 0.05


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_is_kept_without_outputs_and_knows_colab(path):
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert any("prepare_notebook(home)" in cell.source for cell in notebook.cells)
