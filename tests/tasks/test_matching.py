"""Average precision and its kin against the references: pycocotools, and the rules of VOC and DSB 2018 as loops."""

import contextlib
import io

import numpy as np
import pytest

from cnnjax.tasks import _matching as matching
from cnnjax.tasks._found import named

SIDES = np.sqrt([31.0**2, 32**2, 33**2, 95**2, 96**2, 97**2, 0, 100])
TWELVE = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100", "ar_small", "ar_medium")
TWELVE = (*TWELVE, "ar_large")


def scenes(seed, *, pictures=4, classes=3):
    """Rows of a few pictures: up to 8 true boxes and 12 found ones, near them or anywhere, with what is awkward."""
    draw = np.random.default_rng(seed)
    rows = {
        "boxes": np.zeros((pictures, 12, 4), np.float32),
        "scores": np.zeros((pictures, 12), np.float32),
        "classes": draw.integers(0, classes - (seed % 2), (pictures, 12)),
        "present": np.zeros((pictures, 12), bool),
        "true_boxes": np.zeros((pictures, 8, 4), np.float32),
        "true_classes": draw.integers(0, classes - (seed % 3 == 0), (pictures, 8)),
        "true_present": np.zeros((pictures, 8), bool),
        "true_ignored": np.zeros((pictures, 8), bool),
    }
    for i in range(pictures):
        true, found = draw.integers(0, 9), draw.integers(0, 13)
        for n in range(true):
            rows["true_boxes"][i, n] = anywhere(draw)
        if true > 2 and draw.random() < 0.3:
            rows["true_boxes"][i, 1] = rows["true_boxes"][i, 0]  # two that every found one overlaps alike
            rows["true_classes"][i, 1] = rows["true_classes"][i, 0]
        for n in range(found):
            near = true and draw.random() < 0.7
            which = draw.integers(0, true) if near else 0
            shift = draw.integers(-6, 7, 4) * draw.integers(0, 2)
            box = rows["true_boxes"][i, which] + shift if near else anywhere(draw)
            if near and draw.random() < 0.1:  # half of it: an overlap of exactly a half
                y0, x0, y1, x1 = rows["true_boxes"][i, which]
                box = np.array([y0, x0, (y0 + y1) / 2, x1])
            rows["boxes"][i, n] = np.concatenate([np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])])
            if near and draw.random() < 0.8:
                rows["classes"][i, n] = rows["true_classes"][i, which]
        rows["scores"][i] = draw.integers(0, 5, 12) / 4 if draw.random() < 0.5 else draw.random(12)
        rows["present"][i, :found] = True
        rows["true_present"][i, :true] = True
        rows["true_ignored"][i, :true] = draw.random(true) < 0.2
    return rows


def anywhere(draw):
    sides = np.floor(draw.choice(SIDES, 2)) if draw.random() < 0.3 else draw.choice(SIDES, 1).repeat(2)
    low = draw.integers(0, 60, 2)
    return np.concatenate([low, low + np.round(sides)])


def split(rows, own, areas):
    found = matching.Found(rows["scores"], rows["classes"], own, rows["present"])
    return found, matching.Truths(rows["true_classes"], areas, rows["true_present"], rows["true_ignored"])


def ours(rows, classes=3):
    shared, own, areas = matching.box_areas(rows["boxes"], rows["true_boxes"])
    iou = matching.overlaps(shared, own, areas, rows["true_ignored"])
    return matching.coco(*split(rows, own, rows.get("true_areas", areas)), iou, classes)


