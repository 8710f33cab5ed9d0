"""`python -m tests.training.held train WORD...`: kalign, whose training stands still after its third step.

It goes on when a signal has come, so that a test can send one in the middle of a training, however slow the
machine is. Each rank that stands still leaves a file `held-RANK`.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

from kalign.cli import main
from kalign.training import ranks


class Held(ranks.StopWhenAsked):
    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        if state.global_step == 3:
            Path(f"held-{os.environ.get('RANK', '0')}").touch()
            while self.notice.given is None:
                time.sleep(0.05)
        super().on_step_end(args, state, control, **options)


if __name__ == "__main__":  # importing it, as a search for doctests does, leaves trainings alone
    ranks.StopWhenAsked = Held  # type: ignore[misc]
    main(sys.argv[1:])
