"""What `analyze` looks into: a net and the examples that it is asked about, of a run or of a file of weights."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jax.tree_util import Partial

from cnnjax.analysis import activations, as_features
from cnnjax.config import ConfigError
from cnnjax.fields import Facts
from cnnjax.programs._served import Served
from cnnjax.runs.checkpoints import Checkpoints
from cnnjax.tasks.contract import main_output
from cnnjax.train.examples import Examined, examining
from cnnjax.train.trained import Trained


@dataclasses.dataclass(frozen=True)
class Look:
    """A net, and N examples of which it predicts `probabilities` (N, K); `labels` (N,) are () where none are known.

    `inputs` are as the data have them at the places `index` (N,) of their split, `seen` as the net reads them, `shown`
    what that looks like, in [0, 1]. The rows of the worst examples stand in `order` last: those of greatest loss, or,
    without labels, the least sure. `held_out` is what a temperature may be fitted on, or why there is nothing; `way`
    gives the parameters at each checkpoint that there is.
    """

    net: Any
    variables: Mapping
    facts: Facts
    names: Sequence[str]
    outputs: Callable
    index: np.ndarray
    inputs: np.ndarray
    seen: np.ndarray
    shown: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray
    order: np.ndarray
    held_out: tuple | str
    way: Callable[[], Sequence] = tuple

    @property
    def lead(self) -> str:
        """What is looked at, in words."""
        return f"{len(self.inputs):,} examples, {self.facts.classes} classes"

    @property
    def pair(self) -> tuple:
        """The net and its variables, which read what is `seen`."""
        return self.net, self.variables

    @functools.cached_property
    def images(self) -> np.ndarray:
        """The inputs (N, …) as floats in [0, 1]."""
        return self.inputs.astype(np.float32) / 255 if self.inputs.dtype == np.uint8 else self.inputs

    @functools.cached_property
    def f(self) -> Partial:
        """The net's outputs (B, K) of `images`: with all that becomes of a picture before the net reads it."""
        return Partial(_Whole(self.outputs), self.variables)

    @property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean and the deviation (C,) that make what is `seen` of what is `shown`, whatever they come from."""
        axes = tuple(range(self.seen.ndim - 1))
        spread, wanted = self.shown.std(axes), self.seen.std(axes)
        std = np.where((spread > 1e-6) & (wanted > 1e-6), spread / np.maximum(wanted, 1e-6), 1)
        return self.shown.mean(axes) - std * self.seen.mean(axes), std

    @property
    def kernels(self) -> dict[str, tuple[int, ...]]:
        """The shape of each kernel of two axes and more than a pixel by path, those that read the pixels first."""
        leaves = traverse_util.flatten_dict(self.variables["params"], sep="/")
        shapes = {
            path.removesuffix("/kernel"): np.shape(leaf) for path, leaf in leaves.items() if path.endswith("/kernel")
        }
        paths = [path for path, shape in shapes.items() if len(shape) == 4 and shape[0] * shape[1] > 1]
        channels = self.seen.shape[-1]  # the names come in no order of the net
        order = sorted(paths, key=lambda path: (shapes[path][2] != channels, shapes[path][2] > 3, paths.index(path)))
        return {path: shapes[path] for path in order}

    @property
    def asked(self) -> np.ndarray:
        """The class (N,) that is asked about of each example: the predicted one."""
        return self.probabilities.argmax(1)

    def both_ends(self, count: int) -> np.ndarray:
        """The rows of so many of the worst examples, the worst first, and of as many of the best."""
        rows = [*self.order[::-1][:count], *self.order[:count]]
        return np.array(list(dict.fromkeys(rows)))

    def said(self, row: int) -> str:
        """What was predicted of an example, and what it is."""
        guess = self.asked[row]
        words = f"{self.names[guess] if len(self.names) else guess}, {self.probabilities[row, guess]:.0%}"
        if len(self.labels) and self.labels[row] != guess:
            words += f" (is {self.names[self.labels[row]] if len(self.names) else self.labels[row]})"
        return words


@dataclasses.dataclass(frozen=True)
class _Whole:
    """The main outputs of variables and images in [0, 1]."""

    outputs: Callable

    def __call__(self, variables: Mapping, images: jax.Array) -> jax.Array:
        return main_output(self.outputs(variables, images))


def of_run(trained: Trained, split: str, most: int) -> Look:
    """The examples of a split of a run, `most` of them; what predicts no classes of whole pictures is refused."""
    facts = trained.facts
    if facts.input != "image":
        raise ConfigError(f"analyze looks into nets that read pictures; {trained.workdir} reads {facts.input}")
    ask = examining(trained, distributions=True)
    found = ask(split, most)
    if "probabilities" not in found.rows:
        task = trained.config["task"]["name"]
        raise ConfigError(
            f"analyze looks into nets that predict a class of a picture; task.name of {trained.workdir} is {task!r}\n"
            "report.html of a run has what others predict; evaluate --worst draws it"
        )
    inputs = getattr(trained.source, split).read(found.rows["index"])[facts.input]
    seen = np.asarray(jax.jit(trained.seen)(inputs))
    rows = found.rows
    return Look(
        net=trained.net, variables=trained.variables, facts=facts, names=facts.names, outputs=trained.outputs,
        index=rows["index"], inputs=inputs, seen=seen, shown=_shown(seen, facts.mean, facts.std),
        probabilities=rows["probabilities"],
        labels=rows["truth"].astype(int), order=np.argsort(rows["loss"], kind="stable"),
        held_out=held_out(trained, split, ask, most), way=functools.partial(_way, trained),
    )  # fmt: skip


def _way(trained: Trained) -> list:
    """The parameters of a run at each of its checkpoints, in the order of their steps."""
    with Checkpoints(trained.workdir) as kept:
        return [state_at(trained, kept, step).params for step in sorted(kept.steps())]


def state_at(trained: Trained, checkpoints: Checkpoints, step: int) -> Any:
    """All of the state at a step, on the host."""
    like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), trained.prepared.outline())
    return checkpoints.restore(like, step)[1]


@dataclasses.dataclass(frozen=True)
class Twins:
    """Two runs that are compared, and the part of a split, of at most so many examples, that both are asked about."""

    first: Trained
    second: Trained
    split: str
    most: int

    @functools.cached_property
    def looks(self) -> tuple[Look, Look]:
        """What either net says of the same examples; nets that say nothing comparable are refused."""
        one, two = (of_run(each, self.split, self.most) for each in (self.first, self.second))
        if not np.array_equal(one.inputs, two.inputs) or one.facts.classes != two.facts.classes:
            raise ConfigError(
                f"the {self.split} splits of the runs are not the same data; their answers can't be compared"
            )
        return one, two

    @property
    def names(self) -> tuple[str, str]:
        """What the runs are called."""
        first, second = (each.workdir.resolve().name for each in (self.first, self.second))
        return (first, second) if first != second else (f"{first} (1)", f"{second} (2)")

    @property
    def inputs(self) -> np.ndarray | tuple:
        """The examples that both were asked about; () where they can't be asked."""
        try:
            return self.looks[0].inputs
        except ConfigError:
            return ()

    @property
    def index(self) -> np.ndarray:
        """The places of these examples in their split."""
        try:
            return self.looks[0].index
        except ConfigError:
            return np.zeros(0, int)

    @property
    def lead(self) -> str:
        """What is compared, in words."""
        steps = (
            f"{name} at step {int(each.state.step):,}"
            for name, each in zip(self.names, (self.first, self.second), strict=True)
        )
        return f"{' against '.join(steps)}: {len(self.inputs):,} examples"


