"""Full disks, kills, and several processes: each in processes of its own."""

import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from cnnjax.runs.checkpoints import Checkpoints
from tests.processes import python

ROOT = Path(__file__).parents[2]


def output(process, *, timeout=60):
    """What the process printed; its errors are the test's."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    assert err == ""
    return out.splitlines()


FULL = """
import os, resource, sys, time
import numpy as np
from cnnjax.runs.checkpoints import CheckpointError, Checkpoints

workdir, way = sys.argv[1:]

def fill():
    if way == "limit":  # the kernel refuses longer files
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1))
    else:
        with open(workdir + "/ballast", "wb") as file:
            space = os.statvfs(workdir)
            file.write(bytes(space.f_bavail * space.f_bsize - 150_000))

def empty():
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    else:
        os.unlink(workdir + "/ballast")

tree = {"x": np.random.default_rng(0).normal(size=30_000)}
with Checkpoints(workdir) as checkpoints:
    checkpoints.save(1, tree, wait=True)
    fill()
    checkpoints.save(2, tree)
    for step in range(1000):
        time.sleep(0.01)
        try:
            checkpoints.poll()
        except CheckpointError as error:
            print(error.exit_code, error)
            break
    print(checkpoints.steps(), (checkpoints.restore(tree)[1]["x"] == tree["x"]).all())
    empty()
    checkpoints.save(3, tree)
    print(checkpoints.steps(), (checkpoints.restore(tree, 3)[1]["x"] == tree["x"]).all())
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes rights that this process has not")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def assert_survived(lines, workdir, reason):
    failure, before, after = lines
    assert failure.startswith("5 the checkpoint at step 2 could not be saved in ")
    assert failure.endswith(f": {reason}; the checkpoint at step 1 is intact")
    assert before == "[1] True"
    assert after == "[1, 3] True"
    assert sorted(os.listdir(workdir / "checkpoints")) == ["1", "3"]


@pytest.mark.doors
def test_a_full_disk_surfaces_at_the_next_poll_and_the_next_save_works(small_disk):
    assert_survived(output(python(FULL, small_disk, "disk")), small_disk, "No space left on device")


@pytest.mark.doors
def test_a_refused_write_surfaces_at_the_next_poll_and_the_next_save_works(tmp_path):
    assert_survived(output(python(FULL, tmp_path, "limit")), tmp_path, "File too large")


def test_a_directory_that_can_not_be_made_surfaces_too(tmp_path):
    (tmp_path / "checkpoints").write_text("a file in the way")
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": 1.0})
        with pytest.raises(
            ValueError, match=r"step 1 could not be saved in .*: File exists; there is no checkpoint yet"
        ):
            checkpoints.wait()
        checkpoints.poll()  # said once


SAVING = """
import sys
import numpy as np
from cnnjax.runs.checkpoints import Checkpoints

tree = {str(i): np.zeros(500) for i in range(20)}
with Checkpoints(sys.argv[1], keep=1, metric="m") as checkpoints:
    step, tree, _ = checkpoints.restore(tree)
    while True:
        step += 1
        tree = {name: array + 1 for name, array in tree.items()}
        checkpoints.save(step, tree, {"m": -step}, wait=True)
        print(step, flush=True)
"""


@pytest.mark.doors
def test_a_kill_in_the_middle_of_saving_leaves_a_whole_checkpoint(tmp_path):
    draw = random.Random(0)
    tree = {str(i): np.zeros(500) for i in range(20)}
    said = 0
    for _ in range(4):
        process = python(SAVING, tmp_path)
        said = int(process.stdout.readline())
        time.sleep(draw.uniform(0.0, 0.25))
        process.kill()
        out, err = process.communicate()
        said = int(out.split("\n")[-2]) if "\n" in out else said
        assert err == ""
        with Checkpoints(tmp_path) as checkpoints:
            step, restored, _ = checkpoints.restore(tree)
        assert step in (said, said + 1)
        assert all((array == step).all() for array in restored.values())
    assert not list((tmp_path / "checkpoints").glob("*.damaged*"))


