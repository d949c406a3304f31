"""The benchmarks measure the same networks in every kit, and say what they measured."""

import json

import jax
import jax.numpy as jnp
import pytest

from cnnjax.config import ConfigError
from experiments.benchmarks import breakdown, convolution, steps, timing
from experiments.benchmarks.networks import NETS, OURS, check, linen

WEIGHTS = {"lenet5": 61706, "resnet18_cifar": 11173962}  # as counted by hand and in the literature


@pytest.mark.proofs
@pytest.mark.parametrize("name", NETS)
def test_a_network_has_the_same_weights_in_every_kit(name):
    build, _, shape, _, _ = NETS[name]
    counts = []
    for kit in (OURS, linen()):
        variables = jax.eval_shape(build(kit).init, jax.random.key(0), jnp.zeros((2, *shape)))
        counts.append(sum(leaf.size for leaf in jax.tree.leaves(variables["params"])))
    assert counts[0] == counts[1] == WEIGHTS.get(name, counts[0])


@pytest.mark.proofs
def test_a_measured_step_trains():
    step, state, batch = steps.step_of("lenet5", OURS)
    after = jax.jit(step)(state, *batch)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state[0], after[0])
    assert min(jax.tree.leaves(moved)) > 0


@pytest.mark.proofs
def test_the_kinds_of_a_breakdown_add_up_to_what_ran_and_its_operations_say_where_they_come_from():
    found = breakdown.breakdown(*steps.step_of("lenet5", OURS), steps=2)
    assert 0.2 < found["gflop"] < 0.4  # three passes over 128 of 416,520 multiplies
    assert min(found["compile"], found["ms"], found["kinds"]["products"], found["kinds"]["elementwise"]) > 0
    times, names, origins = zip(*found["operations"], strict=True)
    kinds = {kind: ms for kind, ms in found["kinds"].items() if kind != "waiting"}
    assert sum(kinds.values()) <= sum(times) * 1.01  # kinds are unions of what may run side by side
    assert 0 <= found["kinds"]["waiting"] < found["ms"]
    assert len(set(names)) == len(names)
    assert any("LeNet5" in origin for origin in origins)


def test_a_call_of_the_library_lasts_until_its_result_is_read():
    """Its threads are not in the profile; where nothing was under way, there was a wait."""
    text = """
      %call = (f32[4]{0}, u8[8]{0}) custom-call(%x, %w), custom_call_target="__onednn$matmul"
      %first = f32[4]{0} get-tuple-element(%call), index=0
      %sum = f32[4]{0} fusion(%first, %y), kind=kLoop
      %last = f32[4]{0} fusion(%sum), kind=kLoop
    """
    calls = breakdown.library_calls(text)
    assert {name for name, read in calls.items() if read == ["call"]} == {"call", "first", "sum"}
    spans = {"call": [(0.0, 1.0)], "other": [(2.0, 3.0)], "sum": [(5.0, 6.0)], "last": [(8.0, 9.0)]}
    found, waiting = breakdown.lengthened(spans, calls)
    assert found == spans | {"call": [(0.0, 1.0), (1.0, 2.0), (3.0, 5.0)]}
    assert waiting == 2.0
    del spans["call"]  # where the thread that made it had no share
    assert breakdown.lengthened(spans, calls)[0]["call"] == [(3.0, 5.0)]


def test_calls_of_a_cards_libraries_are_convolutions_and_products():
    text = """
      %conv.1 = (bf16[8,8]{1,0}, u8[0]{0}) custom-call(%x, %w), custom_call_target="__cudnn$convForward"
      %gemm.1 = (bf16[8,8]{1,0}, s8[64]{0}) custom-call(%x, %w), custom_call_target="__cublas$gemm"
      %gemm_fusion = bf16[8,8]{1,0} fusion(%x, %w), kind=kCustom, backend_config={"kind":"__triton_gemm"}
      %input_reduce_fusion = f32[8]{0} fusion(%x), kind=kInput
      %loop_add_fusion = bf16[8,8]{1,0} fusion(%x), kind=kLoop
    """
    kinds = list(breakdown.kinds_of(text).values())
    assert kinds == ["convolutions", "products", "products", "reductions", "elementwise"]


def test_an_operation_on_two_cores_counts_once():
    assert breakdown.union([(3.0, 4.0), (0.0, 1.0), (0.5, 2.0)]) == 3.0


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["foo"], "'foo'; allowed"),
        (["resnet18:a"], "resnet18:2"),
        (["resnet18x:2"], "nearest"),
        (["dcgan:2"], "one class"),
    ],
)
def test_networks_that_the_benchmarks_do_not_know_are_told(names, words):
    with pytest.raises(ConfigError, match=words):
        check(names)


@pytest.mark.proofs
def test_a_network_is_measured_in_any_batch_and_in_bfloat16_keeps_its_parameters_wide():
    check(["lenet5:2", "resnet50:2"])
    step, state, batch = steps.step_of("lenet5:2", OURS, "bfloat16")
    assert batch[0].shape == (2, 28, 28, 1)
    after = jax.eval_shape(step, state, *batch)
    assert {leaf.dtype for leaf in jax.tree.leaves(after[0])} == {jnp.dtype("float32")}
    traced = str(jax.make_jaxpr(step)(state, *batch))
    assert "bf16[2,28,28,6]" in traced
    assert timing.precision_of("auto") == "float32"  # on a CPU


def test_hostile_arguments_of_benchmarks_are_told(tmp_path):
    with pytest.raises(ConfigError, match="whole numbers"):
        timing.counts(["4", "0"], "throughput")
    with pytest.raises(ConfigError, match="no program"):
        timing.Peer(str(tmp_path / "python"), "torch_peer.py")
    with pytest.raises(ConfigError, match="--modes is 'eagre'; nearest: eager"):
        steps.main(["--modes=eagre"])


def test_a_convolution_that_is_none_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="--only is 'thick images'; nearest: thin images"):
        convolution.main(["--only=thick images"])


@pytest.mark.proofs
def test_both_sides_of_the_convolution_benchmark_compute_the_same():
    for name in ("strided 1x1", "depthwise", "series"):
        shape, window, options = convolution.CASES[name]
        x, kernel = jnp.ones((1, *shape[1:])), jnp.ones(window)
        for which, (ours, arguments) in convolution.programs(
            lambda x, k, options=options: convolution.ops.conv(x, k, **options), x, kernel
        ).items():
            theirs = convolution.programs(lambda x, k, options=options: convolution.plain(x, k, **options), x, kernel)[
                which
            ][0]
            assert jnp.allclose(ours(*arguments), theirs(*arguments), rtol=1e-4), (name, which)


def test_timings_are_medians_of_turns_and_are_written_with_the_machine(tmp_path):
    calls = []
    turns = {name: lambda count, name=name: calls.append(name) or [[1.0, 2.0]] * count for name in ("a", "b")}
    found = timing.interleaved(turns, 2, 3)
    assert calls == ["a", "b", "a", "b"]
    stolen = found["a"].pop("stolen")
    assert 0 <= stolen <= timing.stolen()
    assert found["a"] == {"wall": 1.0, "wall_least": 1.0, "processor": 2.0, "steps": 6}
    timing.write(str(tmp_path / "deep" / "found.json"), {"machine": timing.machine()})
    machine = json.loads((tmp_path / "deep" / "found.json").read_text())["machine"]
    assert machine["versions"]["jax"] == jax.__version__
    assert timing.table(["net", "ms"], [["lenet5", 3]]).splitlines()[-1] == "| lenet5 | 3 |"
