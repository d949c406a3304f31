"""What the tests of augmentation look at: random batches, and pictures with one mark in them."""

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import augment
from cnnjax.augment import compose, kind
from cnnjax.data.source import Facts

CLASSES = 5
TURNED = np.array([[-1.0, -0.5], [-0.5, 1.0], [1.0, 0.5], [0.5, -1.0]])  # a turned box's corners about its centre
ENTRIES = {name: getattr(augment, name) for name in vars(augment) if kind(getattr(augment, name))}
SPATIAL = tuple(name for name, entry in ENTRIES.items() if kind(entry) == "size" or name == "resize")
# Options without which an entry does nothing to (or cannot read) the small pictures below.
OPTIONS = {
    "center_crop": {"side": 37},
    "resize": {"height": 37, "width": 60},
    "temporal_crop": {"frames": 6},
    "erase": {"probability": 1.0},
    "repeat": {"times": 2},
    "series_band_mask": {"share": 1.0},
    "log_mel": {"rate": 8000, "bands": 3, "window": 0.001, "hop": 0.0005},
}


def facts(shape=(16, 16, 3), **more):
    channels = shape[-1]
    more = {"extra": {"mirror": (0,)}, "mean": (0.5, 0.4, 0.3)[:channels]} | more  # the mirror of a mark's one point
    return Facts(
        input="image",
        shape=shape,
        classes=CLASSES,
        std=(0.2, 0.25, 0.3)[:channels],
        **more,
    )


def batch(name="", rows=8, shape=(16, 16, 3), seed=0):
    """A batch that the named entry can read: bytes, floats for series, a video and a series for crops in time."""
    rng = np.random.default_rng(seed)
    fields = {
        "label": rng.integers(0, CLASSES, rows).astype(np.int32),
        "valid": np.ones(rows, np.float32),
        "index": np.arange(100, 100 + rows, dtype=np.int32),
        "epoch": np.zeros(rows, np.int32),
    }
    if name.startswith("series") or name == "log_mel":
        return fields | {"series": rng.normal(size=(rows, 20, 2)).astype(np.float32)}
    if name == "temporal_crop":
        return fields | {"video": rng.integers(0, 256, (rows, 9, *shape), dtype=np.uint8)}
    if name in SPATIAL:
        return fields | marked(rows, channels=shape[-1], seed=seed)
    return fields | {"image": rng.integers(0, 256, (rows, *shape), dtype=np.uint8)}


def seen(fields):
    """The field that the network reads."""
    return np.asarray(next(fields[name] for name in ("image", "video", "series") if name in fields))


def applied(names, fields, options={}, *, seed=0, about=None, words=()):  # noqa: B006
    """A pipeline done to a batch under jit, back on the host; only these words, where some are named, are computed."""
    about = about or facts(fields["image"].shape[1:])

    @jax.jit
    def run(key, fields):
        out = compose(about, names, options)(key, fields)
        return {word: out[word] for word in words or out}

    return {name: np.asarray(value) for name, value in run(jax.random.key(seed), fields).items()}


def marked(rows=16, size=41, channels=1, seed=0):
    """Black pictures with one soft white mark each, and its point, its box, its corners, its segment and instance."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(size // 3, size - size // 3, (rows, 2))
    places = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1)
    gaps = places[None] - centres[:, None, None]
    image = np.exp(-(gaps**2).sum(-1) / 2)
    return {
        "image": np.round(np.repeat(image[..., None], channels, -1) * 255).astype(np.uint8),
        "segments": (np.abs(gaps).max(-1) <= 1).astype(np.int32),
        "instances": (np.abs(gaps).max(-1) <= 1).astype(np.uint8),
        "masks": (np.abs(gaps).max(-1) <= 1)[:, None].astype(np.uint8),
        "points": centres[:, None].astype(np.float32),
        "visible": np.ones((rows, 1), np.float32),
        "boxes": np.concatenate([centres - 1, centres + 2], -1)[:, None].astype(np.float32),
        "classes": np.zeros((rows, 1), np.int32),
        "present": np.ones((rows, 1), np.float32),
        "corners": (centres[:, None, None] + 0.5 + TURNED).astype(np.float32),
        "heights": np.tile(np.array([[0.0, 2.0]], np.float32), (rows, 1, 1)),
    }


def centroid(weights):
    """(B, 2) centre of mass of pictures (B, H, W)."""
    weights = weights.astype(np.float64)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in weights.shape[1:]), indexing="ij"), -1)
    return (weights[..., None] * places).sum((1, 2)) / weights.sum((1, 2))[:, None]


def landed(fields):
    """How far, at most, the mark's centre in the image, its boxes and its segments lie from its point, in pixels.

    Only marks that are well inside the picture count. A box may lie about the whole pixels of its instance instead.
    """
    size = np.array(fields["image"].shape[1:3])
    points = fields["points"][:, 0]
    inside = (fields["visible"][:, 0] > 0) & (points > 6).all(1) & (points < size - 7).all(1)
    assert inside.sum() >= len(points) // 4, "enough marks are left to look at"
    boxes = ((fields["boxes"][:, 0, :2] + fields["boxes"][:, 0, 2:] - 1) / 2)[inside]
    pixels = [np.argwhere(instances == 1) for instances in fields["instances"][inside]]
    middles = np.array([(each.min(0) + each.max(0)) / 2 for each in pixels])
    off = np.stack([boxes - points[inside], boxes - middles])
    gaps = {
        "image": centroid(fields["image"].mean(-1)[inside]) - points[inside],
        "segments": centroid(fields["segments"][inside] == 1) - points[inside],
        "instances": centroid(fields["instances"][inside] == 1) - points[inside],
        "masks": centroid(fields["masks"][inside, 0] == 1) - points[inside],
        "boxes": np.where((off[1] == 0).all(-1, keepdims=True), 0, off[0]),
        "corners": (fields["corners"][:, 0].mean(1) - 0.5 - points)[inside],
    }
    return {name: float(np.abs(gap).max()) for name, gap in gaps.items()}


@jax.jit
def _floats(image):
    return image.astype(jnp.float32) / 255


def floats(image):
    """Bytes as the pipeline makes them floats."""
    return np.asarray(_floats(image))
