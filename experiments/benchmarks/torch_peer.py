"""One training step of PyTorch on the networks of `networks.py`: the peer they are measured against.

It runs in an environment of its own (README.md says how to make it) and answers on standard output, so that its
steps can stand between those of the others: a line `net mode steps` on standard input gives a line of JSON with the
wall and processor milliseconds of each step, or null where the net has no such mode. The net may be `net:batch`; the
line `forget` frees the memory of all. Every step is forward, loss, backward and SGD with momentum, train mode.

On a GPU, where there is one, cuDNN chooses its algorithms by trying them, products of float32 are TF32 as JAX's are,
and the steps of a line are waited for together, as training does. The argument `bfloat16` turns autocast on.
"""

import contextlib
import gc
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

if not torch.version.cuda:
    # torchvision's wheel is built for CUDA: beside a CPU build of PyTorch its import looks for these two in vain
    _OPERATORS = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from torchvision import models

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PRECISION = sys.argv[1] if len(sys.argv) > 1 else "float32"


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Sigmoid(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(),
        nn.Linear(84, 10),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x), inplace=True)


def resnet18_cifar():
    layers, width = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)], 64
    for stage in range(4):
        for block in range(2):
            layers.append(Residual(width, 64 * 2**stage, 2 if stage and not block else 1))
            width = 64 * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def _double(inputs, outputs):
    layers = []
    for c in (inputs, outputs):
        layers += [nn.Conv2d(c, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    def __init__(self, width=32, depth=4):
        super().__init__()
        w = [width * 2**i for i in range(depth + 1)]
        self.down = nn.ModuleList([_double(w[i - 1] if i else 3, w[i]) for i in range(depth + 1)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(w[i], w[i - 1], 2, 2) for i in range(depth, 0, -1)])
        self.merge = nn.ModuleList([_double(w[i], w[i - 1]) for i in range(depth, 0, -1)])
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        skips = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([skip, up(x)], 1))
        return self.head(x)


def tdnn():
    layers, c = [], 40
    for k, d in ((5, 1), (3, 2), (3, 3), (1, 1)):
        layers += [nn.Conv1d(c, 256, k, dilation=d), nn.BatchNorm1d(256), nn.ReLU(inplace=True)]
        c = 256
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(256, 10))


def c3d():
    layers, c = [], 3
    for o in (32, 64, 128):
        layers += [nn.Conv3d(c, o, 3, padding=1, bias=False), nn.BatchNorm3d(o), nn.ReLU(inplace=True), nn.MaxPool3d(2)]
        c = o
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(128, 10))


NETS = {  # name: (constructor, batch, shape of one example, classes, a label for each pixel)
    "lenet5": (lenet5, 128, (1, 28, 28), 10, False),
    "resnet18_cifar": (resnet18_cifar, 64, (3, 32, 32), 10, False),
    "unet": (UNet, 4, (3, 128, 128), 2, True),
    "tdnn": (tdnn, 64, (40, 200), 10, False),
    "c3d": (c3d, 4, (3, 16, 56, 56), 10, False),
    "mobilenet_v2": (models.mobilenet_v2, 8, (3, 224, 224), 1000, False),
    "resnet50": (models.resnet50, 8, (3, 224, 224), 1000, False),
    "densenet121": (models.densenet121, 4, (3, 224, 224), 1000, False),
    "vgg11_bn": (models.vgg11_bn, 4, (3, 224, 224), 1000, False),
    "googlenet": (lambda: models.googlenet(aux_logits=False, init_weights=False), 8, (3, 224, 224), 1000, False),
    "alexnet": (models.alexnet, 16, (3, 224, 224), 1000, False),
}


def prepare(name, mode):
    """A function that makes one step; none where the net has no channels-last layout."""
    entry, _, other = name.partition(":")
    build, batch, shape, classes, dense = NETS[entry]
    batch = int(other or batch)
    torch.manual_seed(0)
    net, x = build().train().to(DEVICE), torch.randn(batch, *shape, device=DEVICE)
    y = torch.randint(0, classes, (batch, *shape[1:]) if dense else (batch,), device=DEVICE)
    if mode.endswith("_cl"):
        layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)
        if layout is None:
            return None
        net, x = net.to(memory_format=layout), x.to(memory_format=layout)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    forward = torch.compile(net, dynamic=False) if mode.startswith("compile") else net
    half = PRECISION == "bfloat16"

    def step():
        optimizer.zero_grad()
        with torch.autocast(DEVICE, torch.bfloat16) if half else contextlib.nullcontext():
            loss = F.cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step()

    return step


def timed(step, count):
    """Milliseconds [wall, processor] of each of `count` steps; on a GPU one row, of the mean of all."""
    rows, together = [], count if DEVICE == "cuda" else 1
    for _ in range(count // together if count else 0):
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(together):
            step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times = time.perf_counter() - wall, time.process_time() - processor
        rows.append([1e3 * each / together for each in times])
    return rows


def forget():
    """Gives back the memory of nets that nobody holds any more."""
    gc.collect()
    if DEVICE == "cuda":
        torch.cuda.empty_cache()


def serve(lines):
    steps = {}
    for line in lines:
        if line.strip() == "forget":
            steps = {}
            forget()
            print("null", flush=True)
            continue
        name, mode, count = line.split()
        if (name, mode) not in steps:
            steps = {key: value for key, value in steps.items() if key[0] == name}  # one net in memory at a time
            forget()
            step = steps[name, mode] = prepare(name, mode)
            timed(step, 3 if step else 0)  # compiles, and on a GPU tries algorithms
        step = steps[name, mode]
        print(json.dumps(timed(step, int(count)) if step else None), flush=True)


if __name__ == "__main__":
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    versions = {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": DEVICE}
    print(json.dumps(versions | {"precision": PRECISION}), flush=True)
    serve(sys.stdin)
