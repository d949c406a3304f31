"""What the project uses of other packages without their having documented it is there, and does what is thought."""

import ast
import importlib.metadata
import inspect
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from cnnjax import _versions
from tests.data.test_catalogue import write

ROOT = Path(__file__).parents[1]


def twice():
    """A new operation: the product of two vectors, twice over."""
    operation = _versions.primitive("twice", lambda a, b: 2 * a * b, lambda a, b: _versions.with_shape(a, a.shape))
    _versions.define_lowering(operation, lambda a, b: 2 * a * b)
    return operation


def test_importing_the_file_imports_none_of_the_packages():
    code = "import sys, cnnjax._versions; print(sorted({'jax', 'optuna', 'tensorboardX'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_name_of_the_file_is_used_in_the_package_and_tested_here():
    names = [node.name for node in ast.parse(inspect.getsource(_versions)).body if isinstance(node, ast.FunctionDef)]
    assert len(names) > 12
    used = "".join(path.read_text() for path in (ROOT / "cnnjax").rglob("*.py") if path.name != "_versions.py")
    for name in names:
        assert f"_versions.{name}(" in used, name
        assert f"_versions.{name}(" in Path(__file__).read_text(), name


def test_an_operation_of_ones_own_runs_compiled_and_not_with_the_shape_it_was_told():
    a, b = jnp.arange(3.0), jnp.ones(3)
    operation = twice()
    assert operation.bind(a, b).tolist() == [0, 2, 4]
    assert jax.jit(operation.bind)(a, b).tolist() == [0, 2, 4]
    assert jax.eval_shape(operation.bind, a, b).shape == (3,)
    assert str(jax.make_jaxpr(operation.bind)(a, b).eqns[0].primitive) == "twice"


def test_the_lowering_of_a_platform_wins_over_the_one_for_all():
    operation = twice()
    _versions.define_lowering(operation, lambda a, b: 3 * a * b, platform="cpu")
    assert jax.jit(operation.bind)(jnp.ones(2), jnp.ones(2)).tolist() == [3, 3]


def test_a_bilinear_operation_has_derivatives_in_both_operands():
    operation = twice()
    _versions.define_bilinear(operation, lambda ct, a, b: 2 * ct * b, lambda ct, a, b: 2 * ct * a)
    grads = jax.grad(lambda a, b: operation.bind(a, b).sum(), (0, 1))(jnp.full(2, 3.0), jnp.full(2, 5.0))
    assert [grad.tolist() for grad in grads] == [[10, 10], [6, 6]]
    _, tangent = jax.jvp(lambda a: operation.bind(a, jnp.full(2, 5.0)), (jnp.ones(2),), (jnp.ones(2),))
    assert tangent.tolist() == [10, 10]


def test_the_rule_of_an_operation_is_what_vmap_does():
    operation = twice()

    def rule(operands, axes):
        a, b = (jnp.moveaxis(x, axis, 0) for x, axis in zip(operands, axes, strict=True))
        return operation.bind(a, b), 0

    _versions.define_batching(operation, rule)
    a = jnp.arange(6.0).reshape(2, 3)
    assert jax.vmap(operation.bind, in_axes=(1, 1))(a, a).tolist() == (2 * a * a).T.tolist()


def test_another_shape_leaves_the_type_and_drops_the_layout():
    def found(a):
        aval = _versions.with_shape(jax.typeof(a), (4, 5))
        assert (aval.shape, aval.dtype, aval.weak_type) == ((4, 5), jnp.bfloat16, False)
        assert set(aval.sharding.spec) <= {None}
        return a

    jax.eval_shape(found, jax.ShapeDtypeStruct((2,), jnp.bfloat16))


def test_an_array_varies_over_the_axes_that_it_is_cut_along():
    seen = []

    def look(cut, whole):
        seen.extend((_versions.varying_axes(cut), _versions.varying_axes(whole)))
        return cut

    mesh = Mesh(np.asarray(jax.devices()[:2]), ("batch",))
    mapped = jax.shard_map(look, mesh=mesh, in_specs=(P("batch"), P()), out_specs=P("batch"))
    jax.eval_shape(mapped, jnp.ones(2), jnp.ones(2))
    assert seen == [frozenset({"batch"}), frozenset()]
    assert _versions.varying_axes(jnp.ones(2)) == frozenset()


def test_an_array_is_traced_inside_of_a_program_alone():
    seen = []
    jax.jit(lambda a: seen.append(_versions.is_traced(a)) or a)(1.0)
    assert seen == [True]
    assert not _versions.is_traced(jnp.ones(2))
    assert not _versions.is_traced(np.ones(2))


def test_the_functions_inside_an_equation_are_found_with_their_constants():
    table = np.arange(3.0)

    def branches(a):
        return jax.lax.cond(a[0] > 0, lambda a: a + table, lambda a: a, a)

    for function, count in ((branches, 2), (jax.jit(jnp.sin), 1), (jax.checkpoint(jnp.sin), 1), (jnp.sin, 0)):
        (equation,) = jax.make_jaxpr(function)(jnp.ones(3)).eqns[-1:]
        parts = list(_versions.inner_jaxprs(equation))
        assert len(parts) == count, equation
        assert all(len(part.constvars) == len(constants) for part, constants in parts)


