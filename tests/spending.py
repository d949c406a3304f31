"""What the tests spend, in seconds of processor: the ten dearest are shown, and the whole must stay under its budget.

Processor seconds count this process with all its threads and the processes that it started and saw end. A busy machine
hardly changes them, so that they can be held against a budget where the clock can't.
"""

import resource
from collections import defaultdict

import pytest

# What `make test`, `make doors` may spend. The target is 560 (five minutes of two quiet cores) and 850; slower machines
# and shared cores spend up to half as much again.
BUDGETS = {"not doors and not proofs": 840.0, "doors and not proofs": 1300.0}
SHOWN = 10


def spent() -> float:
    """Processor seconds of this process so far, and of those that it started."""
    of = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in of)


def over(seconds: float, marks: str) -> float:
    """By how much this is over the budget of what such marks select; what has none may spend what it likes."""
    return max(0.0, seconds - BUDGETS.get(marks, float("inf")))


class Spending:
    """Sums what tests spent, workers' included."""

    def __init__(self, config: pytest.Config):
        self.config, self.before = config, spent()
        self.tests: dict[str, float] = defaultdict(float)
        self.workers = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        """What a test's setup, call or teardown spent travels with its report."""
        report = yield
        now = spent()
        report.processor_seconds, self.before = now - self.before, now
        return report

    def pytest_runtest_logstart(self):
        self.before = spent()

    def pytest_runtest_logreport(self, report):
        """Where the terminal is: here, or in the process that started the workers."""
        self.tests[report.nodeid.partition("@")[0]] += getattr(report, "processor_seconds", 0.0)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        self.workers += getattr(node, "workeroutput", {}).get("processor_seconds", 0.0)

    def pytest_sessionfinish(self, session):
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["processor_seconds"] = spent()
        elif self.excess() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def total(self) -> float:
        """Processor seconds of the whole run: imports, collection and tests, of every worker."""
        usage = resource.getrusage(resource.RUSAGE_SELF)  # workers are children too, and have said what they spent
        return usage.ru_utime + usage.ru_stime + self.workers if self.workers else spent()

    def excess(self) -> float:
        """By how much the whole is over its budget; 0 where files or tests were picked by name."""
        option = self.config.option
        whole = not option.keyword and not option.collectonly and self.config.args == self.config.getini("testpaths")
        return over(self.total(), option.markexpr) if whole else 0.0

    def pytest_terminal_summary(self, terminalreporter):
        write = terminalreporter.write_line
        files = defaultdict(float)
        for name, seconds in self.tests.items():
            files[name.partition("::")[0]] += seconds
        terminalreporter.section("processor seconds")
        for what in (files, self.tests):
            for name, seconds in sorted(what.items(), key=lambda pair: -pair[1])[:SHOWN]:
                write(f"{seconds:7.1f}  {name}")
            write("")
        write(f"{self.total():7.1f}  in all, of which {sum(self.tests.values()):.1f} in tests")
        if self.excess():
            write(f"over the budget of tests/spending.py by {self.excess():.1f}", red=True)


def pytest_configure(config):
    config.pluginmanager.register(Spending(config), "spending")
