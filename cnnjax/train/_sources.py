"""The data of a run: opened as its config wants them, described, counted, and known again."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from cnnjax import config as sections
from cnnjax.data.source import DataError, Facts, Part, Source, labels_of
from cnnjax.data.stream import into_memory, with_few_labels


def refuse_others(found: Facts, trained: Facts) -> None:
    """Refuses data of another form or meaning than those of the training."""
    for word in ("input", "shape", "names", "extra"):
        here, there = getattr(found, word), getattr(trained, word)
        if here != there:
            raise DataError(f"the data are not those of the training: {word} is {_short(here)}, was {_short(there)}")


def _short(value: object) -> str:
    return text if len(text := str(value)) <= 80 else f"{text[:77]}…"


def source_of(config: Mapping) -> Source:
    """The data of a config, where it wants them, and all that is to be known of them."""
    options = config["data"]
    source = _housed(_described(sections.call("data", options)), options)
    _refuse_folds(source, options)
    if not options.get("labelled", 0):
        return _counted(source)
    if options["sampling"] == "balanced":
        raise DataError(
            "data.sampling is 'balanced', but most labels are hidden by data.labelled; take data.sampling=labelled"
        )
    return with_few_labels(source, options["labelled"], options["seed"])


def _refuse_folds(source: Source, options: Mapping) -> None:
    """Refuses folds that there are not, of a set that has a test set, and a set of one piece without folds."""
    folds, fold, whole = options.get("folds", 0), options.get("fold", 0), source.train is source.test
    if not folds and (whole or fold):
        what = f"data.fold is {fold:g}" if fold else "the data are one set for training and testing"
        raise DataError(f"{what}, but data.folds is 0; say of how many, --config.data.folds=10")
    if not folds:
        return
    if not whole:
        raise DataError(
            f"data.folds is {folds}, but the data have a test set of their own; folds are of a set in one piece, "
            "as data.together=True makes it of texts and sounds"
        )
    grouped = source.train.resident and "group" in source.train.arrays
    most = len(np.unique(source.train.arrays["group"])) if grouped else len(source.train)
    if folds == 1 or not fold < folds <= most or fold % 1:
        raise DataError(
            f"data.fold is {fold:g} and data.folds {folds}; give 2 folds or more, as many as there are "
            f"{'groups' if grouped else 'examples'} at most ({most:,}), and one of them, 0 to {max(folds - 1, 0)}"
        )


def _described(source: Source) -> Source:
    """The source with what its facts leave out: shape and type of an example's words, what black and white are."""
    facts = source.facts
    if not facts.fields:
        example = {name: np.asarray(value) for name, value in source.train.read(np.zeros(1, int)).items()}
        fields = {name: (value.shape[1:], value.dtype) for name, value in example.items() if name != "valid"}
        facts = dataclasses.replace(facts, fields=fields)
    if not facts.black and facts.mean:
        ends = {"black": (0.0,) * len(facts.mean), "white": (1.0,) * len(facts.mean)}
        facts = dataclasses.replace(facts, **ends)
    return source if facts is source.facts else dataclasses.replace(source, facts=facts)


def _counted(source: Source) -> Source:
    """The source whose facts say how many training examples each class has, where that can be known without reading."""
    facts, labels = source.facts, labels_of(source.train)
    if not facts.classes or facts.class_counts or labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        return source
    counts = np.bincount(labels[(labels >= 0) & (labels < facts.classes)], minlength=facts.classes)
    return dataclasses.replace(source, facts=dataclasses.replace(facts, class_counts=tuple(counts.tolist())))


def _housed(source: Source, options: Mapping) -> Source:
    """The source with its splits on the device (`resident` yes), streamed (no), or as they come (auto)."""
    wanted = options["resident"]
    if wanted == "auto":
        return source

    def housed(split):
        return into_memory(split, workers=options["workers"]) if wanted == "yes" else Part(split, np.arange(len(split)))

    train = housed(source.train)
    test = train if source.test is source.train else housed(source.test)
    # eval stays the very same object as test where nothing is held out: that is how selection knows
    return Source(train, test if source.eval is source.test else housed(source.eval), test, source.facts)
