"""Which models the rejected answers came from, and whether their licences let them train this one."""

from collections import Counter
from collections.abc import Sequence

from kalign.config import Model, Source, licences
from kalign.data.sources import Rows
from kalign.errors import ConfigError, DataError


def targets(source: Source, read: Rows) -> Counter[str]:
    """How many rows were mined from which model; empty where the source names no column for it.

    Raises:
        DataError: a row lacks the column, or its value is no text.
    """
    column = source.columns.target
    counts: Counter[str] = Counter()
    if column is None:
        return counts
    for row in read.rows:
        value = row.content.get(column)
        if not isinstance(value, str) or not value.strip():
            raise DataError(
                f"{read.where}:{row.number}: column {column!r} holds {value!r:.60}, which names no model; "
                "fill it in, or give data.columns.target=null if the rows do not say whose answers they hold"
            )
        counts[value.strip()] += 1
    return counts


def refuse_forbidden(mined: Counter[str], where: str, model: Model, accepted: Sequence[str]) -> None:
    """Refuse rows whose model's licence forbids training any other one, unless that is the one trained, by
    its licence, or the user states a right to it.

    Raises:
        ConfigError: there are such rows, or `accepted` names a model that kalign does not know.
    """
    rights = set()
    for name in accepted:
        known = licences.of(name)
        if known is None:
            raise ConfigError(
                f"data.accept_licence_of names {name!r}, which is no model of conf/model/; write one of those"
            )
        rights.add(known.licence.name)
    for target, count in mined.items():
        known = licences.of(target)
        if known is None or known.licence.may_train_others:
            continue
        if known.licence.name not in {model.licence.name, *rights}:
            raise ConfigError(
                f"{where} holds {count} row(s) mined from {target}, whose licence ({known.licence.name}) "
                f"forbids improving other models with them, such as {model.repo}; leave them out, or, if you "
                f"have a right to it, say data.accept_licence_of=[{known.name}]"
            )
