import re
from pathlib import Path

import pytest

from maskery.settings import Settings, SettingsError, misspelled

ROOT = Path(__file__).parents[2]


def test_arguments_precede_the_environment_which_precedes_the_file(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_home.mkdir()
    (own_home / "maskery.toml").write_text('port = 1\nworkers = 1\nmax_queue = 1\n[aliases]\n"a/b" = "c/d"\n')
    monkeypatch.setenv("MASKERY_WORKERS", "2")
    monkeypatch.setenv("MASKERY_MAX_QUEUE", "2")
    settings = Settings.load(max_queue=3, host=None)
    assert (settings.port, settings.workers, settings.max_queue) == (1, 2, 3)
    assert settings.aliases == {"a/b": "c/d"}
    assert settings.home == own_home


def test_the_file_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "other.toml"
    monkeypatch.setenv("MASKERY_CONFIG", str(file))
    with pytest.raises(SettingsError, match="MASKERY_CONFIG names"):
        Settings.load()
    file.write_text("port = 7")
    assert Settings.load().port == 7


def test_an_empty_file_name_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKERY_CONFIG", "")
    assert Settings.load().port == 8484


def test_an_unreadable_file_is_named(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_home.mkdir()
    file = own_home / "maskery.toml"
    file.write_bytes('host = "ä"'.encode("latin-1"))
    with pytest.raises(SettingsError, match=r"maskery\.toml is not UTF-8"):
        Settings.load()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Tests may run as root, which can read every file.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SettingsError, match=r"maskery\.toml cannot be read: Permission denied"):
        Settings.load()


@pytest.mark.parametrize("text", ['{"a/b": "c/d", "e": "f"}', "a/b=c/d,e=f", " a/b = c/d , e = f, "])
def test_aliases_are_json_or_pairs(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MASKERY_ALIASES", text)
    assert Settings.load().aliases == {"a/b": "c/d", "e": "f"}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MASKERY_PORT", "99999", "MASKERY_PORT"),
        ("MASKERY_PORT", "many", "MASKERY_PORT"),
        ("MASKERY_ALIASES", "a", "NAME=MODEL"),
        ("MASKERY_ALIASES", "{", "not JSON"),
        ("MASKERY_LOG_LEVEL", "loud", "debug, info"),
        ("MASKERY_TLS_KEY", "key.pem", "belong together"),
        ("MASKERY_TLS_CERTIFICATE", "certificate.pem", "belong together"),
    ],
)
def test_an_invalid_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=re.escape(says)):
        Settings.load()


@pytest.mark.parametrize(
    "value", ["*", "10.0.0.0/8,*", "0.0.0.0/0", "::/0", "10.0.0.1/8", "proxy.example", "10.0.0.1:80"]
)
def test_only_addresses_and_networks_are_trusted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MASKERY_TRUSTED_PROXIES", value)
    with pytest.raises(SettingsError, match="is not a proxy: give its address"):
        Settings.load()


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "null",
        "app.example",
        "https://*.example",
        "https://app.example/",
        "https://app.example/page",
        "https://App.example",
        "https://app.example:443",
        "http://app.example:80",
        "http://app.example:0",
        "https://name@app.example",
        "ftp://app.example",
        "https://app.example https://b.example",
        "https://ä.example",
        "https://",
    ],
)
def test_only_exact_origins_are_accepted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MASKERY_CORS_ORIGINS", f"https://good.example,{value}")
    with pytest.raises(SettingsError, match="is not an origin as browsers send it"):
        Settings.load()


