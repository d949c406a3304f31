"""Stopping: in processes of their own, with real signals."""

import multiprocessing
import os
import signal
import socket
import threading
import time

import pytest

from cnnjax.runs.signals import PREEMPTED, Stop
from tests.processes import python


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_the_first_signal_is_a_wish(number, capfd):
    if signal.getsignal(number) is signal.SIG_IGN:  # the tests themselves were started by nohup
        signal.signal(number, signal.SIG_DFL)
    before = signal.getsignal(number)
    with Stop() as stop:
        assert not stop.wanted
        os.kill(os.getpid(), number)
        assert stop.wanted
        assert stop.anywhere()
        assert stop.name == number.name
        os.kill(os.getpid(), number)  # the echo that `timeout` and prepared managers send
        time.sleep(0.05)
    assert signal.getsignal(number) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert not [thread for thread in threading.enumerate() if thread.name == "signals"]
    assert f"{number.name}: stopping after this step, with a checkpoint" in capfd.readouterr().err


def test_what_whoever_started_the_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
            assert not stop.wanted
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


WAITING = """
import time
from cnnjax.runs.signals import Stop

with Stop() as stop:
    print("ready", flush=True)
    while not stop.wanted:
        time.sleep(0.01)
    print("wanted", flush=True)
    time.sleep(60)
"""


@pytest.mark.doors
def test_the_second_signal_stops_at_once():
    process = python(WAITING)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "wanted\n"
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == PREEMPTED == 75
    assert time.monotonic() - began < 5
    assert err.split("\n\n")[-1].strip() == "SIGINT again: stopped at once; the last checkpoint stands"


COMPILING = """
import jax, jax.numpy as jnp
from cnnjax.runs.signals import Stop

def slow(x):
    for i in range(300):
        x = jnp.sin(x @ x) + jax.lax.scan(lambda c, _: (c * 1.1 + i, None), x, None, length=3)[0]
    return x

with Stop() as stop:
    lowered = jax.jit(slow).lower(jnp.ones((8, 8)))
    print("ready", flush=True)
    lowered.compile()
    print("compiled", flush=True)
"""


@pytest.mark.doors
def test_the_second_signal_stops_even_a_compilation():
    process = python(COMPILING)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.4)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == PREEMPTED
    assert out == ""


def test_other_threads_are_left_alone():
    found = []

    def work():
        with Stop() as stop:
            found.append(stop.wanted)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


FORKING = """
import os, signal, time
from cnnjax.runs.signals import Stop

with Stop() as stop:
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM)
    time.sleep(0.2)
    print(stop.wanted)
"""


@pytest.mark.doors
def test_ending_a_forked_worker_is_no_wish_to_stop():
    process = python("import warnings; warnings.simplefilter('ignore')\n" + FORKING)
    out, err = process.communicate(timeout=30)
    assert (out, err) == ("True\nFalse\n", "")


def nap():
    time.sleep(30)


@pytest.mark.doors
def test_ending_a_spawned_worker_is_no_wish_to_stop():
    with Stop() as stop:
        worker = multiprocessing.get_context("spawn").Process(target=nap)
        worker.start()
        time.sleep(0.1)
        worker.terminate()
        worker.join()
        worker.close()
        assert not stop.wanted


TOGETHER = """
import sys, time
import jax

process, port = int(sys.argv[1]), sys.argv[2]
jax.distributed.initialize(f"localhost:{port}", 2, process)
from cnnjax.runs.signals import Stop

with Stop() as stop:
    step = 0
    assert not stop.anywhere()
    print("ready", flush=True)
    while not stop.anywhere():
        step += 1
        time.sleep(0.01)
    print(step, stop.wanted, flush=True)
"""


@pytest.mark.doors
def test_a_signal_to_one_process_stops_all_at_the_same_step():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    pair = [python(TOGETHER, process, port) for process in range(2)]
    for process in pair:
        while process.stdout.readline() != "ready\n":  # after what gloo has to say
            assert process.poll() is None
    pair[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=60) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    (step, wanted), (other, also) = (out.splitlines()[-1].split() for out, _ in said)
    assert step == other
    assert (wanted, also) == ("False", "True")
