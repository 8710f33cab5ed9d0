"""What the tests of interruption run in a process of its own: ask PORT for COUNT answers into LEDGER, and
write them to OUT when all are there."""

import json
import sys
from pathlib import Path

from kalign.errors import KalignError
from kalign.providers import Engine, Provider
from tests.providers.conftest import questions


def main(port: str, count: str, ledger: str, out: str) -> int:
    provider = Provider(
        name="stub", model="stub-1", base_url=f"http://127.0.0.1:{port}/v1", max_concurrency=8, backoff=0.01
    )
    rows = []
    try:
        with Engine(ledger, progress=False) as engine:
            for answer in engine.answers(questions(provider, int(count))):
                rows.append({"id": answer.request.about, "status": answer.status, "text": answer.text})
                print(len(rows), flush=True)
    except KalignError as wrong:
        print(wrong, file=sys.stderr)
        return wrong.exit_code
    Path(out).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
