"""One client object in threads, forked processes and event loops: each gets its own answers, and nothing leaks."""

import asyncio
import gc
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from contextlib import contextmanager, suppress

import pytest

from air import AIRefinery, APIConnectionError, APITimeoutError, AsyncAIRefinery
from air._network import ClosingStream, DeadlineStream, make_async_client, make_client

PROMPT = [[[1, 2]]]


@pytest.fixture
def run_program(stub, key):
    """Runs a program in a process without other threads, which may fork."""

    def run(text, timeout=60):
        prelude = f"""
            import asyncio, multiprocessing, os, random, sys, threading, time
            import air

            URL, KEY = {stub.url!r}, {key!r}
            fork = multiprocessing.get_context("fork")

            def created(response):
                assert response.data[0].label == str(response.created)
                return response.created

            def wait_for(children):
                assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * len(children)

            def in_child(function, *arguments):
                child = os.fork()
                if child == 0:
                    try:
                        os._exit(bool(function(*arguments)))
                    except BaseException:
                        sys.excepthook(*sys.exc_info())
                        os._exit(1)
                return child
        """
        # Python 3.12 and later warn of a fork beside threads, which is what one of the tests is about.
        warnings_as_errors = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]
        program = textwrap.dedent(prelude) + textwrap.dedent(text)
        done = subprocess.run(
            [sys.executable, *warnings_as_errors, "-c", program], capture_output=True, timeout=timeout
        )
        assert (done.returncode, done.stderr.decode()) == (0, "")
        return done.stdout.decode()

    return run


def connections_of(stub, number):
    return {request.connection for request in stub.requests if request.json["segment_prompt"] == [[[number, 0]]]}


# Processes


def test_children_that_start_4_ms_apart_get_their_own_answers(stub, run_program):
    stub.plays(stub.numbered(0.02))
    run_program("""
        client = air.AIRefinery(KEY, URL, max_retries=0)

        def segment(number):
            return created(client.images.segment("aW1hZ2U=", [[[number, 0]]], "m"))

        def child(number):
            time.sleep(0.004 * number)
            return any(segment(number) != number for _ in range(5))

        assert segment(9) == 9
        for _ in range(5):
            wait_for([in_child(child, number) for number in (1, 2)])
            assert segment(9) == 9
        client.close()
    """)
    assert len(connections_of(stub, 9)) == 1  # the parent's connection was left alone
    assert len(connections_of(stub, 1)) == len(connections_of(stub, 2)) == 5


def test_a_pool_of_processes_can_use_the_client_of_its_parent(stub, run_program):
    stub.plays(stub.numbered(0.01))
    run_program("""
        client = air.AIRefinery(KEY, URL, max_retries=0)

        def segment(number):
            return created(client.images.segment("aW1hZ2U=", [[[number, 0]]], "m"))

        assert segment(99) == 99
        with fork.Pool(4) as pool:
            assert pool.map(segment, range(40), chunksize=1) == list(range(40))
        assert segment(99) == 99
        client.close()
    """)
    assert len(connections_of(stub, 99)) == 1


def test_async_children_that_start_4_ms_apart_get_their_own_answers(stub, run_program):
    """Forked from a loop that has a connection, and from one that is running."""
    stub.plays(stub.numbered(0.02))
    run_program("""
        client = air.AsyncAIRefinery(KEY, URL, max_retries=0)

        async def segment(number):
            return created(await client.images.segment("aW1hZ2U=", [[[number, 0]]], "m"))

        def child(number):
            time.sleep(0.004 * number)

            async def several():
                return [await segment(number) for _ in range(5)]

            return asyncio.run(several()) != [number] * 5

        def start():
            return [in_child(child, number) for number in (1, 2)]

        async def fork_while_running():
            assert await segment(8) == 8
            children = start()
            assert await segment(8) == 8
            wait_for(children)
            assert await segment(8) == 8
            await client.close()

        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(segment(9)) == 9
        for _ in range(3):
            children = start()
            assert loop.run_until_complete(segment(9)) == 9
            wait_for(children)
        assert loop.run_until_complete(segment(9)) == 9
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        asyncio.run(fork_while_running())
    """)
    assert len(connections_of(stub, 9)) == len(connections_of(stub, 8)) == 1


def test_a_prepared_image_that_is_being_uploaded_at_a_fork_can_be_used_in_the_child(stub, run_program):
    prepared = {"id": "img_1", "width": 4, "height": 3, "expires_in": 600.0}
    upload = stub.reply(201, prepared)
    slow_upload = stub.reply(201, prepared, delay=1)
    stub.plays(upload, slow_upload, upload, stub.segmented())
    run_program("""
        client = air.AIRefinery(KEY, URL, timeout=5)
        image = client.images.prepare(b"image", "m")
        thread = threading.Thread(target=client.images.segment, args=(image, [[[1, 2]]], "other"))
        thread.start()
        time.sleep(0.3)
        wait_for([in_child(lambda: not client.images.segment(image, [[[1, 2]]], "other").created)])
        assert thread.is_alive()
        thread.join()
        client.close()
    """)


