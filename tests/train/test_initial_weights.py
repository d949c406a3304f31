"""A training that begins from the weights of a file or of another run, and parts of it that stay as they were."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax import models, weights
from cnnjax.config import ConfigError, augmentation, change, experiment, freeze, numeric, section
from cnnjax.train.initial_weights import likeliest, with_initial_weights
from cnnjax.train.job import prepare
from cnnjax.train.step import bind
from tests import trainings
from tests.trainings import equal as same
from tests.trainings import prepared_once

FROZEN = ("dense1", "norm1")
PLAIN = {"init": "", "init_head": "file", "init_channels": "file", "init_into": ""}


def config(*, outputs=10, train=(), **optimizer):
    """A tiny residual net on digits, or on scenes of as many shapes as `outputs` says."""
    shapes = {"train": 64, "test": 8, "size": 16, "classes": outputs}
    return experiment(
        data=section("data", "digits") if outputs == 10 else section("data", "shapes", **shapes),
        model=section("models", "resnet", blocks=(1,), width=4, stem="cifar"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", **{"lr": 0.1, **optimizer}),
        schedule=section("schedules", "constant"),
        train={"steps": 3, "batch": 32, "devices": 1, **dict(train)},
        eval={"test": False},
        report={"page": False, "tensorboard": False, "curves": False, "quiet": True},
    )


def drawn(shapes):
    """A tree of these shapes, whose numbers no network has drawn."""
    draw = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: draw.random(leaf.shape).astype(leaf.dtype), shapes)


def initial(net, size=(16, 16, 3)):
    """Variables of a network for such pictures."""
    image = jax.ShapeDtypeStruct((1, *size), "float32")
    return drawn(jax.eval_shape(lambda x: net.init(jax.random.key(0), x, train=False), image))


def started(made):
    """The state at step 0 before and after it was given its weights, and what was said of it."""
    plain = change(made, {f"train.{name}": value for name, value in PLAIN.items()})
    prepared, said = prepared_once(plain), []
    before = drawn(prepared.outline())
    prepared = dataclasses.replace(prepared, config=freeze(made).as_configdict().to_dict())
    return before, with_initial_weights(prepared, prepared.layout.replicate(before), said.append), said


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on the digits."""
    return cnnjax.run(config(), tmp_path_factory.mktemp("run") / "digits")


@pytest.mark.parametrize("dialect", ["native", "torchvision"])
def test_a_training_begins_with_the_weights_of_a_file(tmp_path, digits, dialect):
    path = tmp_path / "a.safetensors"
    weights.save(digits.net, digits.variables, path, dialect=dialect)
    before, state, said = started(config(train={"init": str(path)}, ema=0.5))
    assert same(state.params, digits.state.params)
    assert same(state.model_state, digits.state.model_state)
    assert same(state.ema["params"], state.params)
    assert said == [f"began from {path}"]
    assert not same(before.params, state.params)


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
    assert first.startswith(f"train.init: {path} does not fit ResNet: ")
    assert "head.output.bias (10,) for params/head/output/bias (4,)" in listed
    assert "stem.conv.kernel (3, 3, 1, 4) for params/stem/conv/kernel (3, 3, 3, 4)" in listed
    assert hint == (
        "train.init_head=fresh keeps a new output layer; train.init_channels=adapt reads grey for colour, or colour "
        "for grey"
    )
    options = {"init": str(path), "init_head": "fresh", "init_channels": "adapt"}
    before, state, said = started(config(outputs=4, train=options))
    assert said == [f"began from {path}, with a fresh output layer"]
    assert same(state.params["stage1"], digits.state.params["stage1"])
    assert same(state.params["head"], before.params["head"])
    kernel = np.asarray(state.params["stem"]["conv"]["kernel"])
    np.testing.assert_allclose(kernel.sum(2), digits.state.params["stem"]["conv"]["kernel"][:, :, 0], rtol=1e-6)


def test_what_does_not_fit_is_listed_by_name_without_advice_that_would_not_help(digits):
    with pytest.raises(weights.WeightsError) as error:
        started(change(config(), {"train.init": str(digits.workdir), "model.blocks": (2,)}))
    first, missing = str(error.value).splitlines()
    said = rf"train.init: {digits.workdir} at step 3 does not fit ResNet: \d+ of the net's \d+ tensors are in it"
    assert re.fullmatch(said, first)
    assert missing.startswith("missing: stage1.block2.norm1.mean for batch_stats/stage1/block2/norm1/mean (4,)")


def test_the_variant_that_weights_are_of_is_found_by_their_names():
    numbers = {}
    for name in ("resnet20", "resnet32"):
        net, image = getattr(models, name)(outputs=10), jax.ShapeDtypeStruct((1, 28, 28, 1), "float32")
        shapes = jax.eval_shape(lambda x, net=net: net.init(jax.random.key(0), x), image)
        numbers[name] = net, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    found = weights.tensors(*numbers["resnet20"])
    with pytest.raises(weights.WeightsError) as error:
        weights.fill(*numbers["resnet32"], found)
    assert len(str(error.value).splitlines()) == 2
    assert likeliest("resnet32", found, (28, 28, 1), error.value) == "resnet20"
    assert likeliest("resnet32", {"else": np.zeros(3)}, (28, 28, 1), error.value) == ""


