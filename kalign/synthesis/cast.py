"""Who plays which part: roles to providers, the target, the panel, and what their licences allow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kalign.config import licences
from kalign.errors import ConfigError
from kalign.judging import Panel
from kalign.judging.panel import kin
from kalign.providers import Provider, load, load_all
from kalign.providers.local import identified
from kalign.synthesis.settings import Pipeline

SERVED_BY = "vllm"  # where a target is asked that is named by a model of conf/model
JUDGES = 3


@dataclass(frozen=True, kw_only=True)
class Cast:
    """One provider, or several, a role."""

    writer: Provider
    attacker: Provider
    target: Provider
    judge: Provider  # of answers and queries on the way
    generators: tuple[Provider, ...]
    panel: tuple[Provider, ...]
    embedder: Provider | None = None  # of seeds; its vectors are in no data set

    @property
    def all(self) -> list[Provider]:
        """Each provider once, in order of its first role."""
        everyone = (
            self.writer,
            self.attacker,
            self.target,
            self.judge,
            *self.generators,
            *self.panel,
            *([self.embedder] if self.embedder else []),
        )
        return list({name(one): one for one in everyone}.values())

    def served(self, ready: Sequence[Provider]) -> "Cast":
        """The same cast at the addresses where its providers are now."""
        at = {name(one): two for one, two in zip(self.all, ready, strict=True)}
        return Cast(
            writer=at[name(self.writer)],
            attacker=at[name(self.attacker)],
            target=at[name(self.target)],
            judge=at[name(self.judge)],
            generators=tuple(at[name(one)] for one in self.generators),
            panel=tuple(at[name(one)] for one in self.panel),
            embedder=at[name(self.embedder)] if self.embedder else None,
        )

    def identified(self) -> "Cast":
        """The same cast with local models under the names and hashes that requests have."""
        return self.served([identified(one) for one in self.all])

    def roles(self) -> list[tuple[str, str, str]]:
        """Each role with its model and family, for a table."""
        named = [
            ("writer", self.writer),
            ("attacker", self.attacker),
            ("target", self.target),
            ("judge on the way", self.judge),
            *(("generator", one) for one in self.generators),
            *(("panel", one) for one in self.panel),
            *([("embedder", self.embedder)] if self.embedder else []),
        ]
        return [(role, name(one), one.kin) for role, one in named]

    @property
    def kin(self) -> list[str]:
        """Families that judge what they wrote themselves."""
        return kin(self.panel, self.generators)


def name(provider: Provider) -> str:
    """What a provider is called in records."""
    return f"{provider.name}:{provider.model}"


def cast(pipeline: Pipeline, panel: Panel) -> Cast:
    """The cast of a pipeline.

    `providers` plays every role: the first one writes and attacks, and is the target unless another is named.
    Of their families, the first half generates and the other half judges; a single family does both, which
    the report says.

    Raises:
        ConfigError: a role or the target has no provider.
    """
    if pipeline.providers:
        pool = load_all(pipeline.providers)
        families = list(dict.fromkeys(one.kin for one in pool))
        writing = families[: -(-len(families) // 2)]
        first = {one.kin: one for one in reversed(pool)}
        generators = [first[family] for family in writing][: pipeline.respond.candidates]
        outside = [one for one in pool if one.kin not in writing]
        return Cast(
            writer=pool[0],
            attacker=pool[0],
            target=target(pipeline.target) if pipeline.target else pool[0],
            judge=(outside or pool)[0],
            generators=tuple(generators),
            panel=tuple((outside or generators)[:JUDGES]),
            embedder=embedder(pipeline.seeds.embeddings),
        )
    if not pipeline.target:
        raise ConfigError("target is missing; give target=qwen or another model, or providers=local for all")
    roles = pipeline.roles
    for role in ("writer", "attacker", "judge", "generators"):
        if not getattr(roles, role):  # a field of Roles
            raise ConfigError(f"roles.{role} is empty; give roles.{role}=openai, or providers=[...] for all")
    return Cast(
        writer=_named("roles.writer", roles.writer),
        attacker=_named("roles.attacker", roles.attacker),
        target=target(pipeline.target),
        judge=_named("roles.judge", roles.judge),
        generators=tuple(load_all(roles.generators)),
        panel=tuple(panel.providers()),
        embedder=embedder(pipeline.seeds.embeddings),
    )


def embedder(choice: str | None) -> Provider | None:
    """The provider of vectors; None where there is none.

    Raises:
        ConfigError: it is unknown, or would be served here, by a server that gives no vectors.
    """
    if not choice:
        return None
    found = _named("seeds.embeddings", choice)
    if found.base_url is None:
        raise ConfigError(
            f"seeds.embeddings={choice} has no address, and a server that kalign starts gives no vectors; "
            "name a model behind /v1/embeddings"
        )
    return found


def target(choice: str) -> Provider:
    """The provider of the model under attack: a model of conf/model behind vLLM, or any provider.

    Raises:
        ConfigError: it is neither.
    """
    known = licences.of(choice)
    if known is None:
        return _named("target", choice)
    served = load(f"{SERVED_BY}:{known.repo}")
    return replace(served, licence=known.licence)


def _named(key: str, choice: str) -> Provider:
    """The provider that a setting names.

    Raises:
        ConfigError: there is none; the message begins with the setting.
    """
    try:
        return load(choice)
    except ConfigError as wrong:
        raise ConfigError(f"{key}={choice} is no provider that can be used: {wrong}") from wrong


def require_licences(cast: Cast, accepted: Sequence[str]) -> None:
    """Refuse models whose words may not train others, unless the user states a right to it.

    What is known of a model holds whoever serves it, and whatever a provider's file says of it. Judges are
    not among them: their words are not in the data.

    Raises:
        ConfigError: there is such a model.
    """
    for role, providers in (
        ("writer", (cast.writer,)),
        ("attacker", (cast.attacker,)),
        ("target", (cast.target,)),
        ("generator", cast.generators),
    ):
        for one in providers:
            known = licences.of(one.model)
            names = {one.name, one.model, name(one), known.name if known else one.name}
            if names & set(accepted):
                continue
            licence = known.licence if known else one.licence
            if licence.name is None or not licence.may_train_others:
                terms = f"forbids ({licence.name})" if licence.name else "is not known to allow"
                raise ConfigError(
                    f"{name(one)} is the {role}, and its licence {terms} training other models with its "
                    "words; choose another one, or, if you have a right to it, say "
                    f"accept_licence_of=[{one.name}]"
                )
