"""Footage, models and photographs that lie beside the repository, where they do; they are never copied into it."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def needs(*paths: str) -> pytest.MarkDecorator:
    """Skip a test where one of these, relative to `SHARED`, is missing."""
    missing = [path for path in paths if not (SHARED / path).exists()]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)} in {SHARED}")
