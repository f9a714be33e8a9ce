"""`python -m maskery`."""

from maskery.cli import main

if __name__ == "__main__":
    main()
