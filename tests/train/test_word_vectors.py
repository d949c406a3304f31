"""Vectors of a file begin the tables of words: of any form, by word, and never those of another language in silence."""

import numpy as np
import pytest

from cnnjax.config import ConfigError
from cnnjax.fields import Facts
from cnnjax.train._word_vectors import holds_vectors, with_vectors
from cnnjax.weights import write

WORDS = ("<padding>", "<unknown>", "film", "good", "bad", "plot")
FACTS = Facts("tokens", (4,), extra={"words": WORDS})
FILE = {"good": [1.0, 2.0], "film": [3.0, -4.0], "le": [9.0, 9.0], "Bad": [5.0, 6.0]}


def params():
    table = np.random.default_rng(0).uniform(-0.25, 0.25, (6, 2)).astype(np.float32)
    return {"words": {"vectors": table}, "head": {"kernel": np.ones((2, 2), np.float32)}}


def stored(folder, form):
    words, vectors = list(FILE), np.float32(list(FILE.values()))
    if form == "npz":
        np.savez(folder / "v.npz", words=np.array(words), vectors=vectors)
    elif form == "safetensors":
        write(folder / "v.safetensors", {"vectors": vectors.astype(np.float16)})
        (folder / "words.txt").write_text("\n".join(words) + "\n")
    else:
        lines = [f"{word} {' '.join(map(str, vector))}" for word, vector in FILE.items()]
        (folder / f"v.{form}").write_text("\n".join([*["4 2"] * (form == "vec"), *lines]))
    return folder / f"v.{form}"


@pytest.mark.parametrize("form", ["npz", "safetensors", "txt", "vec"])
def test_words_have_the_vectors_of_the_file_and_others_are_as_large(tmp_path, form):
    path = stored(tmp_path, form)
    assert holds_vectors(path)
    made, told = with_vectors(params(), path, FACTS)
    table = made["words"]["vectors"]
    assert table[2:5].tolist() == [FILE["film"], FILE["good"], FILE["Bad"]]
    scale = np.std([FILE["film"], FILE["good"], FILE["Bad"]]) / params()["words"]["vectors"].std()
    np.testing.assert_allclose(table[[1, 5]], params()["words"]["vectors"][[1, 5]] * scale, rtol=1e-5)
    assert told == f"3 of 4 words began from {path}; the others are drawn as large as these"
    assert (made["head"]["kernel"] == 1).all()


def test_a_file_of_other_words_or_sizes_is_refused_in_a_line(tmp_path):
    path = stored(tmp_path, "txt")
    for wrong, words in (
        (Facts("tokens", (4,), extra={"words": ("", "?", *"abcdefgh")}), "vectors of 0 of the data's 8 words"),
        (Facts("tokens", (4,), extra={"words": WORDS[:5]}), "but the net has no table of the data's words"),
    ):  # fmt: skip
        table = {"words": {"vectors": np.zeros((10, 2), np.float32)}}
        with pytest.raises(ConfigError, match=words) as story:
            with_vectors(table, path, wrong)
        assert "\n" not in str(story.value)
    wide = {"words": {"vectors": np.zeros((6, 3), np.float32)}}
    with pytest.raises(ConfigError, match=r"v.txt have 2 numbers; set --config.model.size=2"):
        with_vectors(wide, path, FACTS)
    path.write_text("film 1 2\ngood 1 x\n")
    with pytest.raises(ConfigError, match=r"v.txt:2 is no word and 2 numbers"):
        with_vectors(params(), path, FACTS)
    safe = stored(tmp_path, "safetensors")
    (tmp_path / "words.txt").write_text("film\n")
    with pytest.raises(ConfigError, match="vectors of shape 4×2, but 1 words go with them"):
        with_vectors(params(), safe, FACTS)
    (tmp_path / "words.txt").unlink()
    with pytest.raises(
        ConfigError, match=r"needs the words of its vectors, one on each line of .*words.txt: No such file"
    ):
        with_vectors(params(), safe, FACTS)
