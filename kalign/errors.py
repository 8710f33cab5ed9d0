"""What can go wrong, by who can mend it; each category is one exit code of the command line."""


class KalignError(Exception):
    """Prints as one sentence, without a traceback, and ends the command with `exit_code`."""

    exit_code = 1


class ConfigError(KalignError, ValueError):
    """What was asked for cannot be, or contradicts itself."""

    exit_code = 2


class DataError(KalignError, ValueError):
    """A row, a file or a template is not what it claims to be."""

    exit_code = 3


class BrokenContract(DataError):
    """A chat template or a tokenizer breaks what training relies on; `code` is the stable name of what."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class IntegrityError(KalignError):
    """Something on disk is not what was written, or may not be trusted."""

    exit_code = 4


class ProviderError(KalignError):
    """An endpoint refuses every request: its key, its quota or its model is not what was asked for."""

    exit_code = 5


class NumericError(KalignError, ArithmeticError):
    """Training produced a number that no later step can mend."""

    exit_code = 6


class ResourceError(KalignError):
    """Disk or memory is not enough."""

    exit_code = 7


class Interrupted(KalignError):
    """Stopped from outside; the same command goes on where it stopped."""

    exit_code = 75
