"""A net of sounds from the command line's point of view: trained, asked, drawn, by speakers."""

import csv
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from matplotlib.image import imread
from scipy.io import wavfile

import cnnjax
from cnnjax.augment import compose
from cnnjax.config import ConfigError, augmentation, change, experiment, section
from cnnjax.data import DataError, Facts
from cnnjax.programs import predict
from cnnjax.programs._picture_files import files_of, sounds_of
from cnnjax.train.job import prepare
from cnnjax.train.step import _counting

QUIET = {"quiet": True, "tensorboard": False, "page": False, "curves": False}
MEL = {"bands": 8, "window": 0.032, "hop": 0.016}


def config(path, **data):
    return experiment(
        data=section("data", "sounds", root=str(path), seconds=0.1, **data),
        model=section("models", "tdnn", layers=((8, 3, 1),), norm="none"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("series_shift", "log_mel"), eval=("log_mel",), log_mel=MEL),
        optimizer=section("optimizers", "adamw", lr=0.02),
        schedule=section("schedules", "constant"),
        train={"steps": 30, "batch": 20, "devices": 1},
        eval={"steps": 30},
        report=QUIET,
    )


def sung(hertz, rate, count):
    return np.int16(8000 * np.sin(2 * np.pi * hertz * np.arange(count) / rate))


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Low and high tones by five singers, five times each, at 4 kHz."""
    folder = tmp_path_factory.mktemp("songs")
    for kind, hertz in (("low", 250), ("high", 1300)):
        for number, singer in enumerate("abcde"):
            for take in range(5):
                tone = sung(hertz + 30 * number + 5 * take, 4000, 250 + 20 * take)
                wavfile.write(folder / f"{kind}_{singer}_{take}.wav", 4000, tone)
    return folder


@pytest.fixture(scope="module")
def run(songs, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run") / "a"
    assert cnnjax.run(config(songs), workdir).metrics["test"]["accuracy"] == 1.0
    return workdir


def test_recordings_of_any_rate_are_answered_and_drawn_and_those_that_are_none_told(run, tmp_path, capsys):
    folder = tmp_path / "more"
    folder.mkdir()
    wavfile.write(folder / "one.wav", 16000, sung(1350, 16000, 1200))
    stereo = np.repeat(sung(270, 4000, 600)[:, None], 2, 1)
    wavfile.write(folder / "two.wav", 4000, stereo)
    (folder / "song.wav").write_bytes(b"ID3\x04\0")
    wavfile.write(folder / "still.wav", 4000, np.zeros(300, np.int16))
    out, file = tmp_path / "drawn", tmp_path / "p.csv"
    with pytest.raises(predict.UnreadableError) as story:
        predict.main([f"--workdir={run}", str(folder), f"--out={out}", f"--output={file}", "--top=1"])
    lines = capsys.readouterr().out.splitlines()
    assert "the middle 0.1 s of sound, 4000 samples a second, then log_mel" in lines[0]
    assert [line.split()[1] for line in lines[1:]] == ["high", "low"]
    assert story.value.exit_code == 3
    assert str(story.value).startswith("2 of 4 recordings could not be read; the others are above\n")
    assert "song.wav: an MP3 file, no WAV; convert it" in str(story.value)
    assert "still.wav: silence: every sample is the same" in str(story.value)
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert {row["name"] for row in rows if row["name"]} == {"low", "high"}
    assert sorted(path.name for path in out.iterdir()) == ["one.png", "two.png"]
    shown = imread(out / "two.png")[..., :3]
    warm = (shown[..., 0] > shown[..., 2] + 0.3).any(1)  # loud places of the spectrogram: a low tone lies at its foot
    assert np.flatnonzero(warm).min() > 0.5 * len(shown)


def test_a_text_is_refused_by_a_net_that_reads_sound(run):
    with pytest.raises(ConfigError, match="--text is a text, but the network reads sound; name files of it instead"):
        predict.main([f"--workdir={run}", "--text=hello"])


def test_folders_are_searched_for_recordings_where_they_have_no_pictures(songs, tmp_path):
    assert len(files_of([str(songs)])) == len(sounds_of([str(songs)])) == 50
    with pytest.raises(ConfigError, match=r"a folder without \.jpg, .*\.wav files"):
        files_of([str(tmp_path)])
    with pytest.raises(ConfigError, match=r"no recordings in .*; give \.wav files"):
        sounds_of([str(tmp_path)])


def test_folds_are_of_speakers_who_are_all_measured_once_and_together(songs):
    prepared = prepare(config(songs, together=True, folds=5))
    group = prepared.source.train.arrays["group"]
    fields = {"index": np.arange(50), "group": group, "valid": np.ones(50, np.float32)}
    counted, task = np.zeros(50), SimpleNamespace(unlabelled=False)
    for fold in range(5):
        inside = np.asarray(
            _counting(prepared.program, task, {"data.fold": np.float32(fold)}, fields, trains=False)["valid"]
        )
        assert set(group[inside > 0]) == {fold}
        counted += inside
    assert (counted == 1).all()
    with pytest.raises(DataError, match=r"give 2 folds or more, as many as there are groups at most \(5\)"):
        prepare(config(songs, together=True, folds=6, fold=5.0))


def test_a_sound_of_which_nobody_says_how_fast_it_is_has_no_bands(songs):
    batch = {"series": jax.ShapeDtypeStruct((1, 64, 1), "float32"), "index": jax.ShapeDtypeStruct((1,), "int32")}
    apply = compose(Facts("series", (64, 1), 2), ("log_mel",), {})
    with pytest.raises(ValueError, match=r"augment\.log_mel: nobody said how many samples .* set its rate"):
        jax.eval_shape(apply, jax.random.key(0), batch)
    with pytest.raises(ValueError, match=r"augment\.log_mel\.bands is 300, of which number \d+ lies between"):
        prepare(change(config(songs), {"augment.log_mel.bands": 300}))
