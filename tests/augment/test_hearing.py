"""Sound as nets hear it, against formulas written out, and moves of it that one can measure."""

import numpy as np
import pytest
import scipy.signal

from cnnjax import ops
from cnnjax.data import Facts
from tests.augment.scenes import applied

RATE = 4000
FACTS = Facts("series", (400, 1), 2, extra={"rate": RATE})


def batch(series, **more):
    rows = len(series)
    fields = {"label": np.zeros(rows, np.int32), "valid": np.ones(rows, np.float32), **more}
    fields |= {"index": np.arange(rows, dtype=np.int32), "epoch": np.zeros(rows, np.int32)}
    return fields | {"series": np.asarray(series, np.float32)}


def tone(hertz, count=400):
    return np.sin(2 * np.pi * hertz * np.arange(count) / RATE)[:, None]


def pitch(series):
    """The loudest frequency of series (T,), in hertz."""
    power = np.abs(np.fft.rfft(series * scipy.signal.get_window("hann", len(series)), 2**16))
    return power.argmax() * RATE / 2**16


@pytest.mark.parametrize("standard", ["none", "band"])
def test_bands_are_the_decibels_of_a_spectrum_by_the_filters_of_the_scale(standard):
    x = np.random.default_rng(0).normal(size=(2, 400, 2))
    options = {"bands": 6, "window": 0.016, "hop": 0.008, "scale": "htk", "reach": 25.0, "standard": standard}
    found = applied(("log_mel",), batch(x), {"log_mel": options}, about=FACTS)["series"]
    hann = scipy.signal.get_window("hann", 64)
    padded = np.pad(x, ((0, 0), (32, 64), (0, 0)))
    filters = ops.mel_filters(33, 6, rate=float(RATE), scale="htk")
    expected = np.empty((2, 13, 2, 6))
    for frame in range(13):
        some = padded[:, frame * 32 : frame * 32 + 64].swapaxes(1, 2) * hann
        expected[:, frame] = 10 * np.log10(np.abs(np.fft.rfft(some)) ** 2 @ filters)
    expected = np.maximum(expected, expected.max((1, 3), keepdims=True) - 25)
    if standard == "band":
        expected = (expected - expected.mean(1, keepdims=True)) / expected.std(1, keepdims=True)
    np.testing.assert_allclose(found, expected.reshape(2, 13, 12), atol=2e-3)


def test_loudness_changes_nothing_that_is_standardised_and_segments_are_those_in_the_middles():
    x = np.random.default_rng(0).normal(size=(1, 400, 1))
    segments = np.arange(400, dtype=np.int32)[None] // 100
    given = batch(np.concatenate([x, 0.01 * x]), segments=np.repeat(segments, 2, 0))
    found = applied(("log_mel",), given, {"log_mel": {"bands": 5, "reach": 30.0}}, about=FACTS)
    np.testing.assert_allclose(found["series"][0], found["series"][1], atol=1e-3)
    assert abs(found["series"].mean()) < 1e-5
    assert abs(found["series"].std() - 1) < 1e-3
    np.testing.assert_array_equal(found["segments"][0], segments[0, np.minimum(np.arange(11) * 40, 399)])


def test_a_stretch_changes_the_pitch_by_its_speed_and_keeps_the_middle_where_it_is():
    places = np.zeros((1, 400, 1))
    places[0, 150:250] = 1
    given = batch(np.tile(tone(500.0), (40, 1, 1)), segments=np.ones((40, 400), np.int32))
    moved = applied(("series_stretch",), given, {"series_stretch": {"factor": 1.5}}, about=FACTS)
    speeds = np.array([pitch(series[100:300, 0]) for series in moved["series"]]) / 500
    assert 1 / 1.51 < speeds.min() < 0.8
    assert 1.25 < speeds.max() < 1.51
    inside = (moved["segments"] == 1).sum(1)
    np.testing.assert_allclose(inside, np.minimum(400, np.ceil(400 / speeds)), atol=6)
    assert set(np.unique(moved["segments"])) == {1, 255}
    edges = applied(("series_stretch",), batch(np.repeat(places, 40, 0)), about=FACTS)["series"][..., 0]
    assert (np.abs(edges @ np.arange(400) / edges.sum(1) - 199.5) < 0.5).all()


def test_a_mask_takes_neighbouring_bands_up_to_its_share_wherever_they_are():
    given = batch(np.ones((300, 3, 20)))
    masked = applied(("series_band_mask",), given, {"series_band_mask": {"share": 0.3, "fill": -1.0}}, about=FACTS)
    hidden = masked["series"] < 0
    assert (hidden == hidden[:, :1]).all(), "all of the time"
    counts, runs = hidden[:, 0].sum(1), np.abs(np.diff(np.pad(hidden[:, 0], ((0, 0), (1, 1))).astype(int))).sum(1)
    assert set(counts) == set(range(7)), "none to six of twenty"
    assert set(runs) == {0, 2}, "in one run"
    assert hidden[:, 0].any(0).all(), "every band at times"


def test_a_tilt_makes_highs_louder_where_it_makes_lows_softer():
    low, high = (batch(np.tile(tone(hertz), (60, 1, 1))) for hertz in (50.0, 1990.0))
    quiet, loud = (
        np.abs(applied(("series_tilt",), some, about=FACTS)["series"][:, 100:]).max((1, 2)) for some in (low, high)
    )
    np.testing.assert_allclose(quiet + loud, 2, atol=0.02)
    assert quiet.min() < 0.5
    assert quiet.max() > 1.5
    assert max(quiet.max(), loud.max()) < 1.61
