"""Augmentation: images a second here, in torchvision, in albumentations and in kornia, on the same cores in one run.

    python -m experiments.benchmarks.augment [--rounds=5] [--pipelines=cifar,ten,imagenet] [--table] [--json=FILE]

uint8 images in, normalised float32 images out on all sides (source 32², or 256² → 224² for imagenet). Rounds are
interleaved and the best of each counts, since other work on the machine only ever takes time away; "per core second"
is by the processor time that each spent, which such work hardly touches. `--table` times single transforms too.
Last comes the share of a ResNet-18 training step (batch 64, CIFAR stem) that its crop, flip and cutout take.
README.md beside this file says how to make the peers' environment.
"""

import functools
import math
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from cnnjax import models, ops
from cnnjax.augment import compose
from cnnjax.config import ConfigError, one_of
from cnnjax.data.source import Facts
from cnnjax.programs import process
from cnnjax.runs.tables import tabulate
from experiments.benchmarks import timing

LIBRARIES = ["torchvision", "albumentations", "kornia"]

FLAGS = flags.FlagValues()
flags.DEFINE_integer("rounds", 3, "interleaved rounds", 1, flag_values=FLAGS)
flags.DEFINE_list("pipelines", ["cifar", "ten", "imagenet"], "which, or a transform@side", flag_values=FLAGS)
flags.DEFINE_list("libraries", LIBRARIES, "which peers", flag_values=FLAGS)
flags.DEFINE_string("peer", ".venv-augment/bin/python", "the Python that has the peers", flag_values=FLAGS)
flags.DEFINE_float("seconds", 3.0, "of every measurement", 0.01, flag_values=FLAGS)
flags.DEFINE_bool("table", False, "single transforms too", flag_values=FLAGS)
flags.DEFINE_bool("share", True, "the share of a training step too", flag_values=FLAGS)
flags.DEFINE_string("json", "", "file for the result", flag_values=FLAGS)

