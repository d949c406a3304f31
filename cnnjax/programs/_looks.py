"""What `analyze` shows of a net, cheap as it is: each public function is a part, named by `--what`.

A part takes a `Look` and gives the blocks of its page and its numbers. What it can't be asked of raises a ValueError
that says why.
"""

import jax
import numpy as np

from cnnjax import analysis
from cnnjax.ops import losses
from cnnjax.programs import _page_parts
from cnnjax.programs._look import Look, by_method, spread
from cnnjax.runs.pages import Picture, Rows
from cnnjax.runs.tables import readable

Found = tuple[list, dict]
_ROWS = 3  # examples of either end that are attributed, or whose activations are drawn
_LAYERS = 2  # whose filters and units are drawn
_ROOF = 64, 4_000_000  # images of one batch; pixels
_UNITS, _ATTACKED = (200, 2_000_000), (100, 300_000)  # images that units are asked about, or that are attacked; pixels
_EPSILONS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
_STEPS = 10  # of projected ascent
_TURNED, _LITTLE = 2, 0.007  # examples that are shown as they are deceived; by how much, of Goodfellow 2015


def confusion(look: Look) -> Found:
    """Which classes are taken for which: the matrix in the order of similarity, and the sets."""
    counts = analysis.confusion(_labels(look), look.asked, classes=look.facts.classes)
    sets = [[[other, count] for other, count in row] for row in analysis.confusion_sets(counts)]
    part = _page_parts.classes(counts, look.names, places=False)
    return list(part.blocks), {"names": list(look.names), "counts": counts.tolist(), "sets": sets}


def calibration(look: Look) -> Found:
    """How far confidences can be believed, before and after a temperature."""
    part, numbers = _page_parts.believed(look.probabilities, _labels(look), look.held_out)
    return list(part.blocks), numbers


def _labels(look: Look) -> np.ndarray:
    if not len(look.labels):
        raise ValueError("nothing is known of what the pictures are; a run has labels, --workdir=DIR")
    return look.labels


def fields(look: Look) -> Found:
    """What part of the image a unit of each map sees: side, stride and first pixel, by arithmetic."""
    found = analysis.receptive_fields(look.net, (1, *look.seen.shape[1:]))
    cells = [
        [name, *(_sides(side) for side in (field.size, field.stride, field.start))] for name, field in found.items()
    ]
    numbers = {name: {word: list(value) for word, value in vars(field).items()} for name, field in found.items()}
    return [Rows(["map", "side", "stride", "first pixel"], cells)], numbers


def _sides(sides: tuple) -> str:
    return "×".join("all" if np.isinf(side) else str(int(side)) for side in sides)


def filters(look: Look) -> Found:
    """The filters of the first convolutions as pictures."""
    shapes = look.kernels
    if not shapes:
        raise ValueError("the net has no convolution whose kernel is more than one pixel")
    paths = list(shapes)[:_LAYERS]
    found = {path: analysis.filters(look.variables, path) for path in paths}
    blocks = [
        Picture(analysis.draw_filters(each), f"{path}: {len(each.images)} filters of {shapes[path][2]} channels")
        for path, each in found.items()
    ]
    return blocks, {path: {"share": each.share.tolist()} for path, each in found.items()}


def activations(look: Look) -> Found:
    """What the net's maps answer to the surest and to the worst example, and the classes that come of it."""
    rows = look.both_ends(1)
    maps = analysis.activations(*look.pair, look.seen[rows])
    maps = {name: np.asarray(found) for name, found in maps.items() if found.ndim == 4}
    blocks = [
        Picture(
            analysis.draw_activations(
                look.shown[row],
                {name: found[place] for name, found in maps.items()},
                probabilities=look.probabilities[row],
                names=look.names,
            ),
            f"the liveliest units of each map; {look.said(row)}",
            wide=len(maps) > 3,
        )
        for place, row in enumerate(rows)
    ]
    return blocks, {"maps": {name: list(found.shape[1:]) for name, found in maps.items()}}


def units(look: Look) -> Found:
    """What each unit of the last maps answers to most, with how often and how selectively it answers."""
    rows = spread(look, *_UNITS)
    labels = look.labels[rows] if len(look.labels) else ()
    maps = analysis.activations(*look.pair, look.seen[rows])
    seen, cells, blocks, numbers = analysis.receptive_fields(look.net, (1, *look.seen.shape[1:])), [], [], {}
    maps = {name: np.asarray(found) for name, found in maps.items() if found.ndim == 4}
    for name, found in maps.items():
        each = analysis.unit_statistics(found, labels=labels)
        values = {word: _mean(getattr(each, word)) for word in ("mean", "zeros", "dead", "sparseness", "selectivity")}
        cells.append([name, f"{found.shape[-1]}", *(readable(value) for value in values.values())])
        numbers[name] = {word: np.asarray(value).tolist() for word, value in vars(each).items()}
        if name in list(maps)[-_LAYERS:]:
            patches = analysis.unit_patches(look.shown[rows], each, seen[name])
            what = f"{name}: what its first units saw where they answered most, of {len(found)} images"
            what += "; below, the unit, the class that it prefers, and how much" if len(labels) else ""
            blocks.append(Picture(analysis.draw_units(patches, each), what, wide=True))
    head = ["map", "units", "mean", "zeros", "dead", "sparseness", "selectivity"]
    return [Rows(head, cells), *blocks], numbers


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    return float(known.mean()) if len(known) else float("nan")


