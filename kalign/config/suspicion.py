"""What no configuration may hold: code to call, secrets, and YAML that grows when it is read."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kalign import yaml_files
from kalign.errors import ConfigError, DataError

CALLS = ("_target_", "_partial_", "_args_")
LARGEST_FILE_BYTES = 256 * 1024
# Values that look like credentials of the services a training touches; the names of variables are what
# belongs here.
SECRET = re.compile(
    r"\b(?:sk-[\w-]{16,}|hf_[A-Za-z0-9]{16,}|gsk_\w{16,}|gh[opsu]_\w{16,}|github_pat_\w{16,}|AIza[\w-]{20,}|AKIA[A-Z0-9]{12,}"
    r"|xox[abp]-[\w-]{10,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+|wandb_v1_\w{16,})"
)
SECRET_KEY = re.compile(r"(?:^|[._])(?:api_?key|token|secret|password|passwd|credential)$", re.IGNORECASE)
COMMIT_LIKE = re.compile(r"[0-9a-fA-F]{40}")  # a commit under `revision`, an access key anywhere else
TOKENIZER_KEY = re.compile(r"(?:^|[._])(?:pad|bos|eos|unk|sep|cls|mask)_token$")


def parse(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings, without ever expanding more than it should hold.

    Raises:
        ConfigError: it is missing, too large, no mapping, not YAML, or multiplies itself through aliases.
    """
    try:
        content = yaml_files.read(path, largest_bytes=LARGEST_FILE_BYTES)
        if isinstance(content, str):
            raise ConfigError(
                f"{path} holds one text, which is no setting; write lines such as 'name: {path.stem}'"
            )
        if not isinstance(content, dict):
            raise ConfigError(f"{path} holds no settings; write lines such as 'name: {path.stem}'")
        plain = OmegaConf.to_container(OmegaConf.create(content))  # finds interpolations it cannot read
    except DataError as wrong:
        raise ConfigError(str(wrong)) from wrong
    except OmegaConfBaseException as wrong:
        raise ConfigError(f"{path}: {' '.join(str(wrong).split())}") from wrong
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def walk(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every (dotted key, value) of nested mappings and lists, branches included."""
    if isinstance(content, dict):
        children = [(f"{prefix}.{key}" if prefix else str(key), value) for key, value in content.items()]
    elif isinstance(content, list):
        children = [(f"{prefix}[{index}]", value) for index, value in enumerate(content)]
    else:
        return
    for key, value in children:
        yield key, value
        yield from walk(value, key)


def refuse_calls_and_secrets(content: Any, where: str) -> None:
    """Refuse keys that Hydra would call and values that are credentials; a refused value is never repeated.

    Raises:
        ConfigError: there is such a key or value; `where` names the file or the command line.
    """
    for key, value in walk(content):
        last = key.rsplit(".", 1)[-1]
        if last in CALLS:
            raise ConfigError(
                f"{where}: {key} would call code from a setting, which kalign never does; remove it"
            )
        named_so = SECRET_KEY.search(key) and not TOKENIZER_KEY.search(key)
        key_like = COMMIT_LIKE.fullmatch(str(value)) and last != "revision"
        if isinstance(value, str) and (SECRET.search(value) or key_like or (named_so and value)):
            raise ConfigError(
                f"{where}: {key} holds what looks like a secret; put it into an environment variable, where "
                "the "
                "libraries look for it, and revoke it if this file was shared"
            )


def refuse_suspicious_words(words: list[str]) -> None:
    """Refuse the same in the words of a command line, before anything can log them.

    Raises:
        ConfigError: a word holds a call or a secret.
    """
    for word in words:
        key, _, value = word.partition("=")
        plain = key.lstrip("+~")
        for part in plain.split("."):
            if part in CALLS:
                refuse_calls_and_secrets({plain: value}, "command line")
        if any(call in value for call in CALLS):
            raise ConfigError(
                f"command line: {plain} would call code from a setting, which kalign never does; remove it"
            )
        refuse_calls_and_secrets({plain: value}, "command line")
