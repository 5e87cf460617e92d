"""The promises of the configuration: strict, told all at once, and never a secret on the screen."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.config import (
    DeviceSettings,
    FileCameraSettings,
    RtspCameraSettings,
    Secret,
    Settings,
    load_settings,
    parse_settings,
    public_address,
    reachable_socket,
    read_toml,
    runtime_socket,
)
from appliance.config.declarations import Declaration, locate
from appliance.core.errors import ConfigError


def refusal(path: Path, text: str | bytes) -> str:
    """Give the message with which a file is refused."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "edgecam.toml"


def test_an_empty_file_gives_the_defaults(file: Path) -> None:
    file.write_text("")
    assert load_settings(file) == Settings()


def test_cameras_of_every_kind_become_their_own_types(file: Path) -> None:
    file.write_text("""
        [cameras.door]
        kind = "rtsp"
        url = "rtsp://192.0.2.10/stream1"
        password = { file = "/etc/edgecam/door" }
        [cameras.door.zones.lawn]
        points = [[0, 0], [1, 0], [0.5, 1]]
        [cameras.file]
        kind = "file"
        path = "clip.mp4"
    """)
    cameras = load_settings(file).cameras
    door = cameras["door"]
    assert isinstance(door, RtspCameraSettings)
    assert door.password == Secret(file=Path("/etc/edgecam/door"))
    assert door.zones["lawn"].points == ((0.0, 0.0), (1.0, 0.0), (0.5, 1.0))
    assert isinstance(cameras["file"], FileCameraSettings)


def test_all_mistakes_are_told_at_once_each_with_its_place(file: Path) -> None:
    message = refusal(
        file,
        """
        [model]
        threads = 0
        [tracking]
        lost_after = nan
        [cameras.door]
        kind = "v4l2"
        fps = 0
        [cameras."front door"]
        kind = "file"
        """,
    )
    assert message.splitlines()[0] == f"{file}: 5 settings are not accepted:"
    assert "  model.threads: is 0; accepted: a whole number from 1 to 64" in message
    assert "  tracking.lost_after: is nan; accepted: a number from 0.1 to 600 seconds" in message
    assert "  cameras.door.fps: is 0; accepted: a number above 0 and up to 240 frames per second" in message
    assert '  cameras."front door": names are 1 to 32 of a-z' in message
    assert '  cameras."front door".path: is required: a path in quotes' in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[model]\nthreads = true", "model.threads: is true; accepted: a whole number"),
        ('[model]\nthreads = "4"', 'model.threads: is "4"; accepted: a whole number'),
        ("[model]\nthreads = 1.5", "model.threads: is 1.5; accepted: a whole number"),
        ("[model]\nthreads = 99999999999999999999", "model.threads: is 99999999999999999999"),
        ("[device]\nid = 5", "device.id: is 5; accepted: up to 64 letters"),
        ("[device]\nid = 1979-05-27", "device.id: is a date; accepted: up to 64 letters"),
        ('[model]\nlabels = "person"', 'model.labels: is "person"; accepted: a list of up to 1000 texts'),
        ('[model]\ndirectories = ["a", 1]', "model.directories[1]: is 1; accepted: a path in quotes"),
        ('[cameras.cmd]\nkind = "v4l2"', "cameras.cmd: the device itself speaks under this name"),
        ("model = 3", "model: is 3; accepted: a table"),
        ("cameras = 3", "cameras: is 3; accepted: up to 16 tables"),
        ("[cameras]\ndoor = 3", "cameras.door: is 3; accepted: a table"),
        ("[tracking]\nlost_after = inf", "tracking.lost_after: is inf; accepted: a number from 0.1 to 600 seconds"),
        ("[tracking]\nlow_score = 0.5\nhigh_score = 0.2", "tracking: low_score must not exceed high_score"),
        ('[messaging]\nbroker = "http://host"', 'messaging.broker: is "http://host"; accepted: mqtt://HOST[:PORT]'),
        ('[messaging.tls]\ncert_file = "/c"', "messaging.tls: cert_file and key_file go together"),
        (
            "[cameras.door]\nurl = 3",
            "cameras.door.kind: is required; known: file, imx500, picamera2, rtsp, synthetic, v4l2",
        ),
        ('[cameras.door]\nkind = "picam"', 'cameras.door.kind: is "picam"; known: file, imx500, picamera2'),
        ("[cameras.door]\nkind = 3", "cameras.door.kind: is 3; known: file, imx500, picamera2"),
        (
            '[cameras.door]\nkind = "v4l2"\n[cameras.door.zones.a]\npoints = [[0, 0], [1, 2]]',
            "cameras.door.zones.a.points[1][1]: is 2; accepted: a number from 0 to 1",
        ),
        (
            '[cameras.door]\nkind = "v4l2"\n[cameras.door.zones.a]\npoints = [[0, 0], [1, 1]]',
            "cameras.door.zones.a.points: has 2 items; accepted: a list of 3 to 64 corners",
        ),
    ],
)
def test_what_is_not_accepted_is_answered_by_what_is(file: Path, text: str, told: str) -> None:
    assert told in refusal(file, text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[model]\nmin_scor = 0.3", "model.min_scor: unknown setting; did you mean min_score?"),
        ('[cameras.rtsp]\nkind = "v4l2"\nwdth = 3', "cameras.rtsp.wdth: unknown setting; did you mean width?"),
        ("modell = 3", "modell: unknown setting; did you mean model?"),
        ("zzz = 3", "zzz: unknown setting; known here: device, cameras, model, tracking, messaging"),
    ],
)
def test_an_unknown_setting_gets_a_suggestion(file: Path, text: str, told: str) -> None:
    assert told in refusal(file, text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"a = 1\na = 2\n\n", "a setting is given twice"),
        (b"[model]\n[model]", "a table is given twice"),
        (
            b'[cameras.a]\nkind = "v4l2"\n[cameras.a]',
            "in lines 1 and 3: [cameras.a]; give each camera a name of its own",
        ),
        (b"id = 'a\nb'", "line 1"),
        (b"id = 1,5", "line 1"),
        (b"[model\nx = 1", "at line 1"),
        (b"id = \xff", "byte 5 is not UTF-8"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"#" * (1 << 20) + b"#", "larger than 1048576 bytes"),
    ],
)
def test_what_is_no_toml_is_refused_with_its_place(file: Path, text: bytes, told: str) -> None:
    message = refusal(file, text)
    assert told in message
    assert str(file) in message


