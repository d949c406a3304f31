"""The pipelines of `augment.py` in torchvision, albumentations or kornia, run by the Python of their own environment.

Named with a library it answers on standard output: a line `pipeline seconds` on standard input gives a line of JSON,
images a second and images a second of one core on all cores, or what the library says that it cannot do. torchvision
and albumentations take one image at a time, in as many processes as there are cores (as a data loader would); kornia
takes batches on as many threads.
"""

import importlib.metadata
import json
import multiprocessing
import os
import sys
import time

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDES = {"cifar": 32, "ten": 32, "imagenet": 256}  # of the source


def torchvision(name):
    """One uint8 tensor (C, H, W) → one normalised float tensor."""
    import torch

    try:
        from torchvision.transforms import v2
    except RuntimeError:  # a wheel built for CUDA looks for these two in vain beside a CPU build of PyTorch
        operators = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            operators.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from torchvision.transforms import v2

    torch.set_num_threads(1)
    steps = {
        "crop": lambda: v2.RandomCrop(32, padding=4),
        "flip": lambda: v2.RandomHorizontalFlip(),
        "flip#2": lambda: v2.RandomVerticalFlip(),
        "cutout": lambda: v2.RandomErasing(p=1.0, scale=(1 / 16, 1 / 16), ratio=(1.0, 1.0)),
        "rotate": lambda: v2.RandomAffine(15, interpolation=v2.InterpolationMode.BILINEAR),
        "translate": lambda: v2.RandomAffine(0, (0.1, 0.1), interpolation=v2.InterpolationMode.BILINEAR),
        "zoom": lambda: v2.RandomAffine(0, scale=(0.8, 1.25), interpolation=v2.InterpolationMode.BILINEAR),
        "shear": lambda: v2.RandomAffine(0, shear=(-10, 10, -10, 10), interpolation=v2.InterpolationMode.BILINEAR),
        "rescale": lambda: v2.RandomResizedCrop(32, scale=(0.64, 1.0), antialias=False),
        "perspective": lambda: v2.RandomPerspective(0.2, p=1.0),
        "elastic": lambda: v2.ElasticTransform(alpha=34.0, sigma=4.0),
        "random_resized_crop": lambda: v2.RandomResizedCrop(224, antialias=True),
        "jitter": lambda: v2.ColorJitter(0.4, 0.4, 0.4),
    }
    chain = [steps[step]() for step in steps_of(name)]
    chain += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    run = v2.Compose(chain)
    return lambda image: run(image), lambda images: torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def albumentations(name):
    """One uint8 array (H, W, C) → one normalised float array."""
    import albumentations as A
    import cv2

    cv2.setNumThreads(0)
    steps = {
        "crop": lambda: [A.PadIfNeeded(40, 40, border_mode=cv2.BORDER_CONSTANT), A.RandomCrop(32, 32)],
        "flip": lambda: [A.HorizontalFlip(p=0.5)],
        "flip#2": lambda: [A.VerticalFlip(p=0.5)],
        "cutout": lambda: [
            A.CoarseDropout(num_holes_range=(1, 1), hole_height_range=(8, 8), hole_width_range=(8, 8), p=1.0)
        ],
        "rotate": lambda: [A.Affine(rotate=(-15, 15), p=1.0)],
        "translate": lambda: [A.Affine(translate_percent=(-0.1, 0.1), p=1.0)],
        "zoom": lambda: [A.Affine(scale=(0.8, 1.25), keep_ratio=True, p=1.0)],
        "shear": lambda: [A.Affine(shear={"x": (-10, 10), "y": (-10, 10)}, p=1.0)],
        "rescale": lambda: [A.Affine(scale={"x": (0.8, 1.25), "y": (0.8, 1.25)}, p=1.0)],
        "perspective": lambda: [A.Perspective(scale=(0.05, 0.1), p=1.0)],
        "elastic": lambda: [A.ElasticTransform(alpha=34.0, sigma=4.0, p=1.0)],
        "random_resized_crop": lambda: [A.RandomResizedCrop((224, 224), p=1.0)],
        "jitter": lambda: [A.ColorJitter(0.4, 0.4, 0.4, 0.0, p=1.0)],
    }
    chain = [part for step in steps_of(name) for part in steps[step]()]
    run = A.Compose([*chain, A.Normalize(MEAN, STD)])
    return lambda image: run(image=image)["image"], lambda images: images


