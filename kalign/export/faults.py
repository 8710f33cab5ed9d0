"""What can be wrong with an export: each kind has its own short code, which scripts can read."""

from kalign.errors import IntegrityError

CODES = {
    "wrong-base": "the base is not the one that the adapter was trained on",
    "wrong-run": "the export was made from another run",
    "adapter-damaged": "the adapter is not the one that the run wrote, or lacks tensors",
    "not-finite": "a tensor holds NaN or infinity",
    "sums": "a file is not the one that SHA256SUMS or the certificate names",
    "missing-tensor": "the base has a tensor that the export lacks",
    "extra-tensor": "the export has a tensor that the base lacks",
    "prefix": "tensors have other names than in the base, before the same endings",
    "tied-head": "the output head is the embedding in the base, and is not in the export",
    "shape": "a tensor has another shape than in the base",
    "dtype": "a tensor has another type than it should",
    "outside-changed": "a tensor that was not trained differs from the base",
    "nothing-merged": "no trained tensor differs from the base",
    "settings": "a file of settings is not what the base's says",
    "tokenizer": "the tokenizer is missing or not the one of the training",
    "template": "the chat template is not the one of the training",
    "stops": "generation would not stop where training ended answers",
    "does-not-load": "transformers finds weights missing or left over",
    "effect-lost": "less of what was learned is left than asked for",
    "effect-overshoots": "the export does more than what was learned",
    "files": "a file that should not be there, is unreadable, or names this machine",
}


class Fault(IntegrityError):
    """One line of the certificate that does not hold; `code` is a key of CODES."""

    def __init__(self, code: str, message: str) -> None:
        assert code in CODES, code
        super().__init__(f"[{code}] {message}")
        self.code = code
