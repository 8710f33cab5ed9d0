"""`python -m kalign` is the same as `kalign`."""

from kalign.cli import main

if __name__ == "__main__":
    main()
