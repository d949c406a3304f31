"""Vectors of a file begin the tables of words: of any form, by word, and never those of another language in silence."""

import numpy as np
import pytest

from cnnjax.config import ConfigError
from cnnjax.data.source import DataError
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


def test_a_file_of_other_words_is_refused_in_a_line_that_says_what_to_give(tmp_path):
    path, cure = stored(tmp_path, "txt"), "give vectors of these words, or leave train.init empty"
    table = {"words": {"vectors": np.zeros((10, 2), np.float32)}}
    other = Facts("tokens", (4,), extra={"words": ("", "?", *"abcdefgh")})
    with pytest.raises(DataError, match=f"vectors of 0 of the data's 8 words, .*; {cure}$") as story:
        with_vectors(table, path, other)
    assert "\n" not in str(story.value)
    path.write_text("film 1 2\ngood inf 1\nbad 1 1\n")
    with pytest.raises(DataError, match=f"not finite; {cure}$"):
        with_vectors(params(), path, FACTS)
    safe = stored(tmp_path, "safetensors")
    (tmp_path / "words.txt").write_text("film\n")
    with pytest.raises(DataError, match="vectors of shape 4×2, but 1 words go with them; give as many"):
        with_vectors(params(), safe, FACTS)
    (tmp_path / "words.txt").write_bytes("film\r\ngood\r\nfrüh\r\nbad".encode("latin-1"))
    with pytest.raises(DataError, match=r"words\.txt:3 is not UTF-8 \(byte 0xfc\); save the file as UTF-8$"):
        with_vectors(params(), safe, FACTS)
    (tmp_path / "words.txt").unlink()
    with pytest.raises(
        DataError, match=r"needs the words of its vectors, one on each line of .*words.txt: No such file"
    ):
        with_vectors(params(), safe, FACTS)


@pytest.mark.parametrize("line", [b"good 1 x", b"good 1", b"good", b"caf\xe9 1 2"])
def test_a_line_that_is_no_word_with_its_vector_is_named(tmp_path, line):
    (tmp_path / "v.txt").write_bytes(b"film 1 2\nbad 3 4\n" + line + b"\n")
    said = r"v\.txt:3 is n(o word and 2 numbers; give a word|ot UTF-8 \(byte 0xe9\); save the file as UTF-8$)"
    with pytest.raises(DataError, match=said):
        with_vectors(params(), tmp_path / "v.txt", FACTS)


def test_a_net_of_other_tables_or_sizes_is_a_mistake_of_the_config(tmp_path):
    path = stored(tmp_path, "txt")
    table = {"words": {"vectors": np.zeros((10, 2), np.float32)}}
    with pytest.raises(ConfigError, match="but the net has no table of the data's words"):
        with_vectors(table, path, Facts("tokens", (4,), extra={"words": WORDS[:5]}))
    wide = {"words": {"vectors": np.zeros((6, 3), np.float32)}}
    with pytest.raises(ConfigError, match=r"v.txt have 2 numbers; set --config.model.size=2"):
        with_vectors(wide, path, FACTS)
