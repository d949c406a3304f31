"""Two trainings: where their states part, counted in numbers of their kind, and what their nets answer differently."""

import jax.numpy as jnp
import numpy as np
import pytest

import cnnjax
from cnnjax import analysis, config
from cnnjax.analysis import agreement, drift, ulps_apart
from cnnjax.config import ConfigError
from cnnjax.programs import analyze
from tests.programs.test_analyze import told

NUMBERS = np.random.default_rng(0)
MOST = 2**64 - 1


def test_units_in_the_last_place_are_places_among_all_numbers_of_a_kind():
    bits = np.arange(2**16, dtype=np.uint16).view(np.float16)
    every = np.unique(bits[np.isfinite(bits)])  # 0 and −0 once
    a, b = NUMBERS.choice(every, (2, 500))
    theirs = np.abs(np.searchsorted(every, a) - np.searchsorted(every, b))
    np.testing.assert_array_equal(ulps_apart(a, b), theirs)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_units_in_the_last_place_are_numpys(kind):
    a = (NUMBERS.normal(size=200) * 10.0 ** NUMBERS.integers(-4, 4, 200)).astype(kind)
    b = (a * (1 + 40 * np.finfo(kind).eps * NUMBERS.normal(size=200))).astype(kind)
    theirs = np.testing.assert_array_max_ulp(a, b, maxulp=1000)[0]
    assert theirs.max() > 20
    np.testing.assert_array_equal(ulps_apart(a, b), theirs)
    assert ulps_apart(a, np.nextafter(a, kind(np.inf))).tolist() == [1] * 200


def test_steps_of_numbers_are_counted_in_every_kind():
    half = jnp.asarray([1.0, 1.0, 0.0], jnp.bfloat16), jnp.asarray([1.0078125, -1.0, -0.0], jnp.bfloat16)
    assert ulps_apart(*half).tolist() == [1, 2 * 0x3F80, 0]
    assert ulps_apart(np.int8([-128, 5]), np.int8([127, 5])).tolist() == [255, 0]
    assert ulps_apart(np.uint8([0, 7]), np.uint8([255, 6])).tolist() == [255, 1]
    assert ulps_apart(np.int64([-(2**63)]), np.int64([2**63 - 1])).tolist() == [MOST]
    assert ulps_apart(np.array([True, False]), np.array([True, True])).tolist() == [0, 1]
    tiny = np.float32(1e-45)
    assert ulps_apart(tiny, -tiny) == 2
    nan = np.float32([np.nan, np.nan, 1])
    assert ulps_apart(nan, np.float32([np.nan, 1, np.nan])).tolist() == [0, MOST, MOST]
    with pytest.raises(ValueError, match=r"a is float32 \(2,\), b is float64 \(2,\); they must be of one kind"):
        ulps_apart(np.zeros(2, np.float32), np.zeros(2))


def states(step):
    """Two states of which the kernels part at step 20 by a step of one number, and no other ever."""
    kernel = np.full((2, 5), 3, np.float32)
    other = kernel.copy()
    if step >= 20:
        other[1, 2:] = np.nextafter(np.float32(3), np.float32(4 if step == 20 else 0))
    return tuple({"params": {"kernel": each, "bias": np.zeros(5)}, "step": np.int32(step)} for each in (kernel, other))


def test_the_first_step_and_the_leaf_at_which_two_trainings_part():
    found = drift({step: states(step) for step in (30, 10, 20)})
    assert found.leaves == ("params/bias", "params/kernel", "step")
    assert found.steps.tolist() == [10, 20, 30]
    assert found.first.tolist() == [-1, 20, -1]
    assert found.parted == 20
    np.testing.assert_array_equal(found.ulps[:, 1], [0, 1, 1])
    np.testing.assert_allclose(found.share[:, 1], [0, 0.3, 0.3])
    assert drift({10: states(10)}).parted == -1
    assert len(analysis.draw_drift(found).axes[0].get_yticklabels()) == 1
    with pytest.raises(
        ValueError, match=r"params/kernel is float32 .2, 5. in the first state at step 0, not there in the"
    ):
        drift({0: (states(0)[0], {"params": {"bias": np.zeros(5)}, "step": np.int32(0)})})


