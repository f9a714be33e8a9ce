"""The environment's proxy: used where it is meant, never for this machine, and named by errors."""

import json
import socketserver
import threading

import httpx
import pytest

import air
from air._proxy import environment_proxy

ONCE = {"max_retries": 0}


class Proxy(socketserver.BaseRequestHandler):
    """Answers every request itself, and remembers it."""

    def handle(self):
        self.server.heard.append(self.request.recv(65536))
        self.request.sendall(self.server.answer)


@pytest.fixture
def proxy():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy) as server:
        server.heard = []
        body = json.dumps({"object": "list", "data": [{"id": "behind/proxy"}]}).encode()
        server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.002})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def environment(monkeypatch):
    def set_variables(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


def list_models(twin, base_url, **arguments):
    return twin.run(lambda client: client.models.list(), base_url=base_url, **ONCE, **arguments)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_environments_proxy_is_used(twin, proxy, environment, variable):
    environment(**{variable: proxy.url})
    assert list_models(twin, "http://server.example")[0].id == "behind/proxy"
    assert proxy.heard[0].startswith(b"GET http://server.example/v1/models ")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_requests_to_this_machine_never_go_through_it(twin, stub, proxy, environment, variable):
    environment(**{variable: proxy.url})
    twin.segment()
    assert len(stub.requests) == 1
    assert proxy.heard == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1.2.3", "127.1", "localhost", "LOCALHOST", "me.localhost", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_every_name_of_this_machine_is_known(environment, host):
    environment(HTTP_PROXY="http://proxy:3128", ALL_PROXY="nonsense://")
    assert environment_proxy(f"http://{host}:8484") is None


@pytest.mark.parametrize(
    ("no_proxy", "base_url", "direct"),
    [
        ("server.example", "http://server.example", True),
        ("example", "http://server.example", True),
        (".example", "http://server.example", True),
        ("*.example", "http://server.example", True),
        ("*.ample", "http://server.example", False),
        ("other.example, server.example", "http://server.example", True),
        ("server.example:8484", "http://server.example:8484", True),
        ("server.example:80", "http://server.example:8484", False),
        ("*", "http://server.example", True),
        ("erver.example", "http://server.example", False),
        ("", "http://server.example", False),
        ("10.0.0.5", "http://10.0.0.5:8484", True),
        ("10.0.0.0/8", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("127.0.0.1,fd00::/8", "http://[fd00::5]:8484", True),
        ("127.0.0.1,[::1],[fd00::5]", "http://[fd00::5]", True),
        ("[::1", "http://10.1.2.3", False),
        ("http://[", "http://10.1.2.3", False),
    ],
)
def test_no_proxy_may_list_names_addresses_and_networks(environment, no_proxy, base_url, direct):
    environment(HTTP_PROXY="http://proxy:3128", NO_PROXY=no_proxy)
    assert (environment_proxy(base_url) is None) == direct
    air.AIRefinery("some-key", base_url).close()


def test_each_scheme_has_its_variable(environment):
    environment(HTTP_PROXY="http://one:1", HTTPS_PROXY="http://two:2", ALL_PROXY="http://three:3")
    assert str(environment_proxy("http://server.example")) == "the proxy http://one:1 (HTTP_PROXY)"
    assert str(environment_proxy("https://server.example")) == "the proxy http://two:2 (HTTPS_PROXY)"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("socks5://127.0.0.1:1080", r'HTTP_PROXY names a SOCKS proxy, socks5://.*: pip install "httpx\[socks\]"'),
        ("socks://127.0.0.1:1080", "HTTP_PROXY names 'socks://127.0.0.1:1080'; a proxy's address starts with http://"),
        ("http://", "HTTP_PROXY names 'http://'"),
        ("http://proxy:port", "HTTP_PROXY is not an address: 'http://proxy:port'"),
        ("http://me:hunter2@proxy:port", r"HTTP_PROXY is not an address: 'http://\*\*\*@proxy:port'"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_typed_error_only_where_it_matters(twin, stub, environment, value, sentence):
    environment(HTTP_PROXY=value)
    twin.segment()  # on this machine
    with pytest.raises(air.ConfigurationError, match=sentence + ".*NO_PROXY=server.example") as caught:
        list_models(twin, "http://server.example")
    assert "hunter2" not in str(caught.value)
    list_of_https = environment_proxy("https://server.example")
    assert list_of_https is None


def test_a_proxy_that_does_not_answer_is_named(twin, environment):
    environment(HTTP_PROXY="http://me:hunter2@127.0.0.1:1")
    sentence = r"cannot connect to http://server.example through the proxy http://\*\*\*@127.0.0.1:1 \(HTTP_PROXY\)"
    with pytest.raises(air.APIConnectionError, match=sentence):
        list_models(twin, "http://server.example")


def test_an_error_that_the_proxy_may_have_answered_names_it(twin, proxy, environment):
    environment(HTTP_PROXY=proxy.url)
    proxy.answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\n\r\nno host"
    with pytest.raises(air.ServiceUnavailableError, match=rf"no host \(through the proxy {proxy.url} \(HTTP_PROXY\)\)"):
        list_models(twin, "http://server.example")
    proxy.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nLogin"
    with pytest.raises(air.BadResponseError, match=rf"Login \(through the proxy {proxy.url}"):
        list_models(twin, "http://server.example")
    body = b'{"error": {"message": "no such key"}}'
    proxy.answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with pytest.raises(air.AuthenticationError, match=r"no such key$"):
        list_models(twin, "http://server.example")


def test_a_proxy_refuses_a_tunnel(twin, proxy, environment):
    environment(HTTPS_PROXY=proxy.url)
    proxy.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(air.APIConnectionError, match=r"through the proxy http.*\(HTTPS_PROXY\) broke: 407"):
        list_models(twin, "https://server.example")


def test_certificates_that_cannot_be_read_are_a_typed_error_only_where_they_matter(twin, stub, environment, tmp_path):
    (tmp_path / "empty.pem").write_text("nothing\n")
    for name in ("missing.pem", "empty.pem"):
        environment(SSL_CERT_FILE=str(tmp_path / name))
        twin.segment()
        with pytest.raises(air.ConfigurationError, match=f"cannot set up TLS with SSL_CERT_FILE=.*{name}: "):
            list_models(twin, "https://server.example")


def test_a_key_log_that_cannot_be_written_is_a_typed_error(environment, tmp_path):
    environment(SSLKEYLOGFILE=str(tmp_path / "missing" / "keys.log"))
    with pytest.raises(air.ConfigurationError, match=r"cannot set up TLS with .*SSLKEYLOGFILE=.*keys\.log"):
        air.AIRefinery("some-key", "https://server.example")


def test_your_own_http_client_decides_itself(stub, environment):
    environment(HTTP_PROXY="socks://proxy", SSL_CERT_FILE="/missing.pem")
    with httpx.Client(trust_env=False, verify=False) as http:
        assert (
            air.AIRefinery("some-key", stub.url, http_client=http).images.segment("aW1hZ2U=", [[[1, 2]]], "m").created
        )
        air.AIRefinery("some-key", "https://server.example", http_client=http)