def held_out(trained: Trained, split: str, ask: Callable[[str, int], Examined], most: int) -> tuple | str:
    """Probabilities and labels of examples that a temperature may be fitted on, or why there are none."""
    if not trained.prepared.selects:
        return "No temperature: nothing was held out to fit it on (data.holdout), and the test set is not for fitting."
    if split == "eval":
        return "No temperature: the held-out examples are those that were measured, and there are no others."
    held = ask("eval", most)
    return held.rows["probabilities"], held.rows["truth"]


def of_files(served: Served, paths: list[Path], most: int) -> Look:
    """Picture files, `most` of them, as a net with a file of weights reads them."""
    inputs, _, bad = served.read(paths[:most])
    if bad:
        name, reason = next(iter(bad.items()))
        raise ConfigError(f"--images has {name}, which can't be read: {reason}")
    shares = served.predict(inputs)["probabilities"]
    seen = np.asarray(jax.jit(served.seen)(inputs))
    return Look(
        net=served.net, variables=served.variables, facts=served.facts, names=served.facts.names,
        outputs=served.outputs, index=np.arange(len(inputs)), inputs=inputs, seen=seen,
        shown=inputs.astype(np.float32) / 255,
        probabilities=shares, labels=np.zeros(0, int), order=np.argsort(-shares.max(1), kind="stable"),
        held_out="No temperature: nothing is known of what the pictures are.",
    )  # fmt: skip


def _shown(seen: np.ndarray, mean: Sequence, std: Sequence) -> np.ndarray:
    """What the net reads as one can look at it: normalising taken back where that is what brought it out of [0, 1]."""
    if 0 <= seen.min() and seen.max() <= 1:
        return seen
    return np.clip(seen * np.asarray(std, np.float32) + np.asarray(mean, np.float32), 0, 1)


def spread(look: Look, most: int, pixels: int) -> np.ndarray:
    """The rows of at most so many examples, evenly spaced, that together have at most so many pixels."""
    count = len(look.images)
    kept = max(1, min(most, count, pixels // int(np.prod(look.images.shape[1:3]))))
    return np.arange(kept) * count // kept


def averaged_maps(look: Look, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The net's maps of these examples, some hundreds at a time, averaged over places: (N, C)."""
    parts = []
    for start in range(0, len(rows), 250):
        found = activations(*look.pair, look.seen[rows[start : start + 250]])
        parts.append({name: as_features(each) for name, each in found.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def by_method(methods: Sequence[str], ask: Callable[[str], Any]) -> tuple[dict[str, Any], list[str]]:
    """What is found by each method that this net can be asked by, and why it can't by the others; none raises."""
    found, said = {}, []
    for method in methods:
        try:
            found[method] = ask(method)
        except ValueError as error:
            said.append(f"{method} is left out: {error}")
    if not found:
        raise ValueError("; ".join(said))
    return found, said
