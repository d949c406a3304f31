"""A finished run without the data that it was trained on: it predicts, exports, is described, and nothing else."""

import importlib.metadata
import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax import models, weights
from cnnjax.config import ConfigError, augmentation, change, experiment, section
from cnnjax.data import Facts
from cnnjax.data.source import DataError
from cnnjax.programs import evaluate, export, predict, process
from cnnjax.runs import provenance
from cnnjax.runs.json_files import read_json
from cnnjax.runs.provenance import facts_from_json, facts_to_json, record_facts, recorded_facts
from cnnjax.runs.workdir import write_json
from cnnjax.train.initial_weights import with_initial_weights
from cnnjax.train.job import prepare

QUIET = {"tensorboard": False, "page": False, "curves": False, "quiet": True}


def config(data, **train):
    """A net of one layer, for a step."""
    return experiment(
        data=data,
        model=section("models", "mlp", hidden=(8,)),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", ema=0.9),
        schedule=section("schedules", "constant"),
        train={"steps": 1, "batch": 8, "devices": 1, **train},
        eval={"test": False},
        report=QUIET,
    )


def pictures(root):
    """A data set in folders, 12 grey pictures of 6×5 of two kinds."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for kind in ("cat", "dog"):
            (root / split / kind).mkdir(parents=True)
            for i in range(6):
                Image.fromarray(rng.integers(0, 256, (6, 5), np.uint8)).save(root / split / kind / f"{i}.png")
    return section("data", "folder", root=str(root), size=6, width=5, channels=1)


def arrays(root):
    """The same as an .npz file."""
    rng = np.random.default_rng(0)
    root.mkdir()
    np.savez(root / "a.npz", image=rng.integers(0, 256, (24, 6, 5, 1), np.uint8), label=np.arange(24) % 2)
    return section("data", "arrays", path=str(root / "a.npz"))


@pytest.fixture(scope="module", params=[pictures, arrays], ids=["folder", "npz"])
def orphan(request, tmp_path_factory):
    """The workdir of a run whose data are gone, pictures for it, and what it said of them before."""
    folder = tmp_path_factory.mktemp("orphan")
    run = cnnjax.run(config(request.param(folder / "data")), folder / "run")
    images = np.random.default_rng(1).integers(0, 256, (3, 6, 5, 1), np.uint8)
    shutil.rmtree(folder / "data")
    return run.workdir, images, run.predict(images)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run whose data, an .npz file, are there."""
    folder = tmp_path_factory.mktemp("kept")
    return cnnjax.run(config(arrays(folder / "data")), folder / "run")


def test_it_answers_as_before(orphan):
    workdir, images, before = orphan
    run = cnnjax.load(workdir)
    for name, value in run.predict(images).items():
        np.testing.assert_array_equal(value, before[name])
    assert run.facts.shape == (6, 5, 1)
    assert run.facts.counts["train"] > 8
    assert len(weights.as_stablehlo(lambda x: run.answer(run.variables, x), (6, 5, 1), "uint8")) > 500


def test_it_predicts_of_files_and_is_exported(orphan, tmp_path, capsys):
    workdir, images, before = orphan
    Image.fromarray(images[0, ..., 0]).save(tmp_path / "a.png")
    predict.main([f"--workdir={workdir}", "--top=1", str(tmp_path / "a.png")])
    assert f"{before['probabilities'][0].max():.1%}" in capsys.readouterr().out
    export.main([f"--workdir={workdir}", "--to=safetensors", f"--output={tmp_path}/a.safetensors"])
    assert "every number is the same" in capsys.readouterr().out


def test_what_is_measured_needs_the_data_and_says_so_in_a_line(orphan):
    workdir, *_ = orphan
    with pytest.raises(DataError) as error:
        evaluate.main([f"--workdir={workdir}"])
    assert process.exit_code(error.value) == 3
    words = str(error.value)
    assert words.startswith("this needs the data of the training: data.")
    assert str(workdir.parent / "data") in words
    assert "\n" not in words


def test_a_run_of_an_older_release_is_loaded_where_its_data_are(kept, orphan, tmp_path):
    for name, origin in (("kept", kept.workdir), ("orphan", orphan[0])):
        shutil.copytree(origin, tmp_path / name)
        (tmp_path / name / "facts.json").unlink()
    assert cnnjax.load(tmp_path / "kept").facts == kept.facts
    with pytest.raises(DataError, match=r"data.*\n.*orphan has no facts.json \(an older release\): it needs its data"):
        cnnjax.load(tmp_path / "orphan")


