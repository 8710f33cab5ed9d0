"""transformers' own server in a process of its own, with the models that kalign teaches transformers:
python -m kalign.models.serve serve MODEL --device cpu --port 8000
"""

import contextlib
import ctypes
import signal

from kalign.models import exaone, heads


def main() -> None:
    """Run transformers' command line."""
    # On Linux the kernel ends the server with whoever started it, even by kill -9
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    exaone.register()
    heads.allow_own_width()
    from transformers.cli.transformers import app

    app()


if __name__ == "__main__":
    main()
