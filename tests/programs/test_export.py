"""Networks written for use elsewhere, and read back by who knows nothing of this project."""

import importlib.util
import subprocess
import sys

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax import models, weights
from cnnjax.config import ConfigError, load
from cnnjax.data import Facts
from cnnjax.programs import _served, export, process
from cnnjax.train.job import prepare

ONNX = importlib.util.find_spec("jax2onnx") and importlib.util.find_spec("onnxruntime")
ELSEWHERE = """
import sys, jax, numpy
found = jax.export.deserialize(open(sys.argv[1], "rb").read()).call(numpy.load(sys.argv[2]))
numpy.save(sys.argv[3], found["probabilities"])
assert "cnnjax" not in sys.modules
"""
QUIET = [
    "train.steps=1",
    "train.devices=1",
    "eval.test=no",
    "report.quiet=yes",
    "report.tensorboard=no",
    "report.page=no",
]


@pytest.fixture
def run(digits_run):
    return digits_run


@pytest.fixture(autouse=True)
def _defaults():
    """The program's flags as they are where none is given."""
    process.read(export.FLAGS, [])


def trained(root, workdir, *flags):
    flags = [*QUIET, "report.curves=no", "augment.train=normalize", *flags]
    return cnnjax.run(load(f"{root}/configs/digits.py", [f"--config.{flag}" for flag in flags]), workdir)


@pytest.mark.doors
def test_a_program_runs_in_a_process_without_this_project(run, capsys, tmp_path):
    export.main([f"--workdir={run.workdir}", "--to=stablehlo"])
    told = capsys.readouterr().out
    assert "inputs (b, 28, 28, 1) uint8, for cpu, cuda, tpu" in told
    assert "label, probabilities in a process without this project within " in told
    images = run.source.test.arrays["image"][:7]
    np.save(tmp_path / "in.npy", images)
    command = [sys.executable, "-c", ELSEWHERE, run.workdir / "network.stablehlo", tmp_path / "in.npy"]
    subprocess.run([*command, tmp_path / "out.npy"], cwd=tmp_path, check=True)
    wanted = run.predict(images)["probabilities"]
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.skipif(not ONNX, reason="jax2onnx and onnxruntime are not installed here")
def test_a_trained_network_with_pools_is_an_onnx_model(root, tmp_path, capsys):
    trained(root, tmp_path, "model.pool=max", "model.activation=relu")
    export.main([f"--workdir={tmp_path}", "--to=onnx"])
    assert "inputs (b, 28, 28, 1) uint8; label, probabilities in onnxruntime within " in capsys.readouterr().out


def test_weights_are_written_under_torchvisions_names_where_it_has_the_network(run, tmp_path, capsys):
    export.main([f"--workdir={run.workdir}", "--to=safetensors", f"--output={tmp_path}/mlp.safetensors"])
    assert "native names; read back, every number is the same" in capsys.readouterr().out
    net = models.resnet20(outputs=4)
    shapes = jax.eval_shape(lambda k, x: net.init(k, x, train=False), jax.random.key(0), np.zeros((1, 32, 32, 3)))
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    weights.save(net, variables, tmp_path / "a.safetensors")
    flags = ["--model=resnet20", f"--weights={tmp_path}/a.safetensors", "--outputs=4", "--size=32"]
    export.main([*flags, "--to=safetensors", f"--output={tmp_path}/b.safetensors"])
    assert "torchvision names; read back, every number is the same" in capsys.readouterr().out
    assert weights.read(tmp_path / "b.safetensors")["layer1.0.conv1.weight"].shape == (16, 16, 3, 3)


def test_a_network_whose_answers_are_not_finite_is_not_exported_and_the_old_file_stays(tmp_path):
    net = models.resnet(outputs=2, blocks=(1,), width=4, stem="cifar")
    shapes = jax.eval_shape(lambda k, x: net.init(k, x, train=False), jax.random.key(0), np.zeros((1, 8, 8, 3)))
    bad = jax.tree.map(lambda leaf: np.full(leaf.shape, np.nan, np.float32), shapes)
    answer, facts = (lambda v, x: {"probabilities": net.apply(v, x)}), Facts("image", (8, 8, 3))
    served = _served.Served(net, bad, answer, answer, facts, np.dtype("f4"), {}, 0, "")
    (tmp_path / "a").write_text("old")
    with pytest.raises(ConfigError, match="probabilities of the network itself is not a number; are its weights"):
        export.write(served, tmp_path / "a", "stablehlo")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_answers_may_be_infinite_narrow_empty_or_whole_numbers(tmp_path):
    def answer(_, x):
        masked = jax.numpy.where(x > 0.5, x, -jax.numpy.inf)
        narrow = x.astype("bfloat16")
        return {"masked": masked, "narrow": narrow, "none": x[:, :0], "best": x.argmax(-1), "yes": x > 0.5}

    served = _served.Served(None, {}, answer, answer, Facts("image", (4,)), np.dtype("f4"), {}, 0, "")
    assert "within 0.0e+00" in export.write(served, tmp_path / "a", "stablehlo")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--to=onnx"], "give the directory of a run, --workdir=runs/a, or --model=resnet18 with --weights=FILE"),
        (["--workdir=a", "--to=onxx"], "--to is 'onxx'.*onnx"),
        (["--workdir=a"], "--to is ''"),
        (["--model=vgg11", "--weights=a", "--to=onnx"], "--output is missing; give the file to write"),
        (["--workdir=configs", "--to=onnx", "--output=no/where"], "--output is 'no/where'; there is no folder no"),
        (["--workdir=runs/nothing", "--to=onnx"], "--workdir is 'runs/nothing'; there is no such folder"),
        (["--workdir=configs", "--to=onnx", "--output=tests"], "--output is 'tests', a folder; give the file to write"),
        (["--workdir=a", "--to=safetensors", "--dialect=torch"], "--dialect is 'torch'.*torchvision"),
    ],
)
def test_what_can_not_be_done_is_said_in_a_line(at_home, argv, words):
    with pytest.raises(ConfigError, match=words):
        export.main(argv)


def test_help_is_a_page():
    lines = export.__doc__.strip().splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 110


def test_a_whole_training_step_lowers_for_accelerators_on_a_machine_without(root):
    flags = [*QUIET, "model.name=resnet", "model.blocks=1,1", "model.width=4", "optimizer.ema=0.9"]
    flags += ["augment.train=crop,flip,rotate,mixup,normalize", "optimizer.clip=1", "optimizer.accumulate=2"]
    flags += ["train.precision=bfloat16"]
    prepared = prepare(load(f"{root}/configs/digits.py", [f"--config.{flag}" for flag in flags]))
    state = prepared.outline()
    batches = prepared.layout.share(prepared.batches(prepared.source.train).batches(0, 1), 2)
    traced = prepared.step.trace(state, prepared.store(prepared.source.train), batches, np.int32(1))
    for platform in ("tpu", "cuda"):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert text.count("stablehlo.convolution") == 3 * 6 - 1, platform  # no gradient to the pictures
        assert "bf16" in text