def test_an_equation_gives_what_it_would_give_for_other_values_and_keeps_its_derivatives():
    for function in (jnp.sin, jax.jit(jnp.sin), jax.nn.relu6, jax.nn.silu, jax.checkpoint(jnp.sin)):
        closed = jax.make_jaxpr(function)(jnp.ones(3))
        (equation,) = closed.eqns[-1:]
        if len(closed.eqns) == 1:
            x = jnp.asarray([-1.0, 0.0, 7.0])
            (found,) = _versions.rebound(equation, [x])
            assert jnp.array_equal(found, function(x))
            again = jax.grad(lambda x, equation=equation: _versions.rebound(equation, [x])[0].sum())(x)
            assert jnp.array_equal(again, jax.grad(lambda x, function=function: function(x).sum())(x))


def test_an_equation_knows_the_scopes_that_it_stands_in():
    @jax.named_scope("outer")
    def function(a):
        with jax.named_scope("inner"):
            return jnp.sin(a)

    (equation,) = jax.make_jaxpr(function)(1.0).eqns
    assert _versions.scopes(equation) == ["outer", "inner"]
    equations = jax.make_jaxpr(jax.grad(function))(1.0).eqns
    assert all("inner" in "/".join(_versions.scopes(equation)) for equation in equations)


def test_an_equation_with_effects_says_so():
    equations = jax.make_jaxpr(lambda a: (jax.debug.print("{}", a), a + 1)[1])(1.0).eqns
    assert [_versions.has_effects(equation) for equation in equations].count(True) == 1


@pytest.mark.parametrize("name", ["threefry2x32", "rbg"])
def test_a_type_of_keys_names_its_generator(name):
    dtype = jax.eval_shape(lambda: jax.random.key(0, impl=name)).dtype
    assert _versions.implementation_of(dtype) == name


def test_records_lie_as_they_were_written_and_are_read_without_tensorflow(tmp_path):
    import tensorflow_datasets

    builder = tensorflow_datasets.builder_from_directory(write(tmp_path))
    records = _versions.raw_records(builder, "test")
    assert len(records) == 5
    fields = [_versions.fields_of_record(record) for record in records.__getitems__([3, 0])]
    assert [each["label"].int64_list.value for each in fields] == [[1], [0]]
    assert fields[0]["image"].bytes_list.value[0][:4] == b"\x89PNG"


def test_events_are_written_as_tensorboard_reads_them(tmp_path):
    messages, path = _versions.event_messages(), tmp_path / "events"
    summary = messages.Summary(value=[messages.Summary.Value(tag="loss", simple_value=0.5)])
    event = messages.Event(wall_time=1.0, step=3, summary=summary)
    writer = _versions.record_writer(str(path))
    writer.write(event.SerializeToString())
    writer.flush()
    writer.close()
    held = path.read_bytes()
    length = int.from_bytes(held[:8], "little")  # length, its checksum, the record, its checksum
    assert len(held) == 8 + 4 + length + 4
    assert messages.Event.FromString(held[12:-4]).summary.value[0].simple_value == 0.5
    assert messages.SessionLog(status=messages.SessionLog.SessionStatus.START).status == 1


def test_a_trial_that_another_has_begun_is_taken_up_with_the_values_that_it_has():
    optuna = pytest.importorskip("optuna", reason="the extra search is not installed")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    distribution = optuna.distributions.FloatDistribution(0.0, 1.0)
    value = _versions.suggested(study.ask(), "lr", distribution)
    again = _versions.trial_of(study, 0)
    assert _versions.suggested(again, "lr", distribution) == value
    study.tell(again, 1.0)
    assert study.trials[0].params == {"lr": value}


def test_the_installed_versions_are_those_that_the_project_allows():
    from packaging.requirements import Requirement

    for asked in map(Requirement, importlib.metadata.requires("cnnjax") or ()):
        if asked.name in ("jax", "tensorflow-datasets", "tensorboardX") and not asked.marker:
            assert asked.specifier.contains(importlib.metadata.version(asked.name)), asked


TOGETHER = """
import socket, jax
from cnnjax import _versions

assert _versions.coordination_client() is None
with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
jax.distributed.initialize(f"localhost:{port}", 1, 0)
client = _versions.coordination_client()
client.key_value_set("beat", "1")
client.key_value_set("beat", "2", allow_overwrite=True)
client.key_value_set("words/b", "c")
client.wait_at_barrier("all", 1000)
calls = [client.key_value_increment("calls", 1) for _ in range(2)]
print(client.blocking_key_value_get("beat", 1000), client.key_value_dir_get("words/"), calls[1] - calls[0])
"""


def test_the_coordination_service_keeps_texts_by_key_and_holds_processes_until_all_are_there():
    done = subprocess.run([sys.executable, "-c", TOGETHER], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["2 [('words/b', 'c')] 1"], done.stderr


def test_a_cluster_is_told_by_its_variables(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SLURM", "OMPI", "KUBERNETES", "JAX_COORD")):
            monkeypatch.delenv(name)
    assert _versions.cluster() == (None, None, None, None)
    step = {"JOB_ID": "7", "STEP_NODELIST": "host[1-2]", "NTASKS": "2", "PROCID": "1", "LOCALID": "0"}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    address, processes, process, devices = _versions.cluster()
    assert (address.partition(":")[0], processes, process, devices) == ("host1", 2, 1, [0])