def kornia(name):
    """A uint8 batch (B, C, H, W) → a normalised float batch; every example draws for itself."""
    import kornia.augmentation as K
    import torch

    torch.set_num_threads(os.cpu_count())
    steps = {
        "crop": lambda: K.RandomCrop((32, 32), padding=4),
        "flip": lambda: K.RandomHorizontalFlip(),
        "flip#2": lambda: K.RandomVerticalFlip(),
        "cutout": lambda: K.RandomErasing(scale=(1 / 16, 1 / 16), ratio=(1.0, 1.0), p=1.0),
        "rotate": lambda: K.RandomAffine(15.0, p=1.0),
        "translate": lambda: K.RandomAffine(0.0, (0.1, 0.1), p=1.0),
        "zoom": lambda: K.RandomAffine(0.0, scale=(0.8, 1.25), p=1.0),
        "shear": lambda: K.RandomAffine(0.0, shear=(-10.0, 10.0, -10.0, 10.0), p=1.0),
        "rescale": lambda: K.RandomAffine(0.0, scale=(0.8, 1.25, 0.8, 1.25), p=1.0),
        "perspective": lambda: K.RandomPerspective(0.2, p=1.0),
        "elastic": lambda: K.RandomElasticTransform((31, 31), (4.0, 4.0), (1.0, 1.0), p=1.0),
        "random_resized_crop": lambda: K.RandomResizedCrop((224, 224)),
        "jitter": lambda: K.ColorJitter(0.4, 0.4, 0.4, 0.0, p=1.0),
    }
    run = K.AugmentationSequential(
        *[steps[step]() for step in steps_of(name)], K.Normalize(torch.tensor(MEAN), torch.tensor(STD))
    )

    def whole(images):
        with torch.no_grad():
            return run(images.float() / 255)

    return whole, lambda images: torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


PIPELINES = {
    "cifar": ("crop", "flip", "cutout"),
    "ten": (
        "crop", "flip", "flip#2", "rotate", "translate", "zoom", "rescale", "shear", "perspective", "elastic", "jitter",
    ),
    "imagenet": ("random_resized_crop", "flip", "jitter"),
}  # fmt: skip
LIBRARIES = {"torchvision": torchvision, "albumentations": albumentations, "kornia": kornia}


def steps_of(name):
    """The transforms of a pipeline, or the one that is named with the side of its source (rotate@32)."""
    return PIPELINES[name] if name in PIPELINES else (name.partition("@")[0],)


def batches(library, name):
    """(a function that transforms 64 images, their number), after its first call."""
    import numpy as np

    side = SIDES[name] if name in SIDES else int(name.partition("@")[2])
    images = np.random.default_rng(0).integers(0, 256, (64, side, side, 3), dtype=np.uint8)
    run, prepare = LIBRARIES[library](name)
    images = prepare(images)
    work = (lambda: run(images)) if library == "kornia" else (lambda: [run(image) for image in images])
    work()
    return work, len(images)


def answer(library, questions):
    """Says of each pipeline that it is ready (None) or what went wrong, then what it did when all were ready."""
    sys.stdout = sys.stderr  # the other is for answers
    ready = {}
    for name, seconds in iter(questions.recv, None):
        try:
            ready[name] = ready.get(name) or batches(library, name)
        except Exception as error:  # a library that lacks a transform is told, and asked on
            questions.send(f"{type(error).__name__}: {error}")
        else:
            questions.send(None)
        if not questions.recv():
            continue
        work, many = ready[name]
        done, start, busy = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - start < seconds:
            work()
            done += many
        questions.send((done, time.perf_counter() - start, time.process_time() - busy))


def serve(library, lines):
    context = multiprocessing.get_context("spawn")
    workers = []
    for _ in range(1 if library == "kornia" else os.cpu_count()):
        mine, theirs = context.Pipe()
        context.Process(target=answer, args=(library, theirs), daemon=True).start()
        workers.append(mine)
    for line in lines:
        name, seconds = line.split()
        for worker in workers:
            worker.send((name, float(seconds)))
        problems = [problem for problem in [worker.recv() for worker in workers] if problem]
        for worker in workers:
            worker.send(not problems)
        if problems:
            print(json.dumps({"problem": problems[0].strip().splitlines()[-1]}), flush=True)
            continue
        found = [worker.recv() for worker in workers]
        images = sum(done for done, *_ in found)
        rate = sum(done / took for done, took, _ in found)
        print(json.dumps({"rate": rate, "per_core": images / sum(busy for *_, busy in found)}), flush=True)
    for worker in workers:
        worker.send(None)


if __name__ == "__main__":
    print(json.dumps({sys.argv[1]: importlib.metadata.version(sys.argv[1])}), flush=True)
    serve(sys.argv[1], sys.stdin)
