"""TLS: versions, private authorities, certificate renewal, errors."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from command_line import maskery
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

# Most tests start servers of their own.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "photos" / "coffee.png"


def write(folder: Path, authority: trustme.CA, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> dict[str, str]:
    """Write a certificate and its key; returns the settings that name the files."""
    made = authority.issue_cert("localhost", "127.0.0.1", key_type=key_type)
    chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
    # As renewal tools do it: the new file replaces the old one atomically.
    for name, content in (("certificate.pem", chain), ("key.pem", made.private_key_pem.bytes())):
        (folder / f"{name}.new").write_bytes(content)
        (folder / f"{name}.new").replace(folder / name)
    return {"tls_certificate": str(folder / "certificate.pem"), "tls_key": str(folder / "key.pem")}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="module")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("authority") / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return str(file)


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write(tmp_path_factory.mktemp("tls"), authority)


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any], files: dict[str, str]) -> Any:
    return start_server(**files)


def dial(server: Any, context: ssl.SSLContext, name: str | None = "localhost") -> ssl.SSLSocket:
    connection = socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=20)
    return context.wrap_socket(connection, server_hostname=name)


def serial(server: Any, authority_file: str, name: str | None = "localhost") -> int:
    """The serial number of the certificate that a client with this server name gets."""
    with dial(server, ssl.create_default_context(cafile=authority_file), name) as connection:
        content = connection.getpeercert(binary_form=True)
        assert content
        return x509.load_der_x509_certificate(content).serial_number


def test_the_server_announces_https_and_serves_it(server: Any, authority_file: str) -> None:
    assert server.url.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=authority_file)
    connection = http.client.HTTPSConnection(urlsplit(server.url).netloc, timeout=20, context=context)
    connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {server.key}"})
    answer = connection.getresponse()
    assert answer.status == 200
    assert "Strict-Transport-Security" not in answer.headers, "it would hold for every port of the host"
    connection.close()


def test_only_tls_1_2_and_newer_are_accepted(server: Any, authority_file: str) -> None:
    def context(version: ssl.TLSVersion) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=authority_file)
        # OpenSSL's default security level does not offer old versions.
        made.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore"):
            made.minimum_version = ssl.TLSVersion.TLSv1
            made.maximum_version = version
        return made

    for version, spoken in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        with dial(server, context(version)) as connection:
            assert connection.version() == spoken
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            dial(server, context(version))
    plain = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    plain.request("GET", "/health/live")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        plain.getresponse()
    plain.close()


def test_the_sdk_and_the_command_line_trust_a_private_authority_by_the_environment(
    server: Any, authority_file: str, tmp_path: Path
) -> None:
    program = (
        "from air import AIRefinery; from pathlib import Path\n"
        f"print(len(AIRefinery().images.segment(Path({str(PHOTO)!r}), [[[285, 150]]], 'maskery/grabcut').data))"
    )
    environment = {**os.environ, "AIR_BASE_URL": server.url, "AIR_API_KEY": server.key}
    command = [sys.executable, "-m", "maskery", "segment", str(PHOTO), "-p", "285,150", "--url", server.url]
    command += ["-o", str(tmp_path / "mask.png")]
    for arguments in ([sys.executable, "-W", "error", "-c", program], command):
        for trusted in ({"SSL_CERT_FILE": authority_file}, {}):
            result = subprocess.run(
                arguments, env={**environment, **trusted}, capture_output=True, text=True, timeout=60
            )
            assert (result.returncode == 0) is bool(trusted), result
            if not trusted:
                assert "CERTIFICATE_VERIFY_FAILED" in result.stderr


@pytest.mark.parametrize("key_type", [trustme.KeyType.ECDSA, trustme.KeyType.RSA])
def test_a_renewed_certificate_is_used_without_a_restart(
    start_server: Callable[..., Any],
    authority: trustme.CA,
    authority_file: str,
    tmp_path: Path,
    key_type: trustme.KeyType,
) -> None:
    server = start_server(**write(tmp_path, authority))
    log = server.home / "server.log"
    first = serial(server, authority_file)
    with dial(server, ssl.create_default_context(cafile=authority_file)) as old:
        write(tmp_path, authority, key_type)
        assert serial(server, authority_file) == first, "not before SIGHUP"
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "was reloaded" in log.read_text())
        second = serial(server, authority_file)
        assert second != first
        # Clients that connect by address send no server name.
        assert serial(server, authority_file, "127.0.0.1") == second
        old.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert old.recv(100).startswith(b"HTTP/1.1 200 ")
    # An incomplete new pair is ignored.
    (tmp_path / "key.pem").write_bytes(authority.issue_cert("localhost").private_key_pem.bytes())
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "the certificate was not reloaded" in log.read_text())
    assert serial(server, authority_file) == second
    assert server.process.poll() is None


def test_sighup_without_tls_is_ignored(start_server: Callable[..., Any]) -> None:
    server = start_server()
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "SIGHUP ignored" in (server.home / "server.log").read_text())
    assert server.process.poll() is None


def test_requests_sent_before_shutdown_are_answered(
    start_server: Callable[..., Any], files: dict[str, str], authority_file: str
) -> None:
    server = start_server(**files, log_level="debug")
    context = ssl.create_default_context(cafile=authority_file)
    with dial(server, context) as connection:
        connection.sendall(b"POST /authentication/validate HTTP/1.1\r\nHost: localhost\r\n")
        server.process.terminate()
        connection.sendall(f"Authorization: Bearer {server.key}\r\nContent-Length: 0\r\n\r\n".encode())
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer
    assert server.process.wait(20) == 0


def test_unencrypted_keys_cause_a_warning(start_server: Callable[..., Any], files: dict[str, str]) -> None:
    for settings, warned in (
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "trusted_proxies": "10.0.0.1"}, False),
        ({"host": "0.0.0.0", **files}, False),
        ({}, False),
    ):
        server = start_server(anonymous="true", **settings)
        lines = [line for line in (server.home / "server.log").read_text().splitlines() if "travel unencrypted" in line]
        assert len(lines) == warned, settings
        assert all(" WARNING " in line for line in lines)


def test_the_demo_needs_no_certificate(files: dict[str, str], tmp_path: Path) -> None:
    """It serves this machine only, where the certificate's name does not match."""
    named = {f"MASKERY_{name.upper()}": value for name, value in files.items()}
    environment = {**os.environ, **named, "MASKERY_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "maskery", "demo", "--no-open", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        assert "The playground: http://127.0.0.1:" in demo.stdout.readline()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0


def test_invalid_files_are_named_before_the_server_starts(tmp_path: Path, authority: trustme.CA) -> None:
    good, other = (authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA) for _ in range(2))
    key = load_pem_private_key(good.private_key_pem.bytes(), None)
    contents = SimpleNamespace(
        certificate=good.cert_chain_pems[0].bytes(),
        key=good.private_key_pem.bytes(),
        other=other.private_key_pem.bytes(),
        locked=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")),
        text=b"hello",
        broken=b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    )
    for name, content in vars(contents).items():
        (tmp_path / name).write_bytes(content)

    def says(certificate: str, key: str) -> str:
        environment = {
            "MASKERY_HOME": str(tmp_path / "home"),
            "MASKERY_TLS_CERTIFICATE": str(tmp_path / certificate),
            "MASKERY_TLS_KEY": str(tmp_path / key) if key else "",
            "MASKERY_PORT": "0",
        }
        result = maskery("serve", **environment)
        assert result.returncode == 2
        assert result.stdout == ""
        sentence = [line for line in result.stderr.splitlines() if line.startswith("maskery: ")]
        assert result.stderr.splitlines() == sentence
        assert len(sentence) == 1
        return sentence[0]

    assert "belong together" in says("certificate", "")
    assert f"TLS file {tmp_path / 'none'} cannot be read: No such file" in says("none", "key")
    assert f"TLS file {tmp_path / 'none'} cannot be read: No such file" in says("certificate", "none")
    assert "Is a directory" in says(".", "key")
    assert "text contains no certificate" in says("text", "key")
    assert "text contains no private key" in says("certificate", "text")
    assert "is not the key of the certificate" in says("certificate", "other")
    assert "has a passphrase" in says("certificate", "locked")
    assert "cannot be used for TLS" in says("certificate", "broken")


def wait_for(condition: Callable[[], bool]) -> None:
    latest = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < latest
        time.sleep(0.02)
