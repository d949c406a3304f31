"""`python -m experiments.predict` is `cnnjax predict`."""

from cnnjax.programs.command import run

if __name__ == "__main__":
    run("predict")
