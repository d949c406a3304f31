"""The order of examples is a function of (seed, step), and every way of getting them follows it."""

import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cnnjax.data import DataError, Stream, digits, into_memory, order, passes

_SPLITS = pathlib.Path(__file__).with_name("_splits.py")


@pytest.fixture
def numbers(monkeypatch):
    """The module of splits, found by name so that worker processes find it too."""
    monkeypatch.syspath_prepend(_SPLITS.parent)
    spec = importlib.util.find_spec("_splits")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "_splits", module)
    spec.loader.exec_module(module)
    return module.Numbers


def indices(count, batch, steps, **options):
    return np.concatenate([order(count, batch, step, **options)[0] for step in range(steps)])


@pytest.mark.parametrize(("count", "batch"), [(10, 4), (7, 7), (5, 12), (1, 3), (100, 1)])
def test_every_epoch_has_every_example_once(count, batch):
    steps = -(-3 * count // batch)
    epochs = indices(count, batch, steps)[: 3 * count].reshape(3, count)
    np.testing.assert_array_equal(np.sort(epochs, 1), np.tile(np.arange(count), (3, 1)))


def test_a_batch_may_straddle_two_epochs():
    index, epoch = order(10, 4, 2)
    np.testing.assert_array_equal(epoch, [0, 0, 1, 1])
    assert index.dtype == epoch.dtype == np.int32


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [tuple(order(50, 50, step, seed=seed)[0]) for seed in range(3) for step in range(3)]
    assert len(set(orders)) == 9


def test_the_order_never_changes_from_one_release_to_the_next():
    np.testing.assert_array_equal(order(12, 12, 0)[0], [0, 2, 11, 9, 1, 8, 5, 4, 3, 10, 6, 7])
    np.testing.assert_array_equal(order(1000, 6, 12345, seed=7)[0], [315, 467, 451, 13, 53, 687])


def test_every_place_of_the_order_is_equally_likely():
    first = [order(10, 10, 0, seed=seed)[0][0] for seed in range(4000)]
    assert np.abs(np.bincount(first, minlength=10) - 400).max() < 90


def test_any_step_may_be_asked_for_first():
    split = digits().train
    whole = Stream(split, batch=100, seed=3).batches(0, 40)
    late = Stream(split, batch=100, seed=3).batches(33, 7)
    for field, values in late.items():
        np.testing.assert_array_equal(whole[field][33:], values)


def test_batches_asked_one_by_one_are_those_asked_together():
    stream = Stream(digits().train, batch=64)
    together = stream.batches(5, 4)
    for step in range(4):
        for field, values in stream.batches(5 + step).items():
            np.testing.assert_array_equal(values[0], together[field][step])


@pytest.mark.parametrize("accumulate", [0, 1, 3])
def test_the_hosts_parts_of_each_microbatch_make_up_the_one_order(accumulate):
    split = digits().train
    whole = order(len(split), 48, 9, seed=1)[0]
    for hosts in (1, 2, 4):
        parts = [
            Stream(split, batch=48, seed=1, accumulate=accumulate, part=(host, hosts)).batches(9)["index"][0]
            for host in range(hosts)
        ]
        assert parts[0].shape == ((accumulate, 48 // accumulate // hosts) if accumulate else (48 // hosts,))
        np.testing.assert_array_equal(np.concatenate(parts, -1).ravel(), whole)


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(ValueError, match=r"train\.batch is 100; it must be a multiple of 6 .* such as 96"):
        Stream(digits().train, batch=100, accumulate=3, part=(0, 2))
    with pytest.raises(ValueError, match=r"eval\.batch is 3; it must be a multiple of 2"):
        next(passes(digits().test, 3, (0, 2)))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_streamed_split_gives_the_same_examples_with_any_number_of_workers(workers, numbers):
    with Stream(numbers(103), batch=12, accumulate=2, seed=5, workers=workers) as stream:
        for step, count in ((0, 1), (1, 3), (4, 1), (20, 2), (3, 2)):  # forwards, onwards, and back again
            batch = stream.batches(step, count)
            expected = np.stack([order(103, 12, step + k, seed=5)[0].reshape(2, 6) for k in range(count)])
            np.testing.assert_array_equal(batch["index"], expected)
            np.testing.assert_array_equal(batch["image"], np.repeat(expected[..., None], 4, -1))
            np.testing.assert_array_equal(batch["label"], expected % 10)
            assert (batch["valid"] == 1).all()


def test_a_split_in_memory_can_be_streamed_and_one_that_is_not_can_be_read_into_it(numbers):
    split = digits().train
    resident, streamed = Stream(split, batch=32), Stream(split, batch=32, resident=False)
    with streamed:
        batch = streamed.batches(4)
    np.testing.assert_array_equal(batch["image"][0], split.arrays["image"][resident.batches(4)["index"][0]])
    assert not _children(streamed), "processes would need copies of it"
    whole = into_memory(numbers(600), workers=0)
    assert whole.resident
    np.testing.assert_array_equal(whole.arrays["image"][:, 0], np.arange(600))
    assert set(whole.arrays) == {"image", "label"}


@pytest.mark.parametrize(("count", "batch", "hosts"), [(23, 8, 1), (23, 8, 2), (23, 8, 4), (5, 8, 4), (16, 8, 2)])
def test_every_evaluation_example_is_valid_exactly_once_over_all_hosts(count, batch, hosts, numbers):
    seen, lengths = [], set()
    for host in range(hosts):
        batches = list(passes(numbers(count), batch, (host, hosts), workers=0))
        lengths.add(len(batches))
        for fields in batches:
            assert {len(values) for values in fields.values()} == {batch // hosts}
            np.testing.assert_array_equal(fields["image"][:, 0], fields["index"])
            seen += fields["index"][fields["valid"] > 0].tolist()
    assert sorted(seen) == list(range(count))
    assert lengths == {-(-count // batch)}, "hosts that ran different numbers of batches would wait for ever"


def test_evaluation_of_a_resident_split_brings_indices_alone():
    batches = list(passes(digits().test, 100))
    assert [int(batch["valid"].sum()) for batch in batches] == [100, 100, 100, 60]
    assert set(batches[0]) == {"index", "epoch", "valid"}


def test_evaluation_by_worker_processes_is_the_same(numbers):
    for one, other in zip(passes(numbers(50), 16, workers=2), passes(numbers(50), 16, workers=0), strict=True):
        for field in one:
            np.testing.assert_array_equal(one[field], other[field])


def test_a_worker_that_dies_of_its_examples_is_reported_once_another_has_died_of_them(numbers, capfd):
    split = numbers(40, dies_at=7)
    with Stream(split, batch=40, ahead=1, workers=1) as stream, pytest.raises(DataError) as died:
        stream.batches(0)
    assert "a data worker process died (exit code 41) while reading" in str(died.value)
    assert ", as one did before it; fewer data.workers need less memory, data.workers=0" in str(died.value)
    told = [line for line in capfd.readouterr().err.splitlines() if line.endswith(" on: another one reads them")]
    assert len(told) == len(set(told)) > 0, "once for the examples of a batch; the next one's are read already"


def test_a_worker_that_is_killed_is_replaced_by_one_that_goes_on_with_the_same_examples(numbers, capfd):
    undisturbed = Stream(numbers(40), batch=10, workers=0).batches(0, 10)
    with Stream(numbers(40, slow=0.1), batch=10, workers=1) as stream:
        first = stream.batches(0)
        (killed,) = _children(stream)
        os.kill(killed, signal.SIGKILL)
        rest = stream.batches(1, 9)
        (other,) = _children(stream)
    assert other != killed
    for field, whole in undisturbed.items():
        np.testing.assert_array_equal(np.concatenate([first[field], rest[field]]), whole)
    said = capfd.readouterr().err
    assert "a data worker process died (killed, perhaps for want of memory) while reading 10 examples from " in said


def test_a_worker_that_hangs_is_named_with_its_examples_and_another_reads_them_once_it_is_killed(
    numbers, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr("cnnjax.data._workers._SLOW", 0.6)
    monkeypatch.setattr("cnnjax.data._workers._NOTHING", ((), 0.0, 0.6))
    stall = tmp_path / "stalled"
    stall.touch()
    asked = []
    with Stream(numbers(40, stalls_at=7, while_there=str(stall)), batch=40, workers=1) as stream:
        (hanging,) = _children(stream)

        def waiting():
            asked.append(time.monotonic())
            if len(asked) == 4:
                stall.unlink()
                os.kill(hanging, signal.SIGKILL)

        batch = stream.batches(0, waiting=waiting)
        assert _children(stream) != [hanging]
    np.testing.assert_array_equal(batch["image"][0, :, 0], order(40, 40, 0)[0])
    said, first = capfd.readouterr().err, order(40, 40, 0)[0][0]
    assert f"data worker {hanging} has been reading 40 examples from example {first} on for 1 s" in said
    assert len(asked) >= 4


@pytest.mark.parametrize("workers", [0, 1])
def test_whoever_waits_for_examples_may_leave(workers, numbers, tmp_path):
    stall = tmp_path / "stalled"
    stall.touch()
    began = time.monotonic()

    def leave():
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        Stream(numbers(40, stalls_at=7, while_there=str(stall)), batch=40, workers=workers) as stream,
    ):
        stream.batches(0, waiting=leave)
    assert time.monotonic() - began < 6
    stall.unlink()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_while_reading_names_the_examples(workers, numbers):
    split = numbers(40, fails_at=7)
    with Stream(split, batch=40, workers=workers) as stream, pytest.raises(DataError) as failed:
        stream.batches(0)
    assert str(failed.value).endswith("on failed: RuntimeError: the disk is on fire")
    assert str(failed.value).startswith("reading 40 examples from ")


def test_a_split_that_no_worker_can_load_says_what_to_do():
    class Local:
        resident = False

        def __len__(self):
            return 4

        def read(self, indices):
            return {"image": indices}

    with pytest.raises(
        DataError, match=r"Local cannot be sent .* define it in an importable module, or set data\.work"
    ):
        Stream(Local(), batch=4, workers=1)
    with Stream(Local(), batch=4, workers=0) as stream:
        assert stream.batches(0)["image"].shape == (1, 4)


def test_closing_ends_the_workers_even_in_the_middle_of_a_batch(numbers):
    stream = Stream(numbers(1000, slow=30), batch=100, workers=2)
    children = _children(stream)
    futures = stream._workers.submit(np.arange(10))
    while not any(future.running() for future in futures):
        time.sleep(0.01)
    start = time.monotonic()
    for _ in range(2):
        stream.close()
    assert time.monotonic() - start < 5
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


@pytest.mark.doors
def test_workers_end_with_a_main_process_that_was_killed(tmp_path):
    program = (
        f"import sys, time; sys.path.insert(0, {str(_SPLITS.parent)!r})\n"
        "from _splits import Numbers\n"
        "from cnnjax.data import Stream\n"
        "stream = Stream(Numbers(100), batch=10, workers=1); stream.batches(0)\n"
        "print(stream._workers.processes[0], flush=True); time.sleep(60)"
    )
    main = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with main:
        child = int(main.stdout.readline())
        main.kill()
    for _ in range(100):
        state = pathlib.Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the worker outlived the main process")


@pytest.mark.doors
def test_a_script_without_a_main_guard_may_use_workers(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(_SPLITS.parent)!r})\n"
        "from _splits import Numbers\n"
        "from cnnjax.data import Stream\n"
        "with Stream(Numbers(100), batch=10, workers=1) as stream:\n"
        "    print(stream.batches(0)['image'].shape)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("(1, 10, 4)", "")


def _children(stream):
    return list(stream._workers.processes)
