"""What the step asks of a network and of a task, and what is said of one that does not keep it."""

import contextlib
import inspect
import math
import warnings
from collections.abc import Iterator, Mapping

import jax
from flax import errors
from flax import linen as nn

from cnnjax.config import ConfigError
from cnnjax.runs.tables import numbers_and_tables
from cnnjax.tasks.contract import Outputs, Task

__all__ = ["check_answers", "check_call", "check_losses", "check_outputs", "explained", "metrics_of"]

_CONTRACT = (
    "a net is a linen Module: __call__(self, x, train=False) gives (B, …, outputs); statistics stay unless it trains\n"
    "it may draw from 'noise' and, when it trains, 'dropout'; options annotated float are traced, Static[float] are not"
)
_UNTRACED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
_KINDS = {  # by the axes of an output
    2: "one row an example, as resnet18 gives",
    3: "one row a place, as detector gives",
    4: "a map, as unet gives",
}


@contextlib.contextmanager
def explained(model: Mapping) -> Iterator[None]:
    """Says of a network that can't be called as the step calls it what the contract is; other errors pass."""
    try:
        yield
    except (errors.InvalidRngError, errors.ModifyScopeVariableError, *_UNTRACED) as error:
        raise ConfigError(f"model.name is {model['name']!r}; {_story(error)}\n{_CONTRACT}") from error


def _story(error: Exception) -> str:
    if isinstance(error, _UNTRACED):
        return "it uses the value of a traced number, of an option annotated float perhaps, in plain Python"
    if isinstance(error, errors.ModifyScopeVariableError):
        return f"outside of training it changes a variable: {_first(error)}"
    return f"it draws numbers from a stream that is not there, or not outside of training: {_first(error)}"


def _first(error: Exception) -> str:
    return str(error).partition(" (https://")[0].partition("\n")[0].rstrip(".")


def check_call(net: nn.Module, model: Mapping) -> None:
    """Refuses a network that can't be called with an input alone."""
    try:
        inspect.signature(type(net).__call__).bind(net, None)
    except TypeError as error:
        story = f"{type(net).__name__}.__call__ with an input alone: {error}"
        raise ConfigError(f"model.name is {model['name']!r}; {story}\n{_CONTRACT}") from None


def check_outputs(config: Mapping, task: Task, outputs: Outputs, batch: int) -> None:
    """Refuses outputs of a network (1, …), or shapes of them, that are not those that the task asks for."""
    asked = task.outputs if isinstance(task.outputs, Mapping) else {"main": task.outputs}
    given = outputs if isinstance(outputs, Mapping) else {"main": outputs}
    for name, count in asked.items():
        if not hasattr(given.get(name), "shape"):
            what = f"a dict of {', '.join(given)}" if isinstance(outputs, Mapping) else f"a {type(outputs).__name__}"
            _refuse(config, f"gives {what}", f"an array, or a dict with {', '.join(map(repr, asked))}")
        shape, where = (batch, *given[name].shape[1:]), f"{name} " if name != "main" else ""
        rank = task.rank if name == "main" and task.rank else len(shape)
        middle = shape[1:-1] if rank == len(shape) else ("places",) if rank == 3 else ("h", "w")[: rank - 2]
        # of a task without a rank nobody knows where its outputs stand: a forecast may be (B, steps, channels)
        found = shape[-1:] if task.rank else (*shape[1:], math.prod(shape[1:]))
        if len(shape) != rank or count not in found:
            wanted = f"({', '.join(map(str, (batch, *middle, count)))})"
            cure = f"\nit must be {_KINDS[rank]}; choose another model.name or task.name" if rank != len(shape) else ""
            cure = cure or "\nthe net is called with the option outputs, which its last layer must give"
            _refuse(config, f"gives {where}{shape}", wanted, cure)


def _refuse(config: Mapping, given: str, wanted: str, cure: str = "") -> None:
    task = config["task"]["name"]
    raise ConfigError(f"model.name is {config['model']['name']!r}, which {given}; {task} needs {wanted}{cure}")


def check_answers(task: Task, outputs: Outputs, answer: Outputs, batch: Mapping) -> None:
    """Traces what evaluation and prediction make of outputs, so that what can't be made of them is known beforehand."""
    task.tally(outputs, batch), task.rows(outputs, batch), task.predict(answer, batch)


def metrics_of(task: Task, sums: Mapping, rows: Mapping) -> list[str]:
    """The names of the metrics that a task makes of sums and rows, the loss before them; none where it can't."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ["loss", *numbers_and_tables(task.summarize(sums, rows))[0]]
        except Exception:  # numbers made up are not what every summary can be had of
            return []


def check_losses(config: Mapping, losses: jax.Array, weights: jax.Array, batch: int) -> None:
    """Refuses a task's losses and weights, or shapes of them, that are not one number (B,) for each example."""
    for what, value in (("losses", losses), ("weights", weights)):
        if value.shape != (batch,):
            raise ConfigError(
                f"task.name is {config['task']['name']!r}, whose loss gives {what} {value.shape}; it must be one "
                f"number an example, ({batch},): sum or average over what an example has"
            )
