"""What every entry of the room must do."""

import inspect

import jax
import numpy as np
import pytest

from cnnjax.annotations import WORKS_ON
from cnnjax.augment import compose, kind
from cnnjax.config.signatures import options_of
from tests.augment.scenes import ENTRIES, OPTIONS, SPATIAL, applied, batch, facts, floats, landed, seen

STRONG = [name for name, entry in ENTRIES.items() if "strength" in inspect.signature(entry).parameters]
FIXED = ("autocontrast", "equalize", "posterize", "solarize")
RESIZING = ("center_crop", "resize", "temporal_crop")


def defaults(entry):
    return {p.name: p.default for p in inspect.signature(entry).parameters.values() if p.kind is p.KEYWORD_ONLY}


def numeric(entry):
    return [name for name, option in options_of(entry).items() if option.numeric and name != "strength"]


@pytest.fixture(scope="module", params=sorted(ENTRIES))
def entry(request):
    """One entry, traced once for the whole module: its name, its function of numbers, and how often it was traced."""
    name, traces = request.param, []
    static = OPTIONS.get(name, {})

    @jax.jit
    def run(key, fields, numbers):
        traces.append(name)
        return compose(facts(), (name,), {name: {**static, **numbers}})(key, fields)

    numbers = {option: float({**defaults(ENTRIES[name]), **static}[option]) for option in numeric(ENTRIES[name])}
    if name in STRONG:
        numbers["strength"] = 1.0
    return name, numbers, run, traces


def test_an_entry_keeps_its_promises(entry):
    name, numbers, run, traces = entry
    fields = batch(name)
    one, same = run(jax.random.key(1), fields, numbers), run(jax.random.key(1), fields, numbers)
    other = run(jax.random.key(2), fields, numbers)
    assert all(np.array_equal(one[field], same[field]) for field in one), "same key, same result"
    given = floats(seen(fields)) if seen(fields).dtype == np.uint8 else seen(fields)
    assert seen(one).dtype == np.float32
    assert np.isfinite(seen(one)).all()
    for field in ("valid", "label", "index", "epoch"):
        assert name == "repeat" or np.array_equal(one[field], fields[field]), f"{field} passes through"
    if name in STRONG:
        assert not np.array_equal(seen(one), seen(other)) or name in FIXED, "another key, another result"
        assert not np.array_equal(seen(one), given) or seen(one).shape != given.shape
        still = run(jax.random.key(1), fields, {**numbers, "strength": 0.0})
        if name not in RESIZING:
            assert np.array_equal(seen(still), given), "zero strength is the identity, exactly"
        if "target" in still:
            assert np.array_equal(np.asarray(still["target"]), np.eye(5, dtype=np.float32)[fields["label"]])
    if name in SPATIAL:
        gaps = landed({field: np.asarray(value) for field, value in one.items()})
        if name in ("randaugment", "trivialaugment"):
            gaps.pop("image")  # its colours change too
        assert max(gaps.values()) < 0.5, f"the mark, its point, its box and its segment land together: {gaps}"
    for option, value in numbers.items():
        run(jax.random.key(1), fields, {**numbers, option: 0.7 * value})
    assert len(traces) == 1, "numbers are arguments of the program, never part of it"


def test_an_entry_says_what_it_works_on_and_documents_itself():
    for name, entry in ENTRIES.items():
        assert kind(entry) in WORKS_ON, name
        assert entry.__doc__, name
        if name not in STRONG:
            assert name in ("normalize", "permute", "resize", "greyscale", "center_crop", "repeat")


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
    assert np.abs(by_image).max() > 0
    rise = (slopes(image, 0.51)[0] - slopes(image, 0.49)[0]) / 0.02
    assert abs(rise - by_strength) < 0.05 * abs(by_strength) + 0.1
