"""Tasks that predict where points are."""

import functools
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from cnnjax.annotations import Positive, Share, Text
from cnnjax.fields import Facts
from cnnjax.ops import gaussian_maps, losses, map_peaks
from cnnjax.refusals import refuse_misfits
from cnnjax.tasks._scoring_points import length, measures, seen
from cnnjax.tasks.contract import Task, refuse_without, supervised

__all__ = ["pose"]

Reference = Literal["auto", "figure"] | tuple[Text, Text]


def pose(
    facts: Facts,
    *,
    reference: Reference = "auto",
    sigma: Positive = 1.5,
    criterion: Literal["absolute", "squared"] = "absolute",
    threshold: Share = 0.3,
) -> Task:
    """Points (B, K, 2) of a picture; metrics: pck20, pck05, pckh50, pcp, pcp_loose, oks, pixels, pck20_<point>.

    Nets give points (B, K, 2) in shares of the picture, or maps (B, h, w, K) of logits of where each point is; every
    further output beside `main` is a stage, trained like it and measured by itself (pck20_stage1, …). Points are
    learned by what they are off in shares of the picture, `criterion`; maps by the cross-entropy with a Gaussian of
    `sigma` cells, and predict `scores`, the share within 3 sigma of the peak: points below `threshold` are not visible.

    PCK counts visible points that are no further off than 0.2 or 0.05 of a length: the distance of two points named by
    `reference`; "figure": the longer side of the box around the visible points (Yang 2013); "auto": the torso, from
    left_shoulder to right_hip (or right to left, where one is not seen), and the figure for data without these.
    Points of a picture that has no such length don't count. PCKh: half of the head, from head_top (or head) to neck.
    PCP counts lines of the skeleton whose ends are both off by half their length at most, loosely on average. OKS, its
    area that of the box around the visible points, has COCO's tolerances for COCO's points and 0.089 for any other.
    Tables: `pck` (K, 101), at 0 to 1 of the length, and pck_<stage>.
    """
    refuse_misfits(pose, locals(), path="task.")
    joints = _joints(facts)
    measured = measures(facts, reference)

    size_of = functools.partial(_size, facts.input)

    def loss_of(outputs, batch):
        known = seen(batch)
        stages = _stages(outputs, joints).values()
        each = [_off(found, batch["points"], size_of(batch), sigma, criterion) for found in stages]
        return jnp.where(known, sum(each), 0.0).sum(-1), known.sum(-1).astype(jnp.float32)

    def predict(outputs, batch):
        found = _stages(outputs, joints)["main"]
        points = _points(found, size_of(batch))
        if found.ndim == 3:
            inside = (points >= -0.5) & (points <= jnp.array(size_of(batch)) - 0.5)
            return {"points": points, "visible": inside.all(-1).astype(jnp.float32)}
        scores = _shares(found, 3 * sigma)
        return {"points": points, "scores": scores, "visible": (scores >= threshold).astype(jnp.float32)}

    def tally(outputs, batch):
        stages = _stages(outputs, joints).items()
        return measured.sums({name: _points(found, size_of(batch)) for name, found in stages}, batch)

    return Task(
        outputs=joints,
        loss=supervised(loss_of),
        predict=predict,
        tally=tally,
        summarize=measured.summary,
        metric="pck20",
    )


def _size(word: str, batch: Mapping) -> tuple[int, int]:
    """Height and width of the pictures of a batch."""
    return batch[word].shape[1:3]


def _joints(facts) -> int:
    refuse_without(facts, "pose", "points")
    return facts.fields["points"][0][0]


def _stages(outputs, joints) -> Mapping[str, jax.Array]:
    """What a net gives, by stage, `main` among them; refused where it is neither points nor maps of them."""
    stages = outputs if isinstance(outputs, Mapping) else {"main": outputs}
    for found in stages.values():
        if found.shape[1:] != (joints, 2) and (found.ndim != 4 or found.shape[-1] != joints):
            raise ValueError(
                f"the net's outputs are {found.shape}; pose needs points (B, {joints}, 2), as deeppose gives them, or "
                f"maps (B, h, w, {joints}), as heatmaps; choose another model.name"
            )
    return stages


def _off(found, points, size, sigma, criterion):
    """(B, K) how wrong what a net gives for pictures of a size is about each of its points (B, K, 2)."""
    if found.ndim == 3:
        apart = found - (points + 0.5) / jnp.array(size, jnp.float32)
        return jnp.sum(jnp.abs(apart) if criterion == "absolute" else jnp.square(apart), -1)
    cells = (points + 0.5) * _per_pixel(found, size) - 0.5
    target = gaussian_maps(cells, found.shape[1:3], sigma=sigma)
    flat = (jnp.moveaxis(maps, -1, 1).reshape(*points.shape[:2], -1) for maps in (found, target))
    return losses.softmax_cross_entropy(*flat)


def _per_pixel(maps, size):
    return jnp.array(maps.shape[1:3], jnp.float32) / jnp.array(size, jnp.float32)


def _points(found, size):
    """Points (B, K, 2) in pixels, of what a net gives for pictures of a size."""
    if found.ndim == 3:
        return found * jnp.array(size, jnp.float32) - 0.5
    return (map_peaks(found)[0] + 0.5) / _per_pixel(found, size) - 0.5


def _shares(maps, reach):
    """(B, K) of each map's softmax (B, h, w, K), what lies within `reach` cells of its peak."""
    cells = jnp.stack(jnp.meshgrid(*map(jnp.arange, maps.shape[1:3]), indexing="ij"), -1)
    apart = length(cells[:, :, None] - map_peaks(maps)[0][:, None, None])
    return jnp.sum(jax.nn.softmax(maps, (1, 2)) * (apart <= reach), (1, 2))
