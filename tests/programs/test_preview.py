"""What a dry run says of a training that begins from weights."""

import jax
import pytest

from cnnjax import weights
from cnnjax.config import ConfigError, load
from cnnjax.programs import _preview
from cnnjax.train.job import prepare


def test_a_dry_run_tries_the_weights_and_counts_what_is_frozen(root, tmp_path):
    digits = prepare(load(f"{root}/configs/digits.py", ["--config.train.devices=1"]))
    net, state = digits.program.parts({}).net, digits.start()
    path = tmp_path / "digits.safetensors"
    weights.save(net, jax.device_get({"params": state.params}), path)
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