def test_a_run_of_many_devices_is_loaded_where_there_are_fewer(kept, tmp_path):
    workdir = shutil.copytree(kept.workdir, tmp_path / "run")
    story = read_json(workdir / "config.json")
    story["config"]["train"] |= {"devices": 64, "batch": 9}
    write_json(workdir / "config.json", story)
    assert cnnjax.load(workdir).prepared.plan.devices == 8
    assert cnnjax.evaluate(workdir)["step"] == 1


def test_other_data_in_the_place_of_those_of_the_training_are_refused(kept, tmp_path):
    workdir = shutil.copytree(kept.workdir, tmp_path / "run")
    np.savez(tmp_path / "other.npz", image=np.zeros((24, 9, 9, 1), np.uint8), label=np.arange(24) % 2)
    story = read_json(workdir / "config.json")
    story["config"]["data"]["path"] = str(tmp_path / "other.npz")
    write_json(workdir / "config.json", story)
    with pytest.raises(DataError, match=r"not those of the training: shape is \(9, 9, 1\), was \(6, 5, 1\)"):
        cnnjax.evaluate(workdir)


def test_what_a_loaded_net_does_not_need_stays_on_the_disk(orphan):
    workdir, *_ = orphan
    run = cnnjax.load(workdir)
    assert (run.state.opt_state, run.state.sums) == ({}, {})
    assert "ema" in vars(run.state)
    assert int(run.state.step) == 1


FACTS = Facts(
    "video",
    counts={"train": 3, "test": 1},
    mean=(0.1, 1 / 3),
    std=(np.float32(0.2), 0.3),
    names=("a", "ü"),
    extra={"mirror": (1, 0), "skeleton": ((0, 1),), "rate": 25, "point_names": ("x", "y")},
    fields={"video": ((4, 8, 8, 2), np.dtype("uint8")), "points": ((2, 2), np.dtype("float32"))},
    black=(0.0, 0.0),
    white=(1.0, 1.0),
)


def test_facts_come_back_from_a_workdir_as_they_were(tmp_path):
    assert facts_from_json(json.loads(json.dumps(facts_to_json(FACTS)))) == FACTS
    assert recorded_facts(tmp_path) is None
    record_facts(tmp_path, FACTS, selects=True)
    assert recorded_facts(tmp_path) == (FACTS, True)
    more = Facts(**{**vars(FACTS), "counts": {"train": 4, "test": 1}})
    (tmp_path / "facts.json").write_text("{")
    record_facts(tmp_path, more, selects=True)
    assert recorded_facts(tmp_path) == (more, True)


def test_a_package_that_is_not_installed_costs_its_row_alone(monkeypatch):
    monkeypatch.setattr(provenance, "_PACKAGES", ("jax", "no-such-package"))
    assert provenance._versions() == {"jax": importlib.metadata.version("jax")}


def test_a_network_is_described_in_three_lines(orphan, kept):
    first, second, third = repr(cnnjax.load(orphan[0])).splitlines()
    count = 30 * 8 + 8 + 8 * 2 + 2
    assert first == f"mlp for classification: {count} parameters, reads image (6, 5, 1), 2 classes"
    assert second == f"{orphan[0]} at step 1 of 1"
    assert third.startswith("eval loss ")
    assert len(str(kept).splitlines()) == 3


