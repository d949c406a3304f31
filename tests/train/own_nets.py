"""Networks, data and tasks as a user's own file may have them: some that fit the contract, others that do not."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import Static
from cnnjax.data import Source, from_arrays
from cnnjax.ops import losses
from cnnjax.tasks import Task, classification, count, supervised


class Dense(nn.Module):
    """A dense layer on whatever comes, as plain linen has it."""

    outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(x.reshape(len(x), -1))


def without_train(*, outputs: int) -> nn.Module:
    return Dense(outputs)


def three(*, outputs: int) -> nn.Module:
    return Dense(3)


class Dropping(nn.Module):
    outputs: int
    rate: float

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x.reshape(len(x), -1)))
        return nn.Dense(self.outputs)(nn.Dropout(self.rate, deterministic=not train)(x))


def dropping(*, outputs: int, rate: Static[float] = 0.5) -> nn.Module:
    return Dropping(outputs, rate)


def traced_rate(*, outputs: int, rate: float = 0.5) -> nn.Module:
    return Dropping(outputs, rate)


class Always(Dense):
    """Dropout that is never turned off."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(nn.Dropout(0.5, deterministic=False)(x.reshape(len(x), -1)))


def always_dropping(*, outputs: int) -> nn.Module:
    return Always(outputs)


class Moving(Dense):
    """Statistics that move whenever it is called."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(nn.BatchNorm(use_running_average=False)(x.reshape(len(x), -1)))


def always_moving(*, outputs: int) -> nn.Module:
    return Moving(outputs)


class Worded(Dense):
    """Training in another word."""

    @nn.compact
    def __call__(self, x, training=False):
        return nn.Dense(self.outputs)(x.reshape(len(x), -1))


def another_word(*, outputs: int) -> nn.Module:
    return Worded(outputs)


class Twice(Dense):
    """Two inputs."""

    @nn.compact
    def __call__(self, x, y):
        return nn.Dense(self.outputs)(x.reshape(len(x), -1))


def two_inputs(*, outputs: int) -> nn.Module:
    return Twice(outputs)


class Several(Dense):
    """A tuple."""

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(self.outputs)(x.reshape(len(x), -1))
        return x, x


def a_tuple(*, outputs: int) -> nn.Module:
    return Several(outputs)


class Headed(Dense):
    """An auxiliary head of another size."""

    @nn.compact
    def __call__(self, x):
        x = x.reshape(len(x), -1)
        return {"main": nn.Dense(self.outputs)(x), "aux": nn.Dense(3)(x)}


def another_head(*, outputs: int) -> nn.Module:
    return Headed(outputs)


class Table(nn.Module):
    outputs: int
    rows: int
    how: str

    @nn.compact
    def __call__(self, x, train=False):
        table = self.param("table", nn.initializers.normal(), (self.rows, 4))
        found = {
            "index": lambda: table[x],
            "take": lambda: jnp.take(table, x, axis=0, mode="clip"),
            "embed": lambda: nn.Embed(self.rows, 4)(x),
            "jit": lambda: jax.jit(lambda table, x: table[x])(table, x),
            "hash": lambda: table[x % self.rows],
        }
        return nn.Dense(self.outputs)(found[self.how]().mean(1))


def table(*, outputs: int, rows: int = 3, how: str = "index") -> nn.Module:
    return Table(outputs, rows, how)


def alike(*, train: int = 8) -> Source:
    """Pictures of one class."""
    fields = {"image": np.arange(train * 9, dtype=np.uint8).reshape(train, 3, 3, 1), "label": np.zeros(train, np.int32)}
    return from_arrays(fields, fields, names=("only",))


def unsummed(facts) -> Task:
    """Classification that forgets to say how much each example costs."""

    def criterion(outputs, batch):
        each = losses.sigmoid_cross_entropy(outputs, jax.nn.one_hot(batch["label"], facts.classes))
        return each.sum(), jnp.ones(len(each))

    whole = classification(facts)
    return Task(facts.classes, supervised(criterion), whole.predict, whole.tally, whole.summarize, metric="accuracy")


def late(facts) -> Task:
    """Classification with rows that evaluation alone would find wrong."""
    whole = classification(facts)
    return Task(
        facts.classes,
        whole.loss,
        whole.predict,
        lambda outputs, batch: {"examples": count(batch["valid"], batch["valid"])},
        lambda sums, rows: {"accuracy": 0.0, "wrong_error": 0.0},
        metric="accuracy",
        rows=lambda outputs, batch: {"truth": batch["lable"]},
    )
