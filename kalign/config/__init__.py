"""Settings: the schema (plain dataclasses) and the front door that composes them; nothing here loads
torch."""

from kalign.config.schema import Adapter, Data, Evaluation, Loss, Model, Recipe, Source, Tracker, Trainer

__all__ = ["Adapter", "Data", "Evaluation", "Loss", "Model", "Recipe", "Source", "Tracker", "Trainer"]
