"""A network camera over RTSP, through FFmpeg, with every wait bounded from outside."""

import time
from urllib.parse import quote, urlsplit

import cv2

from appliance.cameras.capture import FFMPEG_OPTIONS, open_capture
from appliance.cameras.reader import Reader, ReaderCamera
from appliance.cameras.rtsp_probe import Credentials, Finding, Verdict, find_out
from appliance.config import RtspCameraSettings, public_address
from appliance.core.clock import Clock
from appliance.core.errors import ConfigError, EdgecamError, UnavailableError

_MARGIN = 0.5  # seconds that FFmpeg's own time limits are given before the ones outside take over
_FIXES = {
    Verdict.UNKNOWN_HOST: "check the host's name and this device's DNS",
    Verdict.REFUSED: "nothing listens on that port: check the port, and that the camera's RTSP service is on",
    Verdict.UNREACHABLE: "check the address, the cable and that the camera has power",
    Verdict.SILENT: "restart the camera; its RTSP service hangs or is not what listens there",
    Verdict.NOT_RTSP: "check the port: RTSP is usually 554",
    Verdict.NOT_FOUND: "check the path of the address against the camera's manual",
    Verdict.OTHER: "check that the stream is H.264, H.265 or MJPEG, and try the other `transport`",
}


class RtspCamera(ReaderCamera):
    """Gives the newest picture of a network stream; what came in while nobody read is skipped.

    A thread reads the stream without pause, so that its server never has to hold pictures back. User name and
    password are put into the address only for FFmpeg's ears, and appear in no message.
    """

    def __init__(self, name: str, settings: RtspCameraSettings, clock: Clock) -> None:
        self._name = name
        self._settings = settings
        self._has_streamed = False
        self._where = f"[cameras.{name}] {public_address(settings.url)}"
        super().__init__(Reader(name, clock, where=self._where, fix="check the camera and the network"))

    def open(self) -> None:
        """Connect and wait for the first picture: up to the open timeout and the read timeout together.

        Raises:
            UnavailableError: The server is not there, does not answer, or gives no picture.
            ConfigError: It refuses the user name and password, though they have never been right so far, or a secret
                cannot be read.
        """
        chosen = self._settings
        credentials = self._credentials()
        self._reader.open(lambda: self._connect(credentials), chosen.open_timeout + _MARGIN, chosen.read_timeout)
        self._has_streamed = True

    def _credentials(self) -> Credentials | None:
        name = self._settings.username
        if name is None:
            return None
        if ":" in name:
            raise ConfigError(f"[cameras.{self._name}] username: a user name cannot hold ':' (RFC 7617)")
        secret = self._settings.password
        return Credentials(name, secret.read(f"cameras.{self._name}.password") if secret else "")

    def _connect(self, credentials: Credentials | None) -> cv2.VideoCapture:
        """Open the stream, or say why not. Runs in the reader's thread."""
        chosen = self._settings
        began = time.monotonic()
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(chosen.open_timeout * 1000)]
        # a little later than ours: which of them strikes first must not be left to chance
        limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(chosen.read_timeout * 1000) + 500, cv2.CAP_PROP_N_THREADS, 1]
        try:
            with FFMPEG_OPTIONS.held(f"rtsp_transport;{chosen.transport}", chosen.open_timeout, self._where):
                capture = open_capture(address(chosen, credentials), cv2.CAP_FFMPEG, limits)
        except cv2.error as error:  # its text may hold the address, password included
            raise UnavailableError(f"{self._where}: FFmpeg failed (OpenCV error {error.code})") from None
        if capture.isOpened():
            return capture
        capture.release()
        left = max(_MARGIN / 2, chosen.open_timeout - (time.monotonic() - began))
        raise self._explain(find_out(urlsplit(chosen.url), credentials, min(left, 2.0)))

    def _explain(self, finding: Finding) -> EdgecamError:
        if finding.verdict is not Verdict.UNAUTHORISED:
            return UnavailableError(f"{self._where}: {finding.detail}; {_FIXES[finding.verdict]}")
        refused = f"{self._where}: the camera refuses access ({finding.detail})"
        if self._has_streamed:  # as one does that starts up, locks out for a while or has all its sessions taken
            return UnavailableError(f"{refused}, which it gave before; if it stays so, check user name and password")
        if self._settings.username is None:
            fix = 'set `username` and `password = { file = "…" }` in its section'
        else:
            fix = f"check `username` ({self._settings.username!r}) and the secret that `password` refers to"
        return ConfigError(f"{refused}; {fix}")


def address(settings: RtspCameraSettings, credentials: Credentials | None) -> str:
    """Give the address that FFmpeg is handed, with the credentials percent-encoded."""
    if credentials is None:
        return settings.url
    scheme, _, rest = settings.url.partition("://")
    return f"{scheme}://{quote(credentials.username, safe='')}:{quote(credentials.password, safe='')}@{rest}"
