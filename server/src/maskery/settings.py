"""All settings of a server, from the environment (`MASKERY_*`) or a TOML file.

Order: command line, environment, the TOML file named by `MASKERY_CONFIG` (else `maskery.toml` in the home folder, if
there is one), defaults. `docs/settings.md` lists them all; a test compares it with this class, both ways.
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

from maskery.accounts import Limits
from maskery.engine import EncoderOptions, EngineLimits
from maskery.logs import LogFormat
from maskery.models import BUILT_IN
from maskery.resources import memory, processors
from maskery.segmentation import ImageLimits, PromptLimits

# Read elsewhere; the last by the tests.
_NO_SETTINGS = {"MASKERY_CONFIG", "MASKERY_API_KEY", "MASKERY_TEST_EVERYTHING"}

# What browsers send in the header Origin, hosts of other scripts in their ASCII form.
_ORIGIN = re.compile(r"https?://([a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?")
_USUAL_PORTS = {"http": ":80", "https": ":443"}


class SettingsError(ValueError):
    """A setting is wrong; the message names it and says what would be right."""


def default_home() -> Path:
    """`MASKERY_HOME`, else the platform's folder for application data."""
    named = os.environ.get("MASKERY_HOME")
    return Path(named) if named else Path(platformdirs.user_data_dir("maskery"))