FACTS = Facts("image", (32, 32, 3), 10, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
JITTER = ("brightness", "contrast", "saturation")
TEN = ("crop", "flip", "flip#2", "rotate", "translate", "zoom", "rescale", "shear", "perspective", "elastic")
OURS = {  # names, batch, side of the source
    "cifar": (("crop", "flip", "cutout"), 256, 32),
    "ten": ((*TEN, *JITTER), 256, 32),
    "imagenet": (("random_resized_crop", "flip", *JITTER), 64, 256),  # as many as a peer takes at a time
}
GOALS = {"cifar": 1.5, "ten": 1.5, "imagenet": 1.0}  # times the best peer
OPTIONS = {
    "random_resized_crop": {"side": 224},
    "flip#2": {"axis": "height"},
    "elastic": {"pixels": 1.4, "smooth": 4.0},
}
SINGLE = ("flip", "rotate", "translate", "zoom", "shear", "perspective", "elastic", "cutout", "jitter")


def check(name: str) -> None:
    """Raises a ConfigError for a pipeline that `pipeline` does not know."""
    step, at, side = name.partition("@")
    one_of(step, SINGLE if at else OURS, path="--pipelines")
    if at and not (side.isdecimal() and int(side)):
        raise ConfigError(f"--pipelines has {name!r}; what follows the @ is a side in pixels, as in {step}@32")


def pipeline(name: str):
    """A function of a step's number that augments a batch, and the number of images in it."""
    if "@" in name:
        step, _, side = name.partition("@")
        names, side = JITTER if step == "jitter" else (step,), int(side)
        rows = 256 if side < 64 else 32
    else:
        names, rows, side = OURS[name]
    images = np.random.default_rng(0).integers(0, 256, (rows, side, side, 3), dtype=np.uint8)
    batch = {"image": jax.device_put(images)}
    run = jax.jit(lambda key, batch: compose(FACTS, (*names, "normalize"), OPTIONS)(key, batch)["image"])
    key = jax.random.key(0)
    jax.block_until_ready(run(key, batch))
    return lambda step: jax.block_until_ready(run(jax.random.fold_in(key, step), batch)), rows


def ours(run, rows: int) -> dict[str, float]:
    """Images a second, and images a second of one core, of one measurement here."""
    steps, start, busy = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < FLAGS.seconds:
        run(steps)
        steps += 1
    return {
        "rate": rows * steps / (time.perf_counter() - start),
        "per_core": rows * steps / (time.process_time() - busy),
    }


def compared(name: str, peers: dict[str, timing.Peer]) -> dict[str, dict[str, float]]:
    """The best of interleaved rounds by the clock ("rate") and by the time that cores spent ("per_core").

    Each has images a second by library, and the ratio to the best peer.
    """
    measure = functools.partial(ours, *pipeline(name))
    best = {kind: dict.fromkeys(("cnnjax", *peers), 0.0) for kind in ("rate", "per_core")}
    for turn in range(FLAGS.rounds):
        for library in best["rate"]:
            found = peers[library].ask(name, FLAGS.seconds) if library in peers else measure()
            if "problem" in found:
                print(f"{name}, {turn + 1}: {library} cannot: {found['problem']}", flush=True)
                continue
            print(f"{name}, {turn + 1}: {library} {found['rate']:,.0f} images a second", flush=True)
            for kind, row in best.items():
                row[library] = max(row[library], found[kind])
    for row in best.values():
        fastest = max((row[library] for library in peers), default=0.0)
        row["ratio"] = row["cnnjax"] / fastest if fastest else math.nan
    return best


def share() -> dict[str, float]:
    """Milliseconds of augmenting 64 images of 32², and of the gradient of ResNet-18 on them."""
    net = models.resnet18(outputs=10, stem="cifar")
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    compiled = functools.partial(jax.jit, compiler_options=ops.compiler_options(jax.default_backend()))
    apply = compiled(
        lambda key: compose(FACTS, ("crop", "flip", "cutout", "normalize"), {})(key, {"image": images})["image"]
    )
    x = apply(jax.random.key(0))
    variables = jax.jit(lambda key: net.init(key, x[:1], train=False))(jax.random.key(0))
    rest = {name: value for name, value in variables.items() if name != "params"}

    @compiled
    def gradient(params, x):
        def loss(params):
            out, _ = net.apply({"params": params, **rest}, x, train=True, mutable=list(rest))
            return jnp.mean(jax.nn.logsumexp(out, -1) - out[:, 0])

        return jax.grad(loss)(params)

    augmenting = _fastest(lambda: apply(jax.random.key(1)), 20)
    training = _fastest(lambda: gradient(variables["params"], x), 5)
    return {"augment_ms": augmenting, "gradient_ms": training, "share": augmenting / (augmenting + training)}


def _fastest(run, times: int) -> float:
    jax.block_until_ready(run())
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        jax.block_until_ready(run())
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    process.read(FLAGS, argv)
    for library in FLAGS.libraries:
        one_of(library, LIBRARIES, path="--libraries")
    for name in FLAGS.pipelines:
        check(name)
    names = list(FLAGS.pipelines)
    names += [f"{step}@{side}" for side in (32, 224) for step in SINGLE] if FLAGS.table else []
    peers = {library: timing.Peer(FLAGS.peer, "augment_peer.py", library) for library in FLAGS.libraries}
    versions = {name: version for peer in peers.values() for name, version in peer.versions.items()}
    result = {"machine": timing.machine(), "peers": versions, "rate": {}, "per_core": {}}

    def keep():  # after each pipeline: a long run that is stopped keeps what it found
        if FLAGS.json:
            timing.write(FLAGS.json, result)

    for name in names:
        for kind, row in compared(name, peers).items():
            result[kind][name] = row
        keep()
    for peer in peers.values():
        peer.close()
    for title, kind in (("images a second", "rate"), ("images per core second", "per_core")):
        rounded = {name: {key: round(value, 2) for key, value in row.items()} for name, row in result[kind].items()}
        print(f"\n{title}\n{tabulate(rounded)}")
    print()
    for name, goal in GOALS.items():
        if peers and name in names:
            ratio = result["rate"][name]["ratio"]
            print(f"{name}: {ratio:.2f} × the best peer (goal {goal}): {'reached' if ratio >= goal else 'MISSED'}")
    if FLAGS.share:
        result["resnet18_step"] = share()
        print("augmentation's share of a ResNet-18 step: {share:.2%}".format(**result["resnet18_step"]))
        keep()


if __name__ == "__main__":
    process.start(main, __doc__, FLAGS)
