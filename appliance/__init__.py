"""Edgecam: frames in, accounted MQTT messages out."""

__version__ = "0.1.0"
