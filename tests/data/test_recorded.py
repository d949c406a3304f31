"""Recordings as their files are written: widths, channels, rates, names of speakers, and what can't be read."""

import io
import struct
import wave

import numpy as np
import pytest
import scipy.signal
from scipy.io import wavfile

from cnnjax.data import DataError, check, recordings, sounds
from cnnjax.data import _pictures as pictures
from cnnjax.data._wav import resampled, samples_of
from cnnjax.data.source import record


def tone(count=400, rate=8000, hertz=440.0, loud=0.5):
    return loud * np.sin(2 * np.pi * hertz * np.arange(count) / rate)


def stored(path, samples, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, np.int16(np.round(np.asarray(samples) * 32767)))
    return path


def written(samples, bits, rate=8000):
    """The bytes of a file by the standard library, of whole samples (T, channels) of so many bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((samples.shape[1], bits // 8, rate, 0, "NONE", ""))
        wide = samples + 128 if bits == 8 else samples
        bytes_of = wide.astype("<i8").reshape(-1, 1).view(np.uint8)[:, : bits // 8]
        out.writeframes(bytes_of.tobytes())
    return file.getvalue()


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_samples_of_every_width_are_shares_of_the_loudest_and_channels_are_averaged(bits):
    most = 2 ** (bits - 1)
    whole = np.array([[0, 0], [most - 1, most - 1], [-most, -most], [most // 2, 0], [1, -1]])
    found, rate = samples_of(written(whole, bits, 11025))
    assert (found.dtype, rate) == (np.float32, 11025)
    np.testing.assert_allclose(found, [0, 1 - 1 / most, -1, 0.25, 0], atol=1e-7)
    alone, _ = samples_of(written(whole[:, :1], bits))
    np.testing.assert_allclose(alone, whole[:, 0] / most, rtol=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32, np.uint8])
def test_files_of_another_writer_are_read_floats_too(kind, tmp_path):
    samples = tone(50).astype(np.float32)
    whole = {np.int32: samples * 2.0**31, np.uint8: np.round(samples * 128 + 128)}
    shown = whole.get(kind, samples)
    wavfile.write(tmp_path / "a.wav", 16000, shown.astype(kind))
    found, rate = samples_of((tmp_path / "a.wav").read_bytes())
    assert rate == 16000
    np.testing.assert_allclose(found, samples, atol=0.005 if kind is np.uint8 else 1e-6)


RATES = [(44100, 8000), (8000, 16000), (16000, 11025), (48000, 16000), (100, 8000)]


@pytest.mark.parametrize(("rate", "wanted"), RATES)
def test_another_rate_gives_the_numbers_of_scipys_polyphase_filter(rate, wanted):
    samples = np.random.default_rng(0).normal(size=701).astype(np.float32)
    found, divisor = resampled(samples, rate, wanted), np.gcd(rate, wanted)
    expected = scipy.signal.resample_poly(samples.astype(float), wanted // divisor, rate // divisor)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_what_the_lower_rate_can_not_hold_is_filtered_out_and_the_rest_stays():
    kept, lost = (resampled(tone(16000, 16000, hertz), 16000, 8000)[400:-400] for hertz in (1000, 6500))
    assert abs(np.abs(kept).max() - 0.5) < 0.005
    assert np.abs(lost).max() < 0.005


@pytest.fixture
def digits(tmp_path):
    """Two digits by five speakers, three times each, named as the free spoken digits are."""
    for label in (0, 10):
        for number, speaker in enumerate(("ann", "bob", "cleo", "dan", "eve")):
            for take in range(3):
                stored(tmp_path / f"{label}_{speaker}_{take}.wav", tone(300 + take, hertz=300 + 50 * number + label))
    return tmp_path


def test_names_say_class_speaker_and_number_and_every_fifth_speaker_is_for_testing(digits):
    source = sounds(root=str(digits), seconds=0.05)
    check(source, 24)
    assert source.facts.names == ("0", "10")
    assert source.facts.shape == (400, 1)
    assert source.facts.extra == {"rate": 8000}
    assert source.facts.counts == {"train": 24, "eval": 6, "test": 6}
    assert set(source.test.arrays["group"]) == {0}
    assert record(source.test, 1) == "0_ann_1.wav", "read whole, they keep their names"
    np.testing.assert_array_equal(source.train.origin.classes(), source.train.arrays["label"])
    assert len(set(source.train.origin.listing())) > 12
    held = sounds(root=str(digits), seconds=0.05, holdout=7)
    assert set(held.eval.arrays["group"]).isdisjoint(held.train.arrays["group"])
    by_take = sounds(root=str(digits), test_below=1, seconds=0.05)
    assert by_take.facts.counts == {"train": 20, "eval": 10, "test": 10}
    two = sounds(root=str(digits), test_groups=("eve", "bob"), seconds=0.05)
    assert set(two.test.arrays["group"]) == {1, 4}
    whole = sounds(root=str(digits), together=True, seconds=0.05)
    assert whole.train is whole.test
    assert len(whole.train) == 30


def test_a_shorter_recording_lies_in_the_middle_and_of_a_longer_one_the_middle_is_read(tmp_path):
    ramp = np.linspace(-0.9, 0.9, 101)
    for number in range(5):
        stored(tmp_path / "up" / f"{number}.wav", ramp)
        stored(tmp_path / "down" / f"{number}.wav", -ramp[:31])
    source = sounds(root=str(tmp_path), seconds=51 / 8000)
    up, down = source.test.arrays["series"][::-1, :, 0]
    np.testing.assert_allclose(up, ramp[25:76], atol=1e-4)
    np.testing.assert_allclose(down, np.pad(-ramp[:31], 10), atol=1e-4)
    assert "group" not in source.test.arrays


def test_directories_are_classes_whose_files_may_name_a_speaker_and_other_rates_are_asked_about(tmp_path):
    for split in ("train", "test"):
        for label in ("no", "yes"):
            for number, speaker in enumerate(("a1", "b2")):
                path = tmp_path / split / label / f"{speaker}_nohash_{number}.wav"
                stored(path, tone(900, rate=16000), 16000)
    source = sounds(root=str(tmp_path), pattern="{group}_nohash_{number}", seconds=0.02)
    np.testing.assert_array_equal(source.test.arrays["group"], [0, 1, 0, 1])
    assert source.facts.shape == (320, 1)
    stored(tmp_path / "test" / "yes" / "c3_nohash_0.wav", tone(400))
    with pytest.raises(DataError, match=r"c3_nohash_0\.wav has 8000 samples a second, the others 16000; set data"):
        sounds(root=str(tmp_path), seconds=0.02)
    both = sounds(root=str(tmp_path), rate=8000, seconds=0.02)
    assert both.facts.shape == (160, 1)
    (tmp_path / "test" / "jes").mkdir()
    stored(tmp_path / "test" / "jes" / "c3.wav", tone())
    with pytest.raises(DataError, match=r"c3\.wav has the class jes, which the training set lacks, did you mean yes\?"):
        sounds(root=str(tmp_path), rate=8000)


def header(form=1, channels=1, bits=16, samples=b"\0\1" * 8, size=-1):
    said = struct.pack("<HHIIHH", form, channels, 8000, 8000 * bits // 8, bits // 8, bits)
    body = b"fmt " + struct.pack("<I", len(said)) + said
    body += b"data" + struct.pack("<I", len(samples) if size < 0 else size) + samples
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


WRONG = {
    "empty": (b"", "the file is empty"),
    "mp3": (b"ID3\x04\0\0\0", "an MP3 file, no WAV; convert it"),
    "mpeg": (b"\xff\xfb\x90\0\0\0", "an MP3 file, no WAV; convert it"),
    "flac": (b"fLaC\0\0", "a FLAC file, no WAV; convert it"),
    "text": (b"hello there, this is text", "no WAV, or one with a damaged header"),
    "silent": (header(samples=bytes(16)), "silence: every sample is the same"),
    "nothing": (header(samples=b""), "no samples in it"),
    "headed": (header()[:36], "no samples in it"),
    "cut": (header()[:-4], "cut short: 12 of 16 bytes of samples"),
    "alaw": (header(form=6, bits=8), "compressed sound (A-law); save it as PCM, 16 bits"),
    "odd": (header(bits=12), "samples of 12 bits; 8, 16, 24 and 32 are read"),
    "mute": (header(channels=0), "0 channels of 8000 samples a second in its header"),
    "nan": (header(form=3, bits=32, samples=struct.pack("<2f", 0, np.nan)), "samples that are no numbers"),
}


def test_what_is_no_sound_is_passed_over_by_name_within_the_budget(digits, monkeypatch):
    for name, (data, _) in WRONG.items():
        (digits / f"0_{name}_1.wav").write_bytes(data)
    found = sounds(root=str(digits), test_groups=("ann",), seconds=0.05, budget=len(WRONG))
    assert found.facts.counts == {"train": 24 + len(WRONG), "eval": 6, "test": 6}, "the next takes the place"
    for name, (_, why) in WRONG.items():
        assert why in found.train.bad[f"0_{name}_1.wav"], name
    with pytest.raises(DataError, match=r"records cannot be used, data\.budget allows 1; the first is 0_"):
        sounds(root=str(digits), seconds=0.05, budget=1)
    read, bad = recordings([digits / "0_mp3_1.wav", digits / "0_eve_1.wav"], (800, 1), rate=16000)
    assert read.shape == (1, 800, 1)
    assert bad[str(digits / "0_mp3_1.wav")] == "an MP3 file, no WAV; convert it"
    assert samples_of(header(size=2**32 - 1))[0].shape == (8,), "a length that was not known yet"
    monkeypatch.setattr(pictures, "_SMALL", 0)
    streamed = sounds(root=str(digits), together=True, seconds=0.05, budget=len(WRONG))
    first = streamed.train.read(np.arange(len(streamed.train)))
    assert first["valid"].sum() == 30


def test_a_training_set_that_is_silent_throughout_is_refused_by_its_first_recording(tmp_path):
    for number in range(10):
        stored(tmp_path / f"{number % 2}_a{number}_{number}.wav", np.zeros(400))
    with pytest.raises(
        DataError, match=r"not one of the training .* 8 records are bad, the first is 0_a2_2\.wav: sile"
    ):
        sounds(root=str(tmp_path))
    for path in tmp_path.iterdir():
        path.write_bytes(header(samples=b""))
    said = r"[0-9]: not one of the 8 recordings for training can be read; the first is 0_a2_2\.wav: no samples in it$"
    with pytest.raises(DataError, match=said):
        sounds(root=str(tmp_path))


REFUSED = [
    ({"root": ""}, r"data\.root is empty"),
    ({"pattern": "{label}_{who}"}, r"data\.pattern is '\{label\}_\{who\}'; there is no \{who\}"),
    ({"pattern": "{group}"}, r"it must have \{label\}, for there are no directories"),
    ({"pattern": "{label}-{number}"}, r"0_ann_0\.wav is not named by the pattern \{label\}-\{number\}; rename it"),
    ({"test_groups": ("anne",)}, r"data\.test_groups has 'anne'; there are ann, bob"),
    ({"test_below": 9}, r"data\.test_below=9 leaves none for the train split"),
    ({"test_below": 1, "together": True}, r"data\.test_below=1 and data\.together say which recordings are for"),
    ({"together": True, "holdout": 3}, r"data\.together and data\.holdout=3 say"),
    ({"pattern": "{label}_{_}", "test_below": 1}, r"data\.pattern has no \{number\}"),
    ({"seconds": 0.0}, r"data\.seconds is 0"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_what_can_not_be_meant_is_refused_in_a_line(digits, options, said):
    with pytest.raises(ValueError, match=said):
        sounds(**{"root": str(digits), **options})


def test_files_that_lie_beside_classes_or_hold_none_are_refused(digits, tmp_path):
    (tmp_path / "no").mkdir()
    with pytest.raises(DataError, match=r"beside the directories no; classes are one or the other"):
        sounds(root=str(digits))
    (tmp_path / "other" / "a").mkdir(parents=True)
    (tmp_path / "other" / "a" / "x.mp3").write_bytes(b"ID3")
    with pytest.raises(DataError, match=r"a has no \.wav files, only \.mp3"):
        sounds(root=str(tmp_path / "other"))
    with pytest.raises(DataError, match=r"has no \.wav files, and no directories"):
        sounds(root=str(tmp_path / "other" / "a"))
