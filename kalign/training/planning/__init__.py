"""What a training would take, before any device is touched: memory, time, and what would be dropped."""
