"""Points and packs in processes of their own: on this machine, on a Ray cluster, on SLURM.

A launcher starts commands and says how they ended; `supervise` gives it work, and tries again what fails or hangs.
A cluster sees the same files as the process that supervises: points go on from what they find in their folders.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from cnnjax import config as sections
from cnnjax.runs.lines import is_number, newest_lines
from cnnjax.runs.signals import PREEMPTED, Stop
from cnnjax.runs.workdir import WorkdirLocked
from cnnjax.sweep._command import NOTICE, bound, run_command
from cnnjax.sweep.decisions import LENIENT, Policy
from cnnjax.sweep.local import PointFailure, last_words
from cnnjax.sweep.points import Pack, Run, packs_of
from cnnjax.train.loop import Preempted

__all__ = ["Launcher", "Local", "RayCluster", "Slurm", "Unit", "run_elsewhere", "supervise", "unit_of"]

_LOCKED = WorkdirLocked.exit_code
_NOTICE = 120  # seconds that a job of SLURM has to save
_WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED")


class Submitted(Protocol):
    """A command that runs somewhere."""

    def poll(self) -> int:
        """Its exit code; -1 while it runs, and -2 where it waits for its turn."""

    def stop(self, *, kill: bool) -> None:
        """Asks it to save and end, or ends it at once."""


class Launcher(Protocol):
    """Where commands run; at most `slots` at a time are handed to it, and each has `gpus` GPUs."""

    slots: int
    gpus: int

    def submit(self, command: Sequence[str], log: Path, slot: int) -> Submitted:
        """Starts a command whose words go to a file."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """Something to run: a pack or a point."""

    pack: Pack
    command: tuple[str, ...]
    log: Path

    @property
    def done(self) -> bool:
        """Whether all its points are."""
        return all(run.done for run in self.pack.runs)


def unit_of(pack: Pack, workdir: Path, *, strategy: str = "auto", policy: Policy = LENIENT, gpus: int = 0) -> Unit:
    """The command that trains a pack: `cnnjax train` for a point that nobody judges, else a part of the sweep.

    It ends with a word where it finds less than `gpus` GPUs. Said as a module of this Python: a job's shell may know no
    `cnnjax`, or another one.
    """
    first = pack.runs[0]
    folder = workdir / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    cnnjax = (sys.executable, "-m", "cnnjax")
    if len(pack.runs) == 1 and not policy.flags:
        file = folder / f"{first.name}.json"
        file.write_text(sections.to_json(first.config))
        command = (*cnnjax, "train", f"--config={file}", f"--workdir={first.workdir}")
    else:
        file = folder / f"{first.name} and {len(pack.runs) - 1} more.json"
        file.write_text(json.dumps([run.name for run in pack.runs]))
        flags = (f"--workdir={workdir}", f"--part={file}", f"--pack={strategy}", *policy.flags)
        command = (*cnnjax, "sweep", *flags)
    command += (f"--gpus={gpus}",) if gpus else ()
    command += ("--allow_changes",) if first.allow_changes else ()
    return Unit(pack, command, file.with_suffix(".log"))


def run_elsewhere(
    runs: Sequence[Run],
    workdir: str | Path,
    *,
    launcher: Launcher,
    strategy: str = "auto",
    most: int = 0,
    retries: int = 1,
    patience: float = 60.0,
    say: Callable[[str], None] = print,
    policy: Policy = LENIENT,
) -> list[PointFailure]:
    """Trains what is missing of the points in other processes, by default in packs that are even shares for the slots.

    Those that are dead come out.
    """
    packs = packs_of(runs, most=most or -(-len(runs) // launcher.slots))
    how = {"strategy": strategy, "policy": policy, "gpus": launcher.gpus}
    units = [unit_of(pack, Path(workdir), **how) for pack in packs]
    return supervise(units, launcher, Path(workdir), retries=retries, patience=patience, say=say)


def supervise(
    units: Sequence[Unit],
    launcher: Launcher,
    workdir: Path,
    *,
    retries: int = 1,
    patience: float = 60.0,
    say: Callable[[str], None] = print,
) -> list[PointFailure]:
    """Runs the units; those that fail, or hang for `patience` seconds (or 20 times the usual), are tried again.

    A pack that fails too often is taken apart; a point that does is dead, and comes out. What was stopped from outside
    and saved, or waits for a process that has its workdirs, has not failed.
    """
    with Stop() as stop:
        return _Supervisor(units, launcher, workdir, retries, patience, say).finish(stop)


class _Supervisor:
    def __init__(self, units, launcher, workdir, retries, patience, say):
        self.waiting = deque((unit, 0, 0.0) for unit in units if not unit.done)  # unit, tries, not before
        self.launcher, self.workdir, self.retries, self.patience, self.say = launcher, workdir, retries, patience, say
        self.active: dict[int, tuple] = {}  # slot -> unit, tries, submitted, since
        self.dead: list[PointFailure] = []

    def finish(self, stop: Stop) -> list[PointFailure]:
        try:
            while (self.waiting or self.active) and not stop.wanted:
                ready = [each for each in self.waiting if each[2] <= time.time()]
                free = [slot for slot in range(self.launcher.slots) if slot not in self.active]
                for slot, each in zip(free, ready, strict=False):
                    self.waiting.remove(each)
                    unit, tries, _ = each
                    submitted = self.launcher.submit(unit.command, unit.log, slot)
                    self.active[slot] = (unit, tries, submitted, time.time())
                    self.say(f"started {_title(unit)}" + (f", try {tries + 1}" if tries else ""))
                for slot in list(self.active):
                    self._look(slot)
                time.sleep(0.1)
        finally:
            asked = stop.wanted
            self._end(kill=not asked)
        if asked:
            raise Preempted("stopped by a signal; every point is saved")
        return self.dead

    def _look(self, slot: int) -> None:
        unit, tries, submitted, since = self.active[slot]
        code = submitted.poll()
        if code == -2:
            self.active[slot] = (unit, tries, submitted, time.time())
            return
        silence = 0.0 if code >= 0 else _silence(unit, since, self.patience)
        if code < 0 and not silence:
            return
        del self.active[slot]
        if silence:
            submitted.stop(kill=True)
        reason = f"no metric line for {silence:.0f} s" if silence else f"ended with exit code {code}"
        if code == 0 and unit.done:
            self.say(f"finished {_title(unit)}")
        elif code == PREEMPTED:
            self.say(f"{_title(unit)}: stopped from outside; goes on from its checkpoint")
            self.waiting.append((unit, tries, 0.0))
        elif code == _LOCKED:
            self.say(f"{_title(unit)}: {last_words(unit.log).rpartition(chr(10))[2]}; waits for that")
            self.waiting.append((unit, tries, time.time() + min(10.0, self.patience)))
        elif tries < self.retries:
            self.say(f"{_title(unit)}: {reason}; tried again from its checkpoint")
            self.waiting.append((unit, tries + 1, 0.0))
        elif len(unit.pack.runs) > 1:
            self.say(f"{_title(unit)}: {reason}; its points are tried alone")
            alone = [Pack((run,)) for run in unit.pack.runs if not run.done]
            self.waiting.extend((unit_of(pack, self.workdir, gpus=self.launcher.gpus), 0, 0.0) for pack in alone)
        else:
            self.say(f"{_title(unit)}: {reason}; given up")
            (run,) = unit.pack.runs
            self.dead.append(PointFailure(run.name, reason, last_words(run.workdir / "error.log", unit.log)))

    def _end(self, *, kill: bool) -> None:
        for _, _, submitted, _ in self.active.values():
            submitted.stop(kill=kill)
        deadline = time.monotonic() + 60
        for _, _, submitted, _ in self.active.values():
            while submitted.poll() < 0 and time.monotonic() < deadline:
                time.sleep(0.05)
            if submitted.poll() < 0:
                submitted.stop(kill=True)


class Local:
    """Processes of this machine, `slots` at a time, each on its share of the processors or on a GPU of its own."""

    def __init__(self, slots: int, gpus: int = 0):
        self.slots, self.gpus, self._here = slots, min(gpus, 1), gpus
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._shares = [set(cores[slot::slots]) or set(cores) for slot in range(slots)]

    def submit(self, command: Sequence[str], log: Path, slot: int) -> Submitted:
        """Starts a process."""
        environment = dict(os.environ)
        if self._here:
            environment["CUDA_VISIBLE_DEVICES"] = str(slot % self._here)
        before = os.sched_getaffinity(0) if self._shares[slot] else set()
        try:
            if before:
                os.sched_setaffinity(0, self._shares[slot])  # a child has what its parent had when it was born
            with open(log, "ab") as words:
                return _Process(
                    subprocess.Popen(
                        bound(command),
                        stdin=subprocess.DEVNULL,
                        stdout=words,
                        stderr=words,
                        env=environment,
                        start_new_session=True,
                    )
                )
        finally:
            if before:
                os.sched_setaffinity(0, before)


class _Process:
    def __init__(self, process: subprocess.Popen):
        self._process = process

    def poll(self) -> int:
        code = self._process.poll()
        return -1 if code is None else code if code >= 0 else 128 - code

    def stop(self, *, kill: bool) -> None:
        with contextlib.suppress(ProcessLookupError):
            if kill:
                os.killpg(self._process.pid, signal.SIGKILL)  # its data workers as well
                self._process.wait()
            else:
                self._process.terminate()


class RayCluster:
    """Tasks of a Ray cluster: that at `address`, or a local one; each has its processors and GPUs."""

    def __init__(self, slots: int, *, address: str = "", cpus: float = 1.0, gpus: float = 0.0):
        try:
            import ray
        except ImportError as error:
            raise sections.ConfigError("--launcher=ray needs Ray: pip install 'cnnjax[ray]'") from error
        self.slots, self.gpus, self._ray = slots, int(gpus), ray
        ray.init(address=address or None, log_to_driver=False, include_dashboard=False if not address else None)
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(run_command)

    def submit(self, command: Sequence[str], log: Path, slot: int) -> Submitted:
        """Starts a task."""
        paths = {"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path[1:]])}
        return _Task(self._ray, self._task.remote(list(command), str(log.absolute()), os.getcwd(), paths))


class _Task:
    def __init__(self, ray, reference):
        self._ray, self._reference = ray, reference

    def poll(self) -> int:
        if not self._ray.wait([self._reference], timeout=0)[0]:
            return -1
        try:
            return self._ray.get(self._reference)
        except self._ray.exceptions.RayError:
            return 1

    def stop(self, *, kill: bool) -> None:
        self._ray.cancel(self._reference, force=kill)


class Slurm:
    """Jobs of SLURM through submitit, each with its processors, GPUs and GB of memory; `cluster` local runs them here.

    A job is told `_NOTICE` seconds before its time is up; what it runs then saves, and is submitted again.
    """

    def __init__(
        self,
        slots: int,
        folder: Path,
        *,
        cluster: str = "slurm",
        minutes: int = 1440,
        partition: str = "",
        account: str = "",
        qos: str = "",
        cpus: int = 1,
        gpus: int = 0,
        memory: int = 0,
    ):
        sections.one_of(cluster, ("slurm", "local"), path="--cluster")
        try:
            import submitit
        except ImportError as error:
            raise sections.ConfigError("--launcher=slurm needs submitit: pip install 'cnnjax[slurm]'") from error
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        except RuntimeError as error:
            raise sections.ConfigError("--launcher=slurm: no srun here; start it where jobs are submitted") from error
        self.slots, self.gpus = slots, gpus
        asked = {
            "timeout_min": minutes,
            "cpus_per_task": cpus,
            "mem_gb": memory,
            "local_gpus_per_node": gpus,
            "slurm_gres": f"gpu:{gpus}" if gpus else "",
            "slurm_partition": partition,
            "slurm_account": account,
            "slurm_qos": qos,
            "slurm_srun_args": [f"--cpus-per-task={cpus}"],  # since SLURM 22.05 a step does not get its job's by itself
            # a job whose node fails or that makes room for another's comes back
            "slurm_additional_parameters": {"requeue": True, "signal": f"{NOTICE.name.removeprefix('SIG')}@{_NOTICE}"},
        }
        self._executor.update_parameters(**{name: value for name, value in asked.items() if value})

    def submit(self, command: Sequence[str], log: Path, slot: int) -> Submitted:
        """Submits a job."""
        how = (list(command), str(log.absolute()), os.getcwd(), {})
        return _SlurmJob(self._executor.submit(run_command, *how, notice=True))


class _SlurmJob:
    def __init__(self, job):
        self._job = job

    def poll(self) -> int:
        if not self._job.done():  # it looks for the result first: what is known of the state may be minutes old
            return -2 if self._job.state.upper() in _WAITING else -1
        try:
            code = self._job.result()
        except Exception:
            return 1
        if code == PREEMPTED:
            self.stop(kill=False)  # it is submitted anew: SLURM must not bring it back as well
        return code

    def stop(self, *, kill: bool) -> None:
        self._job.cancel(check=False)


def _silence(unit: Unit, since: float, patience: float) -> float:
    """Seconds without a metric line, where that is too long for the unit; 0 where it is not."""
    newest, pauses = 0.0, []
    for run in unit.pack.runs:
        with contextlib.suppress(OSError):
            at = [line.get("time", {}).get("at") for line in newest_lines(run.workdir, 20)]
            at = [moment for moment in at if is_number(moment)]
            pauses += [b - a for a, b in itertools.pairwise(at) if a >= since]
            newest = max([newest, *(moment for moment in at if moment >= since)])
    # before its first line it starts, reads its data and compiles
    allowed = max(patience, 20 * statistics.median(pauses or [0.0])) if newest else 10 * patience
    silence = time.time() - max(newest, since)
    return silence if silence > allowed else 0.0


def _title(unit: Unit) -> str:
    first, more = unit.pack.runs[0].name, len(unit.pack.runs) - 1
    return f"{first} and {more} more" if more else first
