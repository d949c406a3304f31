"""CIFAR-10-C: which entries spoil pictures as it does, and by which numbers."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne
from cnnjax.augment.pipeline import compose
from cnnjax.fields import Facts
from cnnjax.refusals import one_of

__all__ = ["CIFAR10_C", "CIFAR10_C_DRAWN", "corrupted"]

# Of each kind the entry and its options at severities 1 to 5 (Hendrycks & Dietterich 2019, their files for CIFAR-10,
# whose numbers are not those of ImageNet-C).
_SNOW = ("mean", "deviation", "flake", "least", "radius", "sigma", "kept")
CIFAR10_C = {
    "gaussian_noise": ("noise", [{"sigma": sigma} for sigma in (0.04, 0.06, 0.08, 0.09, 0.10)]),
    "shot_noise": ("shot", [{"photons": float(photons)} for photons in (500, 250, 100, 75, 50)]),
    "impulse_noise": ("impulse", [{"share": share} for share in (0.01, 0.02, 0.03, 0.05, 0.07)]),
    "defocus_blur": (
        "defocus",
        [
            {"radius": radius, "soft": soft}
            for radius, soft in ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))
        ],
    ),
    "zoom_blur": (  # its steps are those of rounded sums of 0.01: the first two go one further than the others
        "zoom_blur",
        [{"factor": top, "steps": steps} for top, steps in ((1.06, 7), (1.11, 12), (1.15, 16), (1.2, 21), (1.25, 26))],
    ),
    "fog": (
        "fog",
        [
            {"amount": amount, "decay": decay}
            for amount, decay in ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))
        ],
    ),
    "brightness": ("hsv_brightness", [{"amount": amount} for amount in (0.05, 0.1, 0.15, 0.2, 0.3)]),
    "contrast": ("channel_contrast", [{"kept": kept} for kept in (0.75, 0.5, 0.4, 0.3, 0.15)]),
    "pixelate": ("pixelate", [{"share": share} for share in (0.95, 0.9, 0.85, 0.75, 0.65)]),
    "jpeg_compression": ("jpeg", [{"quality": float(quality)} for quality in (80, 65, 58, 50, 40)]),
    "glass_blur": (
        "glass_blur",
        [{"sigma": sigma, "times": times} for sigma, times in ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))],
    ),
    "motion_blur": (
        "motion_blur",
        [{"radius": radius, "sigma": sigma} for radius, sigma in ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5))],
    ),
    "snow": (
        "snow",
        [
            dict(zip(_SNOW, numbers, strict=True))
            for numbers in (
                (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95),
                (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
                (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9),
                (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
                (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8),
            )
        ],
    ),
    "frost": (
        "frost",
        [
            {"kept": kept, "amount": amount}
            for kept, amount in ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))
        ],
    ),
    "elastic_transform": (
        "elastic_transform",
        [
            {"shift": shift, "smooth": smooth, "jitter": jitter}
            for shift, smooth, jitter in (
                (0.0, 0.0, 0.08),
                (0.05, 0.2, 0.07),
                (0.08, 0.06, 0.06),
                (0.1, 0.04, 0.05),
                (0.1, 0.03, 0.03),
            )
        ],
    ),
}
CIFAR10_C_DRAWN = ("frost",)
"""Kinds of CIFAR-10-C whose pictures are others here: its frost are photographs, this one is drawn."""

_ALWAYS_AS_MUCH = ("noise", "shot", "impulse", "fog", "elastic_transform")  # entries that have no spread


def corrupted(key: jax.Array, images: jax.Array, kind: str, severity: AtLeastOne) -> jax.Array:
    """Images (B, H, W, C), bytes or floats in [0, 1], spoiled as in CIFAR-10-C: floats (B, H, W, C) in [0, 1].

    By one of the kinds of `CIFAR10_C`, at a severity from 1 to 5; its numbers were chosen for pictures of 32 pixels.
    """
    entry, levels = CIFAR10_C[one_of(kind, CIFAR10_C, path="kind")]
    if not 1 <= severity <= len(levels):
        raise ValueError(f"severity is {severity}; it must be 1 to {len(levels)}")
    numbers = {name: value for name, value in levels[severity - 1].items() if isinstance(value, float)}
    static = tuple((name, value) for name, value in levels[severity - 1].items() if isinstance(value, int))
    return _program(entry, static)(key, jnp.asarray(images), numbers)


@functools.cache
def _program(entry: str, static: tuple) -> Callable:
    def run(key, images, numbers):
        count, channels = len(images), images.shape[-1]
        about = Facts(input="image", shape=images.shape[1:], classes=0, mean=(0.5,) * channels, std=(0.5,) * channels)
        fixed = {} if entry in _ALWAYS_AS_MUCH else {"spread": 0.0}
        whole, ones = jnp.zeros(count, jnp.int32), jnp.ones(count)
        batch = {"image": images, "index": whole, "epoch": whole, "valid": ones}
        return compose(about, (entry,), {entry: {**dict(static), **numbers, **fixed}})(key, batch)["image"]

    return jax.jit(run)
