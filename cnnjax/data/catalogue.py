"""Image sets of the tensorflow-datasets catalogue, read by index and without TensorFlow."""

import json
import os
from collections.abc import Iterator, Sequence

import numpy as np

from cnnjax import _versions
from cnnjax.annotations import Count, FilePath, Text
from cnnjax.data._official import OFFICIAL, official
from cnnjax.data._pictures import Budget, Depth, Fit, Pictures, source_of, vet
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
    size: Count = 0,
    width: Count = 0,
    fit: Fit = "crop",
    depth: Depth = 8,
    budget: Budget = -1,
    holdout: Count = 0,
) -> Source:
    """The prepared image set `set` ("cifar10", "imagenette/160px-v2:1.0.0"), as uint8 images and labels.

    `root` is where it was prepared ("": CNNJAX_DATA, TFDS_DATA_DIR or ~/tensorflow_datasets). Empty split names mean
    test, or validation where there is no test (ImageNet: set test=validation, its test has no labels), or every fifth
    example; eval is validation where test is another. `image` and `label` name features where the set does not say.
    The options from `size` on are those of `folder`.
    """
    refuse_misfits(tfds, locals(), path="data.")
    vet(size, width)
    directory = _prepared(set, root)
    info = _information(directory)
    features = _features(info, image, label)
    shape = _shape(info.name, info.features[features[0]].shape, size, width)
    test = test or next((name for name in ("test", "validation") if name in info.splits), "")
    eval = eval or ("validation" if "validation" in info.splits and test != "validation" else test)
    options = {"shape": shape, "depth": depth, "fit": fit if size else "", "budget": budget}
    names = tuple(info.features[features[1]].names)
    splits = {
        name: Records(directory, name, features, _count(info, name), len(names), train=name == train, **options)
        for name in (train, eval, test)
        if name
    }
    if not test:
        eval = test = "every fifth"
        splits[train], splits[test] = every_fifth(splits[train])
    return source_of(splits[train], splits[eval], splits[test], holdout=holdout, names=names)


def mnist(*, root: FilePath = "", holdout: Count = 0) -> Source:
    """60,000 + 10,000 handwritten digits, 28×28 grey (LeCun, Cortes, Burges).

    From a prepared tensorflow-datasets set or from the four official .gz files in root/mnist.
    """
    return _small("mnist", root, holdout, tuple("0123456789"), (0.1307,))


def fashion_mnist(*, root: FilePath = "", holdout: Count = 0) -> Source:
    """60,000 + 10,000 articles of clothing, 28×28 grey (Xiao, Rasul, Vollgraf 2017).

    From a prepared tensorflow-datasets set or from the four official .gz files in root/fashion_mnist.
    """
    return _small("fashion_mnist", root, holdout, _CLOTHES, (0.2860,))


def cifar10(*, root: FilePath = "", holdout: Count = 0) -> Source:
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


class Records(Pictures):
    """One split of a prepared set; files are opened in the process that reads them."""

    def __init__(
        self, directory: str | os.PathLike, split: str, features: tuple[str, str], count: int, classes: int, **options
    ):
        super().__init__(count, **options)
        self.directory, self.split, self.features, self.classes = str(directory), split, features, classes
        self._records = ()

    def __getstate__(self):
        return {**self.__dict__, "_records": ()}

    def called(self, place: int) -> str:
        return f"{self.directory} {self.split}[{place}]"

    def encoded(self, places: Sequence[int]) -> list[tuple]:
        if not self._records:
            self._records = _information(self.directory).as_data_source(self.split)
        rows = []
        for place, record in zip(places, self._fetched([int(place) for place in places]), strict=True):
            try:
                data, kind = self._taken(record)
            except Exception as error:  # whatever a damaged record does to its parser
                data, kind = error, 0
            if not 0 <= kind < self.classes:
                raise DataError(
                    f"{self.called(place)} has label {kind}; labels go from 0 to {self.classes - 1}. "
                    f"A split without labels is no test set: set data.test to another"
                )
            rows.append((data, {"label": np.int32(kind)}))
        return rows

    def listing(self) -> Iterator[bytes]:
        """Names and sizes of the set's files, the split, and which of its records these are."""
        with os.scandir(self.directory) as files:
            held = sorted((file.name, file.stat().st_size) for file in files if ".array_record" in file.name)
        yield f"{held} {self.split}".encode(errors="surrogateescape")
        yield self.rows.astype(np.int64).tobytes()

    def _fetched(self, places):
        """Serialized records, together; one at a time where a file is damaged, and errors for those that are lost."""
        try:
            return self._records.__getitems__(places)
        except Exception as error:
            if len(places) == 1:
                return [error]
            return [record for place in places for record in self._fetched([place])]

    def _taken(self, record):
        """The image's bytes and the label: what tensorflow-datasets makes of a record costs as much as decoding it."""
        if isinstance(record, Exception):
            raise record
        fields = _versions.fields_of_record(record)
        images, labels = fields[self.features[0]].bytes_list.value, fields[self.features[1]].int64_list.value
        if (len(images), len(labels)) != (1, 1):
            raise ValueError(f"no single {' and '.join(self.features)} in the record")
        return images[0], labels[0]


class _Information:
    """What is known of a prepared set, and its records."""

    def __init__(self, builder):
        self.name, self.features, self.splits = builder.info.full_name, builder.info.features, builder.info.splits
        self.keys = builder.info.supervised_keys or ()
        self._builder = builder

    def as_data_source(self, split):
        """The records of a split as they lie on disk, serialized."""
        return _versions.raw_records(self._builder, split)


def _information(directory):
    import tensorflow_datasets

    return _Information(tensorflow_datasets.builder_from_directory(directory))


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


def _features(info, image, label):
    """Names of the image feature and of the class feature."""
    kinds = {name: type(feature).__name__ for name, feature in info.features.items()}
    found = []
    for wanted, kind, place in ((image, "Image", 0), (label, "ClassLabel", 1)):
        option = ("image", "label")[place]
        choices = [name for name, its in kinds.items() if its == kind]
        said = info.keys[place] if len(info.keys) == 2 else ""
        name = wanted or (said if said in choices else choices[0] if len(choices) == 1 else "")
        if name not in choices:
            raise DataError(
                f"{info.name}: data.{option} is {wanted!r}; it must name a feature of kind {kind}: "
                f"{', '.join(choices) or 'this set has none'}"
            )
        found.append(name)
    return tuple(found)


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
