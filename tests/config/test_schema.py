"""The signature is the whole schema: words, bounds, and what is traced; nothing hangs on an option's name."""

import re
from typing import Annotated, Literal, get_args

import pytest

from cnnjax import config as sections
from cnnjax.annotations import Bounds, Count, NonNegative, Rate, Share, Static, Text, peeled
from cnnjax.config import ConfigError, _values, section
from cnnjax.config.signatures import options_of
from cnnjax.refusals import fits, fitted, limits, refuse_misfits
from tests.config.test_config import refused, whole

type Even = Annotated[int, Bounds(2, 8)]
type Pair[T] = tuple[T, T]


def of_every_kind(
    *,
    plain: float = 0.5,
    share: Share = 0.5,
    shaping: Static[float] = 0.5,
    shaping_share: Static[Share] = 0.5,
    nested: Annotated[Annotated[float, Bounds(0)], Bounds(high=2, below=True), "a mark of the user's own"] = 1.0,
    alias: Even = 4,
    several: tuple[Share, ...] = (),
    pair: Pair[Count] = (0, 0),
    either: Literal["auto"] | Count = "auto",
    words: tuple[Literal["left", "right"], ...] = (),
    mixed: tuple[Literal["conv", "pool"] | Annotated[int, Bounds(1)], ...] = (),
    depth: Literal[8, 16] = 8,
    version: Literal["1", "1.5"] = "1",
    free: Text = "",
):
    """Nothing; its signature is looked at."""


OPTIONS = options_of(of_every_kind)


def test_floats_are_traced_whatever_their_bounds_unless_they_shape_the_program():
    assert [key for key, option in OPTIONS.items() if option.numeric] == ["plain", "share", "nested"]
    assert peeled(Static[Share]) == (float, (Bounds(0, 1), "static"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("share", 0), ("share", 1.0), ("shaping_share", 1), ("nested", 0.0), ("alias", 8), ("several", (0, 1.0)),
        ("pair", (0, 7)), ("either", "auto"), ("either", 3), ("words", ("right", "left")), ("mixed", ("conv", 3)),
        ("depth", 16), ("version", "1.5"), ("free", "anything"), ("plain", -1e9),
    ],
)  # fmt: skip
def test_a_value_within_its_words_and_bounds_passes_and_its_text_means_it(key, value):
    fitting = _values.checked(key, value, OPTIONS[key])
    assert fitting == value
    assert _values.parsed(key, str(value), OPTIONS[key]) == fitting


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("share", 1.5, "share is 1.5; it must be ≥ 0 and ≤ 1"),
        ("share", "half", "share is 'half'; it must be a number"),
        ("shaping_share", -0.1, "shaping_share is -0.1; it must be ≥ 0 and ≤ 1"),
        ("nested", -1.0, "nested is -1.0; it must be ≥ 0"),
        ("nested", 2.0, "nested is 2.0; it must be < 2"),
        ("alias", 1, "alias is 1; it must be ≥ 2 and ≤ 8"),
        ("several", (0.5, 1.5), "several holds 1.5; it must be ≥ 0 and ≤ 1"),
        ("several", (0.5, float("nan")), "several holds nan; it must be a finite number"),
        ("several", (0.5, "a"), "several is (0.5, 'a'); it must be a tuple of numbers"),
        ("pair", (1, -1), "pair holds -1; it must be ≥ 0"),
        ("pair", (1,), "pair is (1,); it must be a tuple of 2: a whole number, a whole number"),
        ("either", "atuo", "either is 'atuo'; nearest: auto; or a whole number"),
        ("either", -1, "either is -1; it must be ≥ 0"),
        ("either", 0.5, "either is 0.5; it must be one of auto or a whole number"),
        ("words", ("left", "rihgt"), "words holds 'rihgt'; nearest: right; allowed: left, right"),
        ("mixed", ("conv", 0), "mixed holds 0; it must be ≥ 1"),
        ("mixed", ("convv", 3), "mixed holds 'convv'; nearest: conv; allowed: conv, pool; or a whole number"),
        ("depth", 12, "depth is 12; it must be one of 8, 16"),
        ("version", "1.6", "version is '1.6'; nearest: 1.5; allowed: 1, 1.5"),
        ("version", 1, "version is 1; it must be one of 1, 1.5"),
    ],
)
def test_a_value_beyond_them_is_refused_with_what_is_allowed(key, value, text):
    assert refused(_values.checked, key, value, OPTIONS[key]) == text
    assert not fits(value, OPTIONS[key].kind)


