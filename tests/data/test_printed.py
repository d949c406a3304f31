"""Printed letters: drawn alike everywhere, faces of the test apart from those of the training."""

import numpy as np
import pytest

from cnnjax.data import letters


def test_every_face_has_every_letter_and_the_test_has_faces_of_its_own():
    source = letters()
    assert source.facts.names == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    for split in (source.train, source.test):
        assert split.arrays["image"].shape == (208, 28, 28, 1)
        assert (np.bincount(split.arrays["label"]) == 8).all()
        faces = split.arrays["image"].reshape(8, -1)
        assert len(np.unique(faces, axis=0)) == 8
    seen = {image.tobytes() for image in source.train.arrays["image"]}
    assert not [image for image in source.test.arrays["image"] if image.tobytes() in seen]


def test_an_i_is_a_bar_in_the_middle_and_letters_fill_their_picture():
    source = letters(size=40)
    image = source.train.arrays["image"][source.train.arrays["label"] == 8][0, ..., 0]
    columns = np.flatnonzero(image.sum(0) > 0)
    assert len(columns) <= 6
    assert abs(columns.mean() - 19.5) <= 1.5
    assert 26 <= (image.sum(1) > 0).sum() <= 32


def test_a_size_that_no_letter_fits_is_refused():
    with pytest.raises(ValueError, match=r"data\.size is 4; it must be ≥ 8 and ≤ 1024"):
        letters(size=4)
