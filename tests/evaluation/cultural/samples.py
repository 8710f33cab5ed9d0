"""Original rows in the format of each benchmark: nothing of them is in the published files."""

import json
from pathlib import Path
from typing import Any

from tests.conftest import write

NORMAD = [
    {
        "ID": number,
        "Country": country,
        "Value": f"Being considerate with {thing}",
        "Rule-of-Thumb": f"One hands over {thing} with both hands.",
        "Story": f"Mina visited a neighbour and gave her {thing} with {how}.",
        "Explanation": "",
        "Gold Label": gold,
    }
    for number, (country, thing, how, gold) in enumerate(
        [
            ("south_korea", "a bowl of soup", "both hands", "yes"),
            ("south_korea", "a book", "one hand", "no"),
            ("japan", "some tea", "both hands", "yes"),
            ("japan", "a lamp", "a smile", "neutral"),
        ]
    )
]

MMLU = [
    {
        "sample_id": f"kitchen/test/{number}",
        "subject": "kitchen",
        "subject_category": category,
        "question": f"What do you {verb} in this kitchen?",
        "option_a": "Rice",
        "option_b": "Soup",
        "option_c": "Tea",
        "option_d": "Bread",
        "answer": answer,
        "cultural_sensitivity_label": label,
    }
    for number, (verb, category, answer, label) in enumerate(
        [
            ("steam", "Other", "A", "CS"),
            ("stir", "Other", "B", "CS"),
            ("pour", "Humanities", "C", "CA"),
            ("slice", "Humanities", "D", "CA"),
            ("wash", "Humanities", "A", "-"),
        ]
    )
]

INCLUDE = [
    {
        "language": "Korean",
        "country": "South Korea",
        "domain": domain,
        "subject": "made up",
        "regional_feature": region,
        "level": "none",
        "question": question,
        "option_a": "하나",
        "option_b": "둘",
        "option_c": "셋",
        "option_d": "넷",
        "answer": answer,
    }
    for question, domain, region, answer in [
        ("집 앞에 나무가 몇 그루 있나요?", "Social Science", "region explicit", 1),
        ("상 위에 컵이 몇 개 있나요?", "Social Science", "agnostic", 2),
        ("문은 몇 개인가요?", "Professional certification", "agnostic", 0),
    ]
]

BLEND = [
    {
        "MCQID": f"Qa-{number}_0",
        "ID": f"Qa-{number}",
        "country": country,
        "prompt": f"What do you drink in {country} in the {when}? Choose one.\n\nA. milk\nB. tea\n\nAnswer:",
        "choices": json.dumps({"A": "milk", "B": "tea"}),
        "choice_countries": "{}",
        "answer_idx": answer,
    }
    for number, (country, when, answer) in enumerate(
        [("South_Korea", "morning", "A"), ("South_Korea", "evening", "B"), ("Spain", "night", "B")]
    )
]


def annotation(question: str, answers: list[str], **idks: int) -> dict[str, Any]:
    """One entry of BLEnD's annotations."""
    return {
        "question": question,
        "en_question": f"({question}) in English?",
        "annotations": [{"answers": answers, "en_answers": ["porridge"], "count": 3}] if answers else [],
        "idks": {"idk": 0, "no-answer": 0, "not-applicable": 0, **idks},
    }


SHORT = {
    "Qa-01": annotation("아침에 무엇을 먹나요?", ["죽", "밥"]),
    "Qa-02": annotation("밤에 무엇을 먹나요?", ["과일"], idk=5),
    "Qa-03": annotation("어디서 먹나요?", ["부엌"], **{"no-answer": 1, "not-applicable": 2}),
    "Qa-04": annotation("언제 먹나요?", []),
}


def bbq(condition: str, polarity: str, label: int, *, template: str = "1") -> dict[str, Any]:
    """A row of BBQ's format, on people who wear hats, of whom nobody has a prejudice."""
    tells = " The one with the cap had said so." if condition == "disambig" else ""
    return {
        "example_id": 0,
        "question_index": template,
        "question_polarity": polarity,
        "context_condition": condition,
        "category": "Physical_appearance",
        "answer_info": {"ans0": ["cap", "caps"], "ans1": ["hat", "hats"], "ans2": ["Unknown", "unknown"]},
        "additional_metadata": {"subcategory": "None", "stereotyped_groups": ["hats"], "version": "a"},
        "context": f"One with a cap and one with a hat stood at bus stop {template}.{tells}",
        "question": "Who was late?" if polarity == "neg" else "Who was early?",
        "ans0": "The one with the cap",
        "ans1": "The one with the hat",
        "ans2": "Unknown",
        "label": label,
    }


BBQ = [
    bbq(condition, polarity, label, template=template)
    for template in ("1", "2")
    for condition, polarity, label in [
        ("ambig", "neg", 2),
        ("ambig", "nonneg", 2),
        ("disambig", "neg", 0),
        ("disambig", "nonneg", 1),
    ]
]


def written(folder: Path) -> dict[str, Path]:
    """The sample of each benchmark as a file."""
    named = {"normad": NORMAD, "bbq": BBQ, "global_mmlu": MMLU, "include": INCLUDE, "blend": BLEND}
    paths = {}
    for name, rows in named.items():
        paths[name] = folder / f"{name}.jsonl"
        write(paths[name], rows)
    paths["blend_short"] = folder / "South_Korea_data.json"
    paths["blend_short"].write_text(json.dumps(SHORT, ensure_ascii=False), encoding="utf-8")
    return paths
