"""What is said of a training before it begins, and by a dry run."""

import numpy as np
import pytest
from PIL import Image

from cnnjax import weights
from cnnjax.config import ConfigError, load
from cnnjax.programs import _preview, train
from cnnjax.programs._idle import idle_accelerator
from cnnjax.train.job import prepare
from tests.models.variants import filled


def test_a_dry_run_tries_the_weights_and_counts_what_is_frozen(root, tmp_path):
    digits = prepare(load(f"{root}/configs/digits.py", ["--config.train.devices=1"]))
    net, path = digits.program.parts({}).net, tmp_path / "digits.safetensors"
    weights.save(net, filled(net, digits.facts.shape), path)
    flags = [f"--config.train.init={path}", "--config.train.devices=1"]
    (told,) = _preview._beginning(prepare(load(f"{root}/configs/finetune.py", flags)))
    assert told.splitlines() == [
        f"begin     began from {path}, with a fresh output layer",
        "          frozen are 156 of 63,066 parameters",
    ]
    with pytest.raises(weights.WeightsError, match=r"train\.init_head=fresh keeps a new output layer"):
        _preview.preview(load(f"{root}/configs/finetune.py", [*flags, "--config.train.init_head=file"]))


def test_a_network_too_deep_for_the_pictures_is_named(root):
    words = r"model.name is 'alexnet'; for these data its window does not fit: 3(.|\n)*larger ones: resize in"
    with pytest.raises(ConfigError, match=words):
        prepare(load(f"{root}/configs/digits.py", ["--config.model.name=alexnet"]))


def test_training_says_what_it_trains_before_it_compiles(tmp_path, capsys):
    flags = "train.steps=1 eval.test=no augment.train=normalize report.tensorboard=no report.page=no report.curves=no"
    train.main(["--config=digits:mlp", f"--workdir={tmp_path}/a", *(f"--config.{flag}" for flag in flags.split())])
    told = capsys.readouterr().out.splitlines()
    compiled = next(i for i, line in enumerate(told) if line.startswith("compiled"))
    assert told[:4] == [
        "data      image 28×28×1, 10 classes; 1,437 train, 360 eval, 360 test "
        "(eval is the test set: nothing is held out)",
        "          0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        "          133 to 154 training examples a class",
        "net       mlp: 535,818 parameters, 535,040 MACs an example",
    ]
    assert told[4].startswith("plan      1 steps of 64 examples")
    assert "× cpu by" in told[5]
    assert told[compiled - 1] == f"workdir   {tmp_path}/a"


def test_classes_and_broken_files_are_told_by_name(tmp_path):
    names = [f"kind{k:02}" for k in range(14)]
    for name in names:
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.new("L", (8, 8), 20 * number).save(tmp_path / name / f"{number}.png")
    (tmp_path / "kind03" / "2.png").write_bytes(b"no picture")
    (tmp_path / "kind05" / "4.png").unlink()
    flags = ["--config.data.name=folder", f"--config.data.root={tmp_path}", "--config.data.channels=1"]
    prepared = prepare(load("digits:mlp", [*flags, "--config.train.batch=8", "--config.train.devices=1"]))
    told = _preview.announced(prepared, "runs/a").splitlines()
    assert told[0].startswith("data      image 8×8×1, 14 classes;")
    assert told[1] == f"          {', '.join(names[:12])} and 2 more"
    assert told[3] == "          1 record that can't be used is passed over: kind03/2.png"


def test_a_channel_that_never_changes_is_told_with_the_data(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    image[..., 1] = 7
    np.savez(tmp_path / "a.npz", image=image, label=np.arange(40) % 10)
    flags = ["--config.data.name=arrays", f"--config.data.path={tmp_path}/a.npz", "--config.augment.train="]
    flags += ["--config.augment.eval=", "--config.train.batch=8", "--config.train.devices=1"]
    told = _preview.announced(prepare(load("digits:mlp", flags)), "runs/a").splitlines()
    assert told[3] == "          channel 1 of image never changes in the training set"
    image[..., 0] = 0
    np.savez(tmp_path / "a.npz", image=image, label=np.arange(40) % 10)
    told = _preview.announced(prepare(load("digits:mlp", flags)), "runs/a").splitlines()
    assert told[3] == "          channels 0, 1 of image never change in the training set"


def test_a_net_whose_multiplies_cannot_be_counted_is_told_by_its_parameters(monkeypatch):
    def cannot(*arguments):
        raise TypeError("tokens are no floats")

    monkeypatch.setattr(_preview, "cost", cannot)
    told = _preview.announced(prepare(load("digits:mlp", ["--config.train.devices=1"])), "runs/a")
    assert "\nnet       mlp: 535,818 parameters\n" in told


@pytest.mark.parametrize(
    ("files", "asked", "line"),
    [
        ({}, "", ""),
        ({"dev/nvidiactl": ""}, "", ""),
        (
            {"dev/nvidia0": "", "driver": "580.65.06"},
            "",
            'an NVIDIA GPU stands idle: pip install "jax[cuda13]==0.12.0"',
        ),
        (
            {"dev/nvidia0": "", "driver": "550.54.15"},
            "",
            'an NVIDIA GPU stands idle: pip install "jax[cuda12]==0.12.0"',
        ),
        ({"dev/nvidia0": "", "driver": "550.54.15"}, "cpu", ""),
        ({"dev/nvidia0": "", "driver": "470.57.02"}, "", "its driver is 470, JAX needs 525 or later"),
        ({"dev/nvidia0": ""}, "", "its driver is not known, JAX needs 525 or later"),
        ({"dev/accel0": ""}, "", 'a TPU stands idle: pip install "jax[tpu]==0.12.0"'),
    ],
)
def test_an_accelerator_that_stands_idle_is_told_with_the_command_that_installs_for_it(files, asked, line, tmp_path):
    for path, text in files.items():
        file = tmp_path / ("proc/driver/nvidia/version" if path == "driver" else path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {text}  Tue\nGCC version: 13.2.0\n")
    told = idle_accelerator("cpu", wanted=asked, jax="0.12.0", root=tmp_path)
    assert told.endswith(line)
    assert bool(told) == bool(line)
    assert idle_accelerator("gpu", wanted="", jax="0.12.0", root=tmp_path) == ""