def test_answers_of_two_nets_agree_as_their_logits_say():
    logits = np.float32([[4, 0, 0], [0, 4, 0], [0, 4, 0], [0, 0, 4], [4, 0, 0]])
    others = np.float32([[4, 0, 0], [4, 0, 0], [0, 4, 0], [0, 0, 4], [0, 4, 0]])
    found = agreement(logits, others, np.array([0, 1, 0, 0, 1]))
    assert found.churn == pytest.approx(2 / 5)
    assert found.right.tolist() == [[2, 1], [1, 1]]
    assert found.same_mistakes == 2
    own, rest = np.exp(4) / (np.exp(4) + 2), 1 / (np.exp(4) + 2)
    assert found.variation == pytest.approx(2 / 5 * (own - rest))
    noise, more = NUMBERS.normal(size=(2, 50, 7))
    shifted = agreement(noise, noise * 3 + NUMBERS.normal(size=(50, 1)), np.zeros(50, int))
    assert (shifted.churn, shifted.correlation) == (0, pytest.approx(1))
    centred = [each - each.mean(1, keepdims=True) for each in (noise, more)]
    expected = np.corrcoef(*(each.ravel() for each in centred))[0, 1]
    assert agreement(noise, more, np.zeros(50, int)).correlation == pytest.approx(expected)


def compared(run, other, out):
    """What is said of 40 test digits and all checkpoints of two runs."""
    analyze.main([f"--workdir={run.workdir}", f"--against={other.workdir}", f"--out={out}", "--examples=40"])
    return told(out)


def test_a_run_is_itself_bit_by_bit(digits_run, tmp_path):
    found = compared(digits_run, digits_run, tmp_path / "a")
    assert (found["drift"]["parted"], found["drift"]["lines"]) == (-1, -1)
    assert "are equal, bit by bit, at the steps" in (tmp_path / "a" / "report.html").read_text()
    assert (found["answers"]["churn"], found["answers"]["differ"]) == (0, [])
    assert found["between"]["barrier"] == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(np.diagonal(found["layers"]["values"]), 1)


@pytest.mark.proofs
def test_another_seed_parts_from_the_first_step_on(digits_run, tmp_path):
    other = cnnjax.run(config.change(digits_run.config, {"seed": 7}), tmp_path / "other")
    found = compared(digits_run, other, tmp_path / "a")
    first = found["drift"]["first"]
    assert found["drift"]["parted"] == min(found["drift"]["steps"])
    assert found["drift"]["lines"] > 0
    assert first["seed"] == found["drift"]["parted"]
    assert first["step"] == -1
    assert found["drift"]["ulps"]["seed"] == [7] * len(found["drift"]["steps"])
    images = digits_run.source.test.read(np.arange(40) * 9)["image"]
    guesses = [each.predict(images)["label"] for each in (digits_run, other)]
    assert found["answers"]["churn"] == pytest.approx(np.mean(guesses[0] != guesses[1]))
    assert np.sum(found["answers"]["right"]) == 40
    ends = np.interp((0, 1), found["between"]["shares"], found["between"]["losses"])
    assert found["between"]["barrier"] > 0.1 * ends.mean(), "nets of two seeds lie in two valleys"


def test_another_run_is_compared_with_a_run_and_its_parts_have_their_own_names(digits_run):
    with pytest.raises(ConfigError, match="--against is another run than that of --workdir"):
        analyze.main(["--model=lenet5", "--weights=a.npz", "--images=b", "--against=runs/b"])
    with pytest.raises(ConfigError, match=r"--what is 'sanity'; allowed: all, answers, between, drift, layers"):
        analyze.main([f"--workdir={digits_run.workdir}", f"--against={digits_run.workdir}", "--what=sanity"])
