"""Sweeps: many trainings of one recipe, each an ordinary run in processes of its own; nothing here loads
torch."""
