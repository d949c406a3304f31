"""The pitch that CREPE hears: the net against plain loops, and the published weights on tones that are made."""

import jax
import numpy as np
import pytest

from cnnjax import analysis, models, weights
from tests.models.variants import abstract_variables, at_once, filled


def plain(tensors, frame):
    """The logits of a frame (1024,) by torchcrepe's names and layout, written as loops over places and channels."""
    x = ((frame - frame.mean()) / frame.std())[None]
    for layer in range(1, 7):
        kernel, stride = tensors[f"conv{layer}.weight"], 4 if layer == 1 else 1
        window = kernel.shape[2]
        before = (window - stride) // 2
        padded = np.pad(x, ((0, 0), (before, window - stride - before)))
        places = np.lib.stride_tricks.sliding_window_view(padded, window, 1)[:, ::stride]
        x = np.einsum("ipw,oiw->op", places, kernel) + tensors[f"conv{layer}.bias"][:, None]
        scale, bias, mean, var = (
            tensors[f"conv{layer}_BN.{name}"][:, None] for name in ("weight", "bias", "running_mean", "running_var")
        )
        x = (np.maximum(x, 0) - mean) / np.sqrt(var + 1e-3) * scale + bias
        x = x.reshape(len(x), -1, 2).max(-1)
    return tensors["classifier.weight"] @ x.T.reshape(-1) + tensors["classifier.bias"]


def test_the_net_is_the_published_one_and_takes_its_names():
    net, frame = models.crepe(outputs=5, width=1), np.random.default_rng(0).normal(size=1024).astype(np.float32)
    variables = filled(net, (1024, 1))
    found = at_once(net.apply, variables, frame[None, :, None])
    tensors = weights.tensors(net, variables, dialect="torchvision")
    np.testing.assert_allclose(found[0], plain(tensors, frame.astype(float)), rtol=2e-4, atol=2e-4)
    flat = {name: value[..., None] if value.ndim == 3 else value for name, value in tensors.items()}
    back = weights.fill(net, abstract_variables(net, (1024, 1)), flat, source="torchcrepe's")
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_a_pitch_is_the_mean_of_the_classes_about_the_likeliest():
    outputs = np.full((3, 360), -30.0)
    outputs[0, 200], outputs[1, [10, 11]], outputs[2, [300, 309]] = 5, 2, (3, 2)
    hertz, certainty = analysis.hertz_of(outputs)
    cents = 1997.3794084376191 + 20 * np.array([200, 10.5, 300])
    np.testing.assert_allclose(1200 * np.log2(hertz / 10), cents, atol=1e-6)
    np.testing.assert_allclose(certainty, 1 / (1 + np.exp([-5, -2, -3])))
    for samples, options, said in (
        (np.zeros((2, 3)), {}, r"samples have shape \(2, 3\)"),
        (np.zeros(3), {"rate": 8000}, "rate is 8000; the net hears 16,000 samples a second"),
    ):
        with pytest.raises(ValueError, match=said):
            analysis.pitch_track(models.crepe(outputs=360), {}, samples, **options)


def sung(hertz, seconds=0.25, rate=16_000):
    """A tone with eight harmonics, each softer than the one before."""
    time = np.arange(round(seconds * rate)) / rate
    parts = [np.sin(2 * np.pi * hertz * n * time + n) / n for n in range(1, 9) if hertz * n < rate / 2]
    return 0.3 * np.sum(parts, 0)


def test_the_published_weights_hear_the_pitch_of_tones_within_20_cents(real):
    net = models.crepe(outputs=360)
    variables = weights.load(net, abstract_variables(net, (1024, 1)), real("pretrained/crepe_tiny.pth"))
    pitches = (82.41, 110.0, 146.83, 261.63, 440.0, 698.46, 1046.5)
    track = analysis.pitch_track(net, variables, np.concatenate([sung(hertz) for hertz in pitches]))
    assert len(track.seconds) == 25 * len(pitches)
    inside = np.arange(len(track.seconds)) % 25  # frames that hear one tone alone
    off = 1200 * np.log2(track.hertz / np.repeat(pitches, 25))
    within = (inside >= 4) & (inside < 21)
    assert np.abs(off[within]).max() < 20
    assert track.certainty[within].min() > 0.5
