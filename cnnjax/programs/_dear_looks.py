"""What `analyze` shows of a net when it is asked to by name, for it is dear: parts as in `_looks`."""

import jax
import numpy as np

from cnnjax import analysis
from cnnjax.programs._look import Look, by_method
from cnnjax.programs._looks import Found
from cnnjax.runs.pages import Picture

_METHODS = ("saliency", "integrated_gradients", "grad_cam")
_IMAGES = 16


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
