"""Augmentation: images a second here, in torchvision, in albumentations and in kornia, on the same cores in one run.

  python3.11 -m venv .venv-augment
  .venv-augment/bin/pip install torch==2.13.0 torchvision==0.28.0 albumentations==2.0.8 kornia==0.9.0
  python -m experiments.benchmarks.augment [--rounds=5] [--pipelines=cifar,ten,imagenet] [--table]

uint8 images in, normalised float32 images out on all sides (source 32², or 256² → 224² for imagenet). Rounds are
interleaved and the best of each counts, since other work on the machine only ever takes time away; "per core second"
is by the processor time that each spent, which such work hardly touches. `--table` times single transforms too.
Writes experiments/benchmarks/results/augment_<backend>.json, with the share of a ResNet-18 training step (batch 64,
CIFAR stem) that its crop, flip and cutout take.
"""

import datetime
import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from cnnjax import models, ops
from cnnjax.augment import compose
from cnnjax.config import ConfigError
from cnnjax.data.source import Facts
from cnnjax.train.tables import tabulate
from experiments import _main

FLAGS = flags.FlagValues()
flags.DEFINE_integer("rounds", 3, "interleaved rounds", 1, flag_values=FLAGS)
flags.DEFINE_list("pipelines", ["cifar", "ten", "imagenet"], "which pipelines", flag_values=FLAGS)
flags.DEFINE_list("libraries", ["torchvision", "albumentations", "kornia"], "which peers", flag_values=FLAGS)
flags.DEFINE_string("peers", ".venv-augment/bin/python", "the Python that has the peers", flag_values=FLAGS)
flags.DEFINE_float("seconds", 3.0, "of every measurement", 0.01, flag_values=FLAGS)
flags.DEFINE_bool("table", False, "single transforms too", flag_values=FLAGS)
flags.DEFINE_bool("share", True, "the share of a training step too", flag_values=FLAGS)

FACTS = Facts("image", (32, 32, 3), 10, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
JITTER = ("brightness", "contrast", "saturation")
TEN = ("crop", "flip", "flip#2", "rotate", "translate", "zoom", "rescale", "shear", "perspective", "elastic")
OURS = {  # names, batch, side of the source
    "cifar": (("crop", "flip", "cutout"), 256, 32),
    "ten": ((*TEN, *JITTER), 256, 32),
    "imagenet": (("random_resized_crop", "flip", *JITTER), 32, 256),
}
GOALS = {"cifar": 1.5, "ten": 1.5, "imagenet": 1.0}  # times the best peer
OPTIONS = {
    "random_resized_crop": {"side": 224},
    "flip#2": {"axis": "height"},
    "elastic": {"pixels": 1.4, "smooth": 4.0},
}
SINGLE = ("flip", "rotate", "translate", "zoom", "shear", "perspective", "elastic", "cutout", "jitter")


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


def ours(name: str, runs: dict) -> tuple[float, float]:
    """Images a second, and images a second of one core, of one measurement here."""
    if name not in runs:
        runs[name] = pipeline(name)
    run, rows = runs[name]
    steps, start, busy = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < FLAGS.seconds:
        run(steps)
        steps += 1
    return rows * steps / (time.perf_counter() - start), rows * steps / (time.process_time() - busy)


def theirs(library: str, name: str) -> tuple[float, float]:
    """The same of a peer; zeros where it fails."""
    peer = Path(__file__).with_name("augment_peer.py")
    command = [FLAGS.peers, "-W", "ignore", str(peer), f"--library={library}", f"--pipeline={name}"]
    done = subprocess.run([*command, f"--seconds={FLAGS.seconds}"], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{library} {name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return 0.0, 0.0
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["images_per_second"], 1 / found["core_seconds"]


def compared(names: list[str]) -> tuple[dict, dict]:
    """The best of interleaved rounds, pipeline → library → images a second, with the ratio to the best peer.

    Twice: by the clock, and by the time that cores spent.
    """
    tables, runs = ({name: {} for name in names}, {name: {} for name in names}), {}
    for _ in range(FLAGS.rounds):
        for name in names:
            found = {"cnnjax": ours(name, runs)} | {library: theirs(library, name) for library in FLAGS.libraries}
            for which, table in enumerate(tables):
                for library, rates in found.items():
                    table[name][library] = max(rates[which], table[name].get(library, 0.0))
    for table in tables:
        for row in table.values():
            best = max([row[library] for library in FLAGS.libraries], default=0.0)
            row["ratio"] = row["cnnjax"] / best if best else float("nan")
    return tables


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
    _main.read(FLAGS, argv)
    if FLAGS.libraries and not Path(FLAGS.peers).exists():
        raise ConfigError(f"--peers is {FLAGS.peers!r}, which is not there; --help says how to make it")
    names = list(FLAGS.pipelines)
    names += [f"{step}@{side}" for side in (32, 224) for step in SINGLE] if FLAGS.table else []
    rates, per_core = compared(names)
    for title, table in (("images a second", rates), ("images per core second", per_core)):
        rounded = {name: {library: round(rate, 2) for library, rate in row.items()} for name, row in table.items()}
        print(f"{title}\n{tabulate(rounded)}\n")
    for name, goal in GOALS.items():
        if name in rates:
            ratio = rates[name]["ratio"]
            print(f"{name}: {ratio:.2f} × the best peer (goal {goal}): {'reached' if ratio >= goal else 'MISSED'}")
    result = {"date": str(datetime.date.today()), "cores": os.cpu_count(), "jax": jax.__version__}
    result |= {"load": os.getloadavg()[0], "images_per_second": rates, "images_per_core_second": per_core}
    if FLAGS.share:
        result["resnet18_step"] = share()
        print("augmentation's share of a ResNet-18 step: {share:.2%}".format(**result["resnet18_step"]))
    path = Path(__file__).parent / "results" / f"augment_{jax.default_backend()}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    _main.start(main, __doc__, FLAGS)
