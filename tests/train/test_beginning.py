"""A training that begins from the weights of a file or of another run, and parts of it that stay as they were."""

import json

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax import weights
from cnnjax.config import ConfigError, augmentation, change, experiment, section
from cnnjax.train.beginning import begun
from cnnjax.train.job import prepare

FROZEN = ("stem", "stage1")


def config(*, outputs=10, train=(), **optimizer):
    """A tiny residual net on digits, or on scenes of as many shapes as `outputs` says."""
    shapes = {"train": 64, "test": 8, "size": 16, "classes": outputs}
    return experiment(
        data=section("data", "digits") if outputs == 10 else section("data", "shapes", **shapes),
        model=section("models", "resnet", blocks=(1, 1), width=4, stem="cifar"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", **{"lr": 0.1, **optimizer}),
        schedule=section("schedules", "constant"),
        train={"steps": 3, "batch": 32, "devices": 1, **dict(train)},
        eval={"test": False},
        report={"tensorboard": False, "curves": False, "quiet": True},
    )


def started(made):
    """A job, its state at step 0, and what was said of it."""
    job, said = prepare(made), []
    return job, begun(job, job.layout.replicate(job.start()), said.append), said


def same(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), a, b))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on the digits."""
    return cnnjax.run(config(), tmp_path_factory.mktemp("run") / "digits")


@pytest.mark.parametrize("dialect", ["native", "torchvision"])
def test_a_training_begins_with_the_weights_of_a_file(tmp_path, digits, dialect):
    path = tmp_path / "a.safetensors"
    weights.save(digits.net, digits.variables, path, dialect=dialect)
    job, state, said = started(config(train={"init": str(path)}, ema=0.5))
    assert same(state.params, digits.state.params)
    assert same(state.model_state, digits.state.model_state)
    assert same(state.ema["params"], state.params)
    assert said == [f"began from {path}"]
    assert not same(job.start().params, state.params)


def test_a_training_begins_with_another_runs_best_weights_or_those_of_a_checkpoint(digits):
    for origin in (digits.workdir, digits.workdir / "checkpoints" / "3"):
        _, state, said = started(config(train={"init": str(origin)}))
        assert same(state.params, digits.state.params)
        assert said == [f"began from {digits.workdir} at step 3"]


def test_a_new_output_layer_and_other_colours_are_taken_where_they_are_asked_for(tmp_path, digits):
    path = tmp_path / "a.npz"
    np.savez(path, **weights.tensors(digits.net, digits.variables))
    with pytest.raises(weights.WeightsError) as error:
        started(config(outputs=4, train={"init": str(path)}))
    first, listed, hint = str(error.value).splitlines()
    assert first == f"train.init: {path} does not fit ResNet"
    assert "head.output.bias (10,) for params/head/output/bias (4,)" in listed
    assert "stem.conv.kernel (3, 3, 1, 4) for params/stem/conv/kernel (3, 3, 3, 4)" in listed
    assert hint == (
        "train.init_head=fresh keeps a new output layer; train.init_channels=adapt reads grey for colour, or colour "
        "for grey"
    )
    options = {"init": str(path), "init_head": "fresh", "init_channels": "adapt"}
    job, state, said = started(config(outputs=4, train=options))
    assert said == [f"began from {path}, with a fresh output layer"]
    assert same(state.params["stage2"], digits.state.params["stage2"])
    assert same(state.params["head"], job.start().params["head"])
    kernel = np.asarray(state.params["stem"]["conv"]["kernel"])
    np.testing.assert_allclose(kernel.sum(2), digits.state.params["stem"]["conv"]["kernel"][:, :, 0], rtol=1e-6)


def test_what_does_not_fit_is_listed_by_name_without_advice_that_would_not_help(digits):
    with pytest.raises(weights.WeightsError) as error:
        started(change(config(), {"train.init": str(digits.workdir), "model.blocks": (2, 1)}))
    first, missing = str(error.value).splitlines()
    assert first == f"train.init: {digits.workdir} at step 3 does not fit ResNet"
    assert missing.startswith("missing: stage1.block2.norm1.mean for batch_stats/stage1/block2/norm1/mean (4,)")


@pytest.mark.parametrize(("name", "words"), [
    ("digts", r"there is no such file or directory; nearest: .*digits"),
    ("empty", r"a directory that holds no run \(no config.json\); give a workdir, one of its checkpoints"),
    ("noise.pth", r"is no file of weights: neither safetensors, .npz nor PyTorch's"),
])
def test_an_origin_that_is_none_is_refused_before_the_first_step(tmp_path, name, words):
    for folder in ("digits", "empty"):
        (tmp_path / folder).mkdir()
    (tmp_path / "noise.pth").write_bytes(b"noise" * 9)
    with pytest.raises(ValueError, match=words) as error:
        cnnjax.run(config(train={"init": str(tmp_path / name)}), tmp_path / "new")
    assert error.value.exit_code == 2


def test_a_run_that_goes_on_keeps_its_checkpoint_and_needs_its_origin_no_more(tmp_path, digits):
    path, workdir = tmp_path / "a.safetensors", tmp_path / "run"
    weights.save(digits.net, digits.variables, path)
    made = config(train={"init": str(path)})
    first = cnnjax.run(made, workdir)
    path.unlink()
    assert json.loads((workdir / "config.json").read_text())["config"]["train"]["init"] == str(path)
    assert same(cnnjax.run(made, workdir).state.params, first.state.params)
    assert not same(first.state.params, digits.state.params)
    with pytest.raises(ConfigError, match=r"train\.init: .* → "):
        cnnjax.run(config(), workdir)
