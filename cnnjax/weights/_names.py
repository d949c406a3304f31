"""What torchvision, timm and the first ports call the layers of each family: one rule, from our path to their name."""

import re
from collections.abc import Callable, Mapping
from typing import Literal, get_args

__all__ = ["CONVOLVED", "DIALECTS", "FLATTENED", "family", "renamed", "rule"]

Rule = Callable[[list[str], frozenset[str]], str]

# dense layers that read a flattened map, channels first in PyTorch: family, path, and the sides of the map
FLATTENED = {
    ("AlexNet", "dense1"): (6, 6),
    ("VGG", "dense1"): (7, 7),
    ("GoogLeNet", "auxiliary1/dense"): (4, 4),
    ("GoogLeNet", "auxiliary2/dense"): (4, 4),
}

# dense layers that timm has as convolutions
CONVOLVED = {("VGG", "dense1"), ("VGG", "dense2"), ("MobileNet", "head/hidden"), ("PreactivatedResNet", "head/output")}


def family(net) -> str:
    """The family of a net; pre-activated residual nets are one of their own."""
    name = type(net).__name__
    return f"Preactivated{name}" if name == "ResNet" and dict(net.shape)["version"] == "2" else name


def _number(word: str) -> int:
    """The number at the end of a word."""
    return int(re.search(r"\d+$", word)[0])


def _unit(part: str, conv: str = "conv", norm: str = "bn") -> str:
    return {"conv": conv, "norm": norm}[part]


def _alexnet(path, _):
    names = {"conv1": "0", "conv2": "3", "conv3": "6", "conv4": "8", "conv5": "10"}
    if path[0] in names:
        return f"features.{names[path[0]]}"
    return {"dense1": "classifier.1", "dense2": "classifier.4", "head": "classifier.6"}[path[0]]


def _vgg_features(path, paths):
    """Torch numbers convolutions, normalisations, activations and poolings in one row."""
    convs = sorted(re.findall(r"\bconv(\d+)_(\d+)\b", " ".join(paths)), key=lambda pair: tuple(map(int, pair)))
    stage, place = re.fullmatch(r"(?:conv|norm)(\d+)_(\d+)", path[0]).groups()
    each = 3 if "norm1_1" in paths else 2
    return f"features.{convs.index((stage, place)) * each + int(stage) - 1 + path[0].startswith('norm')}"


def _vgg(path, paths):
    dense = {"dense1": "classifier.0", "dense2": "classifier.3", "head": "classifier.6"}
    return dense[path[0]] if path[0] in dense else _vgg_features(path, paths)


def _vgg_timm(path, paths):
    dense = {"dense1": "pre_logits.fc1", "dense2": "pre_logits.fc2", "head": "head.fc"}
    return dense[path[0]] if path[0] in dense else _vgg_features(path, paths)


def _googlenet(path, _):
    match path:
        case ["head", "output"]:
            return "fc"
        case [("auxiliary1" | "auxiliary2") as head, "conv", part]:
            return f"aux{_number(head)}.conv.{_unit(part)}"
        case [("auxiliary1" | "auxiliary2") as head, ("dense" | "output") as part]:
            return f"aux{_number(head)}.{'fc1' if part == 'dense' else 'fc2'}"
        case [block, branch, part]:
            branch, _, place = branch.partition("_")
            place = {"branch1": "", "branch4": ".1"}.get(branch, f".{int(place or 1) - 1}")
            return f"{block}.{branch}{place}.{_unit(part)}"
        case [conv, part]:
            return f"{conv}.{_unit(part)}"


_INCEPTION_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")


def _inception(path, _):
    match path:
        case ["head", "output"]:
            return "fc"
        case ["auxiliary_head", "output"]:
            return "AuxLogits.fc"
        case ["auxiliary_head", conv, part]:
            return f"AuxLogits.{conv}.{_unit(part)}"
        case [block, branch, part]:
            return f"{block.replace('mixed', 'Mixed_')}.{branch}.{_unit(part)}"
        case [stem, part]:
            return f"{_INCEPTION_STEM[_number(stem) - 1]}.{_unit(part)}"


