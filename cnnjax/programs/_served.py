"""A network as predict and export use it: of a run's workdir, or of a file of weights with the preprocessing stated."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import cnnjax
from cnnjax import config as sections
from cnnjax import weights
from cnnjax.archives import arrays_in, text_of
from cnnjax.config import ConfigError
from cnnjax.data import Facts, Placing, latest_window, pictures
from cnnjax.fields import first_problem
from cnnjax.ops import compiler_options
from cnnjax.train.initial_weights import likeliest
from cnnjax.train.weight_files import model_notes, other_net, told

SINGLE = (".csv", ".tsv")  # files of one series
_LONGEST = 2**24  # letters of a file of names
_THRESHOLD = "task.threshold"


def _no_scores(threshold: float) -> None:
    raise ConfigError(
        f"--threshold is {threshold:g}, but a net of classes has no scores of what it finds; leave it out"
    )


@dataclasses.dataclass(frozen=True)
class Served:
    """A network, its variables, and what it says of inputs as they come: of them, `predict(inputs)` gives words (B, …).

    `answer(variables, inputs)` gives the same, as a function that can be exported; `outputs(variables, inputs)` what
    the net gives, of which these are made, and `seen(inputs)` what it reads.
    """

    net: Any
    variables: Mapping
    answer: Callable
    predict: Callable
    facts: Facts
    dtype: np.dtype
    reads: Mapping
    margin: int
    story: str
    outputs: Callable = _no_scores
    seen: Callable = _no_scores
    notes: Mapping[str, str] = MappingProxyType({})  # what a file of the weights is to say of them
    data: Mapping = MappingProxyType({})  # the section of the data that it was trained on
    threshold: float = float("nan")  # of scores, above which things are predicted; nan where the task has none
    at: Callable = _no_scores  # the same network with another threshold

    @property
    def shape(self) -> tuple[int, ...]:
        """That of one input."""
        return tuple(self.facts.shape)

    @property
    def of_sound(self) -> bool:
        """Whether it reads recordings: a series of one channel, of so many samples a second."""
        return self.facts.input == "series" and self.shape[1:] == (1,) and "rate" in self.facts.extra

    def read(self, paths: list[Path]) -> tuple[np.ndarray, list[Placing], dict[str, str]]:
        """The images of files as the network takes them, where each lies in its file, and why others can't be read."""
        if len(self.shape) != 3:
            shape = ", ".join(map(str, self.shape))
            word = self.facts.input
            raise ConfigError(
                f"the network reads {word} ({shape}), not pictures; give an .npz file with {word} (N, {shape})"
                + f", or a table, {' or '.join(SINGLE)}, of which the last steps count" * (word == "series")
            )
        height, width, channels = self.shape
        size = (height + 2 * self.margin, width + 2 * self.margin, channels)
        images, placings, bad = pictures(paths, size, **self.reads)
        images = images[:, self.margin : self.margin + height, self.margin : self.margin + width]
        return images, [_cut(placing, self.margin, (height, width)) for placing in placings], bad

    def arrays(self, path: Path) -> dict[str, np.ndarray]:
        """The inputs of an .npz file as the network takes them, and what else the file has of each of them.

        Of a table that goes on in time it is one, its last steps.
        """
        found = self._single(path) if path.suffix.lower() in SINGLE else arrays_in(path)
        word, shape = self.facts.input, ", ".join(map(str, self.shape))
        if word not in found:
            raise ValueError(f"no array {word} in it, only {', '.join(found)}; it must be (N, {shape})")
        inputs = found[word]
        if inputs.shape[1:] != self.shape:
            raise ValueError(f"{word} has shape {inputs.shape}; it must be (N, {shape})")
        if not np.can_cast(inputs.dtype, self.dtype, "same_kind"):
            raise ValueError(f"{word} has type {inputs.dtype}; it must be {self.dtype}, as in training")
        known = {name: value for name, value in found.items() if value.ndim and len(value) == len(inputs)}
        inputs = inputs.astype(self.dtype)
        if found := first_problem({word: inputs}, self.facts):  # bytes for floats from 0 to 1, tokens of no word
            raise ValueError(f"example {found[0]} has {found[1]}")
        return {**known, word: inputs}

    def _single(self, path: Path) -> dict[str, np.ndarray]:
        """The one input that a file of another kind is."""
        if self.facts.input != "series":
            raise ValueError(f"the network reads {self.facts.input}, not series")
        return {"series": latest_window(path, self.data, self.shape)[None]}


