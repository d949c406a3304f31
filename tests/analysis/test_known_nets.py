"""The confusion sets of a net that somebody else has trained, which are printed beside it."""

import json

import jax
import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax.analysis import confusion, confusion_sets, most_confused, similarity_order


def kernels(layer):
    """The weights (h, w, depth, filters) of a layer of ConvNetJS, which lists rows, columns and channels in turn."""
    filters = layer["filters"]
    values = [[each["w"][str(k)] for k in range(len(each["w"]))] for each in filters]
    shape = [filters[0][name] for name in ("sy", "sx", "depth")]
    return np.array(values, np.float32).reshape(-1, *shape).transpose(1, 2, 3, 0)


def biases(layer):
    return np.array([layer["biases"]["w"][str(k)] for k in range(layer["out_depth"])], np.float32)


@pytest.mark.proofs
def test_the_confusion_sets_of_convnetjs_are_those_that_its_weights_are_known_by(real):
    layers = json.loads(real("pretrained/convnetjs_cifar10.json").read_text())["layers"]
    convs = [layer for layer in layers if layer["layer_type"] == "conv"]
    (dense,) = (layer for layer in layers if layer["layer_type"] == "fc")
    params = {f"conv{n}": {"kernel": kernels(layer), "bias": biases(layer)} for n, layer in enumerate(convs, 1)}
    params["head"] = {"kernel": kernels(dense).reshape(-1, 10), "bias": biases(dense)}
    net = cnnjax.models.convnetjs_cifar10(outputs=10)
    files = [Image.open(real(f"cifar10/test_{k:03}.webp")).convert("RGB") for k in range(20)]
    images = np.concatenate([np.asarray(file).reshape(-1, 32, 32, 3) for file in files])
    labels = np.fromfile(real("cifar10/labels.u8"), np.uint8)[50_000:].astype(int)
    names = real("cifar10/batches.meta.txt").read_text().split()
    guess = jax.jit(lambda x: net.apply({"params": params}, x.astype(np.float32) / 255 - 0.5).argmax(-1))
    guesses = np.concatenate([guess(part) for part in np.split(images, 20)])

    assert np.mean(guesses == labels) == pytest.approx(0.7573, abs=1e-4)
    counts = confusion(labels, guesses, classes=10)
    sets = {names[k]: [(names[j], count) for j, count in row] for k, row in enumerate(confusion_sets(counts))}
    assert sets["cat"][:3] == [("dog", 204), ("frog", 83), ("deer", 59)]
    assert sets["dog"][:3] == [("cat", 131), ("bird", 52), ("horse", 44)]
    assert sets["automobile"][0] == ("truck", 55)
    assert sets["deer"][0] == ("horse", 62)
    assert [names[k] for k in most_confused(counts)[0][:2]] == ["cat", "dog"]
    for k, row in enumerate(sets.values()):
        assert len(row) <= 7
        wrong = counts[k].sum() - counts[k, k]
        assert len(row) == 7 or sum(count for _, count in row) >= 0.95 * wrong
    order = [names[k] for k in similarity_order(counts)]
    machines = {order.index(name) for name in ("airplane", "automobile", "ship", "truck")}
    assert machines in ({0, 1, 2, 3}, {6, 7, 8, 9}), order
