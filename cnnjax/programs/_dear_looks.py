"""What `analyze` shows of a net when it is asked to by name, for it is dear: parts as in `_looks`."""

from collections.abc import Callable

import jax
import numpy as np
from flax.errors import ScopeParamShapeError

from cnnjax import analysis
from cnnjax.programs._look import Look, by_method
from cnnjax.programs._looks import Found
from cnnjax.runs.pages import Picture, Rows
from cnnjax.runs.tables import readable

_METHODS = ("saliency", "integrated_gradients", "grad_cam")
_IMAGES = 16
_SEEN, _UNITS, _STEPS, _SIDE = 64, 4, 256, 112  # images made: beside so many of the data, for so many units of a map
_NOISES, _FITTED = 2048, 48  # noises that are shown to units, and filters that are fitted


def visualization(look: Look) -> Found:
    """What images excite units and classes most, climbed to from noise, beside what excites them in the data."""
    rows = look.order[np.arange(min(_SEEN, len(look.order))) * len(look.order) // min(_SEEN, len(look.order))]
    shape = (1, *look.seen.shape[1:])
    maps = analysis.receptive_fields(look.net, shape) if hasattr(look.net, "features") else {}
    blocks, numbers = [], {}
    for name in [*[name for name in maps if name != "output"][-2:], ""]:
        f = analysis.map_of(*look.pair, name, mean=look.scale[0], std=look.scale[1])
        found = np.asarray(jax.jit(lambda f, x: f(x))(f, look.shown[rows]))
        units = analysis.unit_statistics(found.reshape(len(found), -1, found.shape[-1]).mean(1), top=4)
        chosen = np.flatnonzero(units.peaks[:, 0] > 0)
        chosen = chosen[np.arange(min(_UNITS, len(chosen))) * len(chosen) // max(min(_UNITS, len(chosen)), 1)]
        if not len(chosen):
            continue
        made = analysis.visualize(
            jax.random.key(0), analysis.channel_objective(f, chosen), _small(f, look.shown.shape[1:]),
            count=len(chosen), channels=look.shown.shape[-1], steps=_STEPS,
        )  # fmt: skip
        names = [f"{name}: {k}" if name else str(look.names[k] if len(look.names) else k) for k in chosen]
        beside, best = look.shown[rows][units.top[chosen]], units.peaks[chosen, 0]
        what = (
            f"{name or 'classes'}: images made in {_STEPS} steps to excite a unit, and the four of {len(rows)} that do"
        )
        blocks.append(
            Picture(analysis.draw_visualization(made, names=names, patches=beside, best=best), what, wide=True)
        )
        numbers[name or "classes"] = {
            "units": chosen.tolist(), "made": made.scores.tolist(), "data": best.tolist(),
        }  # fmt: skip
    return blocks, numbers


def _small(f: Callable, shape: tuple[int, ...]) -> tuple[int, int]:
    """The height and width of images to make: those of the net's own, smaller where it takes smaller ones."""
    less = tuple(min(side, _SIDE) for side in shape[:2])
    try:
        jax.eval_shape(f, jax.ShapeDtypeStruct((1, *less, shape[-1]), np.float32))
    except (ValueError, TypeError, ScopeParamShapeError):
        return shape[0], shape[1]
    return less


def electrophysiology(look: Look) -> Found:
    """Hubel and Wiesel's experiment on each map's units: how gratings tune them, and what noise excites them."""
    shape = look.seen.shape[1:]
    fields = analysis.receptive_fields(look.net, (1, *shape))
    cells, blocks, numbers = [], [], {}
    for name in [name for name in fields if name != "output"]:
        f = analysis.map_of(*look.pair, name, mean=look.scale[0], std=look.scale[1])
        found = analysis.electrophysiology(f, fields[name], shape)
        live = np.flatnonzero(found.live)
        if not len(live):
            continue
        values = _tuned(found)
        numbers[name] = {**values, "circular_variance": found.circular_variance[live].tolist(),
                         "modulation": found.modulation[live].tolist(), "units": live.tolist()}  # fmt: skip
        words = [
            f"{values[word]:.0%}" if word in ("selective", "simple") else readable(values[word]) for word in values
        ]
        cells.append([name, f"{len(live)}/{len(found.live)}", *words])
        noise = analysis.spike_triggered_average(jax.random.key(0), f, fields[name], shape, images=_NOISES)
        order = live[np.argsort(found.circular_variance[live], kind="stable")]
        shown = order[np.arange(min(8, len(order))) * len(order) // min(8, len(order))]
        drawn = analysis.draw_electrophysiology(found, noise=noise, units=shown)
        what = f"{name}: units from the most to the least tuned; tuning, answer by phase, average of {_NOISES} noises"
        blocks.append(Picture(drawn, what, wide=True))
    if not cells:
        raise ValueError("no unit of any map answers to gratings")
    head = ["map", "live", "selective", "median CV", "simple", "median F1/F0", "orientations"]
    return [Rows(head, cells), *blocks], numbers


def _tuned(found: analysis.Electrophysiology) -> dict[str, float]:
    """Of live units: which share is tuned (CV < 0.5) and which simple (F1/F0 > 1), medians, and what is preferred."""
    variance, swing = found.circular_variance[found.live], found.modulation[found.live]
    return {
        "selective": float(np.mean(variance < 0.5)),
        "variance": float(np.median(variance)),
        "simple": float(np.mean(swing > 1)),
        "swing": float(np.median(swing)),
        "orientations": len(np.unique(found.orientation[found.live])),
    }


def gabors(look: Look) -> Found:
    """Whether the filters of the first convolution of 5×5 or more are Gabor functions, as in a cat's first cortex."""
    path = next((path for path, shape in look.kernels.items() if min(shape[:2]) >= 5), "")
    if not path:
        raise ValueError("the net has no kernel of 5×5 or larger; nine parameters fit a smaller one whatever it is")
    images = analysis.filters(look.variables, path).images
    kept = np.arange(min(_FITTED, len(images))) * len(images) // min(_FITTED, len(images))
    found = analysis.fit_gabor(jax.random.key(0), images[kept])
    words = f"{path}: {found.alike.sum()} of {len(kept)} filters are better Gabor functions than 99 % of noise"
    numbers = {word: getattr(found, word).tolist() for word in ("quality", "null", "share", "alike", "cycles")}
    return [Picture(analysis.draw_gabors(found), words, wide=True)], {"path": path, "filters": kept.tolist(), **numbers}


def faithfulness(look: Look) -> Found:
    """What becomes of the answer when the pixels that an attribution names are deleted, or inserted alone."""
    rows = look.order[:_IMAGES]
    asked_of = look.pair, look.seen[rows], look.asked[rows]

    def judged(method):
        return analysis.faithfulness(*asked_of, analysis.attribute(*asked_of, method))

    found, said = by_method(_METHODS, judged)
    areas = {
        method: {kind: float(np.mean(getattr(each, f"{kind}_area"))) for kind in ("deletion", "insertion")}
        for method, each in found.items()
    }
    words = f"mean over {len(rows)} examples; a faithful attribution falls fast and rises fast"
    return [*said, Picture(analysis.draw_faithfulness(found), words, wide=True)], areas


def sanity(look: Look) -> Found:
    """What is left of each attribution when the net's layers are drawn anew, from the top."""
    rows = look.order[:_IMAGES]
    asked_of = jax.random.key(0), look.pair, look.seen[rows], look.asked[rows]
    methods = (*_METHODS, "guided_backprop")
    found, said = by_method(methods, lambda method: analysis.sanity(*asked_of, method=method))
    words = f"mean over {len(rows)} examples; what stays high says little of what the net has learned (Adebayo 2018)"
    numbers = {
        method: {"layers": list(each.layers), "correlation": each.correlation.mean(1).tolist()}
        for method, each in found.items()
    }
    return [*said, Picture(analysis.draw_sanity(found), words)], numbers


def occlusion(look: Look) -> Found:
    """How much less sure the net is when a window of the image is covered, of the worst examples and the best."""
    rows = look.both_ends(2)
    side = max(2, min(look.seen.shape[1:3]) // 7)
    found = analysis.occlusion(look.pair, look.seen[rows], look.asked[rows], window=side, stride=max(side // 2, 1))
    drawn = analysis.draw_attributions(
        look.shown[rows], {"occlusion": np.asarray(found)}, captions=[look.said(row) for row in rows]
    )
    return [Picture(drawn, f"windows of {side} pixels; red is missed most")], {"window": side, "rows": rows.tolist()}
