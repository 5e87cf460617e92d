import hashlib
import subprocess
import sys

import pytest

from appliance.core import digest


@pytest.mark.parametrize("content", [b"", b"edgecam" * 1000])
@pytest.mark.parametrize("large", [0, 1 << 30])
def test_it_is_the_sha256_that_openssl_gives(monkeypatch: pytest.MonkeyPatch, content: bytes, large: int) -> None:
    monkeypatch.setattr(digest, "LARGE", large)
    monkeypatch.delitem(sys.modules, "_hashlib", raising=False)
    assert digest.sha256_hex(content) == hashlib.sha256(content).hexdigest()


def test_a_small_file_loads_no_openssl() -> None:
    script = (
        "import sys; from appliance.core.digest import sha256_hex; sha256_hex(b'x'); print('_hashlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "False"