def affordable_pixels() -> int:
    """Pixels whose segmentation, on every processor at once, takes at most half of the memory there is.

    A pixel in flight was measured to cost up to 20 bytes (transparent and turned by EXIF), and its file comes on top.
    """
    return min(64_000_000, memory() // 2 // (24 * processors()))


class Settings(BaseSettings):
    """What can be set. Make one with `Settings.load`, which turns mistakes into `SettingsError`."""

    model_config = SettingsConfigDict(
        env_prefix="MASKERY_", extra="forbid", frozen=True, env_ignore_empty=True, protected_namespaces=()
    )

    home: Path = Field(
        default_factory=default_home, description="Folder for everything a server keeps: keys, models, caches."
    )
    host: str = Field(
        "127.0.0.1", min_length=1, description="Address to listen on. Loopback prints a key at first start."
    )
    port: int = Field(8484, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    anonymous: bool = Field(False, description="Answer without a key. Meant for a machine that nobody else reaches.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Host names that requests may carry; empty: loopback names on loopback, any elsewhere."
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file with the server's certificate and those that lead to its authority."
    )
    tls_key: Path | None = Field(None, description="PEM file with the certificate's key, without a passphrase.")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses or networks of proxies that say whom they ask for; empty: nobody is believed."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Other origins whose pages may call the server, such as https://app.example; empty: none."
    )
    aliases: Annotated[dict[str, str], NoDecode] = Field(
        {}, description="Model names answered by another, installed model, as JSON or `NAME=MODEL,…`."
    )
    model_memory: int = Field(
        default_factory=lambda: memory() // 2,
        ge=0,
        description="Bytes of memory for loaded models, by estimate; the least recently used makes room.",
    )
    precision: Literal["auto", "f32", "bf16", "int8"] = Field(
        "auto", description="How installed models compute; auto: bf16 where the processor does, else f32."
    )
    hq_token_only: bool = Field(
        False, description="SAM-HQ answers by its own token's mask alone, without adding it to SAM's masks."
    )
    preload: Annotated[tuple[str, ...], NoDecode] = Field(
        BUILT_IN, description="Models loaded and run once before the server says that it is ready."
    )
    workers: int = Field(default_factory=processors, ge=1, description="Calls of models at the same time.")
    max_queue: int = Field(
        256, ge=0, description="Requests that may wait, beside one for each worker; more are answered 503."
    )
    max_encode_queue: int = Field(
        32, ge=0, description="New images that may wait to be encoded; more are answered 503."
    )
    encode_timeout: float = Field(
        120.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds for one image, after which the encoder is taken for hung and restarted.",
    )
    cache_bytes: int = Field(
        default_factory=lambda: memory() // 8, ge=0, description="Bytes of kept embeddings, over all images."
    )
    share_images: bool = Field(
        False, description="One account's embeddings serve every other that sends the same file."
    )
    prepared_seconds: float = Field(
        3600.0, gt=0, allow_inf_nan=False, description="Seconds that a prepared image lives on after its last use."
    )
    max_upload_bytes: int = Field(
        default_factory=lambda: max(2**28, memory() // 16),
        ge=1,
        description="Bytes of the bodies of all requests in flight; more are answered 503.",
    )
    default_timeout: float = Field(
        60.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds for a request whose client does not name a limit; later it is answered 504.",
    )
    max_timeout: float = Field(
        600.0, gt=0, allow_inf_nan=False, description="Most seconds that a client may allow for its request."
    )
    max_image_bytes: int = Field(64 * 2**20, ge=1, description="Bytes of an image's file.")
    max_image_pixels: int = Field(
        default_factory=affordable_pixels, ge=1, description="Pixels of an image, and of an answered mask."
    )
    max_objects: int = Field(512, ge=1, le=65535, description="Objects in one request.")
    max_points: int = Field(2048, ge=1, description="Points in one request, over all objects.")
    grace_period: float = Field(
        30.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that requests have to finish when the server is told to stop.",
    )
    database_url: str | None = Field(
        None, repr=False, description="PostgreSQL for accounts, postgresql://USER:PASSWORD@HOST/NAME; else a file."
    )
    redis_url: str | None = Field(
        None, repr=False, description="Redis or Valkey that counts for all servers together; else each counts alone."
    )
    without_redis: Literal["local", "refuse"] = Field(
        "local", description="When it does not answer: each server counts alone, or requests are answered 503."
    )
    key_days: float = Field(
        90.0, ge=0, le=36500, description="Days that a new key is good for, unless told otherwise; 0: for ever."
    )
    requests_per_minute: int = Field(0, ge=0, lt=2**31, description="Requests a minute, of each account; 0: no limit.")
    images_per_minute: int = Field(0, ge=0, lt=2**31, description="New images a minute, of each account; 0: no limit.")
    concurrent_requests: int = Field(0, ge=0, lt=2**31, description="Requests at a time, likewise.")
    pixels_per_day: int = Field(
        0, ge=0, lt=2**53, description="Pixels of new images a day, of each account; 0: no limit."
    )
    open_metrics: bool = Field(False, description="Answer /metrics without a key.")
    log_level: str = Field("info", description="debug, info, warning or error.")
    log_format: LogFormat = Field("text", description="text, or json: an object a line.")

    @classmethod
    def load(cls, **named: Any) -> "Settings":
        """Settings from all sources; `named` ones (None: not named) go before the others.

        Raises:
            SettingsError: one sentence on what is wrong.
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
        file = Path(named or default_home() / "maskery.toml")
        if named and not file.is_file():
            raise ValueError(f"MASKERY_CONFIG names {file}, which is not a file")
        try:
            from_file = TomlConfigSettingsSource(settings_cls, file)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{file} is not TOML: {error}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{file} is not UTF-8 text, which TOML is") from None
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

    @field_validator("allowed_hosts", "preload", "trusted_proxies", "cors_origins", mode="before")
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
            try:
                network = ipaddress.ip_network(each)
            except ValueError:
                network = None
            if network is None or network.prefixlen == 0:
                raise ValueError(
                    f"{each!r} is not a proxy: give its address, or a network such as 10.0.0.0/8; "
                    "whoever is trusted can claim to be anybody, so all the world cannot be"
                )
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
            raise ValueError("MASKERY_TLS_CERTIFICATE and MASKERY_TLS_KEY belong together: set both, or neither")
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether only programs of this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def database(self) -> str | Path:
        """URL, or the path of an SQLite file."""
        return self.database_url or self.home / "maskery.db"

    @property
    def default_limits(self) -> Limits:
        """Of accounts that have none of their own."""
        return Limits(self.requests_per_minute, self.images_per_minute, self.concurrent_requests, self.pixels_per_day)

    @property
    def key_seconds(self) -> float | None:
        """Seconds that a new key is good for; None: for ever."""
        return self.key_days * 86400 or None

    @property
    def models(self) -> Path:
        """Folder of the installed models."""
        return self.home / "models"

    @property
    def image_limits(self) -> ImageLimits:
        return ImageLimits(self.max_image_bytes, self.max_image_pixels)

    @property
    def prompt_limits(self) -> PromptLimits:
        # A mask to start from is a byte a pixel: four images' worth stay within what `affordable_pixels` allows.
        return PromptLimits(self.max_objects, self.max_points, 4 * self.max_image_pixels)

    @property
    def engine_limits(self) -> EngineLimits:
        return EngineLimits(
            image=self.image_limits,
            prompt=self.prompt_limits,
            workers=self.workers,
            max_requests=self.workers + self.max_queue,
            # One request of the size that is allowed always has room.
            max_request_bytes=max(self.max_upload_bytes, self.max_body_bytes),
            max_encodings=self.max_encode_queue,
            cache_bytes=self.cache_bytes,
            share_images=self.share_images,
            prepared_seconds=self.prepared_seconds,
        )

    @property
    def encoder_options(self) -> EncoderOptions:
        return EncoderOptions(
            models=self.models,
            max_model_bytes=self.model_memory,
            precision=self.precision,
            hq_token_only=self.hq_token_only,
            image_limits=self.image_limits,
            log_level=self.log_level,
            log_format=self.log_format,
        )

    @property
    def max_body_bytes(self) -> int:
        """Bytes of a request: the largest image in base64, and room for the prompt."""
        return self.max_image_bytes * 4 // 3 + 4 * 2**20


def misspelled() -> list[str]:
    """A sentence for each `MASKERY_` variable of the environment that is no setting."""
    known = {f"MASKERY_{name.upper()}" for name in Settings.model_fields} | _NO_SETTINGS
    found = sorted(name for name in os.environ if name.startswith("MASKERY_") and name not in known)
    return [f"{name} is no setting and changes nothing{_guess(name, known)}" for name in found]


def _guess(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f"; perhaps {near[0]} was meant" if near else ""


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
        return f"there is no setting {name}; docs/settings.md lists those there are"
    return f"setting {name} (MASKERY_{name.partition('.')[0].upper()}): {message}"
