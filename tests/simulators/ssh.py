"""An operator at another machine, who logs in with a key."""

import subprocess
from pathlib import Path

from tests.simulators.guest import Network


def make_key(folder: Path) -> Path:
    """Make a key pair for somebody who is called me@desk; give the private one, the public one lies beside it."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me@desk", "-f", key], check=True, timeout=30)
    return key


def log_in(key: Path, network: Network, *command: str, user: str = "admin") -> subprocess.CompletedProcess[str]:
    """Log in to the guest as the owner would, and run a command."""
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes", "ConnectTimeout=5"]
    ssh = ["ssh", "-q", "-i", str(key), *(word for one in options for word in ("-o", one))]
    return subprocess.run(
        [*ssh, f"{user}@{network.there}", *command], capture_output=True, text=True, check=False, timeout=60
    )
