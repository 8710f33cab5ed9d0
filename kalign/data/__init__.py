"""Preference pairs: read from anywhere, mapped, checked, split by prompt, tokenised, and accounted for."""
