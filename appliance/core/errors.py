"""The five errors: a class exists only if somebody handles it differently.

A message says what was wrong, where, and what is known or to be done next:
``[cameras.door] kind is 'picam'; known: file, picamera2, rtsp, synthetic, v4l2``.
"""

from typing import ClassVar


class EdgecamError(Exception):
    """Root of the five. Catch it only where a message meets a person."""

    exit_code: ClassVar[int] = 1
    """Exit status of a command that ends with this error (sysexits.h)."""


class ConfigError(EdgecamError):
    """What the owner wrote cannot be accepted; no restart helps until it is changed."""

    exit_code = 78


class UnavailableError(EdgecamError):
    """Something outside is not there now (camera, broker, daemon): back off, retry, say degraded."""

    exit_code = 69
    retry_after: float = 0.0
    """Seconds that the other side asked to be left alone for; 0: it did not say."""


class UnsupportedError(EdgecamError):
    """This choice cannot work on this machine: take the next one and record why."""

    exit_code = 70


class ModelError(EdgecamError):
    """A model is broken or not what its manifest says: refuse it, keep the previous one."""

    exit_code = 65


class StorageError(EdgecamError):
    """The disk is full, read-only or corrupt: shed load and raise the alarm."""

    exit_code = 74
