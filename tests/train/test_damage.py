"""Damage to every file of a workdir, in every way: the run ends in the same bits, or what is wrong is said in words."""

import json
import os
import random
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnjax
from cnnjax.archives import arrays_in
from cnnjax.config import augmentation, change, experiment, section
from cnnjax.runs.checkpoints import Checkpoints
from cnnjax.runs.json_files import read_json
from cnnjax.train.loop import Preempted
from tests.train.killed import painted
from tests.train.test_resume import StopAt
from tests.trainings import equal, lines, prepared_once

STEPS, SAMPLE = 12, 20
FOREIGN = b'{"status": "complete", "step": 7, "config": {"model": 3}, "pid": "x", "record": []}\n'


def config(root: Path, *, curves: bool = False):
    return experiment(
        data=section("data", "folder", root=str(root), budget=5, resident="no", workers=0),
        model=section("models", "mlp", hidden=(8,), norm="batch", dropout=0.2),
        task=section("tasks", "classification"),
        augment=augmentation(train=("shift", "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=0.01, ema=0.9),
        schedule=section("schedules", "cosine", warmup_steps=2),
        train={"steps": STEPS, "batch": 12, "devices": 1},
        eval={"steps": 3},
        checkpoint={"steps": 4},
        report={"page": False, "steps": 2, "quiet": True, "tensorboard": False, "curves": curves},
    )


def flipped(path, draw):
    content = bytearray(path.read_bytes() or b"\0")
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def replaced_by_a_directory(path, draw):
    path.unlink()
    path.mkdir()


DAMAGES = {
    "a bit": flipped,
    "another bit": flipped,
    "cut short": lambda path, draw: os.truncate(path, draw.randrange(path.stat().st_size)),
    "emptied": lambda path, draw: os.truncate(path, 0),
    "deleted": lambda path, draw: path.unlink(),
    "a directory": replaced_by_a_directory,
    "foreign JSON": lambda path, draw: path.write_bytes(FOREIGN),
    "0xff": lambda path, draw: path.write_bytes(b"\xff" * draw.randrange(1, 200)),
}
KINDS = ("stopped", "complete")


class Kept:
    """A run that was stopped in its middle, and the same one when it is complete and its pictures are drawn."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch):
        patch.setattr("cnnjax.train.loop.prepare", prepared_once)
        data = painted(root / "data")
        self.configs = {kind: config(data, curves=kind == "complete") for kind in KINDS}
        cnnjax.run(self.configs["stopped"], root / "plain")
        self.straight = cnnjax.run(self.configs["complete"], root / "complete")
        with pytest.MonkeyPatch.context() as stopping:
            StopAt(6, stopping)
            with pytest.raises(Preempted):
                cnnjax.run(self.configs["stopped"], root / "stopped")
        dead = {"host": "elsewhere", "pid": 1, "since": 0.0, "began": "", "space": ""}
        (root / "stopped" / "lock.json").write_text(json.dumps(dead))
        self.root, self.before = root, {"stopped": meaning(root / "plain"), "complete": meaning(root / "complete")}
        self.pictures = np.zeros((2, 6, 6, 3), np.uint8)
        self.answer = cnnjax.load(root / "complete").predict(self.pictures)

    def files(self, kind: str, damage: str) -> list[Path]:
        """What can be damaged; of the complete run all but the arrays, which are restored as those of the other are."""
        folder = self.root / kind
        found = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        wanted = [file for file in found if kind == "stopped" or "state" not in file.parts]
        return [file for file in wanted if (folder / file).stat().st_size or damage not in ("cut short", "emptied")]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield Kept(tmp_path_factory.mktemp("damage"), patch)


def meaning(workdir: Path) -> dict:
    """What the files of a workdir say, but for what a clock says."""
    said = {name: read_json(workdir / name) for name in ("config.json", "facts.json", "status.json")}
    said["status.json"].pop("at")
    said |= {path.name: arrays_in(path) for path in workdir.glob("tables-*.npz") if path.is_file()}
    said |= {path.name: np.asarray(Image.open(path)).shape for path in workdir.glob("*.png")}
    said["bad_records.jsonl"] = (workdir / "bad_records.jsonl").read_text()
    said["checkpoints"] = sorted(path.name for path in (workdir / "checkpoints").iterdir())
    return said | {"metrics.jsonl": lines(workdir), "lock.json": (workdir / "lock.json").exists()}


def refusal(act):
    """(words, what came out) of an act, whose errors are a user's: three lines at most, an exit code of their own."""
    try:
        return "", act()
    except ValueError as error:
        if getattr(error, "exit_code", 1) not in (2, 3, 5) or len(str(error).splitlines()) > 3:
            raise
        return str(error), None


def outcome(kept: Kept, kind: str, file: Path, workdir: Path, capsys) -> str:
    """`refused`, `said` or `mended` (all files end as those of the run that nobody disturbed); anything else fails."""
    capsys.readouterr()
    loaded = ""
    if kind == "complete":  # what it answers is what it answered, or it says why not
        loaded, answer = refusal(lambda: cnnjax.load(workdir).predict(kept.pictures))
        loaded += "".join(capsys.readouterr())
        assert loaded or equal(answer, kept.answer), "another answer, and nobody says so"
    words, trained = refusal(lambda: cnnjax.run(kept.configs[kind], workdir))
    said = "".join((loaded, words, *capsys.readouterr()))
    named = file.name in said or f"checkpoint at step {file.parts[1:2] and file.parts[1]} is damaged" in said
    if words:
        assert named, said
        return "refused"
    assert equal(trained.state, kept.straight.state), "other bits"
    if named:
        return "said"
    now, before = meaning(workdir), kept.before[kind]
    other = [name for name in {**now, **before} if not same_meaning(now.get(name), before.get(name))]
    assert not other, f"{', '.join(other)}: another, and nobody says so"
    restore = Checkpoints(workdir).restore
    read = [refusal(partial(restore, trained.state, step)) for step in Checkpoints(workdir).steps()]
    return "said" if any(words for words, _ in read) else "mended"


def same_meaning(now, before) -> bool:
    arrays = isinstance(now, dict) and isinstance(before, dict) and all(hasattr(x, "shape") for x in now.values())
    return equal(now, before) if arrays else now == before


def tried(kept, kind, file, damage, workdir, capsys) -> str:
    """What comes of a damage; a workdir that was refused goes on to the same bits once its file is back."""
    shutil.copytree(kept.root / kind, workdir)
    DAMAGES[damage](workdir / file, random.Random(f"{kind} {file.name} {damage}"))
    try:
        found = outcome(kept, kind, file, workdir, capsys)
        if found == "refused":
            if (workdir / file).is_dir():
                (workdir / file).rmdir()
            shutil.copy(kept.root / kind / file, workdir / file)
            assert equal(cnnjax.run(kept.configs[kind], workdir).state, kept.straight.state)
    except Exception as error:
        raise AssertionError(f"{kind}: {file}: {damage}: {type(error).__name__}: {error}") from error
    shutil.rmtree(workdir)
    return found


@pytest.mark.proofs
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_to_any_file_of_a_workdir_is_silent(kind, damage, kept, tmp_path, capsys):
    found = [tried(kept, kind, file, damage, tmp_path / "run", capsys) for file in kept.files(kind, damage)]
    assert len(found) >= (12 if kind == "complete" else 25)
    with capsys.disabled():
        print(f"\n{kind}, {damage}: " + ", ".join(f"{found.count(end)} {end}" for end in sorted(set(found))))


def test_loggers_that_fail_change_no_bit_of_the_result(kept, tmp_path, capsys):
    made = change(kept.configs["complete"], {"report.tensorboard": True})
    (tmp_path / "tensorboard").write_text("a file in the way")
    for name in ("curves.png", "tables-eval.npz", "bad_records.jsonl"):
        (tmp_path / name).mkdir()
    trained = cnnjax.run(made, tmp_path)
    assert equal(trained.state, kept.straight.state)
    assert lines(tmp_path) == kept.before["complete"]["metrics.jsonl"]
    said = capsys.readouterr().err
    assert [said.count(name) for name in ("tensorboard", "curves.png", "tables-eval.npz", "bad_records.jsonl")] == [
        1
    ] * 4


def test_a_sample_of_damages_to_the_files_of_a_workdir_is_not_silent(kept, tmp_path, capsys):
    every = [(kind, file, damage) for kind in KINDS for damage in DAMAGES for file in kept.files(kind, damage)]
    for kind, file, damage in random.Random(0).sample(every, SAMPLE):
        assert tried(kept, kind, file, damage, tmp_path / "run", capsys) in ("refused", "said", "mended")
