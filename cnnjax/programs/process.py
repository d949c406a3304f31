"""What the programs share: flags read, processes connected, and every error turned into an exit code and a line."""

import importlib.util
import os
import platform
import re
import shlex
import shutil
import socket
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from absl import flags, logging

import cnnjax
from cnnjax.config import ConfigError
from cnnjax.programs import _interrupts
from cnnjax.programs._pipes import complain, printed, reader_gone
from cnnjax.programs._unknown_flags import hint
from cnnjax.refusals import on_disk, plain

__all__ = ["command", "connect", "define_devices", "exit_code", "expect_gpus", "program_of", "read", "start"]

_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory")  # as accelerators say it, and as the CPU does
_REFUSALS = (2, 3, 7, 75)  # what the user did, or asked for; the message says all
_ALLOCATOR = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1000000000000"
_PACKAGE = str(Path(cnnjax.__file__).parent)
_PYTHON = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
_NOT_THEIRS = (_PACKAGE, *_PYTHON)  # where a user's own files are not


def define_devices(values: flags.FlagValues) -> None:
    """Defines the flags that say what the program runs on."""
    flags.DEFINE_integer("devices", 0, "split the CPU into so many devices", 0, flag_values=values)
    flags.DEFINE_integer("gpus", 0, "GPUs that must be there", 0, flag_values=values)
    flags.DEFINE_string("coordinator", "", "host:port of process 0, or auto on clusters", flag_values=values)
    flags.DEFINE_integer("processes", 0, "processes that train together", 0, flag_values=values)
    flags.DEFINE_integer("process", 0, "which of them this is", 0, flag_values=values)
    flags.DEFINE_float("heartbeat", 60, "seconds after which one that is not heard of is lost", 1, flag_values=values)


def start(program: Callable[[list[str]], None], usage: str, values: flags.FlagValues) -> NoReturn:
    """Runs a program and ends the process with its exit code; `usage` is what --help prints."""
    argv = sys.argv[1:]
    if {"--help", "-h", "-help"} & set(argv):
        program = _help_of(usage)
    else:
        _on_large_pages()
        _interrupts.heed()
        _in_this_thread()
    logging.set_verbosity(logging.ERROR)
    try:
        program(argv)
        code, words = 0, ""
    except (Exception, KeyboardInterrupt) as error:
        gone = isinstance(error, BrokenPipeError) and reader_gone()
        code, words = (0, "") if gone else (_explained(error, values), str(error))
    code = printed(code)
    if _many_processes():
        from cnnjax.runs import processes

        processes.end(code, words)
    if code and (_many_processes() or _still_reading()):
        os._exit(code)  # the others, or a disk, would be waited for, and the others wait for this one
    sys.exit(code)


def _help_of(usage: str) -> Callable[[list[str]], None]:
    return lambda argv: print(_in_our_words(usage.strip()))


def _on_large_pages() -> None:
    """Starts the program again with an allocator that asks for large pages and keeps what was freed.

    XLA's arena of a CPU step is new memory in every step otherwise; touching it took a fifth of the step of a large
    network (experiments/benchmarks/README.md). Only the C library's start-up can be told; GLIBC_TUNABLES, set to
    anything, leaves all as it is.
    """
    if not _way() or sys.platform != "linux" or "GLIBC_TUNABLES" in os.environ or platform.libc_ver()[0] != "glibc":
        return
    _interrupts.hold_back()
    os.execve(sys.executable, sys.orig_argv, {**os.environ, "GLIBC_TUNABLES": _ALLOCATOR})


def _in_this_thread() -> None:
    """CPU programs run in the thread that calls them, whose memory is the one the C library keeps.

    JAX hands them to threads of its own otherwise. Their heaps hold 64 MB; what is larger goes back to the kernel after
    each step, and is cleared page by page in the next.
    """
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)


def read(values: flags.FlagValues, argv: list[str]) -> None:
    """Reads the program's own flags; whatever is left over is an error, and an address where no URL is spoken of."""
    values.unparse_flags()
    try:
        left = values([sys.argv[0], *argv])[1:]
    except flags.UnrecognizedFlagError as error:
        end = hint(values, error.flagname, str(error.flagvalue or "").partition("=")[2])
        raise ConfigError(f"--{error.flagname} is not a flag{end}") from error
    except flags.IllegalFlagValueError as error:
        _, _, given = str(error).partition("--")
        name, _, value = given.partition("=")
        least = getattr(values[name].parser, "lower_bound", 0)
        kinds = {"int": f"a whole number ≥ {least}", "float": f"a number ≥ {least}", "bool": "true or false"}
        kind = kinds.get(values[name].flag_type(), "text")
        raise ConfigError(f"--{name} is {value.partition(':')[0]!r}; it must be {kind}") from error
    except flags.Error as error:
        raise ConfigError(str(error)) from error
    for name in values:
        texts = values[name].value if isinstance(values[name].value, list) else [values[name].value]
        for text in texts if "URL" not in values[name].help else ():
            on_disk(text, f"--{name}") if isinstance(text, str) else None
    if left:
        raise ConfigError(f"{left[0]!r} is not a flag; write --name=value, with quotes about a value that has blanks")