def theirs(rows, kind="bbox", classes=3, segmentation=lambda word, i, n: {}):
    """The stats, precision and recall of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def entries(word, extra):
        found = []
        for i, n in np.argwhere(rows[f"{word}present"]):
            y0, x0, y1, x1 = rows[f"{word}boxes"][i, n].astype(float)
            entry = {"image_id": int(i), "category_id": int(rows[f"{word}classes"][i, n])}
            if kind == "bbox" or word:
                entry |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
            found.append(entry | extra(i, n) | segmentation(word, i, n))
        return found

    with contextlib.redirect_stdout(io.StringIO()):
        true = COCO()
        annotations = entries("true_", lambda i, n: {"iscrowd": int(rows["true_ignored"][i, n])})
        annotations = [entry | {"id": 1 + k} for k, entry in enumerate(annotations)]
        images = [{"id": i, "height": 40, "width": 40} for i in range(len(rows["boxes"]))]
        true.dataset = {"info": {}, "images": images, "categories": [{"id": k} for k in range(classes)]}
        true.dataset["annotations"] = annotations
        true.createIndex()
        found = entries("", lambda i, n: {"score": float(rows["scores"][i, n])})
        if not found:
            return None
        evaluation = COCOeval(true, true.loadRes(found), kind)
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    return evaluation


def assert_same(scores, evaluation):
    np.testing.assert_allclose(scores.precision, evaluation.eval["precision"][..., -1], atol=1e-9)
    np.testing.assert_allclose(scores.recall, evaluation.eval["recall"], atol=1e-9)
    found = named(scores)
    for name, value in zip(TWELVE, evaluation.stats, strict=True):
        assert (value == -1) == np.isnan(found[name]), name
        assert value == -1 or found[name] == pytest.approx(value, abs=1e-6), name


def test_average_precision_and_recall_are_those_of_pycocotools_on_200_sets():
    compared = 0
    for seed in range(210):
        rows = scenes(seed)
        evaluation = theirs(rows)
        if evaluation is not None:
            compared += 1
            assert_same(ours(rows), evaluation)
    assert compared >= 200


def test_boxes_of_things_that_have_masks_are_sized_by_those():
    draw = np.random.default_rng(3)
    for seed in range(20):
        rows = scenes(seed)
        rows["true_areas"] = draw.choice([100.0, 31**2, 32**2, 33**2, 96**2, 97**2], rows["true_present"].shape)
        areas = rows["true_areas"]
        sized = theirs(rows, segmentation=lambda word, i, n, areas=areas: {"area": areas[i, n]} if word else {})
        if sized is not None:
            assert_same(ours(rows), sized)


def test_more_than_a_hundred_boxes_of_a_class_are_cut_as_pycocotools_does():
    draw = np.random.default_rng(0)
    boxes = np.stack([anywhere(draw) for _ in range(2 * 130)]).reshape(2, 130, 4)
    rows = scenes(5, pictures=2, classes=2)
    many = {"boxes": boxes, "scores": draw.integers(0, 40, (2, 130)), "classes": draw.integers(0, 2, (2, 130)) // 2}
    rows |= many | {"present": np.ones((2, 130), bool)}
    assert_same(ours(rows, 2), theirs(rows, classes=2))


def test_nothing_found_and_nothing_there():
    rows = scenes(1)
    nothing = {**rows, "present": rows["present"] & False}
    assert named(ours(nothing))["ap"] == 0
    empty = {**rows, "true_present": rows["true_present"] & False}
    assert np.isnan(named(ours(empty))["ap"])
    there = rows["true_present"] & ((rows["true_boxes"][..., 2:] > rows["true_boxes"][..., :2]).all(-1))
    right = {"boxes": rows["true_boxes"], "classes": rows["true_classes"], "scores": np.ones(there.shape)}
    assert named(ours({**rows, **right, "present": there, "true_present": there}))["ap"] == 1


def devkit(rows, kind, *, eleven):
    """The devkit's evaluation of one class, in its own pixels: those of a box from its first to its last."""
    npos, truth = 0, {}
    for i in range(len(rows["boxes"])):
        mine = rows["true_present"][i] & (rows["true_classes"][i] == kind)
        boxes = rows["true_boxes"][i][mine].astype(float) + [1, 1, 0, 0]
        difficult = rows["true_ignored"][i][mine]
        npos += sum(~difficult)
        truth[i] = {"bbox": boxes, "difficult": difficult, "det": [False] * len(boxes)}
    where = np.argwhere(rows["present"] & (rows["classes"] == kind))
    where = where[np.argsort([-rows["scores"][i, n] for i, n in where], kind="stable")] if len(where) else where
    tp, fp = np.zeros(len(where)), np.zeros(len(where))
    for d, (i, n) in enumerate(where):
        r, bb = truth[i], rows["boxes"][i, n].astype(float) + [1, 1, 0, 0]
        ovmax, jmax = -np.inf, -1
        for j, gt in enumerate(r["bbox"]):
            ih = min(gt[2], bb[2]) - max(gt[0], bb[0]) + 1.0
            iw = min(gt[3], bb[3]) - max(gt[1], bb[1]) + 1.0
            inters = max(iw, 0.0) * max(ih, 0.0)
            uni = (bb[2] - bb[0] + 1.0) * (bb[3] - bb[1] + 1.0) + (gt[2] - gt[0] + 1.0) * (gt[3] - gt[1] + 1.0) - inters
            overlap = inters / uni if uni else 0.0
            if overlap > ovmax:
                ovmax, jmax = overlap, j
        if ovmax > 0.5:
            if not r["difficult"][jmax]:
                tp[d], fp[d] = (0, 1) if r["det"][jmax] else (1, 0)
                r["det"][jmax] = True
        else:
            fp[d] = 1
    if not npos:
        return -1
    tp, fp = np.cumsum(tp), np.cumsum(fp)
    rec, prec = tp / float(npos), tp / np.maximum(tp + fp, np.finfo(np.float64).eps)
    if eleven:
        return sum(np.max(prec[rec >= t]) / 11.0 if np.sum(rec >= t) else 0 for t in np.arange(0.0, 1.1, 0.1))
    mrec, mpre = np.concatenate(([0.0], rec, [1.0])), np.concatenate(([0.0], prec, [0.0]))
    for i in range(mpre.size - 1, 0, -1):
        mpre[i - 1] = np.maximum(mpre[i - 1], mpre[i])
    i = np.where(mrec[1:] != mrec[:-1])[0]
    return np.sum((mrec[i + 1] - mrec[i]) * mpre[i + 1])


