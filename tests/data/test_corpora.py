"""Texts from tables, files and folders, as the numbers of their words; what is wrong with one, by its line."""

import json

import numpy as np
import pytest

from cnnjax.config import ConfigError
from cnnjax.data import DataError, texts, texts_of, tokens

GOOD = [("what a film !", "pos"), ("It's dull, dull", "neg"), ("a film I like", "pos"), ("dull", "neg")]


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


def table(ending, rows=GOOD, head=("text", "label")):
    if ending == "jsonl":
        return "".join(json.dumps(dict(zip(head, row, strict=True))) + "\n" for row in rows)
    if ending == "tsv":
        return "".join("\t".join(row) + "\n" for row in (head, *rows))
    return "".join(",".join(f'"{cell}"' for cell in row) + "\r\n" for row in (head, *rows))


FORMS = {
    "jsonl": {"train.jsonl": table("jsonl"), "test.jsonl": table("jsonl", GOOD[:2])},
    "csv": {"train.csv": "\ufeff" + table("csv"), "test.csv": table("csv", GOOD[:2])},
    "tsv": {"train.tsv": table("tsv"), "test.tsv": table("tsv", GOOD[:2])},
    "files of lines": {
        "train/pos.txt": f"{GOOD[0][0]}\n{GOOD[2][0]}\n",
        "train/neg.txt": f"{GOOD[1][0]}\r\n{GOOD[3][0]}",
        "test/pos.txt": GOOD[0][0],
        "test/neg.txt": GOOD[1][0],
    },
    "folders": {
        **{f"train/{label}/{number}.txt": text for number, (text, label) in enumerate(GOOD)},
        **{f"test/{label}/{number}.txt": text for number, (text, label) in enumerate(GOOD[:2])},
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_texts_and_classes(tmp_path, form):
    source = texts(path=write(tmp_path / "set", FORMS[form]))
    words, facts = source.facts.extra["words"], source.facts
    assert (facts.input, facts.names, facts.counts) == ("tokens", ("neg", "pos"), {"train": 4, "eval": 2, "test": 2})
    assert words == ("<padding>", "<unknown>", "dull", "a", "film", "!", "'s", ",", "i", "it", "like", "what")
    read = source.train.read(np.arange(4))
    found = {
        (" ".join(words[token] for token in row if token), facts.names[label])
        for row, label in zip(read["tokens"], read["label"], strict=True)
    }
    assert found == {("what a film !", "pos"), ("it 's dull , dull", "neg"), ("a film i like", "pos"), ("dull", "neg")}
    assert source.eval is source.test


@pytest.mark.parametrize(
    ("text", "words"),
    [  # what the published regular expressions of Kim's clean_str make of it
        ("Isn't it? They've said: we'll (maybe) go!", "is n't it ? they 've said we 'll ( maybe ) go !"),
        ("the film's 'end', rock'n'roll", "the film 's 'end' , rock'n'roll"),
        ("d'Artagnan -- 3.5 stars... a_b", "d'artagnan 3 5 stars a b"),
        ("Amélie à Paris", "amélie à paris"),  # of other letters than ASCII Kim's would make spaces
        ("… — !", "!"),
    ],
)
def test_texts_are_cut_as_kim_cuts_them(text, words):
    known = ("", "?", *dict.fromkeys(words.split()))
    (row,) = tokens([text], known, 20)
    assert " ".join(known[token] for token in row if token) == words


def test_words_are_those_of_the_training_texts_alone_and_long_texts_lose_their_end(tmp_path):
    path = write(
        tmp_path / "set",
        {
            "train.tsv": table("tsv", [("a b b c", "x")] * 19 + [("a " * 50, "y")]),
            "test.tsv": table("tsv", [("b d a", "y")]),
        },
    )
    source = texts(path=path, rare=2)
    assert source.facts.extra["words"][2:] == ("a", "b", "c")
    assert source.facts.shape == (4,)  # 95 of 100 have four words
    assert source.test.read([0])["tokens"].tolist() == [[3, 1, 2, 0]]
    assert source.train.read([19])["tokens"].tolist() == [[2, 2, 2, 2]]
    assert texts(path=path, length=2, rare=30).facts.extra["words"][2:] == ("a", "b")
    assert source.test.name(0) == "test.tsv:2"


def test_words_and_lengths_are_of_what_remains_for_training_once_some_are_held_out(tmp_path):
    train = [(f"only{number} the" + " a" * (number == 0), "xy"[number % 2]) for number in range(20)]
    path = write(tmp_path / "set", {"train.tsv": table("tsv", train), "test.tsv": table("tsv", [("the end", "x")])})
    source = texts(path=path, holdout=8)
    words = source.facts.extra["words"]
    assert len(words) - 3 - ("a" in words) == len(source.train) == 12
    read = source.eval.read(np.arange(8))["tokens"]
    assert (read[:, 0] == 1).all()
    assert (read[:, 1] == words.index("the")).all()
    kept = {source.train.name(row).rpartition(":")[2] for row in range(12)}
    assert {f"only{int(line) - 2}" for line in kept} <= set(words)


def test_words_of_a_file_have_numbers_though_no_training_text_has_them(tmp_path):
    path = write(tmp_path / "set", FORMS["tsv"] | {"test.tsv": table("tsv", [("a merry film", "pos")])})
    file = tmp_path / "words.txt"
    file.write_text("merry\n\ndull\nnever\n")
    own, more = texts(path=path), texts(path=path, words=str(file))
    assert more.facts.extra["words"] == (*own.facts.extra["words"], "merry", "never")
    for source, numbers in ((own, [3, 1, 4]), (more, [3, 12, 4])):
        assert source.test.read([0])["tokens"][0, :3].tolist() == numbers
    for content, why in (
        (b"a\n\xff\n", r"data.words: .*words.txt:2 is not UTF-8 \(byte 0xff\); save the file as UTF-8$"),
        (b"is n't\n", 'data.words is .*words.txt, where "is n\'t" stands on one line'),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=why):
            texts(path=path, words=str(file))
    with pytest.raises(DataError, match=r"data.words: .*none.txt can't be read: No such file"):
        texts(path=path, words=str(tmp_path / "none.txt"))


def test_of_one_file_every_fifth_is_for_testing_or_all_stay_together(tmp_path):
    path = write(tmp_path / "set", {"all.jsonl": table("jsonl", [(f"w{number} x", "k") for number in range(10)])})
    source = texts(path=path)
    assert source.facts.counts == {"train": 8, "eval": 2, "test": 2}
    assert "w0" not in source.facts.extra["words"]
    assert [source.test.name(k) for k in range(2)] == ["all.jsonl:1", "all.jsonl:6"]
    held = texts(path=f"{path}/all.jsonl", holdout=3)
    assert held.facts.counts == {"train": 5, "eval": 3, "test": 2}
    assert held.train.name(0).startswith("all.jsonl:")
    whole = texts(path=path, together=True)
    assert whole.train is whole.test
    assert len(whole.facts.extra["words"]) == 13


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
    rows = [{"text": "a b", "label": number} for number in (10, 9, 2, 10, 9)]
    path = write(tmp_path / "set", {"train.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    assert texts(path=path).facts.names == ("2", "9", "10")


def test_texts_that_can_not_be_used_are_passed_over_up_to_the_budget(tmp_path):
    bad = ['{"text": "", "label": "a"}', '{"text": "...", "label": "a"}', "{", '{"text": 3, "label": "a"}', "[]"]
    bad += ['{"text": "x"}', '{"text": "x", "label": 1.5}', "", "[" * 100_000]
    lines = [json.dumps({"text": f"good {number}", "label": "a"}) for number in range(5)]
    path = write(tmp_path / "set", {"train.jsonl": "\n".join(lines + bad), "test.jsonl": lines[0]})
    source = texts(path=path)
    assert len(source.train) == 5
    assert list(source.train.bad.values()) == [
        "the text is empty",
        "there is no word in '...'",
        "it is no JSON",
        "text is 3, no text",
        "it is no JSON object",
        "it has no label",
        "label is 1.5; it must be a word or a whole number",
        "the line is empty",
        "it is no JSON",
    ]
    with pytest.raises(
        DataError, match=r"9 records cannot be used, data.budget allows 0; .* train.jsonl:6: the text is"
    ):
        texts(path=path, budget=0)


WRONG = [
    ({}, "has no .jsonl, .csv, .tsv and no .txt files, and no folders of these"),
    ({"train.tsv": "txet\tlabel\na\tb\n"}, r"train.tsv:1 has no 'text', did you mean 'txet'\?; it has txet, label\n"),
    ({"train.csv": "text,class\na,b\n"}, r"train.csv:1 has no 'label'; it has text, class\n--config.data.label=… says"),
    ({"train.csv": 'text,label\n"a,b\nc,d\n'}, "train.csv:2 can't be read as CSV: a quote that is not closed"),
    (
        {"train.tsv": "text\tlabel\nok\tx\ncaf\xe9\tx\n".encode("latin-1")},
        r"train.tsv:3 is not UTF-8 \(byte 0xe9\); set data.encoding=latin-1, or save the file as UTF-8",
    ),
    ({"train.tsv": "text\tlabel\nok\tx\n".encode("utf-16")}, "train.tsv:1 is not UTF-8 .* set data.encoding=utf-16"),
    (
        {"train.tsv": table("tsv"), "test.tsv": table("tsv", [("a", "post")])},
        "test: test.tsv:2 has the class 'post', which the training texts lack, did you mean pos",
    ),
    (
        {"train.tsv": table("tsv"), "more.tsv": table("tsv")},
        "more.tsv is of no split; name one each train, eval and test",
    ),
    ({"train.tsv": table("tsv"), "train.csv": table("csv")}, "train.csv and train.tsv are both for train"),
    ({"test.tsv": table("tsv"), "eval.tsv": table("tsv")}, "no train; training needs texts of its own"),
    ({"train.tsv": "text\tlabel\n"}, r"the train split \(train.tsv\) has no text that can be used$"),
    ({"train.csv": "", "test.csv": table("csv")}, r"the train split \(train.csv\) has no text that can be used$"),
    (
        {"train.tsv": table("tsv"), "test.tsv": "text\tlabel\n...\tx\n\ty\n"},
        r"the test split \(test.tsv\) has no text that can be used; of 2 the first is test.tsv:2: there is no word",
    ),
    (
        {"train.tsv": "text\tlabel\nok\tx\n".encode("utf-16-le")},
        r"train.tsv:1 contains NUL bytes; is it UTF-16\? set data.encoding=utf-16, or save the file as UTF-8$",
    ),
    ({"pos.txt": "a", "neg/1.txt": "b"}, "has pos.txt beside the folders neg"),
    ({"pos/1.txt": "a", "neg/1.doc": "b"}, "neg has no .txt files; each is one text"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "words"), WRONG, ids=range(len(WRONG)))
def test_files_that_can_not_be_read_are_refused_by_name(tmp_path, files, words):
    with pytest.raises(DataError, match=words):
        texts(path=write(tmp_path / "set", files))


def test_paths_and_options_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"data.path is empty; name the file or folder"):
        texts()
    with pytest.raises(DataError, match=r"data.path is no/such; there is no such file or folder"):
        texts(path="no/such")
    folder = write(tmp_path / "set", FORMS["tsv"] | {"a.doc": "x"})
    with pytest.raises(DataError, match=r"a file must be .jsonl, .csv, .tsv, a folder may hold .txt files"):
        texts(path=f"{folder}/a.doc")
    with pytest.raises(DataError, match=r"keeps a set in one piece, but the set has splits \(train, test\)"):
        texts(path=folder, together=True)
    with pytest.raises(ConfigError, match=r"data.encoding is 'utf8'; nearest: utf-8"):
        texts(path=folder, encoding="utf8")


def test_other_encodings_are_read_where_they_are_named(tmp_path):
    for encoding in ("latin-1", "cp1252", "utf-16"):
        content = table("tsv", [("café \x85here", "x")] * 5).replace("\x85", "" if encoding == "cp1252" else "\x85")
        path = write(tmp_path / encoding, {"train.tsv": content.encode(encoding)})
        assert texts(path=path, encoding=encoding).facts.extra["words"][2:] == ("café", "here")


def test_texts_without_classes_are_read_for_prediction(tmp_path):
    folder = write(tmp_path / "set", {"a.csv": 'text\n"a, b"\n\n', "a.log": "one\n\ntwo"})
    assert list(texts_of(f"{folder}/a.csv")) == [
        (f"{folder}/a.csv:2", "a, b", ""),
        (f"{folder}/a.csv:3", "", "the line is empty"),
    ]
    with pytest.raises(DataError, match=r"b.log:2 is not UTF-8 \(byte 0xe9\); save the file as UTF-8$"):
        list(texts_of(f"{write(tmp_path / 'set', {'b.log': 'a\ncafé'.encode('latin-1')})}/b.log"))
    assert [found[1:] for found in texts_of(f"{folder}/a.log")] == [("one", ""), ("", "the text is empty"), ("two", "")]


def test_mr_has_the_words_that_are_published(real, tmp_path):
    """18,765 by Kim's own count, in which letters beyond ASCII are none."""
    for name in ("neg", "pos"):
        write(tmp_path / "mr", {f"{name}.txt": (real("mr") / f"rt-polarity.{name}").read_bytes()})
    source = texts(path=str(tmp_path / "mr"), together=True, encoding="latin-1")
    assert len(source.train) == 10662
    assert len(source.facts.extra["words"]) - 2 == pytest.approx(18765, rel=0.002)
