"""What the project uses of other packages without their having documented it: all of it, and nothing else, is here.

Each function says what it stands for and where it is used, and imports its package when it is called. What changes in a
release is changed here; `tests/test_versions.py` says of the installed versions that each does what is thought of it,
and pyproject.toml has an upper bound for each of the packages.
"""

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

# JAX: primitives of one's own (ops/_trilinear.py, ops/_lowering.py). `jax.extend` promises nothing between releases.


def primitive(name: str, compute: Callable, shape_of: Callable) -> Any:
    """A new operation: `compute(*arrays, **params)` outside of programs, `shape_of(*avals, **params)` in them."""
    from jax.extend.core import Primitive

    made = Primitive(name)
    made.def_impl(compute)
    made.def_abstract_eval(shape_of)
    return made


def define_bilinear(operation: Any, first: Callable, second: Callable) -> None:
    """The transposes of an operation that is linear in each of two operands: `(cotangent, other) -> cotangent`."""
    from jax.interpreters import ad

    ad.defbilinear(operation, first, second)


def define_batching(operation: Any, rule: Callable) -> None:
    """What an operation is under vmap: `rule(operands, axes, **params) -> (result, axis)`."""
    from jax.interpreters import batching

    batching.primitive_batchers[operation] = rule


def define_lowering(operation: Any, function: Callable, platform: str = "") -> None:
    """The function of arrays that an operation is compiled as, on one platform or ("") wherever no other is given."""
    from jax.interpreters import mlir

    lowered = mlir.lower_fun(function, multiple_results=False)
    mlir.register_lowering(operation, lowered, platform=platform or None)


def with_shape(aval: Any, shape: tuple[int, ...]) -> Any:
    """An abstract array as another of its dtype, of this shape, laid out over no axis of its mesh."""
    from jax.sharding import NamedSharding, PartitionSpec

    return aval.update(shape=shape, weak_type=False, sharding=NamedSharding(aval.sharding.mesh, PartitionSpec()))


def varying_axes(array: Any) -> frozenset[str]:
    """The mesh axes of a shard_map over which an array differs (ops/_trilinear.py); none outside of one."""
    import jax

    return frozenset(jax.typeof(array).mat.varying)


# JAX: reading the equations of a traced function (analysis/_jaxprs.py, analysis/_intervals.py, analysis/rewriting.py,
# weights/programs.py).
# What its guide to interpreters of one's own shows is documented: eqns, invars, outvars, constvars, primitive, params.


def is_traced(array: Any) -> bool:
    """Whether an array is one of a function that is being traced."""
    import jax

    return isinstance(array, jax.core.Tracer)


def inner_jaxprs(equation: Any) -> Iterator[tuple[Any, tuple]]:
    """(jaxpr, its constants) of each function inside an equation: of a call, a loop, the branches of a condition."""
    from jax.extend.core import ClosedJaxpr, Jaxpr

    for value in equation.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, ClosedJaxpr):
                yield each.jaxpr, tuple(each.consts)
            elif isinstance(each, Jaxpr):
                yield each, ()


def rebound(equation: Any, values: Sequence) -> list:
    """What an equation gives for other values than those that it was traced with (analysis/rewriting.py)."""
    bound = equation.primitive.get_bind_params(equation.params)
    functions, params = bound if isinstance(bound, tuple) else ((), bound)  # apart until 0.11, among the params since
    out = equation.primitive.bind(*functions, *values, **params)
    return list(out) if equation.primitive.multiple_results else [out]


def scopes(equation: Any) -> list[str]:
    """The names of `jax.named_scope` that an equation stands in, outermost first, as transformations have left them."""
    return str(equation.source_info.name_stack).split("/")


def has_effects(equation: Any) -> bool:
    """Whether an equation does something besides its results: prints, calls back, writes to a reference."""
    return bool(equation.effects)


# JAX: processes that train together (runs/processes.py). How they join is documented, not what they then share.


def coordination_client() -> Any:
    """This process' client of the coordination service: a store of texts by key, and barriers."""
    from jax._src.distributed import global_state

    return global_state.client


def cluster() -> tuple[str | None, int | None, int | None, Any]:
    """(coordinator's address, processes, this one's number, its devices) as `jax.distributed` finds them; None: not."""
    import os

    from jax._src.clusters import ClusterEnv

    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    return ClusterEnv.auto_detect_unset_distributed_params(address, None, None, None, None, 300)


# JAX: keys in checkpoints (runs/_leaves.py).


def implementation_of(dtype: Any) -> str:
    """The name of the generator whose keys have this dtype, where there is no key yet to ask `jax.random.key_impl`."""
    return dtype._impl.name


# tensorflow-datasets (data/_records.py): records as they lie on disk, decoded by workers of our own.


def raw_records(builder: Any, split: str) -> Any:
    """The serialized records of a split of a prepared set, by place."""
    from tensorflow_datasets.core.decode import DeserializeMethod

    return builder.as_data_source(split, deserialize_method=DeserializeMethod.RAW_BYTES)


def fields_of_record(record: bytes) -> Any:
    """The fields of a serialized `tf.train.Example` by name, without TensorFlow."""
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example.FromString(record).features.feature


# tensorboardX (runs/_loggers.py): its messages and its writer of records, without the thread of its SummaryWriter.


def event_messages() -> SimpleNamespace:
    """The messages of TensorBoard's event files: `Event`, `SessionLog`, `Summary`."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary

    return SimpleNamespace(Event=Event, SessionLog=SessionLog, Summary=Summary)


def record_writer(path: str) -> Any:
    """A file of records with checksums, as TensorBoard reads them: `write(bytes)`, `flush()`, `close()`."""
    from tensorboardX.record_writer import RecordWriter

    return RecordWriter(path)


# Optuna (sweep/search.py): trials that another process has begun.


def trial_of(study: Any, number: int) -> Any:
    """A trial of a study by its number, to be suggested to and reported to, whoever asked for it."""
    from optuna.trial import Trial

    return Trial(study, study.trials[number]._trial_id)


def suggested(trial: Any, name: str, distribution: Any) -> Any:
    """The value that a trial has, or now gets, for a parameter with a distribution."""
    return trial._suggest(name, distribution)