def test_features_are_the_maps_of_pictures_as_they_are(kept):
    images = kept.source.test.arrays["image"]
    seen = (images / 255 - np.float32(kept.facts.mean)) / np.float32(kept.facts.std)
    wanted = kept.net.apply(kept.variables, seen.astype(np.float32), method="features")
    found = kept.features(images, batch=3)
    assert list(found) == list(wanted)
    for name, value in found.items():
        assert len(value) == len(images)
        np.testing.assert_allclose(value, wanted[name], rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def exported(kept, tmp_path_factory):
    """The file that an export writes of the weights."""
    path = tmp_path_factory.mktemp("exported") / "a.safetensors"
    export.main([f"--workdir={kept.workdir}", "--to=safetensors", f"--output={path}"])
    return path


def test_a_file_of_weights_is_the_network_that_it_was_written_of(kept, exported, tmp_path):
    images, wanted = kept.source.test.arrays["image"], kept.predict(kept.source.test.arrays["image"])
    run = cnnjax.load(exported)
    for dialect in ("native", "torchvision"):
        for name, value in run.predict(images).items():
            np.testing.assert_array_equal(value, wanted[name])
        assert run.facts == kept.facts
        assert int(run.state.step) == 1
        assert run.config == kept.config
        if dialect == "native":
            run.save(tmp_path / "b.safetensors")
            run = cnnjax.load(tmp_path / "b.safetensors")
    told = json.loads(weights.notes(exported)["cnnjax"])
    assert told["config"]["model"]["hidden"] == [8]
    assert told["commit"] == json.loads((kept.workdir / "config.json").read_text())["commit"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], ""),
        (["--model=mlp", "--config.model.hidden=8"], ""),
        (["--outputs=2", "--mean=0.5"], r"--mean is 0.5, but .* says 0\.4"),
        (["--size=224"], r"--size is 224, but .*a.safetensors says 6×5\nleave it out"),
        (["--outputs=1000"], "--outputs is 1000, but .* says 2"),
        (["--model=mlp"], r"holds another net than --model says: model.hidden: \[512, 256\] → \[8\]\nleave it out"),
        (["--model=mlp", "--config.model.hiden=8"], "model.hiden is not an option of mlp"),
        (["--model=mlp", "--config.data.root=x"], "--config.data.root=x is no option of the net"),
        (["--config.model.hidden=8"], "changes a net that --model names"),
    ],
)
def test_what_is_said_beside_a_file_must_agree_with_it(kept, exported, tmp_path, capsys, flags, words):
    image = kept.source.test.arrays["image"][0]
    Image.fromarray(image[..., 0]).save(tmp_path / "a.png")
    argv = [f"--weights={exported}", *flags, "--top=1", str(tmp_path / "a.png")]
    if words:
        with pytest.raises(ConfigError, match=words):
            predict.main(argv)
        return
    predict.main(argv)
    assert f"{kept.predict(image[None])['probabilities'].max():.1%}" in capsys.readouterr().out


def test_a_file_of_elsewhere_needs_a_net_and_its_options_and_keeps_them(kept, exported, tmp_path):
    np.savez(tmp_path / "a.npz", **weights.tensors(kept.net, kept.variables))
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / "a.png")
    given = [f"--weights={tmp_path}/a.npz", "--outputs=2", "--size=5", "--resize=6", "--mean=0.5", "--std=0.5"]
    with pytest.raises(ConfigError, match=r"a.npz does not say how its net is made .* give --model=NAME"):
        export.main([*given, "--to=safetensors", f"--output={tmp_path}/b.safetensors"])
    net = models.mlp(outputs=2, hidden=(7,))
    variables = net.init(jax.random.key(0), np.zeros((1, 5, 5, 1), "f4"), train=False)
    np.savez(tmp_path / "a.npz", **weights.tensors(net, variables))
    given += ["--model=mlp", "--to=safetensors", f"--output={tmp_path}/b.safetensors"]
    export.main([*given, "--config.model.hidden=7"])
    again = [f"--weights={tmp_path}/b.safetensors", *given[1:-1], f"--output={tmp_path}/c.safetensors"]
    with pytest.raises(ConfigError, match=r"model.hidden: \[512, 256\] → \[7\]\n--config.model.… says which"):
        export.main(again)
    with pytest.raises(ConfigError, match=r"b.safetensors does not say how its net is made and what it reads"):
        cnnjax.load(tmp_path / "b.safetensors")


def test_a_file_runs_nothing_that_is_not_trusted(exported, tmp_path):
    told = json.loads(weights.notes(exported)["cnnjax"])
    told["config"]["model"] = {"name": "os:system", "command": f"touch {tmp_path}/pwned"}
    weights.write(tmp_path / "evil.safetensors", weights.read(exported), metadata={"cnnjax": json.dumps(told)})
    with pytest.raises(ConfigError, match=r"names os:system, which is not the package's own and would be run\n"):
        cnnjax.load(tmp_path / "evil.safetensors")
    assert not (tmp_path / "pwned").exists()
    for note in ("{", "[]", '{"config": {"model": 1}, "facts": 2}'):
        weights.write(tmp_path / "odd.safetensors", weights.read(exported), metadata={"cnnjax": note})
        with pytest.raises(ConfigError, match=r"odd\.safetensors|missing from the config"):
            cnnjax.load(tmp_path / "odd.safetensors")


def test_a_training_that_begins_from_another_net_says_so(kept, exported):
    for origin in (exported, kept.workdir):
        made, said = config(kept.config["data"], init=str(origin)), []
        made = change(made, {"model.activation": "tanh"})
        prepared = prepare(made)
        with_initial_weights(prepared, prepared.layout.replicate(prepared.start()), said.append)
        assert any(" is another: model.activation: tanh → relu" in line for line in said), said
