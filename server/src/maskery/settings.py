"""The server's settings, read from the environment (`MASKERY_*`) or a TOML file.

Order of precedence: command line, environment, the TOML file named by `MASKERY_CONFIG` (default: `maskery.toml` in the
home folder, if it exists), defaults. A test compares `docs/settings.md` with this class in both directions.

Every command imports this module, so it imports nothing heavy. `maskery.api.container` builds the limits and options
of the engine and of accounts from it.
"""

import difflib
import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from maskery.errors import UserError
from maskery.logs import LogFormat
from maskery.resources import memory, processors

# Variables that other code reads; the last one is for tests.
_NO_SETTINGS = {"MASKERY_CONFIG", "MASKERY_API_KEY", "MASKERY_TEST_EVERYTHING"}

# The value of the Origin header as browsers send it; internationalised host names are in their ASCII form.
_ORIGIN = re.compile(r"https?://([a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?")
_USUAL_PORTS = {"http": ":80", "https": ":443"}


#: Protocols of labelling tools.
Bridge = Literal["cvat", "label-studio", "x-anylabeling"]

_HOST_AND_PORT = re.compile(r"(?:\[([0-9a-f:.%]+)\]|([^:\[\]/\s]+)):([1-9][0-9]{0,4})", re.IGNORECASE)

#: A path of plain segments, without a slash at its end.
ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


class SettingsError(UserError, ValueError):
    """A setting is invalid. The message names the setting and says what it accepts."""


def default_home() -> Path:
    """The folder named by `MASKERY_HOME`, or the platform's folder for application data."""
    named = os.environ.get("MASKERY_HOME")
    if named:
        return expand_user(Path(named))
    try:
        # Some releases of platformdirs leave the tilde in place.
        return Path(platformdirs.user_data_dir("maskery")).expanduser()
    except RuntimeError:
        raise SettingsError(
            "this user has no home folder: set MASKERY_HOME to a folder for the server's files"
        ) from None


