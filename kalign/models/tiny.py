"""Rebuild the bundled tiny model: python -m kalign.models.tiny [OUT]

A Llama-shaped model of 3.9 million weights and its byte-level BPE tokenizer, both trained from nothing on the
warm-up texts of the Korean pack. It writes readable Korean and knows little: for tests and demonstrations.
None of the preference pairs, and none of the held-out prompts, is among the texts.
"""

import json
import math
import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm import trange
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from kalign import files, packs

VOCABULARY = 4096
SPECIAL = ["<pad>", "<bos>", "<end>", "<system>", "<user>", "<assistant>"]
TEMPLATE = (
    "<bos>{% for message in messages %}{{ '<' + message['role'] + '>' + message['content'] + '<end>' }}{% "
    "endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}"
)
# Words keep the space before them; digits stand alone, so that numbers of laws and telephones are spelled
# out.
SPLIT = Regex(r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
EPOCHS, BATCH, PEAK_RATE, SEED = 40, 16, 2e-3, 7


def build_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of `VOCABULARY` tokens, trained on `texts`."""
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
        chat_template=TEMPLATE,
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


def warm_up(model: LlamaForCausalLM, conversations: list[list[int]], pad: int) -> None:
    """Train on whole conversations: AdamW, cosine decay, every epoch in another order."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.1, betas=(0.9, 0.95))
    steps_per_epoch = math.ceil(len(conversations) / BATCH)
    total = EPOCHS * steps_per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, step / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / total))),
    )
    model.train()
    for epoch in (progress := trange(EPOCHS, desc="warming up", unit="epoch")):
        order = torch.randperm(
            len(conversations), generator=torch.Generator().manual_seed(SEED + epoch)
        ).tolist()
        mean = 0.0
        for start in range(0, len(order), BATCH):
            rows = [torch.tensor(conversations[index]) for index in order[start : start + BATCH]]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
            loss = model(
                input_ids=ids, attention_mask=ids.ne(pad).long(), labels=ids.masked_fill(ids == pad, -100)
            ).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            mean += loss.item() / steps_per_epoch
        progress.set_postfix(loss=f"{mean:.3f}")


def build(out: Path) -> None:
    """Train tokenizer and model, and write both to `out`."""
    rows = [row for _, row in files.read_jsonl(packs.warmup("ko"))]
    tokenizer = build_tokenizer([text for row in rows for text in (row["prompt"], row["answer"])])
    conversations = [
        tokenizer.encode(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["answer"]}],
                tokenize=False,
            ),
            add_special_tokens=False,
        )
        for row in rows
    ]
    model = build_model(tokenizer)
    warm_up(model, conversations, tokenizer.pad_token_id)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    weights = sum(weight.numel() for weight in model.parameters())
    tokens = sum(map(len, conversations))
    print(json.dumps({"out": str(out), "weights": weights, "conversations": len(rows), "tokens": tokens}))


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "bundled" / "tiny")