def test_a_missing_file_names_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; `edgecam config default` prints one"):
        read_toml(tmp_path / "none.toml")


def test_a_file_from_windows_with_a_byte_order_mark_is_read(file: Path) -> None:
    file.write_bytes("\ufeff[model]\r\nthreads = 2\r\n".encode())
    assert load_settings(file).model.threads == 2


@pytest.mark.parametrize(
    "text",
    [
        '[messaging]\nbroker = "mqtt://me:hunter2@host"',
        '[messaging]\nbroker = "http://me:hunter2@host"',
        '[messaging]\nbroker = "mqtt://hunter2@host"',
        '[messaging]\npassword = "hunter2"',
        '[messaging]\npassword = { secret = "hunter2" }',
        '[messaging]\npasswort = "hunter2"',
        '[messaging]\npassword = ["hunter2"]',
        '[cameras.a]\nkind = "rtsp"\nurl = "rtsp://me:hunter2@host/x"',
        '[cameras.a]\nkind = "rtsp"\nurl = "xrtsp://me:hunter2@host/x"',
        '[cameras.a]\nkind = "rtsp"\nurl = "rtsp://me:1/hunter2@host/x"',
        '[cameras.a]\nkind = "rtsp"\nurl = "rtsp://me:hunter2/x@host/x"',
        '[cameras.a]\nkind = "rtsp"\nurl = "rtsp://me:hunter2?x@host/x"',
        '[cameras.a]\nkind = "rtsp"\nurl = "rtsp://me:hunter2#x@host/x"',
        '[cameras.a]\nkind = "rtsp"\nurl = "rtsp://me:hunter2/x"',
        '[cameras.a]\nkind = "rtsp"\nurl = "rtsp:/host/user=me&password=hunter2"',
        '[cameras.a]\nkind = "rtsp"\nurl = "host/user=me&password=hunter2"',
        '[messaging]\nbroker = "mqtt://me:hunter2/x@host"',
        '[messaging]\nbroker = "mqtt://host/?password=hunter2"',
        '[model]\nthreads = "mqtt://me:hunter2@host"',
        '[model]\nthreads = "mqtt://me:hunter2/x@host"',
    ],
)
def test_a_secret_in_the_file_is_refused_and_never_repeated(file: Path, text: str) -> None:
    assert "hunter2" not in refusal(file, text)


