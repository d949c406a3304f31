"""Clips of videos on disk: which frames, in which order, and what happens where there are too few."""

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import DataError, check, clips, films
from cnnjax.data import _pictures as pictures


def frames(values, size=(4, 6)):
    return [Image.fromarray(np.full((*size, 3), value, np.uint8)) for value in values]


def stored(path, values, size=(4, 6)):
    """A video of grey frames: a folder, a GIF or a WebP, by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = frames(values, size)
    if path.suffix:
        style = {"lossless": True} if path.suffix == ".webp" else {}
        first.save(path, save_all=True, append_images=rest, duration=50, **style)
        return
    path.mkdir()
    for number, frame in enumerate(frames(values, size)):
        frame.save(path / f"f{number}.png")


@pytest.fixture
def three(tmp_path):
    """A folder, a GIF and a WebP of twelve frames each in two classes, grey levels by tens."""
    for split in ("train", "test"):
        for label, name in enumerate(("run", "walk")):
            for kind, ending in enumerate(("", ".gif", ".webp")):
                stored(tmp_path / split / name / f"{kind}{ending}", 100 * label + 30 * kind + 2 * np.arange(12))
    return tmp_path


def grey(split):
    return split.read(np.arange(len(split)))["video"][:, :, 0, 0, 0].astype(int)


def test_folders_gifs_and_webps_give_the_frames_in_their_middle_in_the_order_of_their_numbers(three):
    source = clips(root=str(three), frames=4)
    check(source, 6)
    assert source.facts.shape == (4, 4, 6, 3)
    assert source.facts.names == ("run", "walk")
    first = np.array([8, 38, 68, 108, 138, 168])
    np.testing.assert_array_equal(grey(source.train), first[:, None] + [0, 2, 4, 6])
    np.testing.assert_array_equal(source.train.arrays["label"], [0, 0, 0, 1, 1, 1])


def test_clips_of_a_video_are_evenly_spaced_whole_and_share_its_group(three):
    source = clips(root=str(three), frames=3, stride=2, each=3, channels=1)
    np.testing.assert_array_equal(grey(source.test)[:3], [[0, 4, 8], [8, 12, 16], [14, 18, 22]])
    np.testing.assert_array_equal(source.test.arrays["group"], np.arange(6).repeat(3))
    np.testing.assert_array_equal(source.train.origin.classes(), source.train.arrays["label"])
    held = clips(root=str(three), frames=3, each=3, holdout=7)
    assert held.facts.counts == {"train": 12, "eval": 6, "test": 18}


def test_without_splits_every_fifth_video_is_the_test_set_with_all_its_clips(tmp_path):
    for number in range(10):
        stored(tmp_path / "only" / f"{number:02}.gif", [10 * number] * 3 + [10 * number + 1])
    source = clips(root=str(tmp_path), frames=2, each=2)
    np.testing.assert_array_equal(grey(source.test)[:, 0], [0, 0, 50, 50])
    assert len(source.train) == 16


def test_a_video_with_too_few_frames_is_passed_over_by_name_within_the_budget(three, monkeypatch):
    stored(three / "train" / "run" / "9.gif", [1, 2, 3])
    (three / "test" / "walk" / "8").mkdir()
    (three / "test" / "walk" / "9.gif").write_bytes((three / "test" / "walk" / "1.gif").read_bytes()[:60])
    source = clips(root=str(three), frames=4)
    assert source.train.bad == {"train/run/9.gif": "3 frames, but a clip of data.frames=4 takes 4"}
    bad = source.test.bad
    assert bad["test/walk/8"] == "0 frames, but a clip of data.frames=4 takes 4"
    assert set(bad) == {"test/walk/8", "test/walk/9.gif"}
    assert source.facts.counts == {"train": 6 + 1, "eval": 6, "test": 6}
    with pytest.raises(DataError, match=r"1 records cannot .* the first is train/run/9\.gif: 3 frames"):
        clips(root=str(three), frames=4, budget=0)
    monkeypatch.setattr(pictures, "_SMALL", 0)
    streamed = clips(root=str(three), frames=4, each=2)
    fields = streamed.train.read(np.arange(6, 8))  # of the one that is bad, and the next readable in its place
    np.testing.assert_array_equal(fields["label"], [1, 1])
    np.testing.assert_array_equal(streamed.test.read(np.arange(12, 16))["valid"], 0)
    assert len(set(streamed.train.listing())) > 12


def test_a_training_set_of_which_no_video_can_be_used_is_refused_by_the_first(three):
    said = "not one of the training examples can be used; 6 records are bad, the first is train/run/0: .*12 frames"
    with pytest.raises(DataError, match=said):
        clips(root=str(three), frames=13, each=2)
    for path in (*three.glob("*/*/*.gif"), *three.glob("*/*/*.webp"), *three.glob("*/*/0/f0.png")):
        path.write_bytes(b"nothing")
    for path in (three / "train" / "run" / "0").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"not one of the training .* the first is train/run/0: no pictures in it"):
        clips(root=str(three), frames=4)


def test_a_test_set_of_which_no_video_can_be_used_is_named_as_that(three):
    for name in ("run", "walk"):
        for path in (three / "test" / name / "0").glob("f1*.png"):
            path.unlink()
        for kind, ending in ((1, ".gif"), (2, ".webp")):
            stored(three / "test" / name / f"{kind}{ending}", range(9))
    with pytest.raises(
        DataError, match=r"not one of the test .* 6 records are bad, the first is test/run/0: 9 frames, "
    ):
        clips(root=str(three), frames=12)


def test_what_can_not_be_meant_is_refused_in_a_line(three):
    stored(three / "train" / "run" / "other.gif", range(12), (5, 6))
    with pytest.raises(DataError, match=r"the others 4×6; set data\.size"):
        clips(root=str(three), frames=4)
    assert clips(root=str(three), frames=4, size=4).facts.shape == (4, 4, 4, 3)
    (three / "train" / "walk" / "1.gif").write_bytes(b"")
    assert "the file is empty" in clips(root=str(three), frames=4, size=4).train.bad["train/walk/1.gif"]
    lonely = three / "train" / "sit"
    lonely.mkdir()
    Image.new("L", (4, 4)).save(lonely / "frame1.png")
    with pytest.raises(DataError, match=r"sit has no videos, only frame1\.png; each is a folder"):
        clips(root=str(three), frames=4, size=4)
    with pytest.raises(DataError, match=r"data\.root is empty"):
        clips()


def test_a_damaged_frame_is_named_and_transparent_places_lie_on_white(three, tmp_path):
    (three / "test" / "run" / "0" / "f5.png").write_bytes(b"nothing")
    read, bad = films([three / "test" / "run" / name for name in ("0", "1.gif")], (4, 4, 6, 3))
    assert read.shape == (1, 4, 4, 6, 3)
    assert "its frame f5.png: no JPEG" in bad[str(three / "test" / "run" / "0")]
    clear = [Image.new("RGBA", (4, 4), (9, 9, 9, 0)), Image.new("RGBA", (4, 4), (200, 9, 9, 255))]
    clear[0].save(tmp_path / "clear.webp", save_all=True, append_images=clear[1:], lossless=True)
    read, _ = films([tmp_path / "clear.webp"], (2, 4, 4, 3))
    np.testing.assert_array_equal(read[0, :, 0, 0], [[255, 255, 255], [200, 9, 9]])
