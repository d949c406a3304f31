"""What `analyze` shows, asked by name, of a net's gradients, layers and weights: parts as in `_looks`."""

import functools

import jax
import numpy as np

from cnnjax import analysis, augment
from cnnjax.programs._look import Look, averaged_maps, by_method, spread
from cnnjax.programs._looks import Found, _labels
from cnnjax.runs.pages import Picture, Rows
from cnnjax.runs.tables import readable

_GRADIENTS, _PROBED, _BENT, _PRUNED = (256, 1_500_000), (1000, 2_000_000), (128, 200_000), (500, 1_000_000)
_SPOILED = 1000, 5_000_000
_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_ASKED = 4  # of the worst examples, whose friends and foes are drawn


def gradients(look: Look) -> Found:
    """How long the gradient of each example is, how noisy their mean, and who pulls the same way as the worst ones."""
    rows = spread(look, *_GRADIENTS)
    loss, params = analysis.classification_loss(*look.pair), look.variables["params"]
    batch = look.seen[rows], _labels(look)[rows].astype(np.int32)
    found = analysis.example_gradients(loss, params, batch)
    noise = analysis.noise_scale(found) if len(rows) > 1 else None
    worst = look.order[::-1][:_ASKED]
    asked = look.seen[worst], look.labels[worst].astype(np.int32)
    others = ~np.isin(rows, worst)
    batch = tuple(each[others] for each in batch)
    pulls = analysis.gradient_similarity(loss, params, batch, asked) if others.any() else np.zeros((0, len(worst)))
    told = f"{len(rows)} examples" + (f"; a batch is worth its size up to about {noise.scale:.3g}" if noise else "")
    blocks = [Picture(analysis.draw_gradient_norms(found), told, wide=True)]
    if len(pulls) > 1:
        names = [look.said(row) for row in worst]
        drawn = analysis.draw_influence(look.shown[rows[others]], pulls, look.shown[worst], names=names)
        blocks.append(Picture(drawn, "the worst examples, and those whose gradients lie most along theirs", wide=True))
    layers = {name: float(np.median(each)) for name, each in found.layers.items()}
    numbers = {"rows": rows.tolist(), "norms": found.norms.tolist(), "mean_norm": found.mean_norm, "layers": layers}
    return blocks, numbers | ({"noise": vars(noise)} if noise else {})


def similarity(look: Look) -> Found:
    """How alike the net's maps are to one another, each averaged over its places."""
    rows = spread(look, *_PROBED)
    if len(rows) < 4:
        raise ValueError(f"similarity takes four examples or more; there are {len(rows)}")
    maps = averaged_maps(look, rows)
    found = analysis.layer_similarity(maps, maps, batch=250)
    words = f"unbiased linear CKA of {len(rows)} examples, maps averaged over places"
    return [Picture(analysis.draw_similarity(found), words)], {
        "layers": list(found.rows),
        "values": found.values.tolist(),
    }


def probes(look: Look) -> Found:
    """What a linear probe, and the nearest neighbours, read off each map: fitted on half of the examples."""
    rows, labels = spread(look, *_PROBED), _labels(look)
    if len(rows) < 20:
        raise ValueError(f"probes take twenty examples or more; there are {len(rows)}")
    maps, half = averaged_maps(look, rows), len(rows) // 2
    order = np.random.default_rng(0).permutation(len(rows))
    first, last = order[:half], order[half:]
    sides = [({name: each[part] for name, each in maps.items()}, labels[rows[part]]) for part in (first, last)]
    found = {kind: analysis.probe_by_depth(*sides[0], *sides[1], kind=kind) for kind in ("logistic", "ridge", "knn")}
    words = f"accuracy on {len(last)} examples of probes fitted on {len(first)} others, maps averaged over places"
    return [Picture(analysis.draw_probes(found), words)], found


