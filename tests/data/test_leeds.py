"""Joints that come as a MATLAB file become a table that `points` reads."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from cnnjax.data import check, points
from tests.data.leeds import JOINTS, convert


def test_joints_of_a_matlab_file_lie_on_their_pixels_and_unmarked_ones_are_invisible(tmp_path):
    root, out = tmp_path / "set", tmp_path / "made"
    (root / "images").mkdir(parents=True)
    joints, draw = np.ones((14, 3, 5)), np.random.default_rng(0)
    for number in range(5):
        image = np.zeros((40, 60, 3), np.uint8)
        joints[:, 0, number], joints[:, 1, number] = draw.integers(3, 59, 14), draw.integers(3, 39, 14)
        for x, y in joints[:, :2, number].astype(int):
            image[y - 1, x - 1] = 255  # MATLAB counts from 1
        Image.fromarray(image).save(root / "images" / f"im{number}.png")
    joints[3, :, 0] = -26.1, 86.4, 0  # not marked
    joints[5, 1, 1] = -3  # marked above the picture
    savemat(root / "joints.mat", {"joints": joints})
    convert(root, out)
    source = points(root=str(out))
    check(source, 1)
    assert source.facts.extra["point_names"] == JOINTS
    assert source.facts.extra["mirror"][JOINTS.index("left_knee")] == JOINTS.index("right_knee")
    assert (JOINTS.index("neck"), JOINTS.index("head_top")) in source.facts.extra["skeleton"]
    seen = 0
    for split in (source.train, source.test):
        for fields in (split.read(np.array([row])) for row in range(len(split))):
            there = fields["visible"][0] > 0
            y, x = np.rint(fields["points"][0, there]).astype(int).T
            assert (fields["image"][0, y, x] == 255).all()
            seen += there.sum()
    assert seen == 5 * 14 - 2


def test_a_set_whose_pictures_are_not_those_of_its_joints_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    savemat(tmp_path / "joints.mat", {"joints": np.ones((14, 3, 2))})
    with pytest.raises(SystemExit, match=r"has 0 images; joints.mat is \(14, 3, 2\)"):
        convert(tmp_path, tmp_path / "made")
