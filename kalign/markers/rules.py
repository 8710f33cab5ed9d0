"""The tagger by rules: it counts the words of the lexicon, offline, the same everywhere, and no more."""

from collections import Counter
from collections.abc import Sequence

from kalign.data.tags import Tags
from kalign.markers import schema
from kalign.markers.lexicon import ANY, Lexicon
from kalign.markers.tagger import Tagged

QUESTION = "QuestionAnswering"
TALK = "OpenEnded"


class Rules:
    """Tags a text by the words in it; a language without a table of words gets language and places only."""

    name = "rules"
    prompt_hash: str | None = None

    def __init__(self) -> None:
        self.lexicon = Lexicon()
        self.schema = schema.load()
        self.version = f"{self.schema.version}+{schema.digest()}"

    def __call__(self, texts: Sequence[str]) -> list[Tagged]:
        """The tags of each text, in order."""
        return [self._tagged(text) for text in texts]

    def _tagged(self, text: str) -> Tagged:
        found = self.lexicon.find(text)
        by: dict[str, Counter[str]] = {}
        for (dimension, value), count in found.items():
            by.setdefault(dimension, Counter())[value] = count
        lang, share = self._language(by)
        geo = by.get("geo", Counter()) + by.get(f"geo:{lang}", Counter())
        culture = by.get("culture", Counter())
        return Tagged(
            tags=Tags(
                culture=tuple(value for value in self.schema.values["culture"] if culture[value]),
                domain=self._most("domain", by),
                task=self._task(text, by),
                geo=tuple(sorted(geo)),
                lang=lang,
            ),
            lang_prob=share,
        )

    def _most(self, dimension: str, by: dict[str, Counter[str]]) -> str:
        """The value with most words; of two with as many, the one that the schema names first."""
        counts = by.get(dimension)
        if not counts:
            return "Unspecified"
        return max(self.schema.values[dimension], key=lambda value: counts[value])

    def _task(self, text: str, by: dict[str, Counter[str]]) -> str:
        """The task that is spelled in words; else a question is answered, and anything else talked about."""
        spelled = by.get("task")
        if spelled:  # CodeFix before Explanation: the rarer word says more
            rarest = list(self.schema.values["task"])[::-1]
            return max(rarest, key=lambda value: spelled[value])
        return QUESTION if any(mark in text for mark in "?？؟") else TALK

    def _language(self, by: dict[str, Counter[str]]) -> tuple[str, float | None]:
        """The language and its share of what speaks for one."""
        scripts = Counter({k: v for k, v in by.get("script", Counter()).items() if k != "other"})
        if not scripts:
            return "und", None
        script, most = scripts.most_common(1)[0]
        if script == "han" and scripts["kana"]:
            script, most = "kana", most + scripts["kana"]
        share = round(most / scripts.total(), 3)
        if script != "latin":
            own = self.lexicon.scripts.languages[script]
            return next(iter(by["letters"]), own) if "letters" in by else own, share
        words = by.get("word")
        if not words:
            return "und", None
        lang = max((lang for lang in words if lang != ANY), key=lambda lang: words[lang])
        return lang, round(share * words[lang] / words[ANY], 3)