def attribution(look: Look) -> Found:
    """What in the worst examples, and in the best, the answer is made of: gradients, and the last map's share."""
    rows = look.both_ends(_ROWS)
    images, asked = look.seen[rows], look.asked[rows]
    methods = ("saliency", "input_x_gradient", "guided_backprop", "integrated_gradients", "grad_cam")
    found, said = by_method(methods, lambda method: np.asarray(analysis.attribute(look.pair, images, asked, method)))
    drawn = analysis.draw_attributions(look.shown[rows], found, captions=[look.said(row) for row in rows])
    ends = "the worst examples, then the best; red speaks for the predicted class, blue against it"
    numbers = {method: np.asarray(each).sum((1, 2, 3)).tolist() for method, each in found.items()}
    return [*said, Picture(drawn, ends, wide=True)], {"rows": rows.tolist(), "sums": numbers}


def attacks(look: Look) -> Found:
    """How accuracy falls with how far each number of an image may be moved, and what noise of that size does."""
    labels = look.labels if len(look.labels) else look.asked
    rows = spread(look, *_ATTACKED)
    images, labels = look.images[rows], labels[rows]
    epsilons = np.array(_EPSILONS)
    curves = analysis.attack_curves(jax.random.key(0), look.f, images, labels, epsilons, steps=_STEPS)
    words = f"accuracy on {len(rows)} examples" + ("" if len(look.labels) else " of what was predicted of them before")
    numbers = {name: share.tolist() for name, share in curves.accuracy.items()}
    blocks = [Picture(analysis.draw_attack_curves(curves), words), *_deceived(look)]
    return blocks, {"epsilons": list(_EPSILONS), "accuracy": numbers}


def _deceived(look):
    """The surest examples moved by the sign of the gradient: by next to nothing, and as far as it takes to deceive."""
    rows, sizes = look.order[:_TURNED], (_LITTLE, *_EPSILONS[2:])
    images, asked, shown = look.images[rows], look.asked[rows], []
    moved, shares = map(np.asarray, _followed(look.f, images, asked, np.float32(sizes)))
    for place, row in enumerate(rows):
        guesses = shares[:, place].argmax(1)
        for number in dict.fromkeys((0, *np.flatnonzero(guesses != asked[place])[:1].tolist())):
            guess = guesses[number]
            name = look.names[guess] if len(look.names) else guess
            figure = analysis.draw_attack(
                images[place], moved[number, place], before=look.said(row),
                after=f"{name}, {shares[number, place, guess]:.0%}", epsilon=sizes[number],
            )  # fmt: skip
            shown.append(Picture(figure, f"one of the surest examples, along its gradient's sign by {sizes[number]:g}"))
    return shown


@jax.jit
def _followed(f, images, labels, epsilons):
    """Images (E, B, H, W, C) moved along the sign of the gradient by each of `epsilons`, and what is then said of them.

    That are probabilities (E, B, K).
    """

    def loss(x):
        return losses.softmax_cross_entropy(f(x), labels)

    def at(epsilon):
        moved = analysis.fgsm(loss, images, epsilon)
        return moved, jax.nn.softmax(f(moved))

    return jax.lax.map(at, epsilons)


def roofline(look: Look) -> Found:
    """What bounds each layer on this machine, multiplies or memory, and what XLA counts in the whole net."""
    rows = spread(look, *_ROOF)
    limits = analysis.machine_limits(side=512, megabytes=32, runs=3)
    found = analysis.roofline_of(look.net, look.seen[rows].shape, limits)
    if not found.layers:
        raise ValueError("the net has no layer that multiplies")
    ours = 2 * sum(layer.macs for layer in found.layers)
    xla = analysis.compiled_cost(look.f.func, *look.f.args, look.images[rows])
    words = f"{len(rows)} examples; {limits.flops / 1e9:.3g}·10⁹ operations and {limits.bandwidth / 1e9:.3g}·10⁹ bytes "
    words += "a second, measured now; dots are as large as their share of the time"
    cells = [
        [layer.path, f"{layer.macs:,}", f"{layer.bytes:,}", readable(layer.intensity), f"{found.seconds(layer):.2g}"]
        for layer in found.layers
    ]
    head = ["layer", "MACs", "bytes", "operations a byte", "seconds, at least"]
    counted = [["operations, 2 · MACs of the layers", f"{ours:,}"], ["operations that XLA counts", f"{xla.flops:,.0f}"]]
    for name in ("arguments", "outputs", "held"):
        counted.append([f"bytes of {name}" if name != "held" else "bytes held meanwhile", f"{getattr(xla, name):,}"])
    counted += [["loops", f"{xla.fusions}"], ["seconds to compile", f"{xla.seconds:.2g}"]]
    layers = {layer.path: {"macs": layer.macs, "bytes": layer.bytes} for layer in found.layers}
    blocks = [
        Picture(analysis.draw_roofline(found), words),
        Rows(head, cells),
        Rows(["the whole program", ""], counted),
    ]
    return blocks, {"limits": vars(limits), "layers": layers, "compiled": vars(xla)}