def test_a_url_is_said_to_be_one():
    words = r"is 'https://x.org/a.pth'; that is an address, no path of this machine: download it, and give the file"
    with pytest.raises(ConfigError, match=f"train.init {words}"):
        started(config(train={"init": "https://x.org/a.pth"}))
    with pytest.raises(ConfigError, match=f"weights {words}"):
        weights.read("https://x.org/a.pth")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digts", r"there is no such file or directory; nearest: .*digits"),
        ("empty", r"a directory that holds no run \(no config.json\); give a workdir, one of its checkpoints"),
        ("noise.pth", r"is no file of weights: neither safetensors, .npz nor PyTorch's"),
    ],
)
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


def layers(**optimizer):
    """The same of a net that is compiled sooner."""
    made = config(**optimizer)
    made.model = section("models", "mlp", hidden=(8, 8), norm="batch")
    return made


def stepped(made):
    """The variables at a run's step 0 and after its first step."""
    return [{"params": state.params, **state.model_state} for state in trainings.stepped(made)]


def test_frozen_parts_keep_their_parameters_and_their_statistics():
    before, after = stepped(layers(freeze=FROZEN, decay=0.1, ema=0.5))
    for collection in ("params", "batch_stats"):
        for part in before[collection].keys() & FROZEN:
            assert same(before[collection][part], after[collection][part]), (collection, part)
        assert not same(before[collection]["norm2"], after[collection]["norm2"])
    assert not same(before["params"]["head"], after["params"]["head"])


def test_a_frozen_part_answers_in_training_as_in_evaluation():
    prepared = prepared_once(layers(freeze=FROZEN))
    state = drawn(prepared.outline())
    x = np.random.default_rng(1).normal(size=(8, 28, 28, 1)).astype(np.float32)

    @jax.jit
    def found(state):
        whole = prepared.program.parts(numeric(prepared.config)).net
        net = bind(prepared.program, whole, state.model_state, train=True)
        fields, key = {"image": x}, jax.random.key(0)
        both = [net(state.params, fields, key, train=train, part="features")[0] for train in (False, True)]
        variables = {"params": state.params, **state.model_state}
        return *both, whole.apply(variables, x, train=False, method="features")

    evaluated, trained, wanted = found(state)
    np.testing.assert_array_equal(evaluated["dense1"], wanted["dense1"])
    np.testing.assert_array_equal(trained["dense1"], wanted["dense1"])
    assert not np.array_equal(trained["dense2"], wanted["dense2"])


def test_a_norm_layer_trains_where_one_of_its_parameters_does():
    before, after = stepped(layers(freeze=("*/bias", "norm2"), accumulate=2))
    assert same(before["params"]["norm1"]["bias"], after["params"]["norm1"]["bias"])
    assert not same(before["params"]["norm1"]["scale"], after["params"]["norm1"]["scale"])
    assert not same(before["batch_stats"]["norm1"], after["batch_stats"]["norm1"])
    assert same(before["batch_stats"]["norm2"], after["batch_stats"]["norm2"])


def test_frozen_parameters_get_no_gradient_that_clipping_could_count():
    prepared = prepared_once(layers(freeze=FROZEN))
    state = drawn(prepared.outline())
    net = bind(prepared.program, prepared.program.parts(numeric(prepared.config)).net, state.model_state, train=True)
    fields = {"image": np.ones((2, 28, 28, 1), np.float32)}
    found = jax.jit(jax.grad(lambda p: net(p, fields, jax.random.key(0), train=True)[0].std()))(state.params)
    assert all(not np.any(leaf) for part in FROZEN for leaf in jax.tree.leaves(found[part]))
    assert np.any(found["head"]["kernel"])


@pytest.mark.proofs
def test_blocks_in_one_loop_are_frozen_as_if_they_were_none():
    """Those of a stage that is frozen in part run one by one, the other stage stays a loop."""
    made = change(config(outputs=4, freeze=("stem", "stage1/block2")), {"model.blocks": (2, 3)})
    jobs = [prepare(change(made, {"model.stack": stack})) for stack in (False, True)]
    state, found = jobs[0].start(), []
    x = np.linspace(0, 1, 2 * 16 * 16 * 3, dtype=np.float32).reshape(2, 16, 16, 3)
    for stack, prepared in enumerate(jobs):
        net = bind(prepared.program, prepared.program.parts(state.hparams).net, state.model_state, train=True)
        run = jax.jit(lambda params, net=net: net(params, {"image": x}, jax.random.key(0), train=True))
        found.append(run(state.params))
        assert str(jax.make_jaxpr(run)(state.params)).count(" scan[") == stack
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *found)
    before, after = state.model_state["batch_stats"], found[1][1]["batch_stats"]
    assert same(before["stage1"]["block2"], after["stage1"]["block2"])
    assert not same(before["stage1"]["block1"], after["stage1"]["block1"])
    assert not same(before["stage2"]["block3"], after["stage2"]["block3"])


