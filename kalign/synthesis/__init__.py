"""The alignment-data pipeline: seeds, attack, respond, judge, triplets; each reads and writes a file."""
