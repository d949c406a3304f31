"""What a run begins from: weights drawn by its seed, those of a file, or those of another run."""

import dataclasses
import difflib
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from cnnjax import config as sections
from cnnjax import weights
from cnnjax.config import ConfigError
from cnnjax.config.signatures import options_of
from cnnjax.train._word_vectors import holds_vectors, with_vectors
from cnnjax.train.job import PreparedRun
from cnnjax.train.state import State
from cnnjax.train.trained import load
from cnnjax.train.weight_files import other_net, told

__all__ = ["likeliest", "with_initial_weights"]

_TRIED = 6  # variants of a family, a second each


def with_initial_weights(prepared: PreparedRun, state: State, note: Callable[[str], None] = print) -> State:
    """The state of step 0 with the weights of `train.init` in place of those drawn; `note` is told what was done.

    The averages begin there too; optimizer memory, counters and numbers stay as they are.
    """
    options = prepared.config["train"]
    if not options["init"]:
        return state
    if holds_vectors(file := Path(options["init"]).expanduser()):
        return _with_vectors(prepared, state, file, note)
    whole = prepared.program.parts(sections.numeric(prepared.config)).net
    variables = {"params": state.params, **state.model_state}
    net, section, part, place = _into(whole, variables, prepared.config["model"], options["init_into"])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if weights.is_published(options["init"]):
            found, where, known = _published(options["init"], section, note)
        else:
            found, where, known = _tensors(Path(options["init"]))
        choices = {name: options[f"init_{name}"] for name in ("head", "channels")}
        try:
            filled = weights.fill(net, jax.tree.map(np.asarray, part), found, source=where, **choices)
        except weights.WeightsError as error:
            hint = _hint(prepared, section, error, found, **choices)
            raise weights.WeightsError(f"train.init: {error}{hint}") from None
    for warning in said:
        note(str(warning.message))
    if apart := other_net(known, section):
        note(f"train.init: the net of {where} is another: {apart}")
    fresh = ", with a fresh output layer" if choices["head"] == "fresh" else ""
    note(f"{options['init_into']} began from {where}".strip() + fresh)
    filled = _joined(variables, filled, place)
    filled = jax.tree.map(lambda value, old: np.asarray(value).astype(old.dtype), filled, variables)
    return _begun(prepared, state, {"params": filled.pop("params"), "model_state": filled})


def _with_vectors(prepared: PreparedRun, state: State, file: Path, note: Callable[[str], None]) -> State:
    """The state of step 0 with the vectors of a file for the words of the data."""
    options = prepared.config["train"]
    for name, usual in (("into", ""), ("head", "file"), ("channels", "file")):
        if (given := options[f"init_{name}"]) != usual:
            raise ConfigError(
                f"train.init_{name} is {given!r}, but {file} has vectors of words, for their tables alone"
            )
    params, told = with_vectors(state.params, file, prepared.facts)
    note(told)
    return _begun(prepared, state, {"params": params, "model_state": jax.tree.map(np.asarray, state.model_state)})


def _begun(prepared: PreparedRun, state: State, begins: dict) -> State:
    """The state whose parameters, statistics and averages begin so."""
    ema = jax.tree.map(np.copy, begins) if state.ema else {}
    return state.replace(**prepared.layout.replicate(begins), ema=prepared.layout.replicate(ema))


def _into(net: Any, variables: Mapping, section: Mapping, into: str) -> tuple[Any, Mapping, Mapping, tuple[str, ...]]:
    """The part of a net that is named `into`, its section, its variables and its place; all of the net for ""."""
    if not into:
        return net, section, variables, ()
    part, place = _held(net, into)
    if part is None or not isinstance(section.get(into), Mapping):
        parts = [name for name, value in section.items() if isinstance(value, Mapping)]
        known = f"it has {', '.join(parts)}" if parts else "it is of one piece: leave train.init_into out"
        raise ConfigError(f"train.init_into is {into!r}, which is no net within {section['name']}; {known}")
    for name in place:
        variables = {kind: tree[name] for kind, tree in variables.items() if name in tree}
    return part, section[into], variables, place


def _held(net: Any, name: str) -> tuple[nn.Module | None, tuple[str, ...]]:
    """The net that another one holds by this name, itself or within its parts (a pyramid, say), and the way there."""
    if not isinstance(net, nn.Module):
        return None, ()
    parts = {field.name: getattr(net, field.name) for field in dataclasses.fields(net) if field.name != "parent"}
    if isinstance(parts.get(name), nn.Module):
        return parts[name], (name,)
    for outer, part in parts.items():
        inner, place = _held(part, name)
        if place:
            return inner, (outer, *place)
    return None, ()


