"""`python -m experiments.results` is `cnnjax results`."""

from cnnjax.programs.command import run

if __name__ == "__main__":
    run("results")