def test_an_address_with_a_password_says_how_to_write_it(file: Path) -> None:
    message = refusal(file, '[messaging]\nbroker = "mqtt://me:hunter2@host"')
    assert "use `username` and `password = { file = … }`" in message


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://192.0.2.10:8554/stream1", "rtsp://192.0.2.10:8554/stream1"),
        ("rtsp://[fe80::1%25eth0]:554/a", "rtsp://[fe80::1%25eth0]:554/a"),
        ("rtsp://cam/user=admin&password=hunter2&channel=1", "rtsp://cam/…"),
        ("rtsp://cam:554/live?password=hunter2", "rtsp://cam:554/…"),
        ("rtsp://cam/user%3Dadmin%26password%3Dhunter2", "rtsp://cam/…"),
        ("rtsp://cam/live?hunter2#hunter2", "rtsp://cam/live"),
        ("rtsp://admin:1234/x@cam/1", "rtsp://…"),
        ("rtsp://admin:hunter2/1", "rtsp://…"),
        ("cam/user=admin&password=hunter2", "cam/…"),
        ("user=admin&password=hunter2", "…"),
    ],
)
def test_an_address_is_shown_without_what_may_be_a_password(address: str, shown: str) -> None:
    assert public_address(address) == shown


@pytest.mark.parametrize("section", ['[messaging]\nbroker = "mqtt', '[cameras.a]\nkind = "rtsp"\nurl = "rtsp'])
def test_an_at_sign_anywhere_in_an_address_is_refused(file: Path, section: str) -> None:
    assert "carries a user name or password" in refusal(file, f'{section}://admin:1234/x@host/1"')
    assert "is no valid address: its port" in refusal(file, f'{section}://host:99999"')


def test_long_values_and_long_lists_of_mistakes_are_cut(file: Path) -> None:
    message = refusal(file, f'[device]\nid = "{"x" * 5000}"')
    assert len(message) < 400
    assert "(5002 characters)" in message
    message = refusal(file, "\n".join(f"key{number} = 1" for number in range(3000)))
    assert "3000 settings are not accepted" in message
    assert "… and 2950 more" in message
    assert len(message.splitlines()) < 60


@pytest.mark.parametrize("text", ['"{}[31m" = 1', '[model]\nthreads = "{}[31m"', '[cameras."{}"]\nkind = "v4l2"'])
@pytest.mark.parametrize("escape", ["\\u001b", "\u009b", "\\u007f"])
def test_what_the_file_holds_cannot_steer_the_terminal(file: Path, text: str, escape: str) -> None:
    message = refusal(file, text.format(escape))
    assert [character for character in message if not character.isprintable()] == ["\n"]


def test_values_of_the_command_line_may_be_paths() -> None:
    assert parse_settings({"device": {"state_dir": Path("/srv")}}, "--state-dir").device.state_dir == Path("/srv")


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--device-id: (?s:.*)not UTF-8"):
        parse_settings({"device": {"id": "caf\udce9"}}, "--device-id")


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(["device", "cameras", "model", "tracking", "messaging", "other"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["kind", "id", "broker", "outbox", "zones", "points", "x", "file", "password"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ),
        max_size=4,
    )
)
def test_whatever_the_file_holds_it_is_taken_or_refused(values: dict[str, object]) -> None:
    with suppress(ConfigError):  # anything else is a defect
        parse_settings(values, "here")


