"""A path is one of this machine: what is an address (`gs://…`) is refused in a line wherever a path is taken."""

import importlib

import pytest
from absl import flags

import cnnjax
from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.data import arrays, cifar10, folder
from cnnjax.programs import process
from cnnjax.programs.command import programs
from cnnjax.refusals import on_disk
from cnnjax.sweep.folder import read_folder
from cnnjax.sweep.table import table_of

MOUNT = "that is an address, no path of this machine: mount it (gcsfuse, s3fs, NFS, …), and give the folder where"


@pytest.mark.parametrize("name", programs())
def test_every_text_flag_of_a_program_refuses_an_address_unless_it_says_that_it_is_one(name):
    values = importlib.import_module(f"cnnjax.programs.{name}").FLAGS
    texts = [each for each in values if type(values[each].parser) in (flags.ArgumentParser, flags.ListParser)]
    addresses = {"address", "storage"} & set(texts)
    try:
        for each in set(texts) - addresses:
            with pytest.raises(ConfigError) as refused:
                process.read(values, [f"--{each}=gs://bucket/x"])
            assert str(refused.value).startswith(f"--{each} is 'gs://bucket/x'; {MOUNT}")
            values[each].unparse()
        for each in addresses:
            process.read(values, [f"--{each}=ray://host:10001"])
    finally:
        values.unparse_flags()
        for each in texts:
            values[each].unparse()


@pytest.mark.parametrize(
    ("taken", "path"),
    [
        (lambda place: cnnjax.run(sections.load("digits:mlp"), place), "workdir"),
        (cnnjax.load, "workdir"),
        (read_folder, "workdir"),
        (table_of, "workdir"),
        (sections.load, "--config"),
        (cnnjax.weights.read, "weights"),
        (lambda place: folder(root=place), "data.root"),
        (lambda place: cifar10(root=place), "data.root"),
        (lambda place: arrays(path=place), "data.path"),
        (lambda place: sections.load("digits:mlp", (f"--config.train.init={place}",)), "train.init"),
    ],
)
def test_what_takes_a_path_from_python_or_a_config_refuses_an_address_by_name(taken, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as refused:
        taken("gs://bucket/x")
    assert str(refused.value).startswith(f"{path} is 'gs://bucket/x'; {MOUNT}")
    assert not list(tmp_path.iterdir())  # no folder `gs:`


def test_the_line_says_what_to_do_about_it(monkeypatch):
    with pytest.raises(ConfigError, match="download it, and give the file"):
        on_disk("https://example.org/a.pth", "--weights")
    with pytest.raises(ConfigError, match="write the path alone, without file://"):
        on_disk("file:///data", "data.root")
    monkeypatch.setenv("CNNJAX_DATA", "s3://bucket")
    with pytest.raises(ConfigError, match="CNNJAX_DATA is 's3://bucket'; that is an address"):
        cifar10()
    for path in ("runs/a", "/data/c:/x", "~/runs", "C:/runs", "runs:a", "a b: c"):
        assert str(on_disk(path, "workdir")) == path