def test_proxies_and_origins_are_read_from_lists(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    monkeypatch.setenv("MASKERY_TRUSTED_PROXIES", " 10.0.0.1, 192.168.0.0/16,2001:db8::/32, ")
    monkeypatch.setenv("MASKERY_CORS_ORIGINS", "https://app.example, http://localhost:3000,http://[::1]:3000")
    settings = Settings.load()
    assert settings.trusted_proxies == ("10.0.0.1", "192.168.0.0/16", "2001:db8::/32")
    assert settings.cors_origins == ("https://app.example", "http://localhost:3000", "http://[::1]:3000")
    monkeypatch.delenv("MASKERY_CORS_ORIGINS")
    own_home.mkdir()
    (own_home / "maskery.toml").write_text('cors_origins = ["https://b.example"]')
    assert Settings.load().cors_origins == ("https://b.example",)


def test_an_unknown_setting_in_the_file_is_rejected(own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "maskery.toml").write_text("prot = 1")
    with pytest.raises(SettingsError, match="unknown setting prot"):
        Settings.load()
    (own_home / "maskery.toml").write_text("port = ")
    with pytest.raises(SettingsError, match=r"maskery\.toml"):
        Settings.load()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.9.9.9", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_addresses_are_recognised(host: str, loopback: bool) -> None:
    assert Settings.load(host=host).on_loopback is loopback


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    documented = set(re.findall(r"^\| `MASKERY_([A-Z_]+)` \|", page, re.MULTILINE))
    assert {name.lower() for name in documented} == set(Settings.model_fields)


def test_every_setting_is_read_somewhere() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "server" / "src").rglob("*.py"))
    for name in Settings.model_fields:
        assert re.search(rf"(settings|self)\.{name}\b", code), f"nothing reads the setting {name}"


def test_unknown_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKERY_REQUEST_PER_MINUTE", "5")
    monkeypatch.setenv("MASKERY_API_KEY", "for the command line")
    monkeypatch.setenv("MASKERY_PORT", "1")
    assert misspelled() == [
        "MASKERY_REQUEST_PER_MINUTE is not a setting and has no effect; did you mean MASKERY_REQUESTS_PER_MINUTE?"
    ]


def test_a_tilde_is_the_users_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MASKERY_HOME", "~/maskery")
    monkeypatch.setenv("MASKERY_TLS_KEY", "~/key.pem")
    monkeypatch.setenv("MASKERY_TLS_CERTIFICATE", "~/certificate.pem")
    settings = Settings.load()
    assert settings.home == tmp_path / "maskery"
    assert settings.models == tmp_path / "maskery" / "models"
    assert (settings.tls_key, settings.tls_certificate) == (tmp_path / "key.pem", tmp_path / "certificate.pem")
    (tmp_path / "maskery.toml").write_text('home = "~/other"')
    monkeypatch.setenv("MASKERY_CONFIG", "~/maskery.toml")
    monkeypatch.delenv("MASKERY_HOME")
    assert Settings.load().home == tmp_path / "other"


@pytest.mark.parametrize(("home", "says"), [(None, "set MASKERY_HOME"), ("~/maskery", "~/maskery cannot be expanded")])
def test_a_user_without_a_home_folder_gets_one_sentence(
    monkeypatch: pytest.MonkeyPatch, home: str | None, says: str
) -> None:
    """As in containers and cron: HOME is not set, and the user id has no entry in the password database."""

    def no_entry(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for variable in ("HOME", "XDG_DATA_HOME", "MASKERY_HOME"):
        monkeypatch.delenv(variable, raising=False)
    if home:
        monkeypatch.setenv("MASKERY_HOME", home)
    monkeypatch.setattr("pwd.getpwuid", no_entry)
    with pytest.raises(SettingsError, match=says):
        Settings.load()


@pytest.mark.parametrize(("value", "path"), [("", ""), ("/", ""), ("/maskery/", "/maskery"), ("/a/b-c", "/a/b-c")])
def test_a_root_path_has_no_slash_at_its_end(value: str, path: str) -> None:
    assert Settings.load(root_path=value).root_path == path


@pytest.mark.parametrize("value", ["maskery", "//evil.example", "https://evil.example", "/a b", "/a?b"])
def test_only_plain_paths_are_root_paths(value: str) -> None:
    with pytest.raises(SettingsError, match="is not a path such as /maskery"):
        Settings.load(root_path=value)
