"""`python -m experiments.sweep` is `cnnjax sweep`."""

from cnnjax.programs.command import run

if __name__ == "__main__":
    run("sweep")
