"""kalign: from the description of a culture to a language model that behaves well in it."""

__version__ = "0.1.0"
