"""Training on a recipe: TRL's trainers, with kalign's pairs, order, guards and checkpoints in their seams."""