def _cut(placing: Placing, margin: int, size: tuple[int, int]) -> Placing:
    """The placing of a picture's middle."""
    offset = tuple(o + s * margin for o, s in zip(placing.offset, placing.scale, strict=True))
    return dataclasses.replace(placing, offset=offset, size=size)


def of_workdir(workdir: str, checkpoint: str) -> Served:
    """The network of a run, reading pictures as its data were read."""
    return _of_run(cnnjax.load(workdir, checkpoint=checkpoint))


def of_file(path: str, section: Mapping, stated: Mapping[str, Any]) -> Served:
    """The network that a file of a run's weights tells of; a model's section and flags stated beside it must agree."""
    if section and (apart := other_net(told(path), section)):
        raise ConfigError(f"--weights={path} holds another net than --model says: {apart}\n{_CURE}")
    run = cnnjax.load(path, trusted=[section["name"]] if section else [])
    for flag, value in stated.items():
        agrees, there = _in_file(flag, value, run.facts)
        if not agrees:
            given = ",".join(value) if isinstance(value, list) else value
            raise ConfigError(f"--{flag} is {given}, but {path} says {there}\n{_CURE}")
    return _of_run(run)


_CURE = "leave it out: the file itself says which net it is of and how pictures are read"


def _in_file(flag: str, value: Any, facts: Facts) -> tuple[bool, str]:
    """Whether the facts say what a flag states, and what they say."""
    if flag in ("mean", "std"):
        given, there = _numbers(flag, value), getattr(facts, flag)
        return len(given) == len(there) and np.allclose(given, there, atol=2e-3), ",".join(f"{n:.4g}" for n in there)
    if flag == "names":
        return _named(value, facts.classes) == facts.names, ", ".join(facts.names)[:80]
    if flag == "outputs":
        return value == facts.classes, str(facts.classes)
    return (value, value) == tuple(facts.shape[:2]), "×".join(map(str, facts.shape[:2]))


def _of_run(run) -> Served:
    facts, data = run.facts, run.prepared.config["data"]
    _, dtype = facts.fields[facts.input]
    reads = {"fit": data.get("fit", "crop"), "depth": data.get("depth", 8)}
    steps = ", ".join(run.prepared.config["augment"]["eval"]) or "nothing"
    how = _seen(facts, reads["fit"])
    if facts.input == "tokens":
        how = f"the first {facts.shape[0]} words; {max(len(facts.extra.get('words', ())) - 2, 0):,} are known"
    story = f"{run.workdir} at step {int(run.state.step)}: {how}, then {steps}"
    more = {"notes": run.notes, "data": data, "threshold": float(run.state.hparams.get(_THRESHOLD, "nan"))}
    more |= {"at": lambda threshold: _of_run(_with_threshold(run, threshold))}
    ways = run.outputs, run.seen
    asked = run.net, run.variables, run.answer, run.predict
    return Served(*asked, facts, np.dtype(dtype), reads, 0, story, *ways, **more)


def _with_threshold(run, threshold: float):
    """The run whose task predicts what has a score above a threshold."""
    if _THRESHOLD not in run.state.hparams:
        name = run.config["task"]["name"]
        raise ConfigError(f"--threshold is {threshold:g}, but the task {name!r} has no scores with a threshold")
    hparams = {**run.state.hparams, _THRESHOLD: np.float32(threshold)}
    return dataclasses.replace(run, state=run.state.replace(hparams=hparams))


