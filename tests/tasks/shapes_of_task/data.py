"""Made data: pictures with every label that there is, words, sound, curves, clips."""

import dataclasses

import numpy as np

from cnnjax.data import Source, from_arrays

__all__ = ["clips", "sentences", "sounds", "things", "waves"]

SIDE, CELL = 24, 4  # pixels of a picture and of a cell of a dense prediction


def things(*, train: int = 12, test: int = 7) -> Source:
    """Pictures (24, 24, 1) of a bright square or bar, or of both, with boxes, masks and three points of the first."""
    splits = [_things(seed, size) for seed, size in enumerate((train, test))]
    source = from_arrays(*splits, names=("square", "bar"))
    return _knowing(source, mirror=(0, 2, 1), point_names=("middle", "left", "right"))


def _things(seed, size):
    draw, rows = np.random.default_rng(seed), []
    for _ in range(size):
        image, instances = draw.integers(0, 60, (SIDE, SIDE)).astype(np.uint8), np.zeros((SIDE, SIDE), np.int32)
        boxes, classes, present = np.zeros((2, 4), np.float32), np.zeros(2, np.int32), np.zeros(2, np.float32)
        for n in range(draw.integers(1, 3)):
            kind = draw.integers(0, 2)
            y, x = draw.integers(1, 8), draw.integers(1, 8) + 8 * n
            height, width = (6, 6) if kind == 0 else (4, 7)
            image[y : y + height, x : x + width] = 200 + 40 * kind
            instances[y : y + height, x : x + width] = n + 1
            boxes[n], classes[n], present[n] = (y, x, y + height, x + width), kind, 1
        y0, x0, y1, x1 = boxes[0]
        middle = [(y0 + y1) / 2 - 0.5, (x0 + x1) / 2 - 0.5]
        points = np.float32([middle, [middle[0], x0], [middle[0], x1 - 1]])
        rows.append(
            {
                "image": image[..., None],
                "label": classes[0],
                "segments": np.where(instances > 0, 1 + classes[np.maximum(instances - 1, 0)], 0),
                "instances": instances,
                "boxes": boxes,
                "corners": boxes[:, np.array([[0, 1], [0, 3], [2, 3], [2, 1]])],
                "heights": present[:, None] * np.float32([0.5, 3.5]),
                "classes": classes,
                "present": present,
                "points": points,
                "visible": np.ones(3, np.float32),
            }
        )
    return {name: np.stack([row[name] for row in rows]).astype(rows[0][name].dtype) for name in rows[0]}


def sentences(*, train: int = 12, test: int = 7) -> Source:
    """Rows of up to ten of five words, 0 where they have ended, that have word 3 or not."""

    def made(seed, size):
        draw = np.random.default_rng(seed)
        tokens = draw.choice([1, 2, 4], (size, 10)).astype(np.int32)
        label = np.arange(size, dtype=np.int32) % 2
        tokens[np.arange(size), draw.integers(0, 6, size)] = np.where(label == 1, 3, 2)
        tokens[:, 8:] = 0
        return {"tokens": tokens, "label": label}

    return _knowing(from_arrays(made(0, train), made(1, test), names=("without", "with")), words=tuple("_?abc"))


def sounds(*, train: int = 12, test: int = 7) -> Source:
    """Mel bands (20, 6) of a low or a high tone."""

    def made(seed, size):
        draw, label = np.random.default_rng(seed), np.arange(size, dtype=np.int32) % 2
        series = draw.normal(0, 0.1, (size, 20, 6)).astype(np.float32)
        series[np.arange(size), :, 1 + 3 * label] += 1
        return {"series": series, "label": label}

    return from_arrays(made(0, train), made(1, test), names=("low", "high"))


def waves(*, train: int = 12, test: int = 7) -> Source:
    """Sixteen steps of a wave (16, 1) about 5, and in `target` (4, 1) the next four."""

    def made(seed, size):
        phase = np.random.default_rng(seed).uniform(0, 6, (size, 1))
        wave = (5 + np.sin(phase + np.arange(20) * 0.7))[..., None].astype(np.float32)
        return {"series": wave[:, :16], "target": wave[:, 16:]}

    return from_arrays(made(0, train), made(1, test))


def clips(*, train: int = 12, test: int = 7) -> Source:
    """Clips (6, 12, 12, 1) of a dot that goes left or right."""

    def made(seed, size):
        draw, label = np.random.default_rng(seed), np.arange(size, dtype=np.int32) % 2
        video = draw.integers(0, 40, (size, 6, 12, 12, 1)).astype(np.uint8)
        for i, way in enumerate(label):
            for t in range(6):
                video[i, t, 5:7, 3 + t if way else 8 - t] = 255
        return {"video": video, "label": label}

    return from_arrays(made(0, train), made(1, test), names=("left", "right"))


def _knowing(source, **extra):
    facts = dataclasses.replace(source.facts, extra={**source.facts.extra, **extra})
    return dataclasses.replace(source, facts=facts)
