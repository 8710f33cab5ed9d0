"""The memory of one rank, term by term. Pure arithmetic: every number can be followed by hand."""

import dataclasses
from dataclasses import dataclass

from kalign.models.shapes import Adapted, Shape, stored_4bit_bytes

GIB = 2**30
# Bytes an optimizer keeps for each trained weight; the paged ones may move theirs to the host, and are
# counted as if they did not.
OPTIMIZER_BYTES = {
    "adamw_torch": 8,
    "adamw_torch_fused": 8,
    "paged_adamw_32bit": 8,
    "adamw_bnb_8bit": 2,
    "adamw_8bit": 2,
    "paged_adamw_8bit": 2,
    "adamw_torch_8bit": 2,
    "adamw_torch_4bit": 1,
    "lion_32bit": 4,
    "paged_lion_32bit": 4,
    "lion_8bit": 1,
    "paged_lion_8bit": 1,
    "sgd": 0,
}
HEAD_TOKENS, HEAD_WORDS = 4096, 32768  # the tile in which TRL 1.16's head computes logits
CHECKPOINTED = (0, 4, 2, 1)  # what `auto` tries: no layer is recomputed, one of 4, one of 2, each
CONTEXT_BYTES = 1 * GIB  # CUDA context, cuBLAS and NCCL workspaces: assumed, not measured
RESERVE_SHARE = 0.05  # of everything else, for fragmentation


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """Over how many ranks each part is divided; 1 means that every rank holds all of it."""

    weights: int = 1
    gradients: int = 1
    optimizer: int = 1
    ranks: int = 1


@dataclass(frozen=True, kw_only=True)
class Load:
    """What of a recipe and a launch decides the memory of one rank."""

    shape: Shape
    adapter: Adapted
    sharding: Sharding
    load_in_4bit: bool
    double_quant: bool
    weight_bytes: int  # of one weight that is not quantised
    value_bytes: int  # of one number while computing: 2 in bfloat16, 4 in float32
    dropout: bool
    gradient_checkpointing: bool
    optim: str
    pairs_at_once: int
    pairs_scored_at_once: int  # held-out ones, without a gradient
    longest: int  # tokens of prompt and longer answer in the longest pair
    scored: int  # tokens of the longest pair's answer
    checkpoint_every: int = 1  # with gradient_checkpointing: one layer of so many
    row_tokens: int | None = None  # of the largest micro-batch, where a budget or the pairs themselves tell

    @property
    def tokens(self) -> int:
        """Tokens of the largest micro-batch; where it is not told, both answers of each pair, padded to the
        longest."""
        return 2 * self.pairs_at_once * self.longest if self.row_tokens is None else self.row_tokens

    @property
    def scored_at_once(self) -> int:
        """Answer tokens of the largest micro-batch, at most."""
        return min(2 * self.pairs_at_once * self.scored, self.tokens)


@dataclass(frozen=True, kw_only=True)
class Term:
    """One line of the account."""

    name: str
    bytes: int
    how: str


def account(load: Load) -> list[Term]:
    """Every term of the memory of one rank; their sum is what it needs."""
    terms = [
        Term(name="frozen weights", bytes=weights_bytes(load), how=_how_weights(load)),
        Term(
            name="adapter",
            bytes=4 * load.adapter.trainable,
            how=f"{load.adapter.trainable:,} weights in float32",
        ),
        Term(name="gradients", bytes=gradient_bytes(load), how="float32; with several ranks also in buckets"),
        Term(
            name="optimizer",
            bytes=OPTIMIZER_BYTES[load.optim] * load.adapter.trainable // load.sharding.optimizer,
            how=f"{load.optim}: {OPTIMIZER_BYTES[load.optim]} bytes a weight",
        ),
        Term(
            name="activations",
            bytes=activation_bytes(load),
            how=f"{load.tokens:,} tokens, " + _how_activations(load),
        ),
        Term(
            name="log-prob head",
            bytes=head_bytes(load, load.scored_at_once),
            how=f"a tile of logits, and hidden states of {load.scored_at_once:,} answer tokens",
        ),
        Term(
            name="reference pass",
            bytes=load.tokens * layer_bytes_per_token(load, trained=False),
            how="one layer at a time, while the policy's activations are held",
        ),
        Term(
            name="evaluation",
            bytes=evaluation_bytes(load),
            how=f"{load.pairs_scored_at_once} pairs at once, what they need more than training",
        ),
        Term(name="workspace", bytes=workspace_bytes(load), how=_how_workspace(load)),
        Term(name="CUDA context", bytes=CONTEXT_BYTES, how="assumed"),
    ]
    reserve = round(RESERVE_SHARE * sum(term.bytes for term in terms))
    return [*terms, Term(name="reserve", bytes=reserve, how=f"{RESERVE_SHARE:.0%} for fragmentation")]


def total(load: Load) -> int:
    """Bytes that one rank needs."""
    return sum(term.bytes for term in account(load))


def recomputing(load: Load, every: int) -> Load:
    """The load when one layer of `every` is recomputed; none with 0."""
    return changed(load, gradient_checkpointing=every > 0, checkpoint_every=every or 1)


