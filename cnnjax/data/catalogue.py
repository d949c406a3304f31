"""Image sets of the tensorflow-datasets catalogue, read by index and without TensorFlow."""

import json
import os
from typing import Annotated

import numpy as np

from cnnjax.annotations import AtLeastOne, Count, FilePath, Gives, Text
from cnnjax.data._official import OFFICIAL, official
from cnnjax.data._pictures import Budget, Depth, Fit, source_of, vet
from cnnjax.data._planes import table_of
from cnnjax.data._records import Records, features_of, information
from cnnjax.data.in_memory import from_arrays
from cnnjax.data.source import DataError, Source, every_fifth
from cnnjax.refusals import on_disk, refuse_misfits

__all__ = ["cifar10", "fashion_mnist", "mnist", "tfds"]

_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def tfds(
    *,
    set: Text = "",
    root: FilePath = "",
    train: Text = "train",
    eval: Text = "",
    test: Text = "",
    image: Text = "",
    label: Text = "",
    boxes: Text = "",
    masks: Text = "",
    colors: FilePath = "",
    most: AtLeastOne = 100,
    size: Count = 0,
    width: Count = 0,
    fit: Fit = "crop",
    depth: Depth = 8,
    budget: Budget = -1,
    holdout: Count = 0,
) -> Annotated[Source, Gives(label="", boxes="", classes="", present="", segments="")]:
    """The prepared set `set` ("cifar10", "imagenette/160px-v2:1.0.0"), as uint8 images and labels, boxes or masks.

    `root` is where it was prepared ("": CNNJAX_DATA, TFDS_DATA_DIR or ~/tensorflow_datasets). Empty split names mean
    test, or validation where there is no test (ImageNet: set test=validation, its test has no labels), or every fifth
    example; eval is validation where test is another. `image` and `label` name features where the set does not say.
    `boxes` (`objects` of coco, voc and bccd) gives boxes, classes, present and ignored of `most` rows, `masks`
    (`segmentation_mask`) gives segments, named by a file `colors` as in the entry masks; a set without a single class
    gives what it has of these unasked. The options from `size` on are those of `folder`.
    """
    refuse_misfits(tfds, locals(), path="data.")
    vet(size, width)
    directory = _prepared(set, root)
    info = information(directory)
    features, names = features_of(info, image, label, boxes, masks)
    table = table_of(colors, colors) if colors else ()
    shape = _shape(info.name, info.features[features.image].shape, size, width)
    test = test or next((name for name in ("test", "validation") if name in info.splits), "")
    eval = eval or ("validation" if "validation" in info.splits and test != "validation" else test)
    options = {"shape": shape, "depth": depth, "fit": fit if size else "", "budget": budget, "most": most}
    splits = {
        name: Records(directory, name, features, _count(info, name), names, train=name == train, table=table, **options)
        for name in (train, eval, test)
        if name
    }
    if not test:
        eval = test = "every fifth"
        splits[train], splits[test] = every_fifth(splits[train])
    extra = {"segment_names": table.names} if table else {}
    return source_of(splits[train], splits[eval], splits[test], holdout=holdout, names=names, extra=extra)


def mnist(*, root: FilePath = "", holdout: Count = 0) -> Annotated[Source, Gives(label="")]:
    """60,000 + 10,000 handwritten digits, 28×28 grey (LeCun, Cortes, Burges).

    From a prepared tensorflow-datasets set or from the four official .gz files in root/mnist.
    """
    return _small("mnist", root, holdout, tuple("0123456789"), (0.1307,))


def fashion_mnist(*, root: FilePath = "", holdout: Count = 0) -> Annotated[Source, Gives(label="")]:
    """60,000 + 10,000 articles of clothing, 28×28 grey (Xiao, Rasul, Vollgraf 2017).

    From a prepared tensorflow-datasets set or from the four official .gz files in root/fashion_mnist.
    """
    return _small("fashion_mnist", root, holdout, _CLOTHES, (0.2860,))


def cifar10(*, root: FilePath = "", holdout: Count = 0) -> Annotated[Source, Gives(label="")]:
    """50,000 + 10,000 photographs of ten kinds of things, 32×32 colour (Krizhevsky 2009).

    From a prepared tensorflow-datasets set or from the six official .bin files in root/cifar10.
    """
    return _small("cifar10", root, holdout, _THINGS, (0.4914, 0.4822, 0.4465))