def landscape(look: Look) -> Found:
    """The loss on a random plane through the weights, how sharply it bends, and the way that the training took."""
    rows = spread(look, *_BENT)
    loss, params = analysis.classification_loss(*look.pair), look.variables["params"]
    batch = look.seen[rows], _labels(look)[rows].astype(np.int32)
    directions = tuple(analysis.filter_normalized(jax.random.key(seed), params) for seed in (0, 1))
    found = analysis.landscape(loss, params, batch, directions, points=15)
    bend = analysis.hessian_eigenvalues(jax.random.key(2), loss, params, batch, steps=12)
    trace = analysis.hessian_trace(jax.random.key(3), loss, params, batch, draws=16)
    words = f"{len(rows)} examples; one step is as long as each filter; statistics of norms stay those of the middle"
    cells = [["greatest eigenvalues", ", ".join(readable(value) for value in bend.values[:3])]]
    cells += [["least (of those found)", readable(bend.values[-1])]]
    cells += [["trace", f"{readable(trace.value)} ± {readable(trace.error)}"]]
    numbers = {"places": found.places.tolist(), "losses": found.losses.tolist(), "trace": vars(trace)}
    numbers["eigenvalues"] = bend.values.tolist()
    blocks = [Picture(analysis.draw_landscape(found), words)]
    states = look.way()
    if len(states) > 2:
        way = analysis.trajectory(states)
        extent = 1.15 * max(float(np.abs(way.places).max()), 1e-6)
        plane = analysis.landscape(loss, states[-1], batch, way.directions, extent=extent, points=15)
        words = f"the same in the plane that holds most of the way of {len(states)} checkpoints, the last in the middle"
        blocks.append(Picture(analysis.draw_landscape(plane, way=way), words))
        numbers["way"] = way.places.tolist()
    else:
        blocks.append(f"The training's way takes three checkpoints; there are {len(states)} (checkpoint.keep).")
    return [*blocks, Rows(["Hessian", ""], cells)], numbers


def pruning(look: Look) -> Found:
    """How accuracy falls when weights, filters or channels are removed, layer by layer and of all layers together."""
    rows, labels = spread(look, *_PRUNED), _labels(look)
    asked = look.seen[rows], labels[rows]
    kernels = sum(np.ndim(leaf) > 1 for leaf in jax.tree.leaves(look.variables["params"]))

    def curves(by):
        return analysis.pruning_curves(*look.pair, *asked, _SHARES, by=by, each=kernels <= 12)

    found, said = by_method(("weights", "filters", "channels"), curves)
    words = f"accuracy on {len(rows)} examples, nothing trained again"
    numbers = {
        by: {name or "all": share.tolist() for name, share in each.accuracy.items()} for by, each in found.items()
    }
    drawn = Picture(analysis.draw_pruning(found), words, wide=len(found) > 1)
    return [*said, drawn, _macs(look, numbers)], {"shares": list(_SHARES), **numbers}


def _macs(look: Look, numbers: dict) -> Rows:
    """What is left of the multiplies when filters are cut out."""
    noise = np.random.default_rng(0).normal(size=(8, *look.seen.shape[1:])).astype(np.float32)
    whole, cells, layers = None, [], analysis.inner_layers(*look.pair, noise)
    for share in (0.0, 0.25, 0.5, 0.75):
        left = analysis.pruned(look.variables, share, by="filters", layers=layers)
        count = sum(analysis.remaining_macs(*look.pair, left, noise).values())
        whole = whole or count
        cells.append([f"{share:.0%}", f"{count:,}", f"{count / max(whole, 1):.0%}"])
    numbers["macs"] = {share: int(count.replace(",", "")) for share, count, _ in cells}
    return Rows(["filters removed", "MACs", ""], cells)


def corruptions(look: Look) -> Found:
    """How much worse the net gets when its pictures are spoiled: noise, blur, fog, light, pixels, compression."""
    labels = look.labels if len(look.labels) else look.asked
    rows = spread(look, *_SPOILED)
    if look.images.min() < 0 or look.images.max() > 1:
        raise ValueError("the pictures are not in [0, 1], where corruptions are defined")
    kinds = {kind: functools.partial(_spoiled, kind) for kind in augment.CIFAR10_C}
    asked = look.f, look.images[rows], labels[rows]
    found = analysis.corruption_robustness(jax.random.key(0), *asked, kinds)
    words = f"{len(rows)} examples, the {len(kinds)} kinds of CIFAR-10-C with its numbers; "
    words += f"{', '.join(augment.CIFAR10_C_DRAWN)} is drawn, where it has photographs"
    errors = dict(zip(found.kinds, found.errors.tolist(), strict=True))
    return [Picture(analysis.draw_robustness(found), words)], {
        "clean": found.clean,
        "mean": found.mean,
        "errors": errors,
    }


def _spoiled(kind: str, key: jax.Array, images: np.ndarray, severity: int) -> jax.Array:
    return augment.corrupted(key, images, kind, severity)