def _joined(variables: Mapping, filled: Mapping, place: tuple[str, ...]) -> Mapping:
    """The variables with those of the part at a place in them in place of its own."""
    if not place:
        return filled
    name, *deeper = place
    return {
        kind: {**tree, name: _joined({kind: tree[name]}, {kind: filled[kind]}, tuple(deeper))[kind]}
        if kind in filled and name in tree
        else tree
        for kind, tree in variables.items()
    }


def _published(spec: str, section: Mapping, note: Callable) -> tuple[Mapping[str, np.ndarray], str, Mapping]:
    """The same of weights that are published."""
    try:
        path = weights.pretrained(section["name"], source=spec, note=note)
    except ValueError as error:
        raise ConfigError(f"train.init is {spec!r}: {error}") from None
    return weights.read(path), f"{spec} ({path.name})", {}


def _tensors(path: Path) -> tuple[Mapping[str, np.ndarray], str, Mapping]:
    """The tensors by name at a path, what messages call it, and what it says of the net that it is of."""
    path = path.expanduser()
    if re.match(r"[a-z][a-z0-9+]*:/", str(path)):
        raise ConfigError(f"train.init is {str(path)!r}, a URL; download it, and give the file")
    if not path.exists():
        published = "; published are torchvision, torchvision:1, torchvision:2 and timm:NAME"
        hint = published if re.match("torchvision|timm", str(path)) else _near(path)
        raise ConfigError(f"train.init is {str(path)!r}; there is no such file or directory{hint}")
    if path.is_file():
        return weights.read(path), str(path), told(path)
    workdir, checkpoint = (path.parents[1], path.name) if path.parent.name == "checkpoints" else (path, "best")
    if not (workdir / "config.json").exists():
        raise ConfigError(
            f"train.init is {str(path)!r}, a directory that holds no run (no config.json); "
            "give a workdir, one of its checkpoints, or a file of weights"
        )
    other = load(workdir, checkpoint=checkpoint)
    where = f"{workdir} at step {int(other.state.step)}"
    return weights.tensors(other.net, other.variables), where, {"config": other.config}


def _near(path: Path) -> str:
    there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, there, 3)
    return f"; nearest: {', '.join(str(path.parent / name) for name in close)}" if close else ""


def _hint(
    prepared: PreparedRun, section: Mapping, error: weights.WeightsError, found: Mapping, *, head: str, channels: str
) -> str:
    """The option that may help."""
    hints, misshapen = [], "\n".join(error.misshapen)
    if head == "file" and re.search("/head|/output", "\n".join([*error.missing, misshapen])):
        hints.append("train.init_head=fresh keeps a new output layer")
    if channels == "file" and re.search(r"\(.*\b1, \d+\)|\(\d+, 1,.*\)", misshapen):
        hints.append("train.init_channels=adapt reads grey for colour, or colour for grey")
    if other := likeliest(section["name"], found, prepared.program.seen.shape, error):
        hints.append(f"model.name={other} has those names")
    return "\n" + "; ".join(hints) if hints else ""


def likeliest(name: str, found: Mapping, shape: tuple[int, ...], error: weights.WeightsError) -> str:
    """The variant of a model's family that has the names of these tensors, all of them and no others; "" if none has.

    `error` says what of the model itself they lack, `shape` is that of one input. Tried are the few that are as deep.
    """
    room = sections.entries("models")
    if name not in room or not (error.missing or error.unused):
        return ""  # they are of this variant, in other sizes
    layers = len(found) + len(error.missing) - len(error.unused)
    each = layers / _depth(room[name])
    family = [other for other in room if room[other].__code__ is room[name].__code__ and other != name]
    family.sort(key=lambda other: abs(each * _depth(room[other]) - len(found)))
    for other in family[:_TRIED]:
        try:
            net = sections.call("models", sections.section("models", other), outputs=1)
            image = jax.ShapeDtypeStruct((1, *shape), np.float32)
            shapes = jax.eval_shape(lambda x, net=net: net.init(jax.random.key(0), x, train=False), image)
            with warnings.catch_warnings(action="ignore"):
                weights.fill(net, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes), found)
        except weights.WeightsError as unfit:
            if unfit.missing or unfit.unused or not _resized_alone(unfit.misshapen):
                continue
        except (ValueError, TypeError):
            continue  # these inputs are too small for it
        return other
    return ""


def _depth(model: Callable) -> int:
    """How many blocks a variant has, by the rows of whole numbers that its options are."""
    rows = [option.default for option in options_of(model).values() if isinstance(option.default, tuple)]
    return 1 + sum(value for row in rows for value in row if isinstance(value, int))


def _resized_alone(misshapen: Sequence[str]) -> bool:
    """Whether the output layer alone, or the first, has another size."""
    return len(misshapen) <= 3