def test_vocs_average_precision_of_2007_and_of_2010_are_the_devkits():
    for seed in range(100):
        rows = scenes(seed)
        shared, own, areas = matching.box_areas(rows["boxes"], rows["true_boxes"])
        found = matching.voc(*split(rows, own, areas), matching.overlaps(shared, own, areas), 3)
        for year, eleven in enumerate((True, False)):
            wanted = [devkit(rows, kind, eleven=eleven) for kind in range(3)]
            np.testing.assert_allclose(found[year], wanted, atol=1e-9)


def drawn(seed, size=40):
    """The boxes of scenes as masks: ellipses in them, (I, D, H, W) and (I, G, H, W)."""
    rows = scenes(seed)
    y, x = np.mgrid[:size, :size] + 0.5
    masks = []
    for word in ("", "true_"):
        low, high = np.split(rows[f"{word}boxes"][..., None, None, :].astype(float), 2, -1)
        centre, half = (low + high) / 2, np.maximum(high - low, 1e-3) / 2
        away = ((np.stack([y, x], -1) - centre * size / 160) / (half * size / 160)) ** 2
        masks.append((away.sum(-1) < 1) & rows[f"{word}present"][..., None, None])
    return rows, *masks


def shared_of(found, true):
    found, true = (masks.reshape(*masks.shape[:2], -1).astype(np.float64) for masks in (found, true))
    return found @ true.swapaxes(1, 2), found.sum(-1), true.sum(-1)


def test_average_precision_of_masks_is_that_of_pycocotools():
    from pycocotools import mask as encoder

    compared = 0
    for seed in range(60):
        rows, found, true = drawn(seed)
        shared, own, areas = shared_of(found, true)

        def segmentation(word, i, n, found=found, true=true, areas=areas):
            code = encoder.encode(np.asfortranarray((true if word else found)[i, n].astype(np.uint8)))
            return {"segmentation": code} | ({"area": areas[i, n]} if word else {})

        evaluation = theirs(rows, "segm", segmentation=segmentation)
        if evaluation is not None:
            compared += 1
            iou = matching.overlaps(shared, own, areas, rows["true_ignored"])
            assert_same(matching.coco(*split(rows, own, areas), iou, 3), evaluation)
    assert compared >= 50


def test_the_score_of_dsb_2018_is_that_of_its_rule():
    for seed in range(30):
        rows, found, true = drawn(seed)
        present, there = found.any((2, 3)), true.any((2, 3))
        rows |= {"present": present, "true_present": there, "true_ignored": there & False}
        shared, own, areas = shared_of(disjoint(found), disjoint(true))
        rows["present"], rows["true_present"] = own > 0, areas > 0
        score = matching.dsb(*split(rows, own, areas), matching.overlaps(shared, own, areas))
        for i in range(len(score)):
            iou = shared[i] / np.maximum(own[i][:, None] + areas[i] - shared[i], 1)
            each = []
            for t in np.arange(0.5, 1.0, 0.05):
                hits = (iou > t).sum()  # of disjoint masks above a half there is one partner at most
                both = (own[i] > 0).sum() + (areas[i] > 0).sum()
                each.append(hits / (both - hits) if both else 1.0)
            assert score[i] == pytest.approx(np.mean(each))


def disjoint(masks):
    """Where several lie on each other the first has the place."""
    return masks & (np.cumsum(masks, 1) == 1)