def connect(values: flags.FlagValues) -> None:
    """Makes the devices that the flags ask for, and joins the processes that train together."""
    import jax

    if values.devices:
        jax.config.update("jax_num_cpu_devices", values.devices)
    from cnnjax.runs import processes

    if values.coordinator == "auto":
        _join_cluster(values.heartbeat)
    elif values.coordinator:
        if not values.processes or values.process >= values.processes:
            raise ConfigError(
                f"--process={values.process} of --processes={values.processes}: with --coordinator, "
                "give the number of processes, and which one this is, from 0"
            )
        processes.join(values.coordinator, values.processes, values.process, patience=values.heartbeat)
    elif values.processes:
        raise ConfigError(f"--processes={values.processes} needs --coordinator=host:port of process 0")


def expect_gpus(count: int) -> None:
    """Ends in a line where JAX sees fewer GPUs than that: a job would train on its processors, and nobody see it."""
    import jax

    found = [device for device in jax.local_devices() if device.platform == "gpu"]
    if len(found) >= count:
        return
    sees = f"{len(found)} × {found[0].device_kind}" if found else "no GPU"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    there = sorted(Path("/dev").glob("nvidia[0-9]*"))
    cure = "ask the scheduler for them, or lower --gpus"
    if there and not found:
        cure = "install JAX's build for them, pip install 'cnnjax[cuda13]' (or cuda12, for drivers before 580)"
    raise ConfigError(
        f"--gpus={count}: JAX sees {sees} on {socket.gethostname()} "
        f"({len(there)} stand there, CUDA_VISIBLE_DEVICES is {visible!r})\n{cure}"
    )


def _join_cluster(heartbeat: float) -> None:
    """Joins the processes that a cluster has started together, as JAX finds out by itself; says what it lacks."""
    from cnnjax.runs import processes

    kubernetes = "KUBERNETES_SERVICE_HOST" in os.environ
    if kubernetes and not importlib.util.find_spec("kubernetes"):
        raise ConfigError(
            "--coordinator=auto on Kubernetes: the package that asks the cluster is missing: pip install 'cnnjax[k8s]'"
        )
    try:
        processes.join_cluster(patience=heartbeat)
    except Exception as error:
        if kubernetes:
            raise ConfigError(f"--coordinator=auto on Kubernetes: {_lack_on_kubernetes(error)}") from error
        if "should be defined" in str(error):
            raise ConfigError(
                "--coordinator=auto: no Slurm step, Open MPI, TPU pod or Kubernetes job is found here; "
                "give --coordinator=host:port --processes=N --process=I"
            ) from error
        raise


def _lack_on_kubernetes(error: Exception) -> str:
    """What a pod lacks that JAX did not find its fellows, by the error that it ended with."""
    manifest = "the manifest in cnnjax/sweep/README.md has all that is needed"
    if "403" in str(error) or "Forbidden" in str(error):
        return f"the pod's service account may not get and list pods, jobs and services; {manifest}"
    return f"{' '.join(str(error).split())[:200] or type(error).__name__}; {manifest}"


def command(program: str, *arguments: str) -> str:
    """A program's command as one would type it here, with these arguments, or those that this process was given.

    It begins as the command did that started this process: `cnnjax`, `python -m cnnjax`, or a file of experiments/.
    """
    return shlex.join([*_words(program), *(arguments or sys.argv[1:])])


def _way() -> str:
    """How this process was started as one of the programs: experiments, script or module; "" if it was not."""
    main = sys.modules["__main__"]
    module = main.__spec__.name if main.__spec__ else ""
    if module.startswith("experiments."):
        return "experiments"
    if module in ("cnnjax", "cnnjax.__main__"):
        return "module"
    return "script" if not module and Path(getattr(main, "__file__", "")).name == "cnnjax" else ""


def _words(program: str) -> list[str]:
    """What one types before a program's flags."""
    way = _way()
    if way == "script":
        return [_script(Path(sys.modules["__main__"].__file__).absolute()), program]
    return [_python(), "-m", f"experiments.{program}"] if way == "experiments" else [_python(), "-m", "cnnjax", program]


