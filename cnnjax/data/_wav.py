"""Sound in RIFF files (.wav), of any width and any number of channels, and the same sound at another rate."""

import math
import struct

import numpy as np

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_COMPRESSED = {2: "ADPCM", 6: "A-law", 7: "µ-law", 0x11: "IMA ADPCM", 0x31: "GSM", 0x50: "MPEG", 0x55: "MP3"}
_OTHERS = {b"ID3": "an MP3", b"fLaC": "a FLAC", b"OggS": "an Ogg", b"FORM": "an AIFF", b"RF64": "an RF64"}
_ENDLESS = (0, 2**32 - 1)  # lengths that a program writes which does not know yet how much will come
_FASTEST = 2**20  # samples a second
_ZEROS = 10  # of the sinc on each side, and _BETA its Kaiser window's, as in scipy's resample_poly
_BETA = 5.0
_AT_ONCE = 2**21  # numbers that are gathered together


def samples_of(data: bytes) -> tuple[np.ndarray, int]:
    """The samples (T,) of a WAV file's bytes, float32 with ±1 as the loudest there can be, and how many are a second.

    Channels are averaged. ValueError, in words, of what is no such file, cut short, compressed or without samples.
    """
    form, channels, rate, bits, found = _chunks(data)
    if form in _COMPRESSED or form not in (_PCM, _FLOAT):
        raise ValueError(f"compressed sound ({_COMPRESSED.get(form, f'format {form}')}); save it as PCM, 16 bits")
    if bits not in ((8, 16, 24, 32) if form == _PCM else (32, 64)):
        raise ValueError(f"{'floats' if form == _FLOAT else 'samples'} of {bits} bits; 8, 16, 24 and 32 are read")
    if not 1 <= rate <= _FASTEST or not channels:
        raise ValueError(f"{channels} channels of {rate} samples a second in its header")
    count = len(found) // (channels * bits // 8)
    if not count:
        raise ValueError("no samples in it")
    values = _numbers(found[: count * channels * bits // 8], form, bits).reshape(count, channels)
    mono = values[:, 0] if channels == 1 else values.mean(1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise ValueError("samples that are no numbers (nan or infinite)")
    return mono, rate


def _chunks(data):
    """(format, channels, samples a second, bits, the bytes of the samples)."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError(_otherwise(data))
    place, form = 12, ()
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        body = memoryview(data)[place + 8 : place + 8 + size]
        if name == b"fmt ":
            if len(body) < 16:
                raise ValueError("a damaged header")
            number, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
            number = struct.unpack_from("<H", body, 24)[0] if number == _EXTENSIBLE and len(body) >= 26 else number
            form = number, channels, rate, bits
        if name == b"data":
            if not form:
                raise ValueError("samples before the header that says what they are")
            if size in _ENDLESS:
                return *form, memoryview(data)[place + 8 :]
            if len(body) < size:
                raise ValueError(f"cut short: {len(body):,} of {size:,} bytes of samples")
            return *form, body
        place += 8 + size + size % 2
    raise ValueError("no samples in it" if form else "a damaged header")


def _otherwise(data):
    mpeg = data[0:1] == b"\xff" and data[1:2] and data[1] & 0xE0 == 0xE0
    name = next((name for start, name in _OTHERS.items() if data.startswith(start)), "an MP3" if mpeg else "")
    return f"{name} file, no WAV; convert it" if name else "no WAV, or one with a damaged header"


def _numbers(data, form, bits):
    """Samples as float32 from -1 to 1."""
    if form == _FLOAT:
        return np.frombuffer(data, f"<f{bits // 8}").astype(np.float32)
    if bits == 8:  # which alone have no sign
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    if bits == 24:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return (wide.view("<i4")[:, 0] / 2.0**31).astype(np.float32)
    return (np.frombuffer(data, f"<i{bits // 8}") / 2.0 ** (bits - 1)).astype(np.float32)


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples (T,) of one rate at another, (⌈T · wanted / rate⌉,): what the lower of them can't hold is filtered out.

    By a windowed sinc at the places of the new samples alone, with the numbers of scipy.signal.resample_poly.
    """
    if rate == wanted:
        return samples
    common = math.gcd(rate, wanted)
    up, down = wanted // common, rate // common
    taps = _lowpass(up, down)
    half, count = len(taps) // 2, -(-len(samples) * up // down)
    reach = half // up + 1
    padded = np.pad(samples.astype(np.float64), (reach, reach))
    near, made = np.arange(-reach, reach + 1), np.empty(count, np.float32)
    step = max(1, _AT_ONCE // len(near))
    for first in range(0, count, step):
        place = np.arange(first, min(first + step, count)) * down  # in units of 1 / (rate · up)
        whole, phase = place // up, place % up
        tap = half + phase[:, None] - near * up
        inside = (tap >= 0) & (tap < len(taps))
        weights = np.where(inside, taps[np.clip(tap, 0, len(taps) - 1)], 0.0)
        heard = padded[np.minimum(whole[:, None] + reach + near, len(padded) - 1)]
        made[first : first + step] = (heard * weights).sum(1)
    return made


def _lowpass(up, down):
    """A filter that passes what both rates can hold, of an odd number of taps that sum to `up`."""
    widest = max(up, down)
    place = np.arange(-_ZEROS * widest, _ZEROS * widest + 1)
    taps = np.sinc(place / widest) * np.kaiser(len(place), _BETA)
    return taps * (up / taps.sum())
