"""What settings are declared with: words and limits, names, addresses, secrets."""

import os
import re
import stat
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from appliance.core.errors import ConfigError

SECRET_FORMS = '{ file = "PATH" } or { credential = "NAME" }, never the secret itself'  # noqa: S105 - words about secrets
_DEVICE_TOPICS = ("audit", "availability", "cmd", "gap", "health", "info", "model")  # docs/ARCHITECTURE.md, "Topics"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_ADDRESS = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*://)?)([^/?#]*)([^?#]*)(.*)", re.DOTALL)
_SERVER = re.compile(r"(?:\[[0-9A-Za-z:.%]*\]|[^:=&\[\]]*)(?::[0-9]*)?")


def setting(
    default: Any, description: str = "", *, unit: str = "", accepts: str = "", example: Any = None, **limits: Any
) -> Any:
    """Declare a setting with the words that messages and documentation show.

    Args:
        default: Its value when the file says nothing; ``...``: the file must say.
        description: One line, full stop included; empty for a table, which its class describes.
        unit: Of its number: ``seconds``.
        accepts: What is accepted, where limits alone do not say it well.
        example: A value for the documentation, where there is no default.
        **limits: Limits that pydantic checks.
    """
    words = {"unit": unit, "accepts": accepts, "example": example}
    told = {name: value for name, value in words.items() if value not in (None, "")}
    return Field(default, description=description or None, json_schema_extra=told, **limits)


def public_address(address: str) -> str:
    """Give an address as messages may show it: with nothing in it that could be a user name or password.

    Cameras take those as a query, or in the path (``/user=admin&password=…``): queries are left out, and so is a path
    with ``=``, ``&`` or ``@``.
    """
    parts = _ADDRESS.fullmatch(address)
    scheme, server, path, rest = parts.groups() if parts else ("", "@", "", "")
    if "@" in address or not _SERVER.fullmatch(server):
        return f"{scheme}…"
    if re.search("[=&@]", unquote(path + rest)):
        return f"{scheme}{server}/…"
    return f"{scheme}{server}{path}"


def _without_credentials(url: Any) -> Any:
    if not isinstance(url, str):
        return url  # the type's own check says what is wrong with it
    # anywhere: a password with '/', '?' or '#' in it moves the '@' out of where an address has its user name
    if "@" in url:
        raise ValueError(
            "carries a user name or password; use `username` and `password = { file = … }` or `{ credential = … }`, "
            "and write %40 for an @ of the path"
        )
    if not _can_be_split(url):
        raise ValueError("is no valid address: its port is no number up to 65535, or its brackets do not match")
    return url


def _can_be_split(url: str) -> bool:
    try:
        _ = urlsplit(url).port
    except ValueError:  # its text repeats parts of the address
        return False
    return True


def _topic_level(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("names are 1 to 32 of a-z, 0-9, - and _, and start with a letter or digit")
    return name


def _not_reserved(name: str) -> str:
    if name in _DEVICE_TOPICS:
        raise ValueError(f"the device itself speaks under this name; others than {', '.join(_DEVICE_TOPICS)} are free")
    return name


Name = Annotated[str, AfterValidator(_topic_level)]
CameraName = Annotated[Name, AfterValidator(_not_reserved)]
# before the pattern, so that an address with a password is answered by how to write it rather than by a pattern
Url = Annotated[str, BeforeValidator(_without_credentials)]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Point = tuple[Unit, Unit]


class Section(BaseModel):
    """A table of the configuration: unknown keys are errors, values are frozen once read."""

    # pydantic's own text would repeat what was given, and that may be a secret
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Secret(Section):
    """Where a secret is kept: a systemd credential or a file that only its owner can read. Never the secret itself."""

    credential: str | None = setting(
        None, "Name of a systemd credential (LoadCredential= in the unit).", max_length=255, example="broker-password"
    )
    file: Path | None = setting(
        None,
        "Path of a file with mode 0600 or stricter; its first line is the secret.",
        example="/etc/edgecam/broker-password",
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.credential is None) == (self.file is None):
            raise ValueError("give either `credential` or `file`")
        if self.credential is not None and "/" in self.credential:
            raise ValueError("a credential is a plain name, without '/'")
        return self

    def read(self, where: str) -> str:
        """Read the secret's first line; blocks on the disk only.

        Args:
            where: The setting's key path, for messages.

        Raises:
            ConfigError: It is not there, empty, or others can read the file.
        """
        secret = self.read_lines(where).partition("\n")[0].rstrip("\r")
        if not secret:
            raise ConfigError(f"{where}: the first line of {self.path(where)} is empty; write the secret there")
        return secret

    def read_lines(self, where: str) -> str:
        """Read all of the secret, up to 4096 characters; see `read`.

        Raises:
            ConfigError: It is not there, or others can read the file.
        """
        path = self.path(where)
        try:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                raise ConfigError(f"{where}: {path} is no file")
            if self.file is not None and stat.S_IMODE(mode) & 0o077:
                raise ConfigError(f"{where}: others can read {path}; do: chmod 600 {path}")
            with path.open(encoding="utf-8") as file:
                return file.read(4096)
        except OSError as error:
            raise ConfigError(f"{where}: cannot read the secret {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{where}: the secret in {path} is not UTF-8") from error

    def path(self, where: str) -> Path:
        """Give where the secret lies.

        Raises:
            ConfigError: It is a credential, and systemd has handed over none.
        """
        if self.file is not None:
            return self.file
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise ConfigError(
                f"{where}: systemd has handed over no credentials; add LoadCredential={self.credential}:FILE "
                "to the unit (systemctl edit edgecam), or use file = …"
            )
        return Path(directory, self.credential or "")
