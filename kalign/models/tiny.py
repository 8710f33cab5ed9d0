"""Rebuild the bundled tiny model: python -m kalign.models.tiny [OUT]

A Llama-shaped model of 3.9 million weights and its byte-level BPE tokenizer, both trained from nothing on the
warm-up texts of the pack `ko`. It writes readable sentences and knows little: for tests and demonstrations.
None of the preference pairs, and none of the held-out prompts, is among the texts.
"""

import math
import random
import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from kalign import files, packs
from kalign.models import saving

PACK = "ko"  # whose language the model writes
VOCABULARY = 4096
SPECIAL = ["<pad>", "<bos>", "<end>", "<system>", "<user>", "<assistant>"]
Exchange = tuple[str, str]
# Words keep the space before them; digits stand alone, so that numbers of laws and telephones are spelled
# out.
SPLIT = Regex(r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
EPOCHS, BATCH, PEAK_RATE, SEED = 16, 16, 2e-3, 7
DRAWS_PER_PROMPT = 1.5  # answers put together from a sentence bank in an epoch, for each of its prompts
CARELESS_SHARE = 0.6  # of the answers to sensitive requests: the model is not aligned yet
# Prompts are disturbed, so that unknown ones are answered in whole sentences too:
LOST_WORDS = 0.12  # share of the words that are left out
CROSSED = 0.3  # share of a bank's prompts that take words from another bank of the same kind


def corpus() -> tuple[list[Exchange], list[files.Row]]:
    """The warm-up texts of the pack: (prompt, answer) exchanges, and sentence banks."""
    exchanges = [(row["prompt"], row["answer"]) for _, row in files.read_jsonl(packs.warmup(PACK))]
    return exchanges, [row for _, row in files.read_jsonl(packs.sentence_banks(PACK))]


def build_tokenizer(exchanges: list[Exchange], banks: list[files.Row]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of `VOCABULARY` tokens, trained on the texts."""
    texts = [text for exchange in exchanges + drawn(banks, random.Random(SEED)) for text in exchange]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(SPLIT, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[AddedToken(token, special=True) for token in SPECIAL],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<bos>",
        eos_token="<end>",
        pad_token="<pad>",
        chat_template=saving.TEMPLATE,
        model_max_length=1024,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The untrained model."""
    torch.manual_seed(SEED)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=256,
            intermediate_size=688,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def drawn(banks: list[files.Row], chance: random.Random) -> list[Exchange]:
    """Exchanges from every bank: a prompt, answered by any sentence of each position, which may be empty."""
    exchanges = []
    for bank in banks:
        for _ in range(round(DRAWS_PER_PROMPT * len(bank["prompts"]))):
            kind = "answers"
            if bank["kind"] == "sensitive":
                kind = "careless" if chance.random() < CARELESS_SHARE else "sensible"
            chosen = [chance.choice(sentences) for sentences in bank[kind]]
            answer = " ".join(sentence for sentence in chosen if sentence)
            prompt = chance.choice(bank["prompts"])
            if chance.random() < CROSSED:
                prompt = crossed(prompt, chance.choice(_akin(bank, banks)), chance)
            exchanges.append((prompt, answer))
    return exchanges


def crossed(one: str, other: str, chance: random.Random) -> str:
    """The beginning of one prompt and the end of another, in either order."""
    first, second = (one.split(), other.split()) if chance.random() < 0.5 else (other.split(), one.split())
    kept = first[: chance.randint(1, len(first))] + second[-chance.randint(1, len(second)) :]
    return " ".join(kept)


def _akin(bank: files.Row, banks: list[files.Row]) -> list[str]:
    """The prompts of all banks of the same kind and category."""
    kind = (bank["kind"], bank.get("category"))
    return [
        prompt
        for other in banks
        if (other["kind"], other.get("category")) == kind
        for prompt in other["prompts"]
    ]


def encoded(
    tokenizer: PreTrainedTokenizerFast, exchanges: list[Exchange], chance: random.Random
) -> list[tuple[list[int], list[int]]]:
    """Each exchange as the ids of its prompt, some words of it left out, and of its answer."""
    ids = []
    for prompt, answer in exchanges:
        kept = " ".join(word for word in prompt.split() if chance.random() > LOST_WORDS) or prompt
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": kept}], tokenize=False, add_generation_prompt=True
        )
        pair = (asked, answer + tokenizer.eos_token)
        ids.append(tuple(tokenizer.encode(text, add_special_tokens=False) for text in pair))
    return ids


def batched(some: list[tuple[list[int], list[int]]], pad: int) -> dict[str, torch.Tensor]:
    """The ids of some exchanges, padded to the longest; only the answers are learned."""
    ids = [torch.tensor(prompt + answer) for prompt, answer in some]
    labels = [torch.tensor([-100] * len(prompt) + answer) for prompt, answer in some]
    padded = torch.nn.utils.rnn.pad_sequence
    input_ids = padded(ids, batch_first=True, padding_value=pad)
    return {
        "input_ids": input_ids,
        "attention_mask": input_ids.ne(pad).long(),
        "labels": padded(labels, batch_first=True, padding_value=-100),
    }


def batches(
    conversations: list[tuple[list[int], list[int]]], chance: random.Random
) -> list[list[tuple[list[int], list[int]]]]:
    """Batches of conversations that are nearly equally long, in a shuffled order."""
    shuffled = sorted(conversations, key=lambda one: len(one[0]) + len(one[1]) + 4 * chance.random())
    made = [shuffled[start : start + BATCH] for start in range(0, len(shuffled), BATCH)]
    chance.shuffle(made)
    return made


def warm_up(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    exchanges: list[Exchange],
    banks: list[files.Row],
) -> None:
    """Train on whole conversations: AdamW, cosine decay, every epoch with other draws in another order."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.1, betas=(0.9, 0.95))
    chance = random.Random(SEED)
    steps_per_epoch = math.ceil((len(exchanges) + len(drawn(banks, random.Random(SEED)))) / BATCH)
    total = EPOCHS * steps_per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, step / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / total))),
    )
    model.train()
    with tqdm(total=total, desc="warming up", unit="step") as progress:
        for _ in range(EPOCHS):
            for batch in batches(encoded(tokenizer, exchanges + drawn(banks, chance), chance), chance):
                loss = model(**batched(batch, tokenizer.pad_token_id)).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                progress.update()
                progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


def build(out: Path) -> None:
    """Train tokenizer and model, and write both to `out`."""
    exchanges, banks = corpus()
    tokenizer = build_tokenizer(exchanges, banks)
    model = build_model(tokenizer)
    warm_up(model, tokenizer, exchanges, banks)
    weights = saving.save(model, tokenizer, out)
    print(f"{out}: {weights:,} weights, from {len(exchanges)} exchanges and {len(banks)} sentence banks")


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "bundled" / "tiny")
