"""How well points are found: PCK, PCKh, PCP and OKS as sums over examples, and the metrics that they make."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.fields import Facts
from cnnjax.refusals import one_of
from cnnjax.tasks.contract import count

__all__ = ["Measures", "length", "measures", "seen"]

_SHARES = np.arange(101) / 100  # of the reference length, at which points are counted as found
_METRICS = {"pck20": 20, "pck05": 5}  # those of them that are metrics
_TORSO = (("left_shoulder", "right_hip"), ("right_shoulder", "left_hip"))
_HEAD = (("head_top", "neck"), ("head", "neck"))
_ALIKE = 0.089  # COCO's tolerance of ankles, for points of which nobody measured any
_COCO = {  # how far apart people mark a joint, in roots of a person's area, left and right alike (COCO 2016)
    **{"nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062},
    **{"hip": 0.107, "knee": 0.087, "ankle": 0.089},
}


@dataclasses.dataclass(frozen=True)
class Measures:
    """What points of some names are measured by; pairs are numbers of points, of which the first that is seen counts.

    `reference` () stands for the figure's size.
    """

    names: tuple[str, ...]
    reference: tuple[tuple[int, int], ...]
    head: tuple[tuple[int, int], ...]
    limbs: tuple[tuple[int, int], ...]
    tolerances: tuple[float, ...]

    def sums(self, stages: Mapping[str, jax.Array], batch: Mapping[str, jax.Array]) -> dict:
        """Sums over a batch, for each stage's points (B, K, 2)."""
        there, truth = seen(batch), batch["points"]
        box = jnp.where(there[..., None], truth, jnp.nan)
        sides = jnp.nan_to_num(jnp.nanmax(box, 1) - jnp.nanmin(box, 1))
        reference = _first(self.reference, truth, there) if self.reference else jnp.max(sides, -1)
        head, limbs = _first(self.head, truth, there), np.array(self.limbs, int).reshape(-1, 2)
        known = there[:, limbs].all(-1)
        lengths = length(truth[:, limbs[:, 0]] - truth[:, limbs[:, 1]])
        shown = there.sum(-1)
        counts = {
            "examples": count(jnp.ones_like(shown), batch["valid"]),
            "points": there.sum(0),
            "measured": (there & (reference > 0)[:, None]).sum(0),
            "heads": (there & (head > 0)[:, None]).sum(),
            "limbs": known.sum(),
            "figures": (shown > 0).sum(),
        }

        def of(points):
            apart = jnp.where(there, length(points - truth), 0.0)
            near = apart[..., None] <= _SHARES.astype(np.float32) * reference[:, None, None]
            ends = apart[:, limbs]
            alike = jnp.exp(-jnp.square(apart) / _spread(self.tolerances, sides[:, 0] * sides[:, 1])) * there
            return {
                "pck": (near & (there & (reference > 0)[:, None])[..., None]).sum(0),
                "pckh50": ((apart <= 0.5 * head[:, None]) & there & (head > 0)[:, None]).sum(),
                "pcp": ((ends.max(-1) <= 0.5 * lengths) & known).sum(),
                "pcp_loose": ((ends.mean(-1) <= 0.5 * lengths) & known).sum(),
                "oks": jnp.sum(alike.sum(-1) / jnp.maximum(shown, 1)),
                "pixels": apart.sum(),
            }

        found = {"counts": counts, **{name: of(points) for name, points in stages.items()}}
        return jax.tree.map(lambda value: value.astype(jnp.float32), found)

    def summary(self, sums: Mapping, rows: Mapping) -> dict:
        """Metrics, of every stage, and tables of PCK (K, 101) at all shares of the reference length."""
        counts, found = sums["counts"], {}
        for stage in (name for name in sums if name != "counts"):
            end = "" if stage == "main" else f"_{stage}"
            curve = np.asarray(sums[stage]["pck"], np.float64)
            of_all = curve.sum(0) / max(float(np.sum(counts["measured"])), 1.0)
            found |= {f"{name}{end}": float(of_all[at]) for name, at in _METRICS.items()}
            for name, of in (("pckh50", "heads"), ("pcp", "limbs"), ("pcp_loose", "limbs"), ("oks", "figures")):
                if counts[of] > 0:
                    found[f"{name}{end}"] = float(sums[stage][name] / counts[of])
            found[f"pixels{end}"] = float(sums[stage]["pixels"] / max(float(np.sum(counts["points"])), 1.0))
            each = curve / np.maximum(np.asarray(counts["measured"], np.float64), 1)[:, None]
            found[f"pck{end}"] = each
            if stage == "main":
                at = _METRICS["pck20"]
                found |= {
                    f"pck20_{name}": float(each[number, at])
                    for number, name in enumerate(self.names)
                    if counts["measured"][number] > 0
                }
        return found


def measures(facts: Facts, reference: str | Sequence[str]) -> Measures:
    """The measures of the points of some data, whose lengths go by a reference: "auto", "figure" or two names."""
    count = facts.fields["points"][0][0]
    names = tuple(facts.extra.get("point_names") or map(str, range(count)))

    def known(pairs):
        return tuple(tuple(map(names.index, pair)) for pair in pairs if set(pair) <= set(names))

    if isinstance(reference, str):
        pairs = known(_TORSO) if reference == "auto" else ()
    else:
        for name in reference:
            one_of(name, names, path="task.reference")
        if reference[0] == reference[1]:
            raise ValueError(f"task.reference is {tuple(reference)!r}; a length is that between two different points")
        pairs = known([reference])
    bare = [name.removeprefix("left_").removeprefix("right_") for name in names]
    theirs = set(bare) == set(_COCO) and len(names) == 17
    tolerances = tuple(_COCO[name] if theirs else _ALIKE for name in bare)
    return Measures(names, pairs, known(_HEAD), tuple(facts.extra.get("skeleton", ())), tolerances)


def seen(batch: Mapping[str, jax.Array]) -> jax.Array:
    """Which points (B, K) are visible, of examples that count."""
    visible = batch["visible"] if "visible" in batch else jnp.ones(batch["points"].shape[:2])
    return (visible > 0) & (batch["valid"][:, None] > 0)


def length(vectors: jax.Array) -> jax.Array:
    """Lengths (…,) of vectors (…, 2)."""
    return jnp.sqrt(jnp.sum(jnp.square(vectors), -1))


def _first(pairs, points, there):
    """(B,) the distance of the first of the pairs of which both points are seen; 0 where none is."""
    found = jnp.zeros(len(points))
    for a, b in reversed(pairs):
        found = jnp.where(there[:, a] & there[:, b], length(points[:, a] - points[:, b]), found)
    return found


def _spread(tolerances, area):
    """(B, K) the squared distances that OKS counts as 1/e, of figures of an area (B,)."""
    return 2 * jnp.square(2 * jnp.array(tolerances)) * (area[:, None] + np.spacing(1))
