"""The configuration in place, for commands that also work where there is none."""

from pathlib import Path

from appliance.config import DEFAULT_PATH, Settings, load_settings


def load_configured() -> Settings:
    """Give the settings of the configuration in place; the defaults when there is none.

    Raises:
        ConfigError: It cannot be read, or is not accepted.
    """
    return load_settings(DEFAULT_PATH) if is_there_or_hidden(DEFAULT_PATH) else Settings()


def is_there_or_hidden(path: Path) -> bool:
    """Tell whether a file is there, or may be, in a folder that we may not look into: reading it says why not."""
    try:
        return path.exists()
    except OSError:
        return True