def expand_user(path: Path) -> Path:
    """A path with a leading `~` replaced by the user's home folder.

    Raises:
        SettingsError: the user has no home folder.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise SettingsError(f"{path} cannot be expanded, because this user has no home folder") from None


def affordable_pixels() -> int:
    """The default for `max_image_pixels`: with every processor busy, images take at most half of the memory.

    One pixel in flight costs up to 20 bytes (measured: transparent, rotated by EXIF), plus the image's file.
    """
    return min(64_000_000, memory() // 2 // (24 * processors()))


class Settings(BaseSettings):
    """The server's settings. `Settings.load` reports invalid values as `SettingsError`."""

    model_config = SettingsConfigDict(
        env_prefix="MASKERY_", extra="forbid", frozen=True, env_ignore_empty=True, protected_namespaces=()
    )

    home: Path = Field(
        default_factory=default_home, description="Folder for all of the server's files: accounts, models, caches."
    )
    host: str = Field(
        "127.0.0.1", min_length=1, description="Address to listen on. On loopback, the first start prints a key."
    )
    port: int = Field(8484, ge=0, le=65535, description="Port to listen on; 0 selects a free port.")
    anonymous: bool = Field(
        False, description="Answer requests without a key. Only for a machine that no one else can reach."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Accepted host names; empty: loopback names on loopback, any name elsewhere."
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file with the server's certificate, followed by its intermediate certificates."
    )
    tls_key: Path | None = Field(None, description="PEM file with the certificate's key, without a passphrase.")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses or networks of proxies whose X-Forwarded-* headers are used; empty: none."
    )
    root_path: str = Field("", description="Path below which a proxy serves the server, such as /maskery; empty: none.")
    hsts_seconds: int = Field(
        0, ge=0, description="max-age of the header Strict-Transport-Security on HTTPS responses; 0: no header."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Other origins whose pages may call the server, such as https://app.example; empty: none."
    )
    bridges: Annotated[tuple[Bridge, ...], NoDecode] = Field(
        (), description="Labelling tools that may use the server: cvat, label-studio, x-anylabeling; empty: none."
    )
    bridge_listen: str | None = Field(
        None, description="HOST:PORT on which CVAT's functions, and nothing else, are listed and invoked."
    )
    cvat_key: str | None = Field(None, repr=False, description="The API key with which the bridge acts for CVAT.")
    cvat_clients: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses or networks of CVAT servers; empty: every client of MASKERY_BRIDGE_LISTEN."
    )
    label_studio_url: str | None = Field(
        None, description="Origin of the Label Studio server from which images of tasks are fetched."
    )
    label_studio_token: str | None = Field(
        None, repr=False, description="Access token of a Label Studio user who may see the images."
    )
    aliases: Annotated[dict[str, str], NoDecode] = Field(
        {}, description="Further names for installed models, as JSON or `NAME=MODEL,…`."
    )
    model_memory: int = Field(
        default_factory=lambda: memory() // 2,
        ge=0,
        description="Bytes of memory for loaded models (estimated); the least recently used model is unloaded first.",
    )
    precision: Literal["auto", "f32", "bf16", "int8"] = Field(
        "auto", description="Precision of networks; auto: bf16, f16 or tf32, whichever the device has, else f32."
    )
    device: Literal["auto", "cpu", "gpu", "cuda", "onnxruntime"] = Field(
        "auto", description="Runs the networks: cpu, gpu (Intel) or cuda (NVIDIA); auto: cuda if installed, else cpu."
    )
    hq_token_only: bool = Field(
        False, description="SAM-HQ returns the mask of its HQ token alone instead of adding it to SAM's masks."
    )
    preload: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None, description="Models to load and run once before the server is ready; default: the built-in models."
    )
    workers: int = Field(default_factory=processors, ge=1, description="Model calls that run at the same time.")
    max_queue: int = Field(
        256, ge=0, description="Requests that may wait, in addition to one per worker; further ones get 503."
    )
    max_encode_queue: int = Field(32, ge=0, description="New images that may wait to be encoded; further ones get 503.")
    encode_timeout: float = Field(
        120.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds for encoding one image; after that the encoder process is restarted.",
    )
    compile_cache: Path = Field(
        default_factory=lambda settings: settings["home"] / "cache" / "compiled",
        description="Folder for compiled networks, which halve the time to load a model.",
    )
    cache_bytes: int = Field(
        default_factory=lambda: memory() // 8, ge=0, description="Bytes of cached embeddings, over all images."
    )
    candidate_cache_bytes: int = Field(
        default_factory=lambda: memory() // 32,
        ge=0,
        description="Bytes of cached candidates: objects whose prompt is known are not decoded again; 0: none.",
    )
    cache_dir: Path = Field(
        default_factory=lambda settings: settings["home"] / "cache",
        description="Folder of the disk cache; servers that share it find each other's embeddings.",
    )
    disk_cache_bytes: int = Field(
        0, ge=0, description="Bytes of embeddings on disk, behind those in memory; 0: none are written to disk."
    )
    share_images: bool = Field(False, description="Accounts that send the same file share its embedding.")
    prepared_seconds: float = Field(
        3600.0, gt=0, allow_inf_nan=False, description="Seconds until an unused prepared image expires."
    )
    max_upload_bytes: int = Field(
        default_factory=lambda: max(2**28, memory() // 16),
        ge=1,
        description="Bytes of the bodies of all requests in flight; further ones get 503.",
    )
    default_timeout: float = Field(
        60.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds for a request without x-request-timeout; after that it gets 504.",
    )
    max_timeout: float = Field(
        600.0, gt=0, allow_inf_nan=False, description="Upper limit of x-request-timeout, in seconds."
    )
    automatic_timeout: float = Field(
        300.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds for finding everything in an image that is encoded; after that the request gets 504.",
    )
    head_timeout: float = Field(
        20.0, gt=0, allow_inf_nan=False, description="Seconds for a request's head; then the connection is closed."
    )
    max_image_bytes: int = Field(64 * 2**20, ge=1, description="Bytes of an image's file.")
    max_image_pixels: int = Field(
        default_factory=affordable_pixels, ge=1, description="Pixels of an image and of a returned mask."
    )
    max_objects: int = Field(512, ge=1, le=65535, description="Objects in one request.")
    max_points: int = Field(2048, ge=1, description="Points in one request, over all objects.")
    grace_period: float = Field(
        30.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that requests have to finish after the server receives SIGTERM.",
    )
    database_url: str | None = Field(
        None, repr=False, description="PostgreSQL for accounts: postgresql://USER:PASSWORD@HOST/NAME; default: SQLite."
    )
    redis_url: str | None = Field(
        None,
        repr=False,
        description="Redis or Valkey in which all servers count rate limits; default: each server counts alone.",
    )
    without_redis: Literal["local", "refuse"] = Field(
        "local", description="While Redis does not answer: each server counts alone, or requests get 503."
    )
    key_days: float = Field(90.0, ge=0, le=36500, description="Default lifetime of a new key in days; 0: no expiry.")
    requests_per_minute: int = Field(0, ge=0, lt=2**31, description="Requests per minute and account; 0: no limit.")
    images_per_minute: int = Field(0, ge=0, lt=2**31, description="New images per minute and account; 0: no limit.")
    concurrent_requests: int = Field(0, ge=0, lt=2**31, description="Concurrent requests per account; 0: no limit.")
    pixels_per_day: int = Field(0, ge=0, lt=2**53, description="Pixels of new images per day and account; 0: no limit.")
    open_metrics: bool = Field(False, description="Answer /metrics without a key.")
    log_level: str = Field("info", description="debug, info, warning or error.")
    log_format: LogFormat = Field("text", description="text, or json: one object per line.")

    @classmethod
    def load(cls, **named: Any) -> "Settings":
        """Read the settings from all sources.

        Args:
            named: settings that take precedence over every source; None: not given.

        Raises:
            SettingsError: a setting is invalid.
        """
        try:
            return cls(**{name: value for name, value in named.items() if value is not None})
        except ValidationError as error:
            raise SettingsError(_explain(error)) from None
        except ValueError as error:
            raise SettingsError(str(error)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        named = os.environ.get("MASKERY_CONFIG")
        file = expand_user(Path(named)) if named else default_home() / "maskery.toml"
        if named and not file.is_file():
            raise ValueError(f"MASKERY_CONFIG names {file}, which is not a file")
        try:
            from_file = TomlConfigSettingsSource(settings_cls, file)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{file} is not TOML: {error}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{file} is not UTF-8 text, as TOML requires") from None
        except OSError as error:
            raise ValueError(f"{file} cannot be read: {error.strerror}") from None
        return init_settings, env_settings, from_file

    @field_validator("aliases", mode="before")
    @classmethod
    def _read_aliases(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("{"):
            return _from_json(value)
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if not all(equals and name.strip() and model.strip() for name, equals, model in pairs):
            raise ValueError("give NAME=MODEL,… or a JSON object")
        return {name.strip(): model.strip() for name, _, model in pairs}

    @field_validator(
        "allowed_hosts", "bridges", "cvat_clients", "preload", "trusted_proxies", "cors_origins", mode="before"
    )
    @classmethod
    def _read_list(cls, value: Any) -> Any:
        return [each.strip() for each in value.split(",") if each.strip()] if isinstance(value, str) else value

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.lower() not in {"debug", "info", "warning", "error"}:
            raise ValueError("must be debug, info, warning or error")
        return value.lower()

    @field_validator("trusted_proxies")
    @classmethod
    def _known_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not _is_network(each):
                raise ValueError(
                    f"{each!r} is not a proxy: give its address, or a network such as 10.0.0.0/8; "
                    "0.0.0.0/0 is not accepted, because any client could then forge its address"
                )
        return value

    @field_validator("cvat_clients")
    @classmethod
    def _known_clients(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not _is_network(each):
                raise ValueError(
                    f"{each!r} is not a client: give the address of CVAT's server, or a network such as 172.18.0.0/16; "
                    "0.0.0.0/0 is not accepted, because CVAT sends no key"
                )
        return value

    @field_validator("bridge_listen")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        found = _HOST_AND_PORT.fullmatch(value) if value else None
        if value and (not found or int(found[3]) > 65535):
            raise ValueError(f"{value!r} is not an address such as 172.17.0.1:8485")
        return value

    @field_validator("label_studio_url")
    @classmethod
    def _origin_only(cls, value: str | None) -> str | None:
        value = value and value.rstrip("/")
        if value and not _ORIGIN.fullmatch(value):
            raise ValueError(f"{value!r} is not an origin such as http://localhost:8080, in lower case, without a path")
        return value

    @field_validator("root_path")
    @classmethod
    def _absolute_path(cls, value: str) -> str:
        path = value.rstrip("/")
        if path and not ROOT_PATH.fullmatch(path):
            raise ValueError(f"{value!r} is not a path such as /maskery")
        return path

    @field_validator("home", "cache_dir", "tls_certificate", "tls_key")
    @classmethod
    def _expand_user(cls, value: Path | None) -> Path | None:
        return value and expand_user(value)

    @field_validator("home")
    @classmethod
    def _folder(cls, value: Path) -> Path:
        if value.exists() and not value.is_dir():
            raise ValueError(f"{value} is a file; give a folder, which is created if it does not exist")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _exact_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not _ORIGIN.fullmatch(each) or each.endswith(_USUAL_PORTS[each.partition(":")[0]]):
                raise ValueError(
                    f"{each!r} is not an origin as browsers send it: give each by itself, such as https://app.example "
                    "or http://localhost:3000, in lower case, without a path and without the usual port"
                )
        return value

    @model_validator(mode="after")
    def _both_files(self) -> "Settings":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("MASKERY_TLS_CERTIFICATE and MASKERY_TLS_KEY belong together: set both or neither")
        return self

    @property
    def bridge_host(self) -> str | None:
        """The host of `bridge_listen`."""
        found = _HOST_AND_PORT.fullmatch(self.bridge_listen or "")
        return (found[1] or found[2]) if found else None

    @property
    def bridge_port(self) -> int | None:
        """The port of `bridge_listen`."""
        return int(self.bridge_listen.rpartition(":")[2]) if self.bridge_listen else None

    @property
    def on_loopback(self) -> bool:
        """Whether only programs on this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def database(self) -> str | Path:
        """The database of accounts: a URL or the path of an SQLite file."""
        return self.database_url or self.home / "maskery.db"

    @property
    def key_seconds(self) -> float | None:
        """Default lifetime of a new key in seconds; None: no expiry."""
        return self.key_days * 86400 or None

    @property
    def models(self) -> Path:
        """The folder of installed models."""
        return self.home / "models"

    @property
    def max_body_bytes(self) -> int:
        """Upper limit of a request's body: the largest image in base64, plus 4 MiB for the prompt."""
        return self.max_image_bytes * 4 // 3 + 4 * 2**20


def misspelled() -> list[str]:
    """Describe each `MASKERY_` environment variable that no setting reads."""
    known = {f"MASKERY_{name.upper()}" for name in Settings.model_fields} | _NO_SETTINGS
    found = sorted(name for name in os.environ if name.startswith("MASKERY_") and name not in known)
    return [f"{name} is not a setting and has no effect{_guess(name, known)}" for name in found]


def _is_network(text: str) -> bool:
    """Whether the text is an address or a network, but not all addresses."""
    try:
        return ipaddress.ip_network(text).prefixlen > 0
    except ValueError:
        return False


def _guess(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f"; did you mean {near[0]}?" if near else ""


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("is not JSON") from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if not name:
        return message
    if first["type"] == "extra_forbidden":
        advice = _guess(name, Settings.model_fields) or "; the documentation lists all settings"
        return f"unknown setting {name}{advice}"
    return f"setting {name} (MASKERY_{name.partition('.')[0].upper()}): {message}"
