"""Red and green blocks in pictures of many sizes, annotated as COCO does, and a net that finds them after a fashion."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from cnnjax.data import run_lengths

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 11, "name": "dog"}]
_COLOURS = np.array([[230, 20, 20], [20, 220, 20]], np.uint8)
_OFF = (
    (0.013, 0.017, 0.011, 0.019),
    (0.157, 0.113, 0.007, 0.109),
    (0.013, -0.317, 0.213, 0.023),
    (0.51, 0.53, 0.49, 0.47),
)


def scenes(root, *, size=lambda rng: rng.integers(20, 60, 2), parts=("train", "val", "test"), count=12):
    """Writes pictures with a block of each colour or one; every third has a crowd to the right of its middle."""
    for number, split in enumerate(parts):
        rng, images, annotations = np.random.default_rng(number), [], []
        for place in range(count):
            height, width = (int(n) for n in size(rng))
            picture = np.full((height, width, 3), 60, np.uint8)
            image = {"id": 1000 * (number + 1) + 7 * place, "height": height, "width": width}
            images.append(image | {"file_name": f"{split}-{place:02}.png"})
            for kind in range(2) if place % 4 else range(1):
                low = rng.integers(0, [height // 4, width // 8 + kind * (width // 2)]) * 2 // 2 // 2 * 2
                low[1] = max(low[1], kind * (width // 2) // 2 * 2)
                high = low + rng.integers(3, [height // 4, width // 5]) * 2
                (y0, x0), (y1, x1) = low.tolist(), np.minimum(high, [height, width]).tolist()
                picture[y0:y1, x0:x1] = _COLOURS[kind]
                crowd = kind == 1 and place % 3 == 0
                x0, y0, x1, y1 = (width // 2, 0, width, height) if crowd else (x0, y0, x1, y1)
                mask = np.zeros((height, width), bool)
                mask[y0:y1, x0:x1] = True
                polygon = [[x0, y0, x1, y0, x1, y1, x0, y1]]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image["id"],
                        "category_id": CATEGORIES[kind]["id"],
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": int(mask.sum()),
                        "iscrowd": int(crowd),
                        "segmentation": run_lengths(mask) if crowd else polygon,
                    }
                )
            (root / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / split / images[-1]["file_name"])
        content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def finder(*, outputs: int, masks: bool = False) -> nn.Module:
    """Boxes around what is red, and what is green: four guesses of each, some of them off."""
    return Finder(outputs, masks)


class Finder(nn.Module):
    outputs: int
    masks: bool

    @nn.compact
    def __call__(self, x, train=False):
        learned = self.param("head", nn.initializers.zeros, (1,))
        kinds = jnp.stack([x[..., k] - x[..., 1 - k] > 0.3 for k in range(2)], -1).astype(jnp.float32)
        boxes, logits = zip(*(_guesses(kinds[..., k], k) for k in range(2)), strict=True)
        boxes, logits = jnp.concatenate(boxes, 1), jnp.concatenate(logits, 1) + learned
        centres = (boxes[..., :2] + boxes[..., 2:]) / 2
        found = {"main": logits, "boxes": boxes, "places": jnp.concatenate([centres, 4 + 0 * centres[..., :1]], -1)}
        if not self.masks:
            return found
        each = jax.nn.one_hot(jnp.repeat(jnp.arange(2), len(_OFF)), 2)
        return found | {"prototypes": kinds * 8 - 4, "coefficients": jnp.tile(each, (len(x), 1, 1))}


def _guesses(here, kind):
    """Boxes (B, 4, 4) around where a map is 1, and logits (B, 4, 2) that vary from picture to picture."""
    sides = []
    for axis in (1, 2):
        line, count = here.max(3 - axis), here.shape[axis]
        sides.append((jnp.argmax(line, 1), count - jnp.argmax(line[:, ::-1], 1)))
    (y0, y1), (x0, x1) = sides
    box, tall, wide = jnp.stack([y0, x0, y1, x1], -1).astype(jnp.float32), y1 - y0, x1 - x0
    off = jnp.array(_OFF) * jnp.stack([tall, wide, tall, wide], -1)[:, None]
    sure = jnp.sin(jnp.arange(len(_OFF)) + 1.0 * tall[:, None] * wide[:, None] + x0[:, None]) * 3
    there = here.any((1, 2))[:, None]
    logits = jnp.where(there, sure, -9.0)[..., None] + jnp.array([0.0, -5.0])[:: 1 - 2 * kind]
    return box[:, None] + jnp.where(there[..., None], off, 0.0), logits