# Event loops


def test_a_client_works_in_one_asyncio_run_after_another(stub):
    client = AsyncAIRefinery("some-key", stub.url, max_retries=0)

    async def twice():
        await client.images.segment("aW1hZ2U=", PROMPT, "m")
        return await client.images.segment("aW1hZ2U=", PROMPT, "m")

    for _ in range(3):
        assert asyncio.run(twice()).created
        gc.collect()  # a connection left open would be a warning, and that an error
    assert len({request.connection for request in stub.requests}) == 3


def test_a_client_works_in_several_loops_at_once(stub):
    stub.plays(stub.numbered(0.02))
    client, wrong = AsyncAIRefinery("some-key", stub.url, max_retries=0), []

    async def segment(number):
        response = await client.images.segment("aW1hZ2U=", [[[number, 0]]], "m")
        if response.created != number:
            wrong.append(number)

    async def several(first):
        await asyncio.gather(*(segment(first + i) for i in range(10)))

    threads = [threading.Thread(target=lambda i=i: asyncio.run(several(100 * i))) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(stub.requests) == 30


def test_a_loop_that_was_closed_without_shutting_down_does_not_affect_the_next(stub):
    client = AsyncAIRefinery("some-key", stub.url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(client.images.segment("aW1hZ2U=", PROMPT, "m"))
    loop.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # as for any connection of such a loop
        assert asyncio.run(client.images.segment("aW1hZ2U=", PROMPT, "m")).created
        del loop
        gc.collect()


def test_a_client_that_is_dropped_closes_its_connections(stub):
    async def main():
        client = AsyncAIRefinery("some-key", stub.url)
        await client.images.segment("aW1hZ2U=", PROMPT, "m")
        http = await client._transport._http()
        assert not http.is_closed
        del client
        gc.collect()
        await asyncio.sleep(0.01)
        assert http.is_closed

    asyncio.run(main())


def test_closing_in_one_loop_closes_the_connections_of_others(stub):
    client = AsyncAIRefinery("some-key", stub.url)
    opened, closed, https = threading.Event(), threading.Event(), []

    async def other():
        https.append(await client._transport._http())
        opened.set()
        await asyncio.to_thread(closed.wait)
        await asyncio.sleep(0.01)
        assert https[0].is_closed

    async def main():
        await client.models.list()
        await client.close()

    stub.plays(stub.reply(200, {"data": []}))
    thread = threading.Thread(target=lambda: asyncio.run(other()))
    thread.start()
    opened.wait()
    asyncio.run(main())
    closed.set()
    thread.join()
    assert https[0].is_closed


@pytest.mark.parametrize("kind", [AIRefinery, AsyncAIRefinery])
def test_connections_are_made_by_the_backends_of_this_package(stub, kind):
    """Fails if httpx or httpcore rename the attributes that `make_client` and `make_async_client` set."""
    config = AIRefinery("some-key", stub.url)._transport.config
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stub.plays(stub.reply(200, {}))

    async def awaiting():
        async with make_async_client(config, context) as http:
            return (await http.get(stub.url)).extensions["network_stream"]

    if kind is AsyncAIRefinery:
        assert isinstance(asyncio.run(awaiting()), ClosingStream)
    else:
        with make_client(config, context) as http:
            assert isinstance(http.get(stub.url).extensions["network_stream"], DeadlineStream)


def test_a_cancelled_tls_handshake_closes_its_socket():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"

        async def main():
            async with AsyncAIRefinery("some-key", url, max_retries=0) as client:
                with pytest.raises(APITimeoutError):
                    await client.models.list(timeout=0.2)

        asyncio.run(main())
        gc.collect()  # a socket left open would be a warning, and that an error
        connection, _ = silent.accept()
        connection.settimeout(5)
        with connection:
            while connection.recv(65536):
                pass


@contextmanager
def one_connection(handle):
    """The port of a server whose only connection `handle` gets."""

    def accept(listener):
        connection, _ = listener.accept()
        with connection:
            handle(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_https_to_a_server_without_tls_is_named(twin):
    def answer(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with (
        one_connection(answer) as port,
        pytest.raises(APIConnectionError, match="answers without TLS; base_url for such a server starts with http://"),
    ):
        twin.segment(client={"base_url": f"https://127.0.0.1:{port}", "max_retries": 0})


def test_http_to_a_server_with_tls_is_named(twin, authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def shake_hands(connection):
        with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True):
            pass

    with (
        one_connection(shake_hands) as port,
        pytest.raises(APIConnectionError, match="if it expects TLS, base_url starts with https://"),
    ):
        twin.segment(client={"base_url": f"http://127.0.0.1:{port}", "max_retries": 0})


# Deadlines


def test_a_server_that_does_not_read_ends_at_the_deadline(twin):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(APITimeoutError):
            twin.segment(b"\xff" * 20_000_000, client={"base_url": url}, timeout=0.3)
        assert time.monotonic() - began < 20


def test_another_threads_timeout_breaks_no_request_without_retries(stub):
    """Half of the threads time out on a dripping server while the others wait on reused connections."""
    patient, hasty = [[[1, 0]]], [[[2, 0]]]

    def behave(connection):
        drips = connection.received.json["segment_prompt"] == hasty
        return (stub.drips("headers") if drips else stub.segmented(delay=0.6))(connection)

    outcomes = []
    with AIRefinery("some-key", stub.url, max_retries=0) as client:

        def segment(prompt, timeout):
            try:
                client.images.segment("aW1hZ2U=", prompt, "m", timeout=timeout)
            except Exception as error:  # noqa: BLE001 - to be compared
                outcomes.append((prompt, type(error).__name__))
            else:
                outcomes.append((prompt, "answer"))

        def all_at_once(*calls):
            threads = [threading.Thread(target=segment, args=call) for call in calls]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        stub.plays(stub.segmented(delay=0.1))
        all_at_once(*[(patient, 30)] * 8)
        stub.plays(behave)
        outcomes.clear()
        all_at_once(*[(patient, 30), (hasty, 0.2)] * 4)
    assert sorted(outcomes) == [(patient, "answer")] * 4 + [(hasty, "APITimeoutError")] * 4


# All together


@pytest.mark.slow
@pytest.mark.parametrize("stub", ["http", "https"], indirect=True)
def test_2000_requests_with_random_timeouts_in_threads_processes_and_loops(stub, run_program):
    stub.plays(stub.numbered(0.04))
    printed = run_program(
        """
        air._transport._CONNECT_TIMEOUT = 30  # a busy machine may take more than 5 s for a TLS handshake
        client = air.AIRefinery(KEY, URL, max_retries=0)
        async_client = air.AsyncAIRefinery(KEY, URL, max_retries=0)
        outcomes = {"answer": 0, "timeout": 0}

        def sockets():
            links = [f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd")]
            return sum(os.path.lexists(link) and os.readlink(link).startswith("socket:") for link in links)

        def arguments():
            number = random.randrange(10**9)
            return number, ("aW1hZ2U=", [[[number, 0]]], "m", random.choice([0.01, 0.02, 0.04, 0.08, 30]))

        def segment():
            number, call = arguments()
            try:
                assert created(client.images.segment(*call)) == number
                outcomes["answer"] += 1
            except air.APITimeoutError:
                assert call[-1] < 30
                outcomes["timeout"] += 1

        async def segment_async():
            number, call = arguments()
            try:
                assert created(await async_client.images.segment(*call)) == number
                outcomes["answer"] += 1
            except air.APITimeoutError:
                assert call[-1] < 30
                outcomes["timeout"] += 1

        failures = []

        def repeat(function, times):
            try:
                for _ in range(times):
                    function()
            except BaseException as error:
                failures.append(error)

        async def loop(tasks, times):
            async def one():
                for _ in range(times):
                    await segment_async()

            await asyncio.gather(*(one() for _ in range(tasks)))

        def run_threads(threads):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if failures:
                raise failures[0]

        def child():
            before = sockets()
            run_threads([threading.Thread(target=repeat, args=(segment, 25)) for _ in range(4)])
            asyncio.run(loop(2, 25))
            client.close()
            return sockets() != before

        segment()
        asyncio.run(segment_async())
        children = [in_child(child) for _ in range(4)]  # 600 requests
        threads = [threading.Thread(target=repeat, args=(segment, 50)) for _ in range(16)]  # 800
        loops = [threading.Thread(target=repeat, args=(lambda: asyncio.run(loop(10, 10)), 2)) for _ in range(3)]  # 600
        run_threads(threads + loops)
        wait_for(children)
        assert threading.active_count() == 1
        client.close()
        asyncio.run(async_client.close())
        assert sockets() == 0, sockets()
        print(outcomes["answer"], outcomes["timeout"])
    """,
        timeout=240,
    )
    answers, timeouts = map(int, printed.split())
    assert answers > 0
    assert timeouts > 0
