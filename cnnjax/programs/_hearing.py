"""A recording drawn: its waveform, and its spectrogram below."""

import numpy as np

_FRAMES = 400  # of a spectrogram, about
_WINDOW = 0.03  # seconds of each
_REACH = 70.0  # decibels below the loudest that are told apart
_SHARE = 0.7  # of the panel's height that is the spectrogram's


def draw_sound(panel, samples, rate) -> None:
    """Draws samples (T,) on a panel: what is heard when by frequency, and above it the waveform, in seconds."""
    seconds, highest = len(samples) / rate, rate / 2000
    level = _decibels(samples, max(round(_WINDOW * rate), 2), max(len(samples) // _FRAMES, 1))
    style = {"aspect": "auto", "origin": "lower", "cmap": "magma", "vmin": level.max() - _REACH}
    panel.imshow(level.T, extent=(0, seconds, 0, highest), **style)
    panel.set_xlim(0, seconds)
    panel.set_ylim(0, highest / _SHARE)
    panel.set_yticks([tick for tick in panel.get_yticks() if tick <= highest])
    panel.set_xlabel("seconds", fontsize=7, labelpad=1)
    panel.set_ylabel("kHz", fontsize=7, labelpad=2, y=_SHARE / 2)
    above = panel.inset_axes((0, _SHARE + 0.02, 1, 0.98 - _SHARE))
    above.plot(np.arange(len(samples)) / rate, samples, color="0.25", linewidth=0.4)
    above.set_xlim(0, seconds)
    above.axis("off")


def _decibels(samples, window, hop):
    """(frames, bins) by frames in the middle of each `hop` steps."""
    padded = np.pad(samples, (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[: len(samples) : hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window + 1)[:-1])) ** 2
    return 10 * np.log10(np.maximum(power, 1e-12))