def test_a_users_options_have_the_bounds_that_their_signature_says_and_no_others(tmp_path, monkeypatch):
    (tmp_path / "my_sounds.py").write_text(
        "from cnnjax.annotations import NonNegative\nfrom cnnjax.data import digits\nfrom typing import Literal\n"
        "def audio(*, rate: float = 16000.0, floor: float = -80.0, lr: float = -1.0, steps: int = -5,\n"
        "          window: Literal['hann', 'hamming'] = 'hann', gain: NonNegative = 1.0):\n    return digits()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    audio = section("data", "my_sounds:audio")
    config = whole(data=audio)
    assert (config.data.rate, config.data.floor, config.data.steps) == (16000.0, -80.0, -5)
    assert sections.change(config, {"data.floor": "-100"}).data.floor == -100
    text = refused(section, "data", "my_sounds:audio", window="hanm")
    assert text == "data.window is 'hanm'; nearest: hann; allowed: hamming, hann"
    assert refused(sections.change, config, {"data.gain": -1.0}) == "data.gain is -1.0; it must be ≥ 0"


MISTYPED = [
    ("models", "resnet18", "model.stem", "cifra", "nearest: cifar; allowed: cifar, deep, imagenet"),
    ("models", "lenet5", "model.norm", "grop",
     "nearest: group; allowed: batch, channels, group, instance, layer, none"),
    ("tasks", "classification", "task.criterion", "hing",
     "allowed: binary_cross_entropy, cross_entropy, focal, squared_error"),
    ("optimizers", "sgd", "optimizer.decay_on", "kernel", "nearest: kernels; allowed: all, kernels"),
    ("data", "folder", "data.fit", "corp", "nearest: crop; allowed: crop, pad, squash"),
]  # fmt: skip


@pytest.mark.parametrize(("room", "name", "path", "word", "text"), MISTYPED)
def test_a_mistyped_word_is_refused_wherever_a_config_is_made(room, name, path, word, text, tmp_path):
    text, key = f"{path} is {word!r}; {text}", path.rpartition(".")[2]
    assert refused(section, room, name, **{key: word}) == text
    good = section(room, name)
    config = whole(**{path.partition(".")[0]: good})
    assert refused(sections.change, config, {path: word}) == text
    good[key] = word
    assert refused(whole, **{path.partition(".")[0]: good}) == text
    (tmp_path / "config.json").write_text(sections.to_json(config).replace(f'"{key}": "', f'"{key}": "{word}'))
    assert refused(sections.load, str(tmp_path / "config.json")).startswith(f"{path} is '{word}")
    assert refused(sections.load, "configs/digits.py", [f"--config.{path.partition('.')[0]}={name}",
                                                        f"--config.{path}={word}"]) == text  # fmt: skip


def test_mistyped_words_of_augmentations_and_of_the_run_are_refused_too():
    text = "augment.shift.border is 'edgy'; nearest: edge; allowed: auto, constant, edge, mean, reflect"
    assert refused(sections.augmentation, ("shift",), shift={"border": "edgy"}) == text
    assert refused(sections.change, whole(), {"augment.shift.border": "edgy"}) == text
    text = "eval.views holds 'miror'; nearest: mirror; allowed: five_crop, mirror, scales, shifts, ten_crop, tiles"
    assert refused(whole, eval={"views": ("miror",)}) == text
    assert (
        refused(whole, train={"init_head": "frsh"}) == "train.init_head is 'frsh'; nearest: fresh; allowed: file, fresh"
    )
    assert refused(whole, eval={"view_scales": (1.0, 0.0)}) == "eval.view_scales holds 0.0; it must be > 0"


def test_every_entry_is_within_its_own_words_and_bounds():
    for room in sections.ROOMS:
        for name, function in sections.entries(room).items():
            for key, option in options_of(function).items():
                if option.default or not option.room:
                    assert fitted(f"{name}.{key}", option.default, option.kind) == option.default


def test_python_callers_are_refused_by_the_same_signature_and_traced_numbers_pass():
    def shrink(x, *, rate: Rate = 0.5, kind: Literal["avg", "max"] = "avg", anything: str = ""):
        refuse_misfits(shrink, locals(), path="model.")
        return rate, kind

    assert shrink("x", rate=object(), kind="max")[1] == "max"
    with pytest.raises(ConfigError, match=re.escape("model.kind is 'mx'; nearest: max; allowed: avg, max")):
        shrink("x", kind="mx")
    with pytest.raises(ConfigError, match=r"model\.rate is 1\.0; it must be ≥ 0 and < 1"):
        shrink("x", rate=1.0)


def test_a_listing_says_words_and_bounds():
    assert limits(Literal["a", "b"] | NonNegative) == "a | b | ≥ 0"
    assert limits(tuple[tuple[Text, Share], ...]) == "each ≥ 0 and ≤ 1"
    assert limits(str) == limits(bool) == limits(tuple) == ""
    lenet = " ".join(sections.listing("lenet5").split())
    assert "pool='avg' (avg | max | lp | blur)" in lenet
    assert "dropout=0.0 (≥ 0 and < 1)" in lenet
    resnet = " ".join(sections.listing("resnet").split())
    assert "stem='imagenet' (imagenet | deep | cifar)" in resnet
    assert "parallel='auto' (auto | jit | pmap | shard_map)" in " ".join(sections.listing("train").split())
    models = " ".join(sections.listing("models").split())
    assert models.count("he_normal | he_uniform") == 1, "a long list of words stands once"
    assert "init='torch' (see init below)" in models


def test_words_that_two_rooms_say_stand_once():
    from cnnjax.augment import views
    from cnnjax.config import options

    kind = options_of(options.eval)["views"].kind
    assert all(callable(getattr(views, name)) for name in get_args(get_args(kind)[0]))
