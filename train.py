"""accelerate launch train.py recipe=exaone: the same as `kalign train recipe=exaone`."""

import sys

from kalign.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