FOREIGN = """
import jax.numpy as jnp
from flax import linen as nn
from cnnjax.layers import BatchNorm

class Looped(nn.Module):
    outputs: int
    strides = (1,)

    @nn.compact
    def __call__(self, x, train=False):
        x = BatchNorm(name="first")(x, train)
        inner = BatchNorm(name="inner")
        y = inner(x, train)
        if not self.is_initializing():
            y, _ = inner.clone(parent=None, name=None).apply(inner.variables, x, train, mutable=["batch_stats"])
        return nn.Dense(self.outputs, name="head")(jnp.mean(y, (1, 2)))

def looped(*, outputs: int, stack: bool = True):
    return Looped(outputs)
"""


def test_a_layer_that_a_network_runs_apart_can_not_be_frozen(tmp_path, monkeypatch):
    (tmp_path / "foreign_nets.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(tmp_path)
    made = config(freeze=("first",))
    made.model = section("models", "foreign_nets:looped")
    message = r"optimizer\.freeze can't tell which parameters BatchNorm '' has: the network runs it apart"
    with pytest.raises(ConfigError, match=message):
        prepare(made).start()


def halves(**train):
    """A U-Net on scenes, whose encoder is the residual net of `config`."""
    shapes = {"train": 64, "test": 8, "size": 16, "classes": 2}
    backbone = section("models", "resnet", blocks=(1, 1), width=4, stem="cifar")
    return experiment(
        data=section("data", "shapes", **shapes),
        model=section("models", "unet", width=4, backbone=backbone),
        task=section("tasks", "segmentation"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "sgd"),
        schedule=section("schedules", "constant"),
        train={"steps": 3, "batch": 32, "devices": 1, **train},
        eval={"test": False},
    )


def test_a_part_of_a_net_is_filled_from_its_own_nets_file(tmp_path):
    net = models.resnet(outputs=7, blocks=(1, 1), width=4, stem="cifar")
    variables = initial(net)
    path = tmp_path / "a.safetensors"
    weights.save(net, variables, path, dialect="torchvision")
    before, state, said = started(halves(init=str(path), init_into="backbone"))
    given = {name: leaf for name, leaf in variables["params"].items() if name != "head"}
    assert same(state.params["backbone"], given)
    assert same(state.model_state["batch_stats"]["backbone"], variables["batch_stats"])
    assert same(state.params["rise0"], before.params["rise0"])
    assert not same(before.params["backbone"], given)
    assert said[-1] == f"backbone began from {path}"


def test_the_backbone_of_a_detector_is_filled_within_its_pyramid(tmp_path):
    net = models.resnet(outputs=7, blocks=(1, 1), width=4, stem="cifar")
    variables = initial(net)
    path = tmp_path / "a.safetensors"
    weights.save(net, variables, path, dialect="torchvision")
    found = halves(init=str(path), init_into="backbone")
    found.data.boxes = True
    found.model = section("models", "detector", width=4, levels=(2,), depth=0, backbone=found.model.backbone)
    found.task = section("tasks", "detection")
    before, state, _ = started(found)
    given = {name: leaf for name, leaf in variables["params"].items() if name != "head"}
    assert same(state.params["pyramid"]["backbone"], given)
    assert same(state.model_state["batch_stats"]["pyramid"]["backbone"], variables["batch_stats"])
    assert not same(before.params["pyramid"]["backbone"], given)
    rest = {name: leaf for name, leaf in state.params["pyramid"].items() if name != "backbone"}
    assert same(rest, {name: before.params["pyramid"][name] for name in rest})
    assert same(state.params["head"], before.params["head"])


def test_a_part_that_is_none_is_answered_with_those_that_there_are(tmp_path):
    with pytest.raises(
        ConfigError, match=r"train.init_into is 'encoder', which is no net within unet; it has backbone"
    ):
        started(halves(init=str(tmp_path), init_into="encoder"))
    with pytest.raises(ConfigError, match=r"no net within resnet; it is of one piece: leave train.init_into out"):
        started(config(train={"init": str(tmp_path), "init_into": "backbone"}))


def test_a_training_begins_with_weights_that_are_published(tmp_path, digits, monkeypatch):
    path = tmp_path / "timm-tiny.safetensors"
    weights.save(digits.net, digits.variables, path)
    monkeypatch.setenv("CNNJAX_WEIGHTS", str(tmp_path))
    _, state, said = started(config(train={"init": "timm:tiny"}))
    assert same(state.params, digits.state.params)
    assert said == ["began from timm:tiny (timm-tiny.safetensors)"]
    with pytest.raises(ConfigError, match=r"train.init is 'torchvision': torchvision publishes no weights of 'resnet'"):
        started(config(train={"init": "torchvision"}))
