"""`python -m experiments.evaluate` is `cnnjax evaluate`."""

from cnnjax.programs.command import run

if __name__ == "__main__":
    run("evaluate")
