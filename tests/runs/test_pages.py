"""A page stands alone: what is put on it is data, its pictures are in it, and a browser has no complaint."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from cnnjax.runs.pages import Code, Links, Part, Picture, Rows, write_page
from tests.browsing import seen

EVIL = "<script>window.ran = 1</script><img src=x onerror='window.ran = 2'>\"'&\x1b[31m"


def chart(title="a chart"):
    figure = Figure(figsize=(4, 3))
    axes = figure.add_subplot()
    axes.plot([1, 2, 3], [1, 4, 9])
    axes.set_title(title)
    return figure


def photo(side=32, seed=0, pixels=32):
    figure = Figure(figsize=(side / 10, side / 10))
    axes = figure.add_subplot()
    axes.imshow(np.random.default_rng(seed).random((pixels, pixels, 3)), interpolation="nearest")
    return figure


def written(path, blocks, title="a page"):
    write_page(path, title, "what it is of", [Part("first", blocks), Part("second", []), Part("third", ["words"])])
    return path.read_text()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page whose every name is code."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    (path.parent / "a file").write_text("there")
    blocks = [EVIL, Picture(chart(EVIL.replace("\x1b", "")), EVIL), Picture(photo(), EVIL), Code(EVIL, EVIL)]
    blocks += [Rows([EVIL, "n"], [[EVIL, EVIL]], title=EVIL), Rows(["a"], [["b"]]), Links([(EVIL, "a file")])]
    write_page(path, EVIL, EVIL, [Part(EVIL, blocks)] * 3)
    return path


def test_names_do_nothing_on_a_page(hostile):
    text = hostile.read_text()
    assert "<script" not in text
    assert "\x1b" not in text
    assert not re.search(r"<[^>]*\sonerror=", re.sub(r"'[^']*'|\"[^\"]*\"", "", text))
    assert text.count("&lt;script&gt;") > 20


def test_a_page_loads_nothing_and_says_so_to_the_browser(hostile):
    text = hostile.read_text()
    assert "default-src 'none'" in text
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r"<img[^>]* src='([^']*)'", text))
    assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org)[\w.]+", re.sub(r"base64,[^']*", "", text))


def test_a_browser_draws_every_figure_and_has_nothing_to_complain_of(hostile):
    for width, dark in ((1200, False), (390, True)):
        found = seen(hostile, width=width, dark=dark)
        assert not found["errors"]
        assert found["ran"] == 0
        assert len(found["images"]) == len(found["charts"]) == 3
        assert all(complete and wide > 100 for complete, wide in found["images"])
        assert min(found["charts"]) > 100
        assert found["wide"] <= 0, "the page is wider than the screen"
        assert found["background"] == ("rgb(22, 25, 30)" if dark else "rgb(255, 255, 255)")


def test_charts_are_drawn_as_lines_and_images_as_pixels_with_names_of_their_own(tmp_path):
    text = written(
        tmp_path / "a.html", [Picture(chart(), "one"), Picture(chart("other"), "two"), Picture(photo(), "x")]
    )
    assert text.count("<svg") == 2
    assert text.count("<img") == 1
    names = re.findall(r' id="([^"]+)"', text)
    assert len(names) == len(set(names)) > 10
    assert {"".join(pair) for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)} <= set(names)


def test_a_page_has_at_most_three_megabytes(tmp_path):
    photos = [
        Picture(photo(60, seed, 800), "noise, which no compression makes less of", wide=True) for seed in range(5)
    ]
    assert 500_000 < len(written(tmp_path / "a.html", photos)) <= 3_000_000


def test_the_same_page_is_the_same_bytes(tmp_path):
    first, second = (written(tmp_path / name, [Picture(chart(), "one"), Picture(photo(), "x")]) for name in "ab")
    assert first == second
