"""Pascal VOC's folders: an XML file for each picture, and lists of names for each split."""

import os
import xml.etree.ElementTree

from cnnjax.archives import regular
from cnnjax.data._boxed import Picture, Row
from cnnjax.data._listing import ENDINGS, few, listed, split_of, subdirectories
from cnnjax.data._pictures import reason
from cnnjax.data.source import BESIDE, DataError

_UNSAID = ("", "unspecified")  # of `difficult`, which may be left out


def devkit(base):
    """The folder with Annotations/ at or up to two folders below base, as archives bring it."""
    found, level = [], [base]
    for _ in range(3):
        found += [folder for folder in level if os.path.isdir(os.path.join(folder, "Annotations"))]
        level = [os.path.join(folder, name) for folder in level for name in subdirectories(folder)]
    if len(found) != 1:
        has = f"several: {few(found)}; name one" if found else "none"
        raise DataError(f"data.root is {base}; a folder with Annotations/ and JPEGImages/ is needed, and it has {has}")
    return found[0]


def named(base):
    """{split: the names of its pictures}, by the lists in ImageSets/Main; all are in train where there are none."""
    lists, found = os.path.join(base, "ImageSets", "Main"), {}
    files = sorted(os.listdir(lists)) if os.path.isdir(lists) else []
    for file in files:
        stem, ending = os.path.splitext(file)
        if ending == ".txt" and (split := split_of(stem)):
            found[split] = listed(os.path.join(lists, file))
    if "train" not in found and "trainval.txt" in files:
        found["train"] = listed(os.path.join(lists, "trainval.txt"))
    if found and "train" not in found:
        raise DataError(f"{lists} has {few(files)} but no train.txt; training needs pictures of its own")
    known = (os.path.splitext(name) for name in sorted(os.listdir(os.path.join(base, "Annotations"))))
    return found or {"train": [stem for stem, ending in known if ending == ".xml"]}


def parsed(base, names, first):
    """The pictures of these names with rows whose kinds are still words, and why files of some can't be used."""
    folder = os.path.join(base, "JPEGImages")
    if not os.path.isdir(folder):
        raise DataError(f"{base} has Annotations/ but no JPEGImages/ with the pictures")
    files = {os.path.splitext(file)[0]: file for file in sorted(os.listdir(folder)) if file.lower().endswith(ENDINGS)}
    pictures, bad = [], {}
    for name in names:
        path, file = f"JPEGImages/{files.get(name, f'{name}.jpg')}", f"Annotations/{name}.xml"
        try:
            with regular(os.path.join(base, file)) as lines:
                root = xml.etree.ElementTree.parse(lines).getroot()
        except (OSError, ValueError, xml.etree.ElementTree.ParseError) as error:
            bad[path] = f"{file}: {reason(error)}"
            pictures.append(Picture(path, file, (), ()))
            continue
        size = _number(root, "size/height", file), _number(root, "size/width", file)
        rows = [_row(number, thing, file, first) for number, thing in enumerate(root.findall("object"), 1)]
        early = [row for row in rows if min(row.box[:2]) == -1]
        for row in early:
            why = "a box that begins at 0 where pixels count from 1 on; set data.first=0 where they count from 0"
            bad[f"{path}{BESIDE}{row.name}"] = why
        rows = [row for row in rows if row not in early]
        pictures.append(Picture(path, file, tuple(map(int, size)) if min(size) > 0 else (), rows))
    return pictures, bad


def _row(number, thing, file, first):
    """Pixels are counted from `first` on; from 1 on, those of both ends belong to the box."""
    where = f"{file}: object {number}"
    ends = [_number(thing, f"bndbox/{end}", where, must=True) for end in ("ymin", "xmin", "ymax", "xmax")]
    kind = (thing.findtext("name") or "").strip()
    if not kind:
        raise DataError(f"{where} has no name")
    low, high = ends[:2], ends[2:]
    high = [a - first if a == b else b for a, b in zip(low, high, strict=True)]  # a click without a stroke
    said = (thing.findtext("difficult") or "").strip().lower() not in _UNSAID
    difficult = said and _number(thing, "difficult", where) > 0
    return Row(f"object {number}", (*(a - first for a in low), *high), kind, difficult)


def _number(node, path, where, must=False):
    text = node.findtext(path)
    if text is None and not must:
        return 0.0
    try:
        return float(text)
    except (TypeError, ValueError):
        raise DataError(f"{where} has {path} {text!r}; it must be a number") from None