TOGETHER = """
import sys
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

process, port, workdir = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.distributed.initialize(f"localhost:{port}", 2, process)
from cnnjax.runs.checkpoints import CheckpointError, Checkpoints

everywhere = NamedSharding(jax.make_mesh((jax.device_count(),), ("batch",)), PartitionSpec())

def spread(tree):
    return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, everywhere, lambda i: x[i]), tree)

def state(seed):
    draw = np.random.default_rng(seed)
    return {"x": draw.normal(size=(300, 7)).astype("f4"), "zero": np.array([-0.0, 0.0], "f4"), "n": np.int32(seed)}

# Process 1 has another disk: nothing is read there.
with Checkpoints(workdir if process == 0 else workdir + "-elsewhere") as checkpoints:
    assert checkpoints.restore(spread(state(0)))[0] == 0
    for seed in (1, 2):
        checkpoints.save(seed, spread(state(seed)), {"accuracy": seed / 10})
    checkpoints.wait()
    step, tree, metrics = checkpoints.restore(spread(state(0)))
    assert (step, metrics) == (2, {"accuracy": 0.2})
    for name, array in state(2).items():
        assert tree[name].sharding == everywhere
        assert np.asarray(tree[name].addressable_data(0)).tobytes() == array.tobytes(), name
    try:
        checkpoints.restore(spread(state(0)), step=9)
    except CheckpointError as error:
        print("no checkpoint at step 9" in str(error))

# What the first refuses all refuse, and what any of them lacks ends all, each with words of its own.
from cnnjax.runs.processes import ProcessFailed, by_all, by_first
from cnnjax.runs.workdir import WorkdirLocked, hold

def refused(act, *arguments):
    try:
        act(*arguments)
    except (ValueError, OSError) as error:
        return type(error).__name__ + ": " + str(error).splitlines()[0]

def taken():
    raise WorkdirLocked("workdir w is in use")

def data():
    if process == 1:
        raise FileNotFoundError("data.root is /here; there is no such directory")

assert by_first(lambda: {"process": process}) == {"process": 0}
print(refused(by_first, taken))
print(refused(by_all, data))
print(refused(hold(workdir if process == 0 else "/dev/null/no/workdir").__enter__))
print(refused(hold("/dev/null/no/workdir" if process == 0 else workdir).__enter__))
"""


@pytest.mark.doors
def test_processes_that_train_together_restore_what_the_first_has_read(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flags = "--xla_force_host_platform_device_count=2"
    pair = [python(TOGETHER, process, port, tmp_path / "run", XLA_FLAGS=flags) for process in range(2)]
    told = []
    for process in pair:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        told.append(out.splitlines()[-5:])  # after what gloo has to say
    missing = "data.root is /here; there is no such directory"
    nowhere = "WorkdirError: workdir /dev/null/no/workdir can't be written: Not a directory; give another --workdir"
    assert told[0][:2] == told[1][:2] == ["True", "WorkdirLocked: workdir w is in use"]
    assert told[1][2:] == [f"FileNotFoundError: {missing}", "None", nowhere]
    assert told[0][3:] == ["None", nowhere]
    assert told[0][2].startswith("ProcessFailed: process 1 on ")
    assert told[0][2].endswith(f"FileNotFoundError: {missing}")
    assert sorted(os.listdir(tmp_path / "run" / "checkpoints")) == ["1", "2"]
    # the same checkpoint on one device of one process
    like = {"x": np.zeros((300, 7), "f4"), "zero": np.zeros(2, "f4"), "n": np.int32(0)}
    step, tree, _ = Checkpoints(tmp_path / "run").restore(like)
    assert (step, int(tree["n"])) == (2, 2)
    assert tree["x"].tobytes() == np.random.default_rng(2).normal(size=(300, 7)).astype("f4").tobytes()
