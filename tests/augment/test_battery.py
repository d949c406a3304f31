"""What every entry of the room must do."""

import inspect

import jax
import numpy as np
import pytest

from cnnjax import augment
from cnnjax.annotations import WORKS_ON
from cnnjax.augment import compose, kind
from cnnjax.config.signatures import options_of
from cnnjax.fields import INPUTS, WORDS, misshapen
from tests.augment.scenes import CLASSES, ENTRIES, OPTIONS, SPATIAL, applied, batch, facts, floats, landed, seen

STRONG = [name for name, entry in ENTRIES.items() if "strength" in inspect.signature(entry).parameters]
FIXED = ("autocontrast", "equalize", "posterize", "solarize")
RESIZING = ("center_crop", "resize", "temporal_crop")


def defaults(entry):
    return {p.name: p.default for p in inspect.signature(entry).parameters.values() if p.kind is p.KEYWORD_ONLY}


def numeric(entry):
    return [name for name, option in options_of(entry).items() if option.numeric and name != "strength"]


@pytest.fixture(scope="module", params=[*SPATIAL, *sorted(set(ENTRIES) - set(SPATIAL))])
def entry(request):
    """One entry, traced once for the whole module: its name, a batch, the numbers and the function of them, its traces.

    Where something moves, the points are the mark and the corners of its turned box.
    """
    name, fields, traces = request.param, batch(request.param), []
    static, order = OPTIONS.get(name, {}), {"mirror": (0, 2, 1, 4, 3)}  # the two of the front, those of the back
    if name in SPATIAL:
        fields["points"] = np.concatenate([fields["points"], fields["corners"][:, 0] - 0.5], 1)
        fields["visible"] = np.ones((8, 5), np.float32)

    @jax.jit
    def program(key, fields, numbers):
        traces.append(name)
        return compose(facts(extra=order), (name,), {name: {**static, **numbers}})(key, fields)

    def run(seed, numbers):
        return {field: np.asarray(value) for field, value in program(jax.random.key(seed), fields, numbers).items()}

    numbers = {option: float({**defaults(ENTRIES[name]), **static}[option]) for option in numeric(ENTRIES[name])}
    if name in STRONG:
        numbers["strength"] = 1.0
    return name, fields, numbers, run, traces


def test_an_entry_keeps_its_promises(entry):
    name, fields, numbers, run, traces = entry
    one, same, other = (run(seed, numbers) for seed in (1, 1, 2))
    assert all(np.array_equal(one[field], same[field]) for field in one), "same key, same result"
    given = floats(seen(fields)) if seen(fields).dtype == np.uint8 else seen(fields)
    assert seen(one).dtype == np.float32
    assert np.isfinite(seen(one)).all()
    for field in ("valid", "index", "epoch", *(() if "target" in one else ("label",))):
        assert name == "repeat" or np.array_equal(one[field], fields[field]), f"{field} passes through"
    if "target" in one:
        assert np.array_equal(one["label"], one["target"].argmax(-1)), "the label is what the target has most of"
    if name in STRONG:
        assert not np.array_equal(seen(one), seen(other)) or name in FIXED, "another key, another result"
        assert not np.array_equal(seen(one), given) or seen(one).shape != given.shape
        still = run(1, {**numbers, "strength": 0.0})
        if name not in RESIZING:
            assert np.array_equal(seen(still), given), "zero strength is the identity, exactly"
        if "target" in still:
            assert np.array_equal(still["target"], np.eye(5, dtype=np.float32)[fields["label"]])
    if name in SPATIAL:
        gaps = landed(one)
        if name in ("randaugment", "trivialaugment"):
            gaps.pop("image")  # its colours change too
        assert max(gaps.values()) < 0.5, f"the mark, its point, its boxes and its segments land together: {gaps}"
        assert np.array_equal(one["heights"], fields["heights"]), "heights stay"
    for option, value in numbers.items():
        run(1, {**numbers, option: 0.7 * value})
    assert len(traces) == 1, "numbers are arguments of the program, never part of it"


