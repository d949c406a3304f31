"""What fits is loaded, what does not is listed by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import models, weights


def made(net, shape, seed=0):
    """Variables with numbers drawn by NumPy: nothing compiles."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda key, x: net.init(key, x, train=False), jax.random.key(0), jnp.zeros((1, *shape)))
    return jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), shapes)


def resnet(**options):
    return models.resnet(**{"outputs": 5, "blocks": (1, 1), "width": 4, **options})


def same(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: bool((np.asarray(x) == np.asarray(y)).all()), a, b))


@pytest.mark.parametrize("dialect", ["native", "torchvision"])
def test_what_is_saved_is_loaded_again(tmp_path, dialect):
    net = resnet()
    first, second = made(net, (32, 32, 3)), made(net, (32, 32, 3), seed=1)
    weights.save(net, first, tmp_path / "a.safetensors", dialect=dialect)
    assert not same(first, second)
    assert same(weights.load(net, second, tmp_path / "a.safetensors"), first)


def test_a_net_without_foreign_names_is_saved_under_its_own(tmp_path):
    net = models.lenet5(outputs=10)
    variables = made(net, (28, 28, 1))
    weights.save(net, variables, tmp_path / "a.safetensors")
    assert weights.read(tmp_path / "a.safetensors")["c1.kernel"].shape == (5, 5, 1, 6)
    with pytest.raises(weights.WeightsError, match="torchvision has no names for LeNet; dialect='native' saves it"):
        weights.save(net, variables, tmp_path / "b.safetensors", dialect="torchvision")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("layer1.0.conv1.weight", (4, 36)),
        ("layer1.0.bn1.weight", (2, 2)),
        ("fc.weight", (20, 8)),
    ],
)
def test_as_many_numbers_in_another_shape_do_not_fit(name, wrong):
    net = resnet(stem="cifar", blocks=(1, 1))
    variables = made(net, (32, 32, 3))
    found = weights.tensors(net, variables, dialect="torchvision")
    right = found[name].shape
    found[name] = np.arange(np.prod(right), dtype=np.float32).reshape(wrong if np.prod(wrong) == np.prod(right) else -1)
    with pytest.raises(weights.WeightsError, match=rf"of another shape: {name} ") as error:
        weights.fill(net, variables, found)
    assert len(error.value.misshapen) == 1


def test_every_tensor_has_a_name_of_its_own_or_none_is_written(tmp_path):
    net = models.resnet18_v2(outputs=5, width=8, stem="deep")
    found = weights.tensors(net, made(net, (32, 32, 3)), dialect="timm")
    assert {"stem.conv1.weight", "stem.norm2.bias", "stem.conv3.weight"} <= set(found)
    unknown = models.resnet18_v2(outputs=5, width=8, shortcut="D", norm="group")
    assert "None.weight" not in weights.tensors(unknown, made(unknown, (32, 32, 3)), dialect="timm")


def test_what_no_loading_can_be_made_of_is_said_so(tmp_path):
    net = resnet()
    variables = made(net, (32, 32, 3))
    weights.save(net, variables, tmp_path / "a.safetensors", dialect="torchvision")
    shapes = jax.eval_shape(lambda: variables)
    with pytest.raises(ValueError, match=r"head is 'fresh', which keeps .* they must be numbers, not shapes"):
        weights.load(net, shapes, tmp_path / "a.safetensors", head="fresh")
    with pytest.raises(ValueError, match=r"variables are empty; give those of net.init"):
        weights.load(net, {}, tmp_path / "a.safetensors")
    huge = weights.tensors(net, variables, dialect="torchvision")
    huge["fc.bias"] = np.full(5, 1e300)
    with pytest.raises(weights.WeightsError, match=r"fc.bias has numbers beyond float32, up to 1.0e\+300"):
        weights.fill(net, variables, huge)


def test_a_new_head_keeps_its_own_numbers(tmp_path):
    old, new = resnet(outputs=5), resnet(outputs=3)
    trained, fresh = made(old, (32, 32, 3)), made(new, (32, 32, 3), seed=1)
    weights.save(old, trained, tmp_path / "a.safetensors", dialect="torchvision")
    listed = r"of another shape: fc.bias \(5,\) for params/head/output/bias \(3,\)"
    with pytest.raises(weights.WeightsError, match=listed):
        weights.load(new, fresh, tmp_path / "a.safetensors")
    loaded = weights.load(new, fresh, tmp_path / "a.safetensors", head="fresh")
    assert same(loaded["params"]["head"], fresh["params"]["head"])
    assert same(loaded["params"]["stage1"], trained["params"]["stage1"])


def test_what_is_missing_and_what_is_not_used_is_listed_by_name(tmp_path):
    deep, shallow = resnet(blocks=(2, 1)), resnet()
    weights.save(shallow, made(shallow, (32, 32, 3)), tmp_path / "a.safetensors", dialect="torchvision")
    with pytest.raises(weights.WeightsError) as error:
        weights.load(deep, made(deep, (32, 32, 3)), tmp_path / "a.safetensors")
    assert "does not fit ResNet" in str(error.value)
    assert "missing: layer1.1.bn1.running_mean for batch_stats/stage1/block2/norm1/mean (4,)" in str(error.value)
    weights.save(deep, made(deep, (32, 32, 3)), tmp_path / "b.safetensors", dialect="torchvision")
    with pytest.warns(UserWarning, match=r"10 tensors are not used: layer1.1.bn1.bias \(4,\), "):
        weights.load(shallow, made(shallow, (32, 32, 3)), tmp_path / "b.safetensors")


def test_names_that_wrappers_and_old_releases_leave_are_understood(tmp_path):
    net = models.densenet(outputs=3, blocks=(1, 1), growth=4, stem_width=8)
    variables = made(net, (32, 32, 3))
    weights.save(net, variables, tmp_path / "a.safetensors", dialect="torchvision")
    old = {}
    for name, value in weights.read(tmp_path / "a.safetensors").items():
        for word in ("norm1", "conv1", "norm2", "conv2"):
            if "denselayer" in name:
                name = name.replace(f".{word}.", f".{word[:-1]}.{word[-1]}.")
        old[f"module.{name}"] = value
        if name.endswith("running_mean"):
            old[f"module.{name.replace('running_mean', 'num_batches_tracked')}"] = np.int64(3)
    assert "module.features.denseblock1.denselayer1.norm.1.weight" in old
    weights.write(tmp_path / "old.safetensors", old)
    assert same(weights.load(net, made(net, (32, 32, 3), seed=1), tmp_path / "old.safetensors"), variables)


def test_an_unknown_choice_is_an_error(tmp_path):
    net = resnet()
    with pytest.raises(ValueError, match="head is 'new'; allowed: file, fresh"):
        weights.load(net, {}, tmp_path / "a", head="new")
    with pytest.raises(ValueError, match="dialect is 'torch'; nearest: torchvision; allowed: early, native"):
        weights.save(net, {}, tmp_path / "a", dialect="torch")


def test_kernels_that_are_square_are_turned_too(tmp_path):
    """A dense kernel of as many inputs as outputs has the same shape in both layouts."""
    net = models.convnext(outputs=8, blocks=(1,), width=8)
    variables = made(net, (8, 8, 3))
    weights.save(net, variables, tmp_path / "a.safetensors", dialect="torchvision")
    theirs = weights.read(tmp_path / "a.safetensors")["classifier.2.weight"]
    np.testing.assert_array_equal(theirs.T, variables["params"]["head"]["kernel"])
    assert same(weights.load(net, made(net, (8, 8, 3), seed=1), tmp_path / "a.safetensors"), variables)
