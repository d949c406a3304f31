"""Reads weights with PyTorch as a user of torchvision would, answers, and saves them again by `torch.save`.

  python pytorch_reader.py NET OPTIONS FOLDER

It runs in an environment of its own: torch, torchvision, safetensors and NumPy, but nothing of this project.
In the folder it finds ours.safetensors and inputs.npy (channels last), and leaves outputs.npy, theirs.pth (today's
layout) and theirs_old.pth.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

# torchvision's wheel is built for CUDA: beside a CPU build of PyTorch its import looks for these two in vain
_OPERATORS = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from torchvision import models  # noqa: E402


def main(name, options, folder):
    net = models.get_model(name, weights=None, **json.loads(options))
    net.load_state_dict(load_file(folder / "ours.safetensors"), strict=True)
    with torch.no_grad():
        outputs = net.eval()(torch.from_numpy(np.moveaxis(np.load(folder / "inputs.npy"), -1, 1).copy()))
    np.save(folder / "outputs.npy", outputs.numpy())
    torch.save(net.state_dict(), folder / "theirs.pth")
    torch.save(net.state_dict(), folder / "theirs_old.pth", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main(*sys.argv[1:3], Path(sys.argv[3]))
