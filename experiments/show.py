"""`python -m experiments.show` is `cnnjax show`."""

from cnnjax.programs.command import run

if __name__ == "__main__":
    run("show")
