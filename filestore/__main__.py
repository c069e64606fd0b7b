"""``python -m filestore``: the command line of this very installation."""

from filestore.cli import main

if __name__ == "__main__":
    main()