def _resnet(path, paths):
    deep, pooled = "stem/conv1" in paths, 1 if "stem/conv1" in paths else 0
    match path:
        case ["head", "output"]:
            return "fc"
        case ["stem", part]:
            names = {
                "conv1": "conv1.0",
                "norm1": "conv1.1",
                "conv2": "conv1.3",
                "norm2": "conv1.4",
                "conv": "conv1.6" if deep else "conv1",
                "norm": "bn1",
            }
            return names[part]
        case [stage, block, "shortcut", part]:  # in the D variants an average pooling comes first
            return f"layer{_number(stage)}.{_number(block) - 1}.downsample.{pooled + (part == 'norm')}"
        case [stage, block, part]:
            return f"layer{_number(stage)}.{_number(block) - 1}.{part.replace('norm', 'bn')}"


def _resnet_v2(path, paths):
    match path:
        case ["head", "output"]:
            return "head.fc"
        case ["stem", "conv"]:
            return "stem.conv3" if "stem/conv1" in paths else "stem.conv"
        case ["stem", part]:  # a deep one
            return f"stem.{part}"
        case ["norm"]:
            return "norm"
        case [stage, block, "shortcut", "conv"]:
            return f"stages.{_number(stage) - 1}.blocks.{_number(block) - 1}.downsample.conv"
        case [stage, block, part]:
            return f"stages.{_number(stage) - 1}.blocks.{_number(block) - 1}.{part}"


def _densenet(path, _):
    match path:
        case ["head", "output"]:
            return "classifier"
        case ["stem", part]:
            return f"features.{part}0"
        case ["norm"]:
            return "features.norm5"
        case [("transition1" | "transition2" | "transition3") as name, part]:
            return f"features.{name}.{part}"
        case [block, layer, part]:
            return f"features.denseblock{_number(block)}.denselayer{_number(layer)}.{part}"


def _sequence(path, paths, prefix):
    """A layer of an inverted residual, numbered as the parts that are there follow one another."""
    block, part, *rest = path
    there = [p for p in ("expand", "depthwise", "gate", "project") if any(q.startswith(f"{block}/{p}/") for q in paths)]
    place = f"{prefix}.{there.index(part)}"
    if part == "gate":
        return f"{place}.{'fc1' if rest == ['reduce'] else 'fc2'}"
    return f"{place}.{0 if rest == ['conv'] else 1}"


def _mobilenet(path, paths):
    last = 1 + max(_number(p.split("/")[0]) for p in paths if p.startswith("block"))
    hidden = "head/hidden" in paths
    match path:
        case ["head", "hidden"]:
            return "classifier.0"
        case ["head", "output"]:
            return "classifier.3" if hidden else "classifier.1"
        case ["stem", part]:
            return f"features.0.{_unit(part, '0', '1')}"
        case ["last_conv", part]:
            return f"features.{last}.{_unit(part, '0', '1')}"
        case [block, "project", part] if not hidden:  # v2 has it unwrapped
            start = _sequence([block, "project", "conv"], paths, f"features.{_number(block)}.conv").rpartition(".")[0]
            head, _, place = start.rpartition(".")
            return f"{head}.{int(place) + (part == 'norm')}"
        case [block, *_]:
            kind = "block" if hidden else "conv"
            return _sequence(path, paths, f"features.{_number(block)}.{kind}")


def _efficientnet(path, paths):
    match path:
        case ["head", "output"]:
            return "classifier.1"
        case ["stem", part]:
            return f"features.0.{_unit(part, '0', '1')}"
        case ["last_conv", part]:
            return f"features.8.{_unit(part, '0', '1')}"
        case [block, *_]:
            stage, place = re.fullmatch(r"stage(\d+)_block(\d+)", block).groups()
            return _sequence(path, paths, f"features.{stage}.{int(place) - 1}.block")


