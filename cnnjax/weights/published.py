"""Weights that torchvision and timm publish, by name."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cnnjax.refusals import suggestion
from cnnjax.weights._fetching import FetchError, fetched

__all__ = ["Reading", "is_published", "pretrained", "reading"]

_TORCHVISION = "https://download.pytorch.org/models"
_HUB = "https://huggingface.co/timm"

# by entry: the files as torchvision's source names them (each ends in the start of its SHA-256), oldest recipe first
_FILES = {
    "alexnet": ("alexnet-owt-7be5be79",),
    "convnext_base": ("convnext_base-6075fbad",),
    "convnext_large": ("convnext_large-ea097f82",),
    "convnext_small": ("convnext_small-0c510722",),
    "convnext_tiny": ("convnext_tiny-983f1562",),
    "densenet121": ("densenet121-a639ec97",),
    "densenet161": ("densenet161-8d451a50",),
    "densenet169": ("densenet169-b2777c0a",),
    "densenet201": ("densenet201-c1103571",),
    "efficientnet_b0": ("efficientnet_b0_rwightman-7f5810bc",),
    "efficientnet_b1": ("efficientnet_b1_rwightman-bac287d4", "efficientnet_b1-c27df63c"),
    "efficientnet_b2": ("efficientnet_b2_rwightman-c35c1473",),
    "efficientnet_b3": ("efficientnet_b3_rwightman-b3899882",),
    "efficientnet_b4": ("efficientnet_b4_rwightman-23ab8bcd",),
    "googlenet": ("googlenet-1378be20",),
    "inception_v3": ("inception_v3_google-0cc3c7bd",),
    "mobilenet_v2": ("mobilenet_v2-b0353104", "mobilenet_v2-7ebf99e0"),
    "mobilenet_v3_large": ("mobilenet_v3_large-8738ca79", "mobilenet_v3_large-5c1a4163"),
    "mobilenet_v3_small": ("mobilenet_v3_small-047dcff4",),
    "r2plus1d_18": ("r2plus1d_18-91a641e6",),
    "r3d_18": ("r3d_18-b3b3357e",),
    "resnet18": ("resnet18-f37072fd",),
    "resnet34": ("resnet34-b627a593",),
    "resnet50": ("resnet50-0676ba61", "resnet50-11ad3fa6"),
    "resnet101": ("resnet101-63fe2227", "resnet101-cd907fc2"),
    "resnet152": ("resnet152-394f9c45", "resnet152-f82ba261"),
    "resnext50_32x4d": ("resnext50_32x4d-7cdf4587", "resnext50_32x4d-1a0047aa"),
    "resnext101_32x8d": ("resnext101_32x8d-8ba56ff5", "resnext101_32x8d-110c445d"),
    "resnext101_64x4d": ("resnext101_64x4d-173b62eb",),
    "vgg11": ("vgg11-8a719046",),
    "vgg11_bn": ("vgg11_bn-6002323d",),
    "vgg13": ("vgg13-19584684",),
    "vgg13_bn": ("vgg13_bn-abd245e5",),
    "vgg16": ("vgg16-397923af",),
    "vgg16_bn": ("vgg16_bn-6c64b313",),
    "vgg19": ("vgg19-dcbb9e9d",),
    "vgg19_bn": ("vgg19_bn-c79401a0",),
    "wide_resnet50_2": ("wide_resnet50_2-95faca4d", "wide_resnet50_2-9ba9bcbe"),
    "wide_resnet101_2": ("wide_resnet101_2-32ee1156", "wide_resnet101_2-d733dc28"),
}
# shorter side and square that those read which do not read 256 and 224; those of a second recipe read 232
_SIDES = {
    "convnext_base": (232, 224),
    "convnext_large": (232, 224),
    "convnext_small": (230, 224),
    "convnext_tiny": (236, 224),
    "efficientnet_b1": (256, 240),
    "efficientnet_b1-c27df63c": (255, 240),
    "efficientnet_b2": (288, 288),
    "efficientnet_b3": (320, 300),
    "efficientnet_b4": (384, 380),
    "inception_v3": (342, 299),
    "resnext101_64x4d": (232, 224),
}
_HALF = ("googlenet", "inception_v3")  # which were trained on pictures from -1 to 1
_USUAL = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SPEC = re.compile(r"(torchvision)(?::([12]))?|(timm):([\w.\-]+)")


class Reading(NamedTuple):
    """How pictures are read for published weights: the shorter side, the square cut from it, mean and deviation."""

    resize: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def is_published(spec: str) -> bool:
    """Whether a text says where weights are published ("torchvision", "torchvision:1", "timm:resnet50.a1_in1k")."""
    return bool(_SPEC.fullmatch(spec)) and not Path(spec).exists()


def pretrained(name: str, *, source: str = "torchvision", note: Callable[[str], None] = print) -> Path:
    """The file with the published weights of an entry of the zoo, fetched once and checked: `load` takes it.

    `source` is "torchvision", whose newest recipe is taken ("torchvision:1" is the older one of two), or "timm:NAME" of
    its collection on the hub. Files lie in the folder CNNJAX_WEIGHTS, or ~/.cache/cnnjax; without a network one puts
    them there. CNNJAX_MIRROR is the address of a folder that has them too.
    """
    found = _SPEC.fullmatch(source)
    if not found:
        raise FetchError(f"source is {source!r}; it must be torchvision, torchvision:1, torchvision:2 or timm:NAME")
    folder = Path(os.environ.get("CNNJAX_WEIGHTS") or "~/.cache/cnnjax").expanduser()
    mirror = os.environ.get("CNNJAX_MIRROR", "").rstrip("/")
    if found[3]:
        file = f"{found[4]}/resolve/main/model.safetensors"
        return fetched(f"{mirror or _HUB}/{file}", folder / f"timm-{found[4]}.safetensors", note=note)
    stem = _stem(name, found[2])
    file = f"{stem}.pth"
    return fetched(f"{mirror or _TORCHVISION}/{file}", folder / file, stem.rpartition("-")[2], note)


def reading(name: str, source: str = "torchvision") -> Reading:
    """How torchvision reads pictures for its weights of an entry; for timm's, and others, ImageNet's usual way."""
    found = _SPEC.fullmatch(source)
    if not found or found[3]:
        return Reading(256, 224, *_USUAL)
    stem = _stem(name, found[2])
    second = len(_FILES[name]) > 1 and stem == _FILES[name][1]
    sides = _SIDES.get(stem) or _SIDES.get(name) or (232 if second else 256, 224)
    if name in _HALF:
        return Reading(*sides, (0.5,) * 3, (0.5,) * 3)
    return Reading(*sides, *_USUAL)


def _stem(name: str, recipe: str | None) -> str:
    """The file's name without its ending."""
    if name not in _FILES:
        raise FetchError(f"torchvision publishes no weights of {name!r}{suggestion(name, _FILES)}")
    files = _FILES[name]
    if recipe and int(recipe) > len(files):
        raise FetchError(f"torchvision publishes {len(files)} recipe of {name}, no second; say torchvision alone")
    return files[int(recipe or 0) - 1]
