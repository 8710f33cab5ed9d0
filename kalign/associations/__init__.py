"""Word associations: norms, tasks, rewards, metrics and survey answers of a culture."""
