"""`python -m experiments.lr` is `cnnjax lr`."""

from cnnjax.programs.command import run

if __name__ == "__main__":
    run("lr")
