"""`python -m experiments.train` is `cnnjax train`."""

from cnnjax.programs.command import run

if __name__ == "__main__":
    run("train")
