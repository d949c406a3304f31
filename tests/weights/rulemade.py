"""Weights that a rule makes from the names of tensors, and what PyTorch answered for them (tests/fixtures/weights)."""

import json
import math
import zlib

import numpy as np

# fixture → entry of our own, where its name is another
ENTRY = {
    "timm_mobilenetv2_100": "mobilenet_v2",
    "timm_mobilenetv3_large_100": "mobilenet_v3_large",
    "timm_mobilenetv3_small_100": "mobilenet_v3_small",
    "timm_resnetv2_50": "resnet50_v2",
    "googlenet_auxiliary": "googlenet",
}
OPTIONS = {name: {"eps": 1e-5} for name in ("timm_mobilenetv3_large_100", "timm_mobilenetv3_small_100")}


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor of a name; the input's is called "input"."""
    numbers = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).random(math.prod(shape)).reshape(shape)
    if name == "input":
        return numbers.astype(np.float32)
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        numbers = 0.5 + numbers
    elif len(shape) <= 1:
        numbers = 0.2 * (numbers - 0.5)
    else:
        numbers = (2 * numbers - 1) * math.sqrt(6 / math.prod(shape[1:]))
    return numbers.astype(np.float32)


def fixture(root, name):
    """Names and shapes of the tensors, the shape of the input and the answer."""
    with np.load(root / "tests/fixtures/weights" / f"{name}.npz") as file:
        names = {key: tuple(shape) for key, shape in json.loads(str(file["names"])).items()}
        size = int(file["size"])
        image = (int(file["batch"]), size, size, int(file["channels"]))
        return names, tuple(file["shape"]) if "shape" in file else image, file["outputs"]
