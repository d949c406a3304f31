"""`python -m experiments.export` is `cnnjax export`."""

from cnnjax.programs.command import run

if __name__ == "__main__":
    run("export")
