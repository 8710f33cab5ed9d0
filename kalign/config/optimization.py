"""Optimizers and schedules by transformers' own names, and which of them a recipe can name."""

from kalign.config.rules import one_of
from kalign.errors import ConfigError

# OptimizerNames and SchedulerType of transformers; a test compares them with the installed one.
OPTIMIZERS = (
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_torch_xla",
    "adamw_torch_npu_fused",
    "adafactor",
    "adamw_anyprecision",
    "adamw_torch_4bit",
    "adamw_torch_8bit",
    "ademamix",
    "sgd",
    "adagrad",
    "adamw_bnb_8bit",
    "adamw_8bit",
    "ademamix_8bit",
    "lion_8bit",
    "lion_32bit",
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "paged_ademamix_32bit",
    "paged_ademamix_8bit",
    "paged_lion_32bit",
    "paged_lion_8bit",
    "rmsprop",
    "rmsprop_bnb",
    "rmsprop_bnb_8bit",
    "rmsprop_bnb_32bit",
    "galore_adamw",
    "galore_adamw_8bit",
    "galore_adafactor",
    "galore_adamw_layerwise",
    "galore_adamw_8bit_layerwise",
    "galore_adafactor_layerwise",
    "lomo",
    "adalomo",
    "grokadamw",
    "schedule_free_radam",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "apollo_adamw",
    "apollo_adamw_layerwise",
    "stable_adamw",
)
SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
)
# These want arguments or a metric, for which there is no setting
SCHEDULES_WITH_MORE = (
    "reduce_lr_on_plateau",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
    "greedy",
)


def check(optim: str, schedule: str) -> None:
    """Raise ConfigError where transformers knows no such optimizer or schedule, or wants more than a name."""
    one_of("trainer.optim", optim, OPTIMIZERS)
    if schedule in SCHEDULES_WITH_MORE:
        raise ConfigError(
            f"trainer.lr_scheduler_type={schedule} wants arguments of its own, for which there is no "
            f"setting; use one of {', '.join(SCHEDULES)}"
        )
    one_of("trainer.lr_scheduler_type", schedule, SCHEDULES)
