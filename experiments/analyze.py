"""`python -m experiments.analyze` is `cnnjax analyze`."""

from cnnjax.programs.command import run

if __name__ == "__main__":
    run("analyze")