def _small(name, root, holdout, names, mean):
    """One of the three sets everybody uses, its mean checked: their files bear the same names."""
    base = _base(root)
    if _versions_in(base / name):
        source = tfds(set=name, root=root, holdout=holdout)
    else:
        arrays, missing = official(name, base / name)
        if missing:
            raise DataError(_wanted(name, base, missing))
        source = from_arrays(*arrays, holdout=holdout, names=names)
    if not np.allclose(source.facts.mean, mean, atol=0.01):
        found = ", ".join(f"{value:.4f}" for value in source.facts.mean)
        raise DataError(
            f"{base / name} does not hold {name}: its mean is {found}, not {', '.join(map(str, mean))}. "
            f"MNIST's and Fashion-MNIST's files bear the same names; download them into separate folders"
        )
    return source


def _wanted(name, base, missing):
    """What to say where neither the official files of a set are there nor a prepared one."""
    files = OFFICIAL[name]
    lacks = f"lacks {', '.join(missing)}" if len(missing) < len(files) else f"has none of {', '.join(files)}"
    return (
        f"{base / name} {lacks}: download the {len(files)} official files of {name} into it,\n"
        f"or set data.root, or CNNJAX_DATA, to the directory that has {name}/;\n"
        f"or, with a network and TensorFlow: {_command(name, base)}"
    )


def _base(root):
    said = {"data.root": root, **{name: os.environ.get(name, "") for name in ("CNNJAX_DATA", "TFDS_DATA_DIR")}}
    name = next((name for name in said if said[name]), "")
    return on_disk(said[name] if name else "~/tensorflow_datasets", name).expanduser()


def _versions_in(directory):
    """Prepared versions of one set, oldest first."""
    found = [file.parent for file in directory.glob("*/dataset_info.json")]
    return sorted(found, key=lambda path: [int(part) if part.isdigit() else -1 for part in path.name.split(".")])


def _prepared(name, root):
    """The directory of the newest, or the named, version of a set; the files alone decide, no network is asked."""
    if not name:
        raise DataError('data.set is empty; name a set of the catalogue, such as --config.data.set="cifar10"')
    base, (path, _, version) = _base(root), name.partition(":")
    configs = [] if "/" in path else [child.name for child in (base / path).glob("*") if _versions_in(child)]
    there = [version_dir for version_dir in _versions_in(base / path) if version in ("", version_dir.name)]
    if not there and configs:
        if len(configs) > 1:
            choices = ", ".join(f"{path}/{config}" for config in sorted(configs))
            raise DataError(f"{path} is prepared in several configurations; set data.set to one of {choices}")
        return _prepared(f"{path}/{configs[0]}{version and ':'}{version}", root)
    if not there:
        raise DataError(
            f"{name} is not prepared in {base}. To prepare it, once, with a network and TensorFlow (for this alone):\n"
            f"{_command(name, base)}\n"
            f"or set data.root, or CNNJAX_DATA, to the directory that has {path}/"
        )
    kind = json.loads((there[-1] / "dataset_info.json").read_text()).get("fileFormat", "tfrecord")
    if kind != "array_record" and not list(there[-1].glob("*.array_record*")):
        raise DataError(
            f"{there[-1]} is prepared as {kind}, which only TensorFlow reads. To convert it, once:\n"
            f"pip install tensorflow && tfds convert_format --dataset_version_dir={there[-1]} "
            f"--out_file_format=array_record"
        )
    return there[-1]


def _command(name, base):
    """The command that prepares a set."""
    return (
        'pip install tensorflow importlib_resources pillow && python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='{base}', file_format='array_record').download_and_prepare()\""
    )


def _shape(name, shape, size, width):
    channels = 1 if shape[-1] == 1 else 3
    if size:
        return (size, width or size, channels)
    if None in shape[:2]:
        raise DataError(f"the images of {name} differ in size; set data.size, and data.fit=crop, pad or squash")
    return (*shape[:2], channels)


def _count(info, split):
    try:
        return info.splits[split].num_examples
    except (KeyError, ValueError) as error:
        raise DataError(f"{info.name} has no split {split!r}; it has {', '.join(info.splits)}") from error
