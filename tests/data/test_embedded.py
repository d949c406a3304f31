"""The digits that come with the package."""

import numpy as np

from cnnjax.data import check, digits


def test_there_are_1797_digits_of_which_every_fifth_is_for_the_test():
    source = digits()
    assert source.facts.counts == {"train": 1437, "eval": 360, "test": 360}
    assert source.facts.shape == (28, 28, 1)
    assert source.facts.names == tuple("0123456789")
    np.testing.assert_allclose(source.facts.mean, 0.3052, atol=1e-4)
    np.testing.assert_allclose(source.facts.std, 0.3251, atol=1e-4)
    label = np.concatenate([source.train.arrays["label"], source.test.arrays["label"]])
    np.testing.assert_array_equal(np.bincount(label), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    assert source.test.arrays["label"][:4].tolist() == [0, 5, 0, 5]
    check(source, 128)


def test_they_are_enlarged_bilinearly_about_half_pixel_centres():
    from importlib.resources import files
    from io import BytesIO

    small = np.load(BytesIO(files("cnnjax.data").joinpath("optdigits.npz").read_bytes()))["image"][::5]
    large = digits().test.arrays["image"][..., 0]
    assert large.dtype == np.uint8
    for i in (0, 1, 5, 13, 22, 27):
        for j in (0, 3, 14, 26, 27):
            y, x = (np.clip((k + 0.5) * 8 / 28 - 0.5, 0, 7) for k in (i, j))
            top, left = min(int(y), 6), min(int(x), 6)
            corners = small[:, top : top + 2, left : left + 2].astype(float)
            weights = np.outer([1 - (y - top), y - top], [1 - (x - left), x - left])
            np.testing.assert_allclose(large[:, i, j], (corners * weights).sum((1, 2)) * 255 / 16, atol=0.5 + 1e-9)


def test_a_holdout_is_taken_from_the_training_digits():
    assert digits(holdout=300).facts.counts == {"train": 1137, "eval": 300, "test": 360}


def test_the_attribution_comes_with_them():
    from importlib.resources import files

    text = files("cnnjax.data").joinpath("optdigits.md").read_text()
    assert "Alpaydin" in text
    assert "creativecommons.org/licenses/by/4.0" in text
