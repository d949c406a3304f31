"""What is saved here loads in PyTorch, which answers the same, and what PyTorch saves then loads here.

  CNNJAX_TORCH=.venv-torch/bin/python make proofs

names an interpreter that has torch, torchvision, safetensors and NumPy.
"""

import json
import os
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

from cnnjax import models, weights
from tests.models.variants import abstract_variables, filled

PEER = os.environ.get("CNNJAX_TORCH", "")
BOUND = 1e-5
# whose constructor does otherwise than ours; PyTorch's own first weights, which nobody reads, take half a minute there
OPTIONS = {
    "googlenet": {"aux_logits": False, "transform_input": False, "init_weights": False},
    "googlenet_auxiliary": {"aux_logits": True, "transform_input": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "transform_input": False, "init_weights": False},
}
SHAPES = {"inception_v3": (107, 107, 3), "r2plus1d_18": (4, 32, 32, 3), "r3d_18": (4, 32, 32, 3)}


@pytest.mark.proofs
@pytest.mark.skipif(not PEER, reason="CNNJAX_TORCH names no interpreter with torch, torchvision and safetensors")
@pytest.mark.parametrize(
    "name",
    [
        "alexnet",
        "convnext_tiny",
        "densenet121",
        "efficientnet_b0",
        "googlenet",
        "googlenet_auxiliary",
        "inception_v3",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "mobilenet_v3_small",
        "r2plus1d_18",
        "r3d_18",
        "resnet18",
        "resnet50",
        "resnext50_32x4d",
        "vgg11_bn",
        "vgg16",
    ],
)
def test_what_is_saved_here_loads_in_pytorch_and_back(root, tmp_path, record_property, name):
    entry, _, auxiliary = name.partition("_aux")
    net = getattr(models, entry)(outputs=37, **({"auxiliary": True} if auxiliary else {}))
    shape = SHAPES.get(name, (64, 64, 3))
    variables, x = filled(net, shape), np.random.default_rng(1).random((2, *shape), np.float32)
    weights.save(net, variables, tmp_path / "ours.safetensors", dialect="torchvision")
    np.save(tmp_path / "inputs.npy", x)
    options = {"num_classes": 37, **OPTIONS.get(name, {})}
    reader = Path(__file__).with_name("pytorch_reader.py")
    command = [root / PEER, reader, entry, json.dumps(options), tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = np.asarray(jax.jit(net.apply)(variables, x)), np.load(tmp_path / "outputs.npy")
    far = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    record_property("relative difference", f"{far:.1e}")
    print(f"{name}: {far:.1e}")
    assert far <= BOUND
    for file in ("theirs.pth", "theirs_old.pth"):
        back = weights.load(net, abstract_variables(net, shape), tmp_path / file)
        jax.tree.map(np.testing.assert_array_equal, back, variables)
