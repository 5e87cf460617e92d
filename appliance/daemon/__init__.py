"""Wiring: what turns the rooms into a daemon."""
