"""What more languages bring: the cultural share and the number of countries, over the languages so far."""

import random
from collections.abc import Mapping
from typing import Any

from kalign.markers.tally import Language

ORDERS = 200


def curve(languages: Mapping[str, Language], *, seed: int = 0, orders: int = ORDERS) -> list[dict[str, Any]]:
    """For one language up to all of them: cultural share and unique countries, means over random orders.

    >>> from collections import Counter
    >>> one = {"ko": Language(texts=4, cultural=2, geo=Counter(KR=2)), "en": Language(texts=4, cultural=0)}
    >>> curve(one)[-1]
    {'languages': 2, 'cultural_share': 0.25, 'unique_countries': 1.0}
    """
    names = sorted(languages)
    drawn = random.Random(seed)
    shares, unique = [0.0] * len(names), [0.0] * len(names)
    for _ in range(orders):
        drawn.shuffle(names)
        texts = cultural = 0
        seen: set[str] = set()
        for place, name in enumerate(names):
            language = languages[name]
            texts, cultural = texts + language.texts, cultural + language.cultural
            seen |= language.geo.keys()
            shares[place] += cultural / texts / orders
            unique[place] += len(seen) / orders
    return [
        {"languages": place, "cultural_share": round(share, 9), "unique_countries": round(countries, 9)}
        for place, (share, countries) in enumerate(zip(shares, unique, strict=True), start=1)
    ]
