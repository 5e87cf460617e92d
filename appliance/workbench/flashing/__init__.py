"""Writes a card: the official system, checked against its published hash, and the first-boot bundle."""