def of_weights(
    section: Mapping,
    path: str,
    *,
    outputs: int,
    size: int,
    resize: int,
    mean: list[str],
    std: list[str],
    names: str,
) -> Served:
    """A network of the zoo with the weights of a file, for pictures that are resized, cut and normalised as stated."""
    if apart := other_net(told(path), section):
        raise ConfigError(f"--weights={path} holds another net than --model says: {apart}\n--config.model.… says which")
    net = sections.call("models", section, outputs=outputs)
    means, stds = _numbers("mean", mean), _numbers("std", std)
    if resize < size:
        raise ConfigError(f"--resize={resize} is less than --size={size}; the picture is cut from the resized one")
    if len(means) != len(stds) or len(means) not in (1, 3):
        raise ConfigError(f"--mean has {len(means)} numbers and --std {len(stds)}; one each, or three each for colour")
    if not np.isfinite([*means, *stds]).all() or min(stds) <= 0:
        raise ConfigError(f"--mean is {','.join(mean)} and --std {','.join(std)}; they must be finite, and std above 0")
    shape = (size, size, len(means))
    image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    shapes = jax.eval_shape(lambda key, x: net.init(key, x, **sections.mode(net, False)), jax.random.key(0), image)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            variables = weights.load(net, shapes, path)
        except OSError as error:
            raise ConfigError(f"--weights={path} can't be read: {error.strerror}") from None
        except ValueError as error:
            hint = f"\n--outputs={outputs} says how many classes the file has" if "head" in str(error) else ""
            if isinstance(error, weights.WeightsError) and error.missing:
                other = likeliest(section["name"], weights.read(path), shape, error)
                hint = f"\n--model={other} has those names" if other else hint
            raise ConfigError(f"{error}{hint}") from None

    seen, logits, answer = _normalised(net, np.float32(means), np.float32(stds))
    words = f"shorter side to {resize}, the middle {_sized(shape)}, mean {mean}, std {std}"
    story = f"{section['name']} with {path}: {words}"
    story = "\n".join([story.replace("'", ""), *(str(warning.message) for warning in said)])
    facts = Facts("image", shape, outputs, names=_named(names, outputs))
    apply = jax.jit(answer, compiler_options=compiler_options(jax.default_backend()))

    compiled = set()

    def predict(inputs, *, batch=256, first=0):  # nothing is drawn by chance
        count = batch if batch in compiled else len(inputs)  # one shape, one compilation
        compiled.add(count)
        found = apply(variables, np.concatenate([inputs, inputs[:1].repeat(count - len(inputs), 0)]))
        return {word: np.asarray(value)[: len(inputs)] for word, value in found.items()}

    reads, margin, notes = {"fit": "crop", "depth": 8}, (resize - size) // 2, model_notes(section)
    return Served(net, variables, answer, predict, facts, np.dtype(np.uint8), reads, margin, story, logits, seen, notes)


def _normalised(net, mean: np.ndarray, std: np.ndarray) -> tuple[Callable, Callable, Callable]:
    """(`seen(inputs)`, `outputs(variables, inputs)`, `answer(variables, inputs)`) of a net.

    Inputs are bytes, or floats in [0, 1]; the net reads them normalised.
    """

    def seen(inputs):
        inputs = inputs.astype(jnp.float32) / 255 if inputs.dtype == np.uint8 else inputs
        return (inputs - mean) / std

    def outputs(variables, inputs):
        found = net.apply(variables, seen(inputs), **sections.mode(net, False))
        return found["main"] if isinstance(found, dict) else found

    def answer(variables, inputs):
        probabilities = jax.nn.softmax(outputs(variables, inputs))
        return {"label": jnp.argmax(probabilities, -1), "probabilities": probabilities}

    return seen, outputs, answer


def _seen(facts: Facts, fit: str) -> str:
    if facts.input != "series":
        return _sized(facts.shape, fit)
    steps, columns = facts.shape
    if columns == 1 and (rate := facts.extra.get("rate", 0)):
        return f"the middle {steps / rate:g} s of sound, {rate:g} samples a second"
    return f"series of {steps} steps, {columns} column{'s' * (columns > 1)}"


def _sized(shape: tuple[int, ...], fit: str = "") -> str:
    colours = {1: "grey", 3: "in colour"}.get(shape[-1], f"of {shape[-1]} channels")
    return f"{f'{fit} to ' if fit else ''}{'×'.join(map(str, shape[:-1]))} {colours}"


def _numbers(flag: str, words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        raise ConfigError(f"--{flag} is {','.join(words)}; it must be numbers between commas") from None


def _named(path: str, outputs: int) -> tuple[str, ...]:
    """The names of the classes, one on each line of a file, or their numbers."""
    if not path:
        return tuple(map(str, range(outputs)))
    try:
        with text_of(path) as file:
            text = file.read(_LONGEST + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--names={path} can't be read: {getattr(error, 'strerror', error)}") from None
    if len(text) > _LONGEST:
        raise ConfigError(f"--names={path} has more than {_LONGEST:,} letters; give a name on each line")
    names = tuple(text.split("\n"))
    names = names[:-1] if names[-1] == "" else names
    if len(names) != outputs:
        raise ConfigError(f"--names={path} has {len(names)} lines, but the net {outputs} outputs; --outputs says so")
    return names