@pytest.mark.parametrize("entry", SPATIAL, indirect=True)
def test_every_corner_of_a_turned_box_lands_where_its_point_does_the_front_first_and_the_way_round(entry):
    _, fields, numbers, run, _ = entry
    out = run(1, numbers)
    seen = out["present"][:, 0] > 0
    assert seen.sum() >= 2
    corners = out["corners"][seen, 0]
    np.testing.assert_allclose(corners, out["points"][seen, 1:] + 0.5, atol=1e-3)
    turn = [np.linalg.det(np.stack([b - a, c - b])) for corners in (corners, fields["corners"][seen, 0])
            for a, b, c, _ in corners]  # fmt: skip
    assert (np.sign(turn) == np.sign(turn[0])).all()


SHAPES = {  # an example of every word, beside an image of 16×16, a video of 9 frames of it, a series of 20 steps
    "image": (16, 16, 3),
    "video": (9, 16, 16, 3),
    "series": (20, 2),
    "tokens": (20,),
    "label": (),
    "target": (CLASSES,),
    "references": (2, 6, 2),
    "probabilities": (CLASSES,),
    "boxes": (3, 4),
    "classes": (3,),
    "present": (3,),
    "ignored": (3,),
    "areas": (3,),
    "pixel_area": (),
    "scores": (3,),
    "corners": (3, 4, 2),
    "heights": (3, 2),
    "points": (1, 2),
    "visible": (1,),
    "instances": (16, 16),
    "masks": (3, 16, 16),
    "group": (),
    "labelled": (),
    "valid": (),
    "index": (),
    "epoch": (),
}
SIZES = {"image": (16, 16), "video": (9, 16, 16), "series": (20,), "tokens": (20,)}
LABELS = tuple(word for word in WORDS if word not in INPUTS)
PLACED = ("boxes", "corners", "points", "instances", "masks")


def outcome(name, given, word, shape, about, **more):
    """What a batch's words have become, by shape and type, or the message by which the entry refused it."""
    size = {"center_crop": {"side": 8}, "resize": {"height": 8, "width": 12}}
    options = {name: OPTIONS.get(name, {}) | size.get(name, {})}
    words = {"label": (), "index": (), "epoch": (), "valid": (), given: SHAPES[given], word: shape, **more}
    fields = {
        field: jax.ShapeDtypeStruct((8, *shape), np.int32 if field in WORDS and WORDS[field].whole else np.float32)
        for field, shape in words.items()
    }
    try:
        return jax.eval_shape(compose(about, (name,), options), jax.random.key(0), fields)
    except ValueError as error:
        return str(error).partition("\n")[0]


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_an_entry_carries_every_word_or_refuses_it_by_name_and_path(name):
    given = next(word for word in ("image", "video", "series") if word in batch(name))
    words = {word: SIZES[given] if word == "segments" else SHAPES[word] for word in LABELS}
    together = outcome(name, given, "label", (), facts(), **words)  # one trace where nothing is refused
    for word, shape in words.items():
        out = outcome(name, given, word, shape, facts()) if isinstance(together, str) else together
        if isinstance(out, str):
            assert out.startswith(f"augment.{name}: the batch has {word}, "), (word, out)
            if word != "references":  # forecasts follow a series' own last step
                assert ENTRIES[name] in (augment.mixup, augment.cutmix, augment.mix, augment.permute), (word, out)
            else:
                assert name in MOVED[len(SPATIAL) :], out
        else:
            shapes = {field: value.shape[1:] for field, value in out.items()}
            assert not misshapen(shapes, facts()), (word, shapes)
            assert out[word].dtype == (np.int32 if WORDS[word].whole else np.float32), word


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_an_entry_refuses_inputs_that_it_cannot_read_by_its_path(name):
    for given in INPUTS:
        out = outcome(name, given, "label", (), facts(SHAPES[given]))
        if isinstance(out, str):
            assert out.startswith(f"augment.{name}"), out
            assert given in out, out


MOVED = [*SPATIAL, "mixup", "cutmix", "mix", "permute", "temporal_crop", "series_shift", "series_scale"]
MOVED += ["series_stretch", "log_mel"]


