"""Whether the laws, offices and telephone numbers that a text cites exist on a date."""
