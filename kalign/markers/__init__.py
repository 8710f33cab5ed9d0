"""Cultural markers: tag what culture a corpus holds, see where it is lost, and audit the tags."""
