"""A model of this machine behind an endpoint: transformers' own server, for as long as it is needed.

The folder is served under a short name from a private directory, so that no path of the machine gets into a
request, an answer or a key; what identifies the weights is their hash.
"""

import contextlib
import importlib.util
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import kalign
from kalign import files
from kalign.errors import ConfigError, ResourceError
from kalign.providers.provider import Provider

BUNDLED = Path(kalign.__file__).parent / "models" / "bundled"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
NEEDED = ("fastapi", "uvicorn", "openai")  # what transformers[serving] adds
# Linux ends the server when this process ends, even by kill -9; elsewhere it ends with a clean exit only
START = """
import contextlib, ctypes, signal
with contextlib.suppress(Exception):
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
from transformers.cli.transformers import app
app()
"""
VLLM = "vllm.entrypoints.openai.api_server"  # in place of transformers' server on a GPU, if it is installed
LONGEST_START = 900.0  # seconds; a large model takes minutes to load
LONGEST_STOP = 5.0


def identified(provider: Provider) -> Provider:
    """A local provider under the short name that its model is served by, with its weights' hash as revision;
    others as they are.

    Raises:
        ConfigError: its model is neither bundled, nor a folder with a model, nor a name on the Hub.
    """
    if provider.base_url is not None:
        return provider
    folder = _folder(provider.model)
    if folder is None:
        return provider
    return replace(
        provider, model=_short(provider.model, folder), revision=provider.revision or files.sha256(folder)
    )


@contextlib.contextmanager
def started(
    providers: Sequence[Provider], *, device: str = "cpu", patience: float = LONGEST_START
) -> Iterator[list[Provider]]:
    """Give the providers with an address each: a server is started for those that are local, and stopped at
    the end.

    Args:
        device: where the model runs, as transformers names it: cpu, cuda:0, auto.
        patience: seconds that a server may take until it is ready.

    Raises:
        ConfigError: the extra `serve` is not installed, or a model is not found.
        ResourceError: a server ended before it was ready, or was not ready in time.
    """
    with contextlib.ExitStack() as running:
        ready = []
        for provider in providers:
            if provider.base_url is None:
                named = identified(provider)
                address = running.enter_context(_serving(provider, named.model, device, patience))
                ready.append(replace(named, base_url=address))
            else:
                ready.append(provider)
        yield ready


@contextlib.contextmanager
def _serving(provider: Provider, name: str, device: str, patience: float) -> Iterator[str]:
    needed = () if _by_vllm(device) else NEEDED
    if missing := [module for module in needed if importlib.util.find_spec(module) is None]:
        raise ConfigError(
            f"provider {provider.name} starts a server, which needs {', '.join(missing)}; pip install "
            "kalign[serve]"
        )
    folder = _folder(provider.model)
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="kalign-") as private:
        if folder is not None:
            (Path(private) / name).symlink_to(folder.resolve())
        log = Path(private) / "server.log"
        start = [sys.executable, "-c", START, "serve", name, "--device", device]
        if _by_vllm(device):
            start = [sys.executable, "-m", VLLM, "--model", name, "--served-model-name", name]
        with log.open("wb") as said:
            server = subprocess.Popen(
                [*start, "--host", "127.0.0.1", "--port", str(port)],
                cwd=private,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONPATH": _import_path()},
                start_new_session=True,  # Ctrl-C asks the command to stop, which then stops the server
            )
        try:
            _wait(server, port, log, provider, patience)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            _stop(server)


def _by_vllm(device: str) -> bool:
    """Whether vLLM serves: where there is a GPU for it, and it is installed."""
    return device != "cpu" and importlib.util.find_spec("vllm") is not None


def _wait(
    server: "subprocess.Popen[bytes]", port: int, log: Path, provider: Provider, patience: float
) -> None:
    """Return when the server says that it is healthy.

    Raises:
        ResourceError: it ended, or did not get there in time.
    """
    end = time.monotonic() + patience
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine is behind no proxy
    while time.monotonic() < end:
        if server.poll() is not None:
            raise ResourceError(
                f"the server of provider {provider.name} ended with code {server.returncode} before it was "
                f"ready: {_last_words(log)}; try 'transformers serve {provider.model}' to see more"
            )
        if _healthy(direct, port):
            return
        time.sleep(0.2)
    raise ResourceError(
        f"the server of provider {provider.name} was not ready within {patience:.0f} s; use a smaller "
        "model or a faster device"
    )


def _healthy(direct: urllib.request.OpenerDirector, port: int) -> bool:
    try:
        with direct.open(f"http://127.0.0.1:{port}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(LONGEST_STOP)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _folder(model: str) -> Path | None:
    """Where a model's files are; None for a name on the Hub.

    Raises:
        ConfigError: there is no such model.
    """
    if model.startswith("bundled:"):
        folder = BUNDLED / model.removeprefix("bundled:")
    else:
        folder = Path(model).expanduser()
    if (folder / "config.json").is_file():
        return folder
    if HUB_ID.fullmatch(model) and not folder.exists():
        return None
    raise ConfigError(
        f"local:{model} is no model: it is not bundled, no folder with a config.json, and no OWNER/NAME; "
        "a run is served after 'kalign export'"
    )


def _short(model: str, folder: Path) -> str:
    """A name for requests and records; '@' and '/' would mean something to the server."""
    name = model.removeprefix("bundled:") if model.startswith("bundled:") else folder.resolve().name
    return re.sub(r"[^\w.-]", "-", name).strip(".") or "model"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _import_path() -> str:
    return os.pathsep.join(filter(None, sys.path))


def _last_words(log: Path) -> str:
    """The last line that a dead server wrote, which names its error."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next(
        (line.strip(" │╭╰─╮╯") for line in reversed(lines) if line.strip(" │╭╰─╮╯")), "it said nothing"
    )