@pytest.mark.parametrize("name", sorted(set(ENTRIES) - set(MOVED) - {"repeat"}))
def test_what_moves_nothing_leaves_every_label_as_it_is(name):
    given = next(word for word in ("image", "video", "series") if word in batch(name))
    rng, fields = np.random.default_rng(0), batch(name)
    for word in LABELS:
        shape = SIZES[given] if word == "segments" else SHAPES[word]
        kind = np.int32 if WORDS[word].whole else np.float32
        fields.setdefault(word, rng.integers(0, 2, (8, *shape)).astype(kind))
    out = applied((name,), fields, {name: OPTIONS.get(name, {})}, about=facts(), words=LABELS)
    assert all(np.array_equal(out[word], fields[word]) for word in LABELS)


@pytest.mark.parametrize("name", [*sorted(MOVED)])
def test_labels_of_the_wrong_shape_and_words_of_ones_own_are_refused_where_something_moves(name):
    given = next(word for word in ("image", "video", "series") if word in batch(name))
    for word, shape in (("boxes", (9, 3, 4)), ("points", (9, 1, 2)), ("segments", (7, 7)), ("mine", (16, 16))):
        out = outcome(name, given, word, shape, facts())
        assert isinstance(out, str), (word, out)
        assert out.startswith(f"augment.{name}: the batch has {word}, "), (word, out)
    assert outcome(name, given, "mine", (), facts())["mine"].shape == (8,), "a number an example stays with it"


def test_mixing_refuses_what_it_cannot_mix():
    rows = {*PLACED, "classes", "present", "ignored", "areas", "scores", "heights", "visible", "labelled"}
    refusing = {
        "mixup": {"segments", "tokens", *rows},
        "cutmix": {"tokens", "series", *rows},
    }
    refusing["mix"] = refusing["mixup"] | refusing["cutmix"]
    for name, words in refusing.items():
        for word in WORDS:
            out = outcome(name, "image", word, SHAPES.get(word, (16, 16)), facts())
            assert isinstance(out, str) == (word in words), (name, word)
            if word in words:
                assert (
                    out
                    == f"augment.{name}: the batch has {word}, which it can't mix; leave {name} out of augment.train"
                )
    out = outcome("mixup", "tokens", "label", (), facts())
    assert out == "augment.mixup: the batch has tokens, which it can't mix; leave mixup out of augment.train"


def test_an_entry_says_what_it_works_on_and_documents_itself():
    for name, entry in ENTRIES.items():
        assert kind(entry) in WORKS_ON, name
        assert entry.__doc__, name
        if name not in STRONG:
            assert name in ("normalize", "permute", "resize", "greyscale", "center_crop", "repeat", "log_mel")


def test_pictures_of_one_channel_pass_through_what_looks_at_colours():
    names = ("saturation", "hue", "lighting", "contrast", "equalize", "greyscale", "rotate", "cutout", "normalize")
    out = applied(names, batch(shape=(12, 14, 1)), {})
    assert out["image"].shape == (8, 12, 14, 1)
    assert np.isfinite(out["image"]).all()


def test_strength_and_image_have_gradients_where_pixels_move_or_colours_change():
    fields = batch(shape=(8, 8, 3), rows=2)
    image = np.clip(floats(fields.pop("image")), 0.1, 0.9)
    names = ("rotate", "contrast", "hue", "blur")

    def total(image, strength):
        options = {name: {"strength": strength} for name in names}
        out = compose(facts(), names, options)(jax.random.key(3), fields | {"image": image})
        return (out["image"] ** 2).sum()

    slopes = jax.jit(jax.value_and_grad(total, (0, 1)))
    _, (by_image, by_strength) = slopes(image, 0.5)
    assert np.isfinite(by_image).all()
    assert np.abs(np.asarray(by_image)).max() > 0
    rise = (float(slopes(image, 0.51)[0]) - float(slopes(image, 0.49)[0])) / 0.02
    assert abs(rise - float(by_strength)) < 0.05 * abs(float(by_strength)) + 0.1
