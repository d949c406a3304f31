"""Saving and restoring within one process, and what is done about damage."""

import collections
import os
import random
import shutil
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.runs.checkpoints import CheckpointError, Checkpoints

Moments = collections.namedtuple("Moments", "mean count")


def state(seed=0):
    draw = np.random.default_rng(seed)
    return {
        "params": {
            "stage.1": {"kernel": jnp.asarray(draw.normal(size=(3, 3, 4, 8)), jnp.float32), "bias": jnp.zeros(8)},
            "stage": {"1": {"kernel": jnp.asarray([-0.0, 0.0, 1e-45], jnp.float32)}},
            "head": jnp.asarray(draw.normal(size=7), jnp.bfloat16),
        },
        "optimizer": (Moments(jnp.asarray(draw.normal(size=5), jnp.float32), jnp.int32(3)), ()),
        "key": jax.random.key(seed),
        "old_key": jax.random.PRNGKey(seed),
        "flags": jnp.array([True, False]),
        "nothing": jnp.zeros((0, 3)),
        "hparams": {"lr": jnp.asarray(0.1)},  # weakly typed, as Python numbers are
        "host": np.arange(4),
        "seen": 12,
    }


def bits(leaf):
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return array.dtype, array.shape, array.tobytes()


def assert_same(found, wanted):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert bits(one) == bits(other)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A workdir with checkpoints at steps 1 and 2."""
    workdir = tmp_path_factory.mktemp("three")
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(1, state(1), {"accuracy": 0.1})
        checkpoints.save(2, state(2), {"accuracy": 0.2})
    return workdir


@pytest.fixture
def two(three, tmp_path):
    shutil.copytree(three, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_state_comes_back_bit_for_bit(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, state(), {"accuracy": 0.5, "loss": float("nan")}, wait=True)
        step, restored, metrics = checkpoints.restore(state(1))
    assert step == 5
    assert metrics["accuracy"] == 0.5
    assert np.isnan(metrics["loss"])
    assert_same(restored, state())
    assert isinstance(restored["seen"], int)
    assert isinstance(restored["host"], np.ndarray)
    assert restored["hparams"]["lr"].weak_type


def test_a_shape_is_enough_to_restore_into(two):
    like = jax.eval_shape(lambda: {**state(), "host": jnp.arange(4), "seen": jnp.int32(12)})
    like["host"], like["seen"] = np.arange(4), 0
    assert_same(Checkpoints(two).restore(like)[1], state(2))


def test_where_nothing_was_saved_the_given_state_comes_back(tmp_path):
    like = state()
    step, restored, metrics = Checkpoints(tmp_path).restore(like)
    assert (step, metrics) == (0, {})
    assert restored is like


def test_the_last_ones_and_the_best_are_kept(tmp_path):
    with Checkpoints(tmp_path, keep=2, metric="accuracy") as checkpoints:
        for step, accuracy in enumerate((0.1, 0.9, 0.3, float("nan"), 0.9, 0.4), 1):
            checkpoints.save(step, state(step), {"accuracy": accuracy})
        assert checkpoints.steps() == [2, 5, 6]
        assert checkpoints.best() == 2
    # another process reads the metrics from the disk
    with Checkpoints(tmp_path, keep=1, metric="accuracy") as checkpoints:
        assert checkpoints.best() == 2
        assert_same(checkpoints.restore(state(), step=2)[1], state(2))
        checkpoints.save(7, state(7))
        assert checkpoints.steps() == [2, 7]


def test_the_best_may_be_the_lowest(tmp_path):
    with Checkpoints(tmp_path, keep=1, metric="loss", higher=False) as checkpoints:
        assert checkpoints.best() == -1
        for step, loss in enumerate((0.5, 0.2, 0.4), 1):
            checkpoints.save(step, state(step), {"loss": loss})
        assert checkpoints.best() == 2
        assert checkpoints.steps() == [2, 3]


def test_keep_must_be_at_least_one(tmp_path):
    with pytest.raises(ValueError, match=r"^checkpoint.keep is 0; it must be ≥ 1$"):
        Checkpoints(tmp_path, keep=0)


def test_arrays_may_be_donated_as_soon_as_save_returns(tmp_path):
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = jnp.zeros(200_000)
    with Checkpoints(tmp_path, keep=9) as checkpoints:
        for number in range(4):
            checkpoints.save(number, {"x": x})
            for _ in range(3):
                x = step(x)
        for number in range(4):
            restored = checkpoints.restore({"x": np.zeros(200_000, np.float32)}, step=number)[1]["x"]
            assert (restored == 3 * number).all()


def test_saving_holds_the_training_up_for_milliseconds_only(tmp_path):
    tree = {f"layer{i}": jnp.ones(10_000) for i in range(18)}  # LeNet-5 with two moments
    with Checkpoints(tmp_path) as checkpoints:
        times = []
        for step in range(4):
            checkpoints.wait()
            began = time.perf_counter()
            checkpoints.save(step, tree)
            times.append(time.perf_counter() - began)
    assert min(times) < 0.02


def test_a_step_saved_again_is_replaced(two):
    with Checkpoints(two) as checkpoints:
        checkpoints.save(2, state(7), {"accuracy": 0.7})
        assert checkpoints.steps() == [1, 2]
        step, restored, metrics = checkpoints.restore(state())
    assert (step, metrics) == (2, {"accuracy": 0.7})
    assert_same(restored, state(7))
    assert len(os.listdir(two / "checkpoints")) == 2


def test_truncating_removes_what_came_after(two):
    with Checkpoints(two) as checkpoints:
        checkpoints.truncate(1)
        assert checkpoints.steps() == [1]
        assert checkpoints.restore(state())[0] == 1


def test_a_workdir_may_have_brackets_in_its_name(tmp_path):
    with Checkpoints(tmp_path / "lr[0.1]") as checkpoints:
        checkpoints.save(1, state(1), wait=True)
        assert_same(checkpoints.restore(state())[1], state(1))


def test_an_open_orbax_reads_the_arrays_under_their_names(two):
    import orbax.checkpoint as ocp

    arrays = ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(two / "checkpoints" / "2" / "state")
    assert (arrays["params/stage.1/kernel"] == np.asarray(state(2)["params"]["stage.1"]["kernel"])).all()


def newest_files(workdir):
    newest = workdir / "checkpoints" / "2"
    files = sorted(path for path in newest.rglob("*") if path.is_file())
    assert len(files) > 5
    return files


def flip(path, draw):
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def put_a_directory_there(path, draw):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "flipped bit": flip,
    "truncated": lambda path, draw: os.truncate(path, draw.randrange(path.stat().st_size)),
    "deleted": lambda path, draw: path.unlink(),
    "a directory": put_a_directory_there,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_file_is_found_and_the_one_before_is_used(two, damage, capsys):
    draw, backup = random.Random(damage), two / "backup"
    shutil.copytree(two / "checkpoints", backup)
    for path in newest_files(two):
        DAMAGES[damage](path, draw)
        with Checkpoints(two) as checkpoints:
            step, restored, metrics = checkpoints.restore(state())
            assert (step, metrics, checkpoints.steps()) == (1, {"accuracy": 0.1}, [1])
        assert_same(restored, state(1))
        said = capsys.readouterr().err
        assert said.startswith("the checkpoint at step 2 is damaged: ")
        assert path.name in said
        assert said.endswith("; set aside as 2.damaged\n")
        assert said.count("\n") == 1
        assert (two / "checkpoints" / "2.damaged").is_dir()
        shutil.rmtree(two / "checkpoints")
        shutil.copytree(backup, two / "checkpoints")


def test_an_array_that_is_not_the_saved_one_is_found_by_its_own_checksum(two, capsys):
    from cnnjax.runs.manifest import manifest_of, seal

    newest = two / "checkpoints" / "2"
    manifest = manifest_of(newest)
    manifest["leaves"]["params/head"]["crc32"] ^= 1
    (newest / "manifest.json").unlink()
    seal(newest, manifest)
    assert Checkpoints(two).restore(state())[0] == 1
    assert "params/head does not match its checksum" in capsys.readouterr().err


def test_saving_goes_on_after_damage(two, capsys):
    newest_files(two)[0].unlink()
    with Checkpoints(two) as checkpoints:
        assert checkpoints.restore(state())[0] == 1
        checkpoints.save(2, state(7))
        step, restored, _ = checkpoints.restore(state())
        assert step == 2
        assert_same(restored, state(7))
        newest_files(two)[0].unlink()
        assert checkpoints.restore(state())[0] == 1
    assert sorted(path.name for path in (two / "checkpoints").iterdir()) == ["1", "2.damaged", "2.damaged-2"]
    assert capsys.readouterr().err.count("\n") == 2


def test_none_left_is_an_error_and_stays_one(two, capsys):
    for path in (two / "checkpoints").glob("*/manifest.json"):
        path.unlink()
    for _ in range(2):
        with pytest.raises(
            CheckpointError, match=r"no usable checkpoint in .*damaged are 1.damaged, 2.damaged"
        ) as caught:
            Checkpoints(two).restore(state())
        assert caught.value.exit_code == 5
        assert str(caught.value).count("\n") == 1
    assert capsys.readouterr().err.count("\n") == 2


def test_a_named_step_has_no_stand_in(two, capsys):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint at step 7 in .*; it holds 1, 2$"):
        Checkpoints(two).restore(state(), step=7)
    (two / "checkpoints" / "1" / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=r"no usable checkpoint at step 1 in .*damaged are 1.damaged, whole 2"):
        Checkpoints(two).restore(state(), step=1)
    assert Checkpoints(two).restore(state(), step=2)[0] == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_another_state_is_refused_by_the_names_of_its_leaves(two):
    like = state()
    like["params"]["head"] = jnp.zeros(9, jnp.bfloat16)
    like["flags"] = jnp.zeros(2)
    del like["seen"]
    like["ema"] = jnp.zeros(())
    with pytest.raises(CheckpointError) as caught:
        Checkpoints(two).restore(like)
    said = str(caught.value)
    assert "the checkpoint at step 2 in " in said
    assert "flags is (2) bool there, (2) float32 here" in said
    assert "params/head is (7) bfloat16 there, (9) bfloat16 here" in said
    assert "ema is missing there" in said
    assert said.splitlines()[0].endswith("; and 1 more")
    assert caught.value.exit_code == 5
    assert Checkpoints(two).steps() == [1, 2], "a checkpoint of another state is not damaged"


def test_a_numeric_option_that_came_later_takes_its_value_from_the_config(two):
    like = state()
    like["hparams"]["momentum"] = jnp.asarray(0.9)
    step, found, _ = Checkpoints(two).restore(like)
    assert step == 2
    assert float(found["hparams"].pop("momentum")) == np.float32(0.9)
    assert_same(found, Checkpoints(two).restore(state())[1])
    del like["hparams"]["lr"]  # one that is gone would change what the run does
    with pytest.raises(CheckpointError, match="hparams/lr is unknown here"):
        Checkpoints(two).restore(like)


def test_a_checkpoint_of_a_newer_release_says_so(two):
    from cnnjax.runs.manifest import manifest_of, seal

    newest = two / "checkpoints" / "2"
    manifest = manifest_of(newest)
    (newest / "manifest.json").unlink()
    seal(newest, {**manifest, "format": 9})
    with pytest.raises(CheckpointError, match=r"was written by a newer cnnjax .*update cnnjax to restore it"):
        Checkpoints(two).restore(state())
    assert Checkpoints(two).steps() == [1, 2]


def test_only_numbers_can_be_saved(tmp_path):
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(ValueError, match="name of the state is 'resnet'; a checkpoint holds arrays of numbers only"),
    ):
        checkpoints.save(1, {"name": "resnet"})


@pytest.mark.parametrize("at", ["start", "save"])
def test_what_a_killed_process_left_is_removed_before_anything_else(two, at):
    for name in ("3.writing", "1.deleting"):
        (two / "checkpoints" / name / "state").mkdir(parents=True)
    (two / "checkpoints" / "0.deleting").write_text("a file that was no checkpoint")
    with Checkpoints(two) as checkpoints:
        assert checkpoints.restore(state())[0] == 2
        if at == "start":
            checkpoints.sweep()
            assert sorted(os.listdir(two / "checkpoints")) == ["1", "2"]
            checkpoints.truncate(0)  # to where one lay that was half removed
            assert os.listdir(two / "checkpoints") == []
        else:
            checkpoints.save(3, state(3), wait=True)
            assert sorted(os.listdir(two / "checkpoints")) == ["2", "3"]


def test_a_file_in_the_place_of_a_checkpoint_is_set_aside(two, capsys):
    shutil.rmtree(two / "checkpoints" / "2")
    (two / "checkpoints" / "2").write_text("no directory")
    assert Checkpoints(two).restore(state())[0] == 1
    assert "the checkpoint at step 2 is damaged: manifest.json is missing; set aside as 2.damaged" in (
        capsys.readouterr().err
    )


def test_the_best_is_looked_for_among_others_with_a_word_where_one_is_damaged(two, capsys):
    (two / "checkpoints" / "2" / "manifest.json").write_text("{}")
    with Checkpoints(two, metric="accuracy") as checkpoints:
        assert checkpoints.best() == 1
    said = (
        "the checkpoint at step 2 is damaged: manifest.json does not match its checksum; the best is one of the others"
    )
    assert capsys.readouterr().err == f"{said}\n"


def test_a_renamed_checkpoint_is_not_taken_at_its_word(two):
    held = two / "checkpoints"
    (held / "2").rename(held / "9")
    for step in (-1, 9):
        with pytest.raises(CheckpointError, match=r"checkpoints/9 holds the state of step 2: .*\nrename it to 2, or"):
            Checkpoints(two).restore(state(), step)
    assert Checkpoints(two).restore(state(), 1)[0] == 1
    (held / "9").rename(held / "2")
    assert Checkpoints(two).restore(state())[0] == 2, "nothing is lost"


def test_a_checkpoint_says_what_run_it_is_of(two):
    with Checkpoints(two, record={"config": {"seed": 3}}) as checkpoints:
        checkpoints.save(3, state(3), wait=True)
        assert checkpoints.record(3) == {"config": {"seed": 3}}
    assert Checkpoints(two).record(2) == Checkpoints(two).record(9) == {}


def test_all_of_a_checkpoint_is_on_the_disk_before_an_older_one_goes(tmp_path, monkeypatch):
    done, fsync, rename = [], os.fsync, Path.rename

    def synced(file):
        fsync(file)
        done.append(Path(os.readlink(f"/proc/self/fd/{file}")))

    def renamed(path, target):
        done.append((path.name, Path(target).name))
        return rename(path, target)

    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(1, state(1), wait=True)
        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(Path, "rename", renamed)
        checkpoints.save(2, state(2), wait=True)
    root = tmp_path / "checkpoints"
    there, gone = done.index(("2.writing", "2")), done.index(("1", "1.deleting"))
    wanted = {root / "2.writing" / path.relative_to(root / "2") for path in [root / "2", *(root / "2").rglob("*")]}
    assert len(wanted) > 8
    assert wanted <= set(done[:there]), "every file and directory, before it bears its name"
    assert root in done[there:gone], "and its name, before the older one goes"