def least_recomputed(load: Load, limit_bytes: int) -> Load:
    """The load that fits and recomputes least; if none fits, the one that recomputes every layer."""
    loads = [recomputing(load, every) for every in CHECKPOINTED]
    return next((one for one in loads if total(one) <= limit_bytes), loads[-1])


def weights_bytes(load: Load) -> int:
    """Bytes of the frozen base on one rank."""
    shape = load.shape
    if load.load_in_4bit:
        packed = sum(
            stored_4bit_bytes(matrix.weights, double_quant=load.double_quant) for matrix in shape.quantisable
        )
        return (packed + shape.kept * load.weight_bytes) // load.sharding.weights
    return shape.parameters * load.weight_bytes // load.sharding.weights


def gradient_bytes(load: Load) -> int:
    """Bytes of the gradients; several ranks that each hold all of them add them up in buckets as large."""
    buckets = 4 * load.adapter.trainable if load.sharding.ranks > 1 else 0
    return 4 * load.adapter.trainable // load.sharding.gradients + buckets


def layer_bytes_per_token(load: Load, *, trained: bool) -> int:
    """Bytes that one decoder layer keeps of one token for its backward pass.

    Norms keep their input in float32; attention its queries, its keys and values repeated for every query
    head, and its output; the MLP three intermediate vectors. An adapter keeps its input once more, in the
    arithmetic's width, and with dropout a mask of one byte.

    Source:
        Without adapters, and without repeated keys, the sum is 139 KB for Llama-3.1-8B and 159 KB for
        Qwen2.5-7B, where saved-tensor hooks measured 140 and 159 (torch 2.13, transformers 5.23, bfloat16
        autocast); with adapters on all seven projections 217 KB where 218 were measured. Matrices in 4 bits
        keep no more.
    """
    shape, value = load.shape, load.value_bytes
    frozen = 4 * shape.normalised + value * (4 * shape.query + 3 * shape.intermediate)
    if not trained:
        return frozen
    inputs = sum(matrix.inputs for matrix in load.adapter.matrices) // shape.layers
    return frozen + inputs * (value + load.dropout)


def activation_bytes(load: Load) -> int:
    """Bytes kept between the forward and the backward pass of the largest micro-batch."""
    layer = load.tokens * layer_bytes_per_token(load, trained=True)
    if not load.gradient_checkpointing:
        return load.shape.layers * layer
    recomputed = -(-load.shape.layers // load.checkpoint_every)
    inputs = recomputed * load.tokens * load.value_bytes * load.shape.hidden
    return inputs + (load.shape.layers - recomputed) * layer + layer


def evaluation_bytes(load: Load) -> int:
    """Bytes that scoring held-out pairs needs beyond what a step of training holds at its peak."""
    tokens = 2 * load.pairs_scored_at_once * load.longest
    scoring = tokens * layer_bytes_per_token(load, trained=False) + head_bytes(
        load, 2 * load.pairs_scored_at_once * load.scored
    )
    training = (
        activation_bytes(load)
        + head_bytes(load, load.scored_at_once)
        + load.tokens * layer_bytes_per_token(load, trained=False)
    )
    return max(0, scoring - training)


def head_bytes(load: Load, scored: int) -> int:
    """Bytes of TRL 1.16's log-prob head on CUDA: one tile of logits, and for each of `scored` answer tokens
    the hidden state, and its gradient in float32.

    Source:
        trl 1.16, kernels/chunked_logprob.py: the logits of a vocabulary are never held at once.
    """
    tile = min(scored, HEAD_TOKENS) * min(load.shape.vocabulary, HEAD_WORDS) * load.value_bytes
    return tile + scored * load.shape.hidden * (load.value_bytes + 4)


def workspace_bytes(load: Load) -> int:
    """Bytes of the largest matrix while it is in use, where the stored form is another one: unpacked from 4
    bits, or gathered from all ranks."""
    largest = max(matrix.weights for matrix in load.shape.quantisable)
    unpacked = largest * load.value_bytes if load.load_in_4bit else 0
    layer = load.shape.body // load.shape.layers * load.weight_bytes if load.sharding.weights > 1 else 0
    return unpacked + 2 * layer  # one layer computes while the next is gathered


def changed(load: Load, **parts: object) -> Load:
    """The load with some parts replaced."""
    return dataclasses.replace(load, **parts)  # type: ignore[arg-type]


def _how_weights(load: Load) -> str:
    over = f", over {load.sharding.weights} ranks" if load.sharding.weights > 1 else ""
    kept, shape = load.shape.kept, load.shape
    if load.load_in_4bit:
        scales = "scales quantised too" if load.double_quant else "scales in float32"
        return (
            f"{shape.parameters - kept:,} in 4 bits ({scales}), {kept:,} in {load.weight_bytes} bytes{over}"
        )
    return f"{shape.parameters:,} in {load.weight_bytes} bytes{over}"


def _how_activations(load: Load) -> str:
    if not load.gradient_checkpointing:
        return "all layers kept"
    if load.checkpoint_every == 1:
        return "each layer's input, and one layer recomputed"
    return f"one layer of {load.checkpoint_every} recomputed, the others kept"


def _how_workspace(load: Load) -> str:
    parts = ["the largest matrix unpacked"] * load.load_in_4bit
    parts += ["two layers gathered"] * (load.sharding.weights > 1)
    return ", ".join(parts) or "none"