def _timm_block(path, paths, prefix):
    """A layer of an inverted residual by timm's names; without an expansion the last 1×1 is called otherwise."""
    block, part, *rest = path
    if part == "gate":
        return f"{prefix}.se.conv_{rest[0]}"
    wide = any(p.startswith(f"{block}/expand/") for p in paths)
    order = ("expand", "depthwise", "project") if wide else ("depthwise", "project")
    conv = {"expand": "conv_pw", "depthwise": "conv_dw", "project": "conv_pwl" if wide else "conv_pw"}[part]
    return f"{prefix}.{conv if rest == ['conv'] else f'bn{order.index(part) + 1}'}"


def _timm_mobile(path, paths, stages):
    """MobileNet and EfficientNet in timm; `stages` has the stage and place of every block."""
    hidden = "head/hidden" in paths
    match path:
        case ["head", "hidden"]:
            return "conv_head"
        case ["head", "output"]:
            return "classifier"
        case ["stem", part]:
            return _unit(part, "conv_stem", "bn1")
        case ["last_conv", part] if hidden:
            return f"blocks.{1 + max(stage for stage, _ in stages.values())}.0.{_unit(part, 'conv', 'bn1')}"
        case ["last_conv", part]:
            return _unit(part, "conv_head", "bn2")
        case [block, *_]:
            stage, place = stages[block]
            return _timm_block(path, paths, f"blocks.{stage}.{place}")


def _efficientnet_timm(path, paths):
    found = (re.fullmatch(r"stage(\d+)_block(\d+)", p.split("/")[0]) for p in paths)
    return _timm_mobile(path, paths, {m[0]: (int(m[1]) - 1, int(m[2]) - 1) for m in found if m})


def _convnext(path, _):
    match path:
        case ["stem"] | ["stem_norm"]:
            return f"features.0.{0 if path == ['stem'] else 1}"
        case ["norm"] | ["head"]:
            return f"classifier.{0 if path == ['norm'] else 2}"
        case [stage, ("norm" | "down") as part]:
            return f"features.{2 * _number(stage) - 2}.{0 if part == 'norm' else 1}"
        case [stage, block]:
            return f"features.{2 * _number(stage) - 1}.{_number(block) - 1}"
        case [stage, block, part]:
            place = {"depthwise": 0, "norm": 2, "expand": 3, "project": 5}[part]
            return f"features.{2 * _number(stage) - 1}.{_number(block) - 1}.block.{place}"


def _convnext_timm(path, _):
    match path:
        case ["stem"] | ["stem_norm"]:
            return f"stem.{0 if path == ['stem'] else 1}"
        case ["norm"] | ["head"]:
            return f"head.{'norm' if path == ['norm'] else 'fc'}"
        case [stage, ("norm" | "down") as part]:
            return f"stages.{_number(stage) - 1}.downsample.{0 if part == 'norm' else 1}"
        case [stage, block, *part]:
            name = {"depthwise": ".conv_dw", "norm": ".norm", "expand": ".mlp.fc1", "project": ".mlp.fc2", "": ""}
            return f"stages.{_number(stage) - 1}.blocks.{_number(block) - 1}{name[''.join(part)]}"


def _video_resnet(path, _):
    match path:
        case ["head", "output"]:
            return "fc"
        case ["stem", part]:
            factored = "stem/space" in _
            whole = {"conv": "0", "norm": "1"}
            return "stem." + ({"space": "0", "space_norm": "1", "time": "3", "norm": "4"} if factored else whole)[part]
        case [block, ("shortcut" | "shortcut_norm") as part]:
            return f"{_video_block(block)}.downsample.{0 if part == 'shortcut' else 1}"
        case [block, ("norm1" | "norm2") as part]:
            return f"{_video_block(block)}.conv{part[-1]}.1"
        case [block, conv, part]:
            place = {"conv": "", "space": ".0", "norm": ".1", "time": ".3"}[part]
            return f"{_video_block(block)}.{conv}.0{place}"