def test_a_secret_is_the_first_line_of_a_file_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("hunter2\nignored\n")
    path.chmod(0o600)
    assert Secret(file=path).read("messaging.password") == "hunter2"
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=f"messaging.password: others can read {path}; do: chmod 600"):
        Secret(file=path).read("messaging.password")


@pytest.mark.parametrize(
    ("content", "told"), [("\n", "is empty"), ("", "is empty"), (b"\xff", "not UTF-8"), (None, "is no file")]
)
def test_a_secret_that_cannot_be_one_is_refused(tmp_path: Path, content: str | bytes | None, told: str) -> None:
    path = tmp_path / "password"
    if content is None:
        path.mkdir(mode=0o700)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o600)
    with pytest.raises(ConfigError, match=told):
        Secret(file=path).read("messaging.password")


def test_a_credential_is_read_from_where_systemd_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broker-password").write_text("hunter2")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert Secret(credential="broker-password").read("messaging.password") == "hunter2"
    with pytest.raises(ConfigError, match="cannot read the secret"):
        Secret(credential="none").read("messaging.password")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(ConfigError, match="LoadCredential=broker-password:FILE"):
        Secret(credential="broker-password").read("messaging.password")


@pytest.mark.parametrize("values", [{}, {"file": "/a", "credential": "b"}, {"credential": "../etc/shadow"}])
def test_a_secret_is_kept_in_exactly_one_place(values: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        parse_settings({"messaging": {"password": values}}, "here")


@pytest.fixture
def user_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the runtime directory of an ordinary user."""
    for name in ("EDGECAM_SOCKET", "RUNTIME_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    return tmp_path / "edgecam"


def test_what_is_named_wins_over_what_systemd_gives_over_the_users_own(
    user_runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runtime_socket() == user_runtime / "edgecam.sock"
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/edgecam:/run/other")
    assert runtime_socket() == Path("/run/edgecam/edgecam.sock")
    monkeypatch.setenv("EDGECAM_SOCKET", "/a/b.sock")
    assert runtime_socket() == Path("/a/b.sock")
    assert runtime_socket(DeviceSettings(socket=Path("/c.sock"))) == Path("/c.sock")


def test_the_command_asks_ones_own_daemon_first_and_else_the_systems(
    user_runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "run"
    assert reachable_socket(system=system) == user_runtime / "edgecam.sock"
    system.mkdir()
    assert reachable_socket(system=system) == system / "edgecam.sock"
    user_runtime.mkdir()
    (user_runtime / "edgecam.sock").touch()
    assert reachable_socket(system=system) == user_runtime / "edgecam.sock"
    monkeypatch.setenv("EDGECAM_SOCKET", "/not/there.sock")
    assert reachable_socket(system=system) == Path("/not/there.sock")
    assert reachable_socket(DeviceSettings(socket=Path("/c.sock")), system) == Path("/c.sock")


@pytest.mark.parametrize("host", ["café.local", "-", "", "a" * 300])
def test_a_device_without_an_id_takes_a_name_fit_for_a_topic(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    resolved = DeviceSettings().resolved_id()
    assert parse_settings({"device": {"id": resolved}}, "here").device.id == resolved != ""


def test_every_setting_says_what_it_is_and_what_it_accepts() -> None:
    def walk(declared: Declaration) -> None:
        for key, inner in declared.settings():
            assert inner.description.endswith("."), key
            if inner.is_named_tables:
                forms = [inner.named().form(kind) for kind in inner.named().kinds] or [inner.named()]
                for form in forms:
                    walk(form)
            elif inner.is_table:
                walk(inner)
            else:
                assert inner.accepted() not in {"", "a number", "a whole number", "a table"}, key
                assert inner.default() is not None or inner.example() is not None

    walk(Declaration.of_all_settings())


def test_the_form_that_pydantic_names_is_no_step_of_the_path() -> None:
    path, declared, around = locate(Declaration.of_all_settings(), ("cameras", "file", "v4l2", "width"))
    assert path == "cameras.file.width"
    assert declared is not None
    assert declared.accepted() == "a whole number from 16 to 8192 pixels"
    assert around is not None
    assert "device" in dict(around.settings())
