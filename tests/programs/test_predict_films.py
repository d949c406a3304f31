"""predict on videos: which paths are one, and what is said of each."""

import numpy as np
import pytest
from PIL import Image

from cnnjax.config import ConfigError
from cnnjax.data import Facts
from cnnjax.programs import _asking, _figures
from cnnjax.programs._picture_files import films_of
from cnnjax.programs._served import Served


@pytest.fixture
def there(tmp_path):
    """two/0/ and two/1/ with frames, 2.gif beside them; alone/ with three GIFs; still/ with WebPs of one frame each."""
    frames = [Image.fromarray(np.full((4, 4), 20 * value, np.uint8)) for value in range(5)]
    for name in ("two/0", "two/1", "alone", "still"):
        (tmp_path / name).mkdir(parents=True)
    for number, frame in enumerate(frames):
        frame.save(tmp_path / "two" / "0" / f"{number}.png")
        frame.save(tmp_path / "still" / f"{number}.webp", lossless=True)
    frames[0].save(tmp_path / "two" / "1" / "0.png")
    for path in ("two/2.gif", "alone/a.gif", "alone/b.gif"):
        frames[0].save(tmp_path / path, save_all=True, append_images=frames[1:])
    return tmp_path


def test_a_folder_of_frames_is_one_video_and_one_of_animations_is_many(there):
    def names(*paths):
        return [str(path.relative_to(there)) for path in films_of([str(there / path) for path in paths])]

    assert names("two") == ["two/0", "two/1", "two/2.gif"]
    assert names("alone", "still", "two/0") == ["alone/a.gif", "alone/b.gif", "still", "two/0"]
    assert names("two/2.gif", "two/2.gif") == ["two/2.gif"]
    (there / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no videos in .*; a video is a folder of numbered pictures"):
        names("empty")


def test_a_net_of_videos_is_asked_about_the_middle_of_each_and_says_which_are_too_short(there):
    def predict(inputs, *, batch, first):
        light = inputs[:, :, 0, 0, 0].astype(np.float32)
        return {"label": np.zeros(len(light), np.int32), "probabilities": light / light.sum(1, keepdims=True)}

    facts = Facts(input="video", shape=(2, 4, 4, 1), classes=2, names=("a", "b"))
    reads = {"fit": "crop", "depth": 8}
    served = Served(*("net", {}, "answer", predict), facts, np.dtype(np.uint8), reads, 0, "", data={"stride": 2})
    said = list(_asking.asked(served, films_of([str(there / "two")])))
    assert [each.path.name for each in said] == ["0", "1", "2.gif"]
    assert said[1].error == "1 frames, but a clip of data.frames=2 with data.stride=2 takes 3"
    for each in (said[0], said[2]):
        np.testing.assert_array_equal(each.given["video"][:, 0, 0, 0], [20, 60])
        np.testing.assert_allclose(each.words["probabilities"], [0.25, 0.75])
    assert _figures.single(said[0].given, said[0].words, facts, "a video").axes
