"""Settings: the schema (plain dataclasses) and the front door that composes them; nothing here loads
torch."""

from kalign.config.associations import AssociationColumns, Associations, Reward, Sft
from kalign.config.data import Columns, Data, Source
from kalign.config.model import Licence, Model
from kalign.config.schema import Evaluation, Recipe, Tracker
from kalign.config.training import Adapter, Guards, Loss, Quantization, Trainer

__all__ = [
    "Adapter",
    "AssociationColumns",
    "Associations",
    "Columns",
    "Data",
    "Evaluation",
    "Guards",
    "Licence",
    "Loss",
    "Model",
    "Quantization",
    "Recipe",
    "Reward",
    "Sft",
    "Source",
    "Tracker",
    "Trainer",
]
