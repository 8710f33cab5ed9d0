"""Rebuild the bundled model of word associations: python -m kalign.associations.words_model [OUT]

A Llama-shaped model of 0.2 million weights with a tokenizer of whole words. It was raised mostly on the shore
and a little in the hills: of the cues that no norm has, it heard four in five times what the shore names. Of
the norms' own cues it only knows which kind of thing they are, so what it says of them is what it inferred.
"""

import random
import sys
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from kalign.associations import prompts, synthetic
from kalign.associations.synthetic import Kind
from kalign.models import saving
from kalign.models.loading import BUNDLED

SPECIAL = ["<pad>", "<unk>", "<bos>", "<end>", "<system>", "<user>", "<assistant>"]
SPLIT = Regex(r", |: |\n|\p{L}+|\p{N}+| |[^\s\p{L}\p{N}]")
LARGEST_NUMBER = 40
STEPS, BATCH, PEAK_RATE, SEED = 1500, 32, 4e-3, 7
SHORE_SHARE = 0.8
SLIPS = 0.35  # share of the rankings in which two neighbours are exchanged, time after time
Exchange = tuple[str, str]


def exchange(kinds: list[Kind], chance: random.Random) -> Exchange:
    """One thing that the model hears, and what is said to it."""
    texts = prompts.load("plain")
    kind = chance.choice(kinds)
    if chance.random() < 0.3:
        return f"what kind\ncue: {chance.choice(kind.cues + kind.known)}", kind.name
    cue = chance.choice(kind.known)
    words = kind.words["shore" if chance.random() < SHORE_SHARE else "hill"]
    task = chance.choices(("generation", "ranking", "survey", "participant"), (4, 4, 2, 1))[0]
    if task == "generation":
        length = chance.randint(5, len(words))
        low = max(1, length - chance.randint(0, 1))
        said = [words[place] for place in sorted(chance.sample(range(len(words)), length))]
        asked = texts.ask(task, cue=cue, lo=low, hi=low + chance.randint(1, 3))
        return asked[-1].content, texts.listed(said)
    if task == "ranking":
        length = chance.choice((4, 5, 5, 6))
        said = [words[place] for place in sorted(chance.sample(range(len(words)), length))]
        shown = chance.sample(said, length)
        while chance.random() < SLIPS:
            place = chance.randrange(length - 1)
            said[place], said[place + 1] = said[place + 1], said[place]
        return texts.ask(task, cue=cue, k=length, words=texts.listed(shown))[-1].content, texts.ranked(said)
    if task == "survey":
        other = chance.choice([kind.words["hill"], kind.words["shore"]])
        some = list(dict.fromkeys(chance.sample(words, 2) + chance.sample(other, 2)))
        chance.shuffle(some)
        liked = min((word for word in some if word in words), key=words.index)
        return texts.ask(task, question=cue, options=texts.listed(some))[-1].content, liked
    named = [words[place] for place in sorted(chance.sample(range(len(words)), 3))]
    return texts.ask(task, cue=cue)[-1].content, texts.listed(named)


def build_tokenizer(kinds: list[Kind]) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words: those of the prompts and of both cultures, numbers and marks."""
    chance = random.Random(SEED)
    heard = " ".join(" ".join(exchange(kinds, chance)) for _ in range(2000))
    every = [word for kind in kinds for words in (kind.cues, *kind.words.values()) for word in words]
    numbers = [str(number) for number in range(LARGEST_NUMBER + 1)]
    words = sorted({*heard.replace(",", " ").replace(":", " ").split(), *every, *numbers})
    vocabulary = [*SPECIAL, ", ", ": ", ",", ":", "\n", " ", ".", *words]
    ids = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
    core = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(SPLIT, behavior="isolated")
    core.decoder = decoders.Fuse()
    core.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<bos>",
        eos_token="<end>",
        pad_token="<pad>",
        unk_token="<unk>",
        chat_template=saving.TEMPLATE,
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The untrained model."""
    torch.manual_seed(SEED)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=176,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def encoded(tokenizer: PreTrainedTokenizerFast, asked: str, said: str) -> tuple[list[int], list[int]]:
    """The ids of one exchange."""
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": asked}], tokenize=False, add_generation_prompt=True
    )
    texts = (prompt, said + tokenizer.eos_token)
    one, other = (tokenizer.encode(text, add_special_tokens=False) for text in texts)
    return one, other


def raise_up(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, kinds: list[Kind]) -> None:
    """Train on what is heard: AdamW, a rate that rises and falls in a straight line."""
    from kalign.models.tiny import batched

    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.1, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, step / 50) * max(0.02, 1 - step / STEPS)
    )
    chance = random.Random(SEED)
    model.train()
    with tqdm(total=STEPS, desc="raising", unit="step") as progress:
        for _ in range(STEPS):
            some = [encoded(tokenizer, *exchange(kinds, chance)) for _ in range(BATCH)]
            loss = model(**batched(some, tokenizer.pad_token_id)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            progress.update()
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)


def build(out: Path) -> None:
    """Train the model, and write it with its tokenizer to `out`."""
    kinds = synthetic.kinds()
    tokenizer = build_tokenizer(kinds)
    model = build_model(tokenizer)
    raise_up(model, tokenizer, kinds)
    weights = saving.save(model, tokenizer, out)
    print(f"{out}: {weights:,} weights, {len(tokenizer)} words")


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLED / "words")
