"""`python -m cnnjax` is `cnnjax`."""

from cnnjax.programs.command import main

if __name__ == "__main__":
    main()
