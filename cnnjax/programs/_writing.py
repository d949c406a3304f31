"""Files of predictions, for tables, for programs and for COCO's tools."""

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from cnnjax.fields import KINDS, Facts, kind
from cnnjax.programs._answers import maps, tables
from cnnjax.programs._coco_results import ENDING, Results
from cnnjax.programs._drawing import color
from cnnjax.programs._written import Written
from cnnjax.refusals import ConfigError
from cnnjax.runs.tables import as_csv

ENDINGS = (".csv", ".json", ".jsonl", ".npz")


class _Table(Written):
    """One line for each row of each word; a column says which, where there are several."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.rows = []

    def _add(self, said):
        found = [] if said.error else tables(said.words, self.facts, self.top).items()
        if not any(rows for _, rows in found):
            self.rows.append({self.what: said.name, "error": said.error})
        for word, rows in found:
            for rank, row in enumerate(rows, 1):
                self.rows.append({self.what: said.name, "word": word} | ({"rank": rank} if word == "top" else {}) | row)

    def _close(self):
        several = len({row["word"] for row in self.rows if "word" in row}) > 1
        columns = dict.fromkeys(key for row in self.rows for key in row if key not in ("word", "error"))
        columns = [*list(columns)[:1], *(["word"] if several else []), *list(columns)[1:], "error"]
        cells = [[row.get(name, "") for name in columns] for row in self.rows]
        short = [[f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in cells]
        self.partial.write_text(as_csv(columns, short))


class _Entries(Written):
    """One entry for each picture, what is a picture itself beside it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.entries, self.folder = [], self.path.with_name(f"{self.path.stem}-maps")

    def _add(self, said):
        self.entries.append({self.what: said.name, "error": said.error} if said.error else self._entry(said))

    def _entry(self, said):
        name, words, files = said.name, said.words, {}
        for word, picture in maps(words).items():
            self.folder.mkdir(exist_ok=True)
            stem = re.sub(r"[^\w.-]+", "_", Path(name).stem)
            file = self.folder / f"{self.count:05}-{stem}.{word}.png"
            _as_png(picture, file)
            files[word] = f"{self.folder.name}/{file.name}"
        entry = (
            {self.what: name} | ({"size": list(said.size)} if said.size else {}) | tables(words, self.facts, self.top)
        )
        for word in set(entry) & set(words):
            if kind(word, np.ndim(words[word])) in ("values", "curve"):
                entry[word] = np.asarray(words[word]).tolist()
        return entry | ({"files": files} if files else {})

    def _close(self):
        if self.path.suffix == ".jsonl":
            text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in self.entries)
        else:
            text = json.dumps(self.entries, indent=1, ensure_ascii=False) + "\n"
        self.partial.write_text(text)


class _Arrays(Written):
    """All words as arrays; those of as many places as a picture has one by one, as segments_0, segments_1, …"""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.small, self.files, self.bad = {}, [], []
        self.archive = zipfile.ZipFile(self.partial, "w", zipfile.ZIP_DEFLATED)

    def _add(self, said):
        if said.error:
            self.bad.append((said.name, said.error))
            return
        for word, value in said.words.items():
            what = kind(word, np.ndim(value))
            if what == "shares per place":
                continue  # as many numbers as places and classes
            if KINDS[what].outside >= 0:
                self._put(f"{word}_{len(self.files)}", np.asarray(value))
            else:
                self.small.setdefault(word, []).append(np.asarray(value))
        if said.size:
            self.small.setdefault("size", []).append(np.asarray(said.size))
        self.files.append(said.name)

    def _put(self, name, array):
        with self.archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)

    def _close(self):
        for word, values in self.small.items():
            self._put(word, np.stack(values))
        self._put("file", np.array(self.files, np.str_))
        self._put("unreadable", np.array(self.bad, np.str_).reshape(-1, 2))
        self.archive.close()

    def drop(self):
        self.archive.close()
        super().drop()


def _as_png(picture, file):
    """A PNG of classes (their numbers are its palette's, 255 is no class), or of a picture in [0, 1]."""
    if picture.ndim == 3:
        samples = np.rint(255 * picture).astype(np.uint8)
        image = Image.fromarray(samples[..., 0] if samples.shape[-1] < 3 else samples[..., :3])
    elif picture.max(initial=0) > 255:
        image = Image.fromarray(picture.astype(np.uint16))
    else:
        image = Image.fromarray(picture.astype(np.uint8), "P")
        palette = [(0, 0, 0), *(color(number) for number in range(254)), (0.19, 0.19, 0.19)]
        image.putpalette([round(255 * part) for rgb in palette for part in rgb])
    image.save(file)


def written(path: str, facts: Facts, top: int, ids: Mapping) -> Written:
    """What writes predictions to this file; `ids` are what COCO's results call pictures by."""
    maker = {".csv": _Table, ".npz": _Arrays}.get(Path(path).suffix, _Entries)
    try:
        return Results(path, facts, ids) if path.endswith(ENDING) else maker(path, facts, top)
    except OSError as error:
        raise ConfigError(f"--output is {path!r}, which can't be written: {error.strerror}") from error
