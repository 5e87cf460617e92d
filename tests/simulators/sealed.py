"""A model's folder as a device has it where the fleet encrypts: weights for who has the key, the rest in the clear."""

from pathlib import Path

from appliance.core.manifest import read_manifest
from appliance.core.sealing import SUFFIX, Keys, seal


def seal_folder(folder: Path, key: Path) -> Path:
    """Encrypt a folder's weights for the keys in a file, in place."""
    recipients = Keys(key.read_text(), "the test").recipients
    for artifact in read_manifest(folder).artifacts:
        plain = folder / artifact.file
        plain.with_name(f"{plain.name}{SUFFIX}").write_bytes(seal(plain.read_bytes(), recipients))
        plain.unlink()
    return folder