def _crepe(path, _):
    """As torchcrepe calls them, whose convolutions over time are (window, 1)."""
    (layer,) = path
    return "classifier" if layer == "head" else re.sub(r"norm(\d)", r"conv\1_BN", layer)


def _video_block(block: str) -> str:
    stage, place = re.fullmatch(r"stage(\d+)_block(\d+)", block).groups()
    return f"layer{stage}.{int(place) - 1}"


def _mobilenet_timm(net) -> Rule:
    """timm groups the blocks by their width."""
    stages, stage, place = {}, -1, 0
    for i, unit in enumerate(net.plan, 1):
        new = i == 1 or unit.features != net.plan[i - 2].features
        stage, place = (stage + 1, 0) if new else (stage, place + 1)
        stages[f"block{i}"] = (stage, place)
    return lambda path, paths: _timm_mobile(path, paths, stages)


def _efficientnet_early(path, paths):
    """The names of the first port to PyTorch (efficientnet-pytorch), in which blocks are numbered through."""
    match path:
        case ["head", "output"]:
            return "_fc"
        case ["stem", part]:
            return _unit(part, "_conv_stem", "_bn0")
        case ["last_conv", part]:
            return _unit(part, "_conv_head", "_bn1")
        case [block, "gate", part]:
            return f"_blocks.{_place(block, paths)}._se_{part}"
        case [block, layer, "conv"]:
            return f"_blocks.{_place(block, paths)}._{layer}_conv"
        case [block, layer, _]:
            place = ("expand", "depthwise", "project").index(layer)
            return f"_blocks.{_place(block, paths)}._bn{place}"


def _place(block: str, paths: frozenset[str]) -> int:
    """The place of an EfficientNet's block among all."""
    blocks = {path.split("/")[0] for path in paths if path.startswith("stage")}
    return sorted(blocks, key=lambda name: tuple(map(int, re.findall(r"\d+", name)))).index(block)


def _mobilenet_early(path, paths):
    """The names of version 2 before torchvision's 0.5, in which the parts of a block were not wrapped."""
    block, part, *rest = path
    if "head/hidden" in paths:
        return None
    if not block.startswith("block"):
        return _mobilenet(path, paths)
    there = [p for p in ("expand", "depthwise", "project") if f"{block}/{p}/conv" in paths]
    return f"features.{_number(block)}.conv.{3 * there.index(part) + (rest == ['norm'])}"


_TORCHVISION: Mapping[str, Rule] = {
    "AlexNet": _alexnet,
    "VGG": _vgg,
    "GoogLeNet": _googlenet,
    "InceptionV3": _inception,
    "ResNet": _resnet,
    "DenseNet": _densenet,
    "MobileNet": _mobilenet,
    "EfficientNet": _efficientnet,
    "ConvNeXt": _convnext,
    "VideoResNet": _video_resnet,
    "Crepe": _crepe,
}
_TIMM: Mapping[str, Rule] = {
    "VGG": _vgg_timm,
    "ConvNeXt": _convnext_timm,
    "EfficientNet": _efficientnet_timm,
    "ResNet": _resnet,
    "PreactivatedResNet": _resnet_v2,
    "DenseNet": _densenet,
    "InceptionV3": _inception,
}
_EARLY: Mapping[str, Rule] = {"EfficientNet": _efficientnet_early, "MobileNet": _mobilenet_early}
Dialect = Literal["native", "torchvision", "timm", "early"]
DIALECTS = get_args(Dialect)


def rule(net, dialect: str) -> Rule | None:
    """How a dialect names the layers of a net: from the parts of our path and all our paths; None where it does not."""
    if dialect == "native":
        return lambda path, _: ".".join(path)
    if dialect == "torchvision":
        return _TORCHVISION.get(family(net))
    if dialect == "early":
        return _EARLY.get(family(net))
    return _mobilenet_timm(net) if family(net) == "MobileNet" else _TIMM.get(family(net))


def renamed(name: str) -> str:
    """A name as it is today: files of DenseNet from before 2018 say `norm.1` for `norm1`."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", name)
