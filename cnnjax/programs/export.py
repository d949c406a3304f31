"""Writes a trained network for use elsewhere, reads it back, and says how far its answers are from its own.

  cnnjax export --workdir=runs/a --to=stablehlo
  cnnjax export --workdir=runs/a --to=safetensors --output=a.safetensors
  cnnjax export --model=resnet18 --weights=resnet18.pth --to=onnx --output=resnet18.onnx

  --workdir=DIR              a run of cnnjax train
  --checkpoint=best          best, last, or a step
  --to=FORMAT                stablehlo: a program for CPU, CUDA and TPU with its weights and preprocessing;
                             jax.export.deserialize(open(FILE, "rb").read()).call(inputs) runs it
                             onnx: the same for onnxruntime and others; both for batches of any size
                             safetensors: the weights, and what they are of: predict --weights=FILE takes it
  --output=FILE              where to; in the workdir, network.FORMAT, where it is not given
  --platforms=cpu,cuda,tpu   what a StableHLO program is for
  --dialect=auto             names in safetensors: torchvision, timm, native, or auto: torchvision's where
                             it has the network, our own elsewhere

Or a network of the zoo, with what its weights expect, as in cnnjax predict
  --model=NAME --weights=FILE --config.model.OPTION=V --outputs=1000 --size=224 --mean=… --std=…

Needs (extras of the package): export for stablehlo, onnx for onnx
Exit codes: 0 done · 2 usage, a package that is missing, or a network without a form in the format
  3 the run's data · 5 no usable checkpoint · 6 out of memory · 1 anything else
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from absl import flags

from cnnjax.config import ConfigError, one_of
from cnnjax.programs import _origin, process
from cnnjax.refusals import plain

__all__ = ["FLAGS", "main"]

FLAGS = flags.FlagValues()
_origin.define(FLAGS)
flags.DEFINE_string("to", "", "the format", flag_values=FLAGS)
flags.DEFINE_string("output", "", "the file to write", flag_values=FLAGS)
flags.DEFINE_list("platforms", "cpu,cuda,tpu", "what a program is for", flag_values=FLAGS)
flags.DEFINE_string("dialect", "auto", "names of weights", flag_values=FLAGS)

FORMATS = ("stablehlo", "safetensors", "onnx")
_TOLERANCE = 1e-4  # greatest difference, by the greatest answer
_ALIKE = 0.999  # least share of whole numbers that agree: where two classes are as likely, rounding decides
_ELSEWHERE = """
import sys, jax, numpy
program = jax.export.deserialize(open(sys.argv[1], "rb").read())
found = [program.call(inputs) for inputs in numpy.load(sys.argv[2]).values()]
wide = {"bfloat16": "f4"}  # NumPy has no name for it
found = [{name: numpy.asarray(value, wide.get(str(value.dtype))) for name, value in each.items()} for each in found]
numpy.savez(sys.argv[3], **{f"{name}_{i}": value for i, each in enumerate(found) for name, value in each.items()})
assert "cnnjax" not in sys.modules
"""


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    argv, of_net = _origin.apart(argv)
    process.read(FLAGS, argv)
    _origin.check(FLAGS, of_net)
    to = one_of(FLAGS.to, FORMATS, path="--to")
    one_of(FLAGS.dialect, ("auto", "torchvision", "timm", "native"), path="--dialect")
    if not (FLAGS.output or FLAGS.workdir):
        raise ConfigError("--output is missing; give the file to write")
    target = Path(FLAGS.output or Path(FLAGS.workdir, f"network.{to}"))
    if FLAGS.workdir and not Path(FLAGS.workdir).is_dir():
        raise ConfigError(f"--workdir is {FLAGS.workdir!r}; there is no such folder")
    if target.is_dir():
        raise ConfigError(f"--output is {str(target)!r}, a folder; give the file to write")
    if not target.parent.is_dir():
        raise ConfigError(f"--output is {str(target)!r}; there is no folder {target.parent}")
    served = _origin.network(FLAGS, of_net)
    print(plain(served.story))
    print(plain(write(served, target, to)))


def write(served: Any, target: Path, to: str) -> str:
    """Writes a network to a file, read back and compared before it takes the place of an older one; what was found."""
    try:
        folder = tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise ConfigError(f"--output is {str(target)!r}, which can't be written: {error.strerror}") from error
    with folder as place:
        unchecked = Path(place, target.name)
        story = _weights(served, unchecked) if to == "safetensors" else _program(served, unchecked, to)
        unchecked.replace(target)
    return f"{target}: {target.stat().st_size:,} bytes; {story}"


def _weights(served, target: Path) -> str:
    import jax
    import numpy as np

    from cnnjax import weights

    def written(dialect):
        weights.save(served.net, served.variables, target, dialect=dialect, notes=served.notes)
        return dialect

    if FLAGS.dialect == "auto":
        try:
            dialect = written("torchvision")
        except weights.WeightsError:
            dialect = written("native")
    else:
        dialect = written(FLAGS.dialect)
    back = weights.load(served.net, served.variables, target, dialect=dialect)
    same = jax.tree.map(lambda a, b: bool(np.array_equal(a, b, equal_nan=True)), back, dict(served.variables))
    if not jax.tree.all(same):
        raise ConfigError(f"{dialect} names give other numbers when they are read back; choose another --dialect")
    return f"{dialect} names; read back, every number is the same"


def _program(served, target: Path, to: str) -> str:
    from cnnjax import weights

    def answer(inputs):
        return served.answer(served.variables, inputs)

    if to == "onnx":
        program = weights.as_onnx(answer, served.shape, served.dtype)
    else:
        program = weights.as_stablehlo(answer, served.shape, served.dtype, platforms=FLAGS.platforms)
    target.write_bytes(program)
    story = f"inputs (b, {', '.join(map(str, served.shape))}) {served.dtype}"
    story += f", for {', '.join(FLAGS.platforms)}" if to == "stablehlo" else ""
    return f"{story}; {_compared(served, answer, target, to)}"


def _compared(served, answer, target: Path, to: str) -> str:
    """How far the answers of the program that was written are from those of the network, for two sizes of batch."""
    import jax
    import numpy as np

    if to == "stablehlo" and jax.default_backend() not in [{"cuda": "gpu"}.get(name, name) for name in FLAGS.platforms]:
        return f"not run, for this machine has {jax.default_backend()}"
    rng = np.random.default_rng(0)
    batches = [rng.random((n, *served.shape)) for n in (1, 3)]
    whole = np.issubdtype(served.dtype, np.integer)
    batches = [(255 * batch if whole else batch).astype(served.dtype) for batch in batches]
    wanted = [jax.tree.map(np.asarray, jax.jit(answer)(batch)) for batch in batches]
    found = _by_onnxruntime(target, batches) if to == "onnx" else _by_jax_alone(target, batches)
    reader, far = "onnxruntime" if to == "onnx" else "a process without this project", 0.0
    for ours, theirs in zip(wanted, found, strict=True):
        for name, value in ours.items():
            if np.shape(theirs[name]) != value.shape:
                raise ConfigError(f"{name} is {np.shape(theirs[name])} in {reader}, but {value.shape} in the network")
            if np.issubdtype(value.dtype, np.integer) or value.dtype == bool:
                if (value == theirs[name]).sum() < _ALIKE * value.size:
                    raise ConfigError(f"{name} is another in {reader}; nothing was written")
                continue
            a, b = value.astype(np.float64), np.asarray(theirs[name], np.float64)
            if np.isnan(a).any():
                raise ConfigError(f"{name} of the network itself is not a number; are its weights, mean and std right?")
            finite = np.isfinite(a)
            apart = np.abs(a[finite] - b[finite]).max(initial=0) / max(np.abs(a[finite]).max(initial=0), 1e-30)
            if not apart <= _TOLERANCE or not np.array_equal(a[~finite], b[~finite]):
                raise ConfigError(f"{name} differs by {apart:.2g} relative in {reader}; nothing was written")
            far = max(far, float(apart))
    return f"{', '.join(wanted[0])} in {reader} within {far:.1e}"


def _by_jax_alone(target: Path, batches: list) -> list:
    """The answers that a process gives which has JAX, but not this project."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder, "inputs.npz"), Path(folder, "answers.npz")
        np.savez(given, *batches)
        command = [sys.executable, "-c", _ELSEWHERE, str(target.absolute()), str(given), str(answers)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ConfigError(f"the program can't be run by another process, so nothing was written: {last}")
        with np.load(answers) as held:
            places = {name: name.rpartition("_") for name in held.files}
            return [
                {word: held[name] for name, (word, _, at) in places.items() if int(at) == i}
                for i in range(len(batches))
            ]


def _by_onnxruntime(target: Path, batches: list) -> list:
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError(
            "the model can't be checked, so nothing was written: onnxruntime is missing, pip install 'cnnjax[onnx]'"
        ) from None
    session = onnxruntime.InferenceSession(str(target))
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(None, {"inputs": batch}), strict=True)) for batch in batches]