def _in_our_words(usage: str) -> str:
    """A page of help whose commands begin as the one did that asked for it."""
    return re.sub(r"\bcnnjax ([a-z]+)(?= -)", lambda match: shlex.join(_words(match[1])), usage) if _way() else usage


def _script(file: Path) -> str:
    """The word that starts the console script: its name where the shell finds it by that, its path elsewhere."""
    found = shutil.which("cnnjax")
    if found and Path(found).absolute() == file:
        return "cnnjax"
    return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)


def _python() -> str:
    """The word that starts this Python: its path where it is that of an environment below that is not active."""
    here, executable = Path.cwd(), Path(sys.executable)
    active = os.environ.get("VIRTUAL_ENV", "") == sys.prefix
    return str(executable.relative_to(here)) if executable.is_relative_to(here) and not active else "python"


def _explained(error: BaseException, values: flags.FlagValues) -> int:
    """Prints what the user needs to know of an error, and gives the exit code.

    What is no refusal is kept whole in the error.log of the run that it befell.
    """
    code = exit_code(error)
    if _many_processes():
        from cnnjax.runs import processes

        processes.settle(error)
    workdir = Path(getattr(values, "workdir", "")) if values.is_parsed() else Path()
    story = ""
    if code == 1 and (missing := _missing_devices()):
        complain(missing)
        return ConfigError.exit_code
    if code not in _REFUSALS and workdir != Path():
        from cnnjax.runs.workdir import keeps_errors, record_error

        if keeps_errors(workdir):
            story = f"; the whole story is in {record_error(workdir, error)}"
    if code == 75:
        _tell(f"{error or 'stopped'}\nresume: {command(program_of(sys.argv[0]))}")
    elif code == 6:
        lower = "lower train.batch, raise optimizer.accumulate, or make the model smaller"
        _tell(f"out of memory{story}\n{lower}")
    elif code == 1:
        if not story:
            complain("".join(traceback.format_exception(error)).rstrip())
        line = (str(error).strip().splitlines() or [""])[0]
        own = _own_frame(error)
        _tell(f"{type(error).__name__}: {line[:200]}{story}")
        if own:
            _tell(f"{_shown(own.filename)}, line {own.lineno}, in {own.name}: {own.line}")
    else:
        first, *rest = str(error).split("\n")
        own = _own_frame(error) if code == 2 else None
        where = f" ({_shown(own.filename)}, line {own.lineno})" if own else ""
        _tell("\n".join([f"{first}{where}", *rest]))
    return code


def _tell(text: str) -> None:
    complain(plain(text))


def _missing_devices() -> str:
    """What is wrong where JAX was told to run on devices that are not here; else ""."""
    if not (wanted := os.environ.get("JAX_PLATFORMS", "")):
        return ""
    import jax

    try:
        jax.devices()
    except Exception:
        return (
            f"JAX_PLATFORMS is {wanted!r}, but JAX finds no such device here\n"
            "leave it out to train on what there is, or install JAX for that device, as the README says"
        )
    return ""


def _own_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Where in the user's own files an error came up: the last frame in neither this package, others, nor Python."""
    named = None
    while error is not None and named is None:
        for frame in traceback.extract_tb(error.__traceback__):
            path = Path(frame.filename)
            if path.is_file() and not any(path.is_relative_to(place) for place in _NOT_THEIRS):
                named = frame
        error = error.__cause__
    return named


def _shown(file: str) -> str:
    """A file as one would type it here."""
    return str(Path(file).relative_to(Path.cwd()) if Path(file).is_relative_to(Path.cwd()) else file)


def exit_code(error: BaseException) -> int:
    """0 done · 1 unforeseen · 2 config · 3 data · 4 diverged · 5 checkpoint · 6 memory · 7 locked · 75 preempted."""
    if hasattr(error, "exit_code"):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return 75
    if isinstance(error, MemoryError) or any(word in str(error) for word in _OUT_OF_MEMORY):
        return 6
    if isinstance(error, ValueError):
        frames = traceback.extract_tb(error.__traceback__)
        if frames and frames[-1].filename.startswith(_PACKAGE):  # raised by a check of this project's own
            return 2
    return 1


def program_of(word: str) -> str:
    """The program's name, of the first word of a command that a run has recorded: `…/train.py` or `cnnjax train`."""
    return Path(word).stem.rpartition(" ")[2]


def _still_reading() -> bool:
    """Whether a thread of this process waits for data, perhaps of a disk that does not answer."""
    return any(thread.name.startswith("cnnjax-data") for thread in threading.enumerate())


def _many_processes() -> bool:
    jax = sys.modules.get("jax")
    return bool(jax) and jax.distributed.is_initialized() and jax.process_count() > 1
