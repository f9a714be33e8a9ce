"""Prepared images: uploaded once, then named by their id, and uploaded again when the server has dropped them."""

import asyncio
import base64
import itertools
import json
import pickle
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import air
from air import AIRefinery, AsyncAIRefinery, ImageNotPreparedError, InputError, PreparedImage

FILE = b"an image's file"
TEXT = base64.b64encode(FILE).decode()
PROMPT = [[[1, 2]]]
MODEL = "some/model"


class ImageStore:
    """A server that keeps prepared images, each for its account and model, until a test has it drop them.

    ``upload`` and ``click`` may hold behaviours to play instead, one a request.
    """

    def __init__(self, stub):
        self.stub = stub
        self.kept = {}
        self.upload, self.click = [], []
        self.upload_delay = 0
        self.drops_at_once = False
        self.accounts = {}
        self._numbers = itertools.count(1)
        stub.plays(self)

    def __call__(self, connection):
        request = connection.received
        key = request.headers["authorization"].split()[1]
        account = self.accounts.get(key, key)
        if request.path == "/v1/images":
            return (self.upload.pop(0) if self.upload else self._prepared(request, account))(connection)
        if request.path == "/v1/images/segmentations":
            return (self.click.pop(0) if self.click else self._segmented(request, account))(connection)
        assert request.method == "DELETE"
        name = request.path.rpartition("/")[2]
        if self.kept.get(name, [None])[0] != account:
            return self.dropped()(connection)
        del self.kept[name]
        return self.stub.reply(204, "")(connection)

    def _prepared(self, request, account):
        self.stub.stopped.wait(self.upload_delay)
        name = f"img_{next(self._numbers)}"
        if not self.drops_at_once:
            self.kept[name] = (account, request.json["model"])
        body = {"id": name, "object": "image", "created": 1, "model": request.json["model"]}
        body |= {"width": 4, "height": 3, "expires_in": 600.0}
        return self.stub.reply(201, body, {"x-request-id": f"req_{name}"})

    def _segmented(self, request, account):
        name = request.json["image_prompt"].removeprefix("id:")
        return self.stub.segmented() if self.kept.get(name) == (account, request.json["model"]) else self.dropped()

    def dropped(self):
        return self.stub.error(404, message="prepare it again", param="image_prompt", code="image_not_prepared")

    def drop_all(self):
        self.kept.clear()

    @property
    def log(self):
        """The requests, in order."""
        return [self._described(request) for request in self.stub.requests]

    def _described(self, request):
        if request.method == "DELETE":
            return f"delete {request.path.rpartition('/')[2]}"
        return "upload" if request.path == "/v1/images" else f"click {request.json['image_prompt'].removeprefix('id:')}"

    @property
    def uploads(self):
        return self.log.count("upload")


@pytest.fixture
def images(stub):
    return ImageStore(stub)


def prepare(twin, image=FILE, client=None, **arguments):
    arguments = {"model": MODEL} | arguments
    return twin.run(lambda c: c.images.prepare(image, **arguments), **(client or {}))


def click(twin, image, model=MODEL, client=None, **arguments):
    return twin.run(lambda c: c.images.segment(image, PROMPT, model, **arguments), **(client or {}))


def delete(twin, image, client=None):
    return twin.run(lambda c: c.images.delete(image), **(client or {}))


def all_at_once(twin, count, action, may_begin=lambda i: True):
    """What each of them answers or raises: ``action(client, i)``, begun when ``may_begin(i)``."""

    def blocking(client):
        def one(i):
            while not may_begin(i):
                time.sleep(0.01)
            try:
                return action(client, i)
            except air.AirError as error:
                return error

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(one, range(count)))

    async def awaiting(client):
        async def one(i):
            while not may_begin(i):  # noqa: ASYNC110 - another thread brings it about
                await asyncio.sleep(0.01)
            return await action(client, i)

        return await asyncio.gather(*(one(i) for i in range(count)), return_exceptions=True)

    return twin.run(blocking if twin.kind == "sync" else awaiting)


def kinds(outcomes):
    return Counter(type(outcome).__name__ for outcome in outcomes)


# Preparing


def test_prepare_posts_the_image_and_answers_what_the_server_said(twin, stub, images, key):
    prepared = prepare(twin, timeout=12, extra_headers={"x-mine": "yes"}, exif="ignore", user="ann")
    assert (stub.request.method, stub.request.path) == ("POST", "/v1/images")
    assert stub.request.json == {"image_prompt": TEXT, "model": MODEL, "exif": "ignore", "user": "ann"}
    headers = stub.request.headers
    assert (headers["authorization"], headers["x-mine"]) == (f"Bearer {key}", "yes")
    assert 11 < float(headers["x-request-timeout"]) <= 12
    assert (prepared.id, prepared.model, prepared.width, prepared.height) == ("img_1", MODEL, 4, 3)
    assert (prepared.expires_in, prepared.exif, prepared.kept) == (600, "ignore", True)
    assert prepared.request_id == "req_img_1"


def test_options_left_out_are_not_sent(twin, stub, images):
    assert prepare(twin).exif == "apply"
    assert stub.request.json == {"image_prompt": TEXT, "model": MODEL}


def test_multipart_sends_the_file_itself(twin, stub, images):
    stub.plays(stub.reply(201, {"id": "img_1", "width": 4, "height": 3, "expires_in": 1}))
    for image in (FILE, TEXT):
        prepare(twin, image, {"upload": "multipart"}, exif="apply")
        assert stub.requests[-1].headers["content-type"].startswith("multipart/form-data")
        assert b"\r\n\r\n" + FILE + b"\r\n" in stub.requests[-1].body
        assert json.dumps({"model": MODEL, "exif": "apply"}, separators=(",", ":")).encode() in stub.requests[-1].body


def test_the_repr_says_all_but_the_image(twin, images):
    assert repr(prepare(twin)) == (
        "PreparedImage(id='img_1', model='some/model', width=4, height=3, expires_in=600, kept=True)"
    )


@pytest.mark.parametrize("kind", ["path", "bytes", "bytearray", "text", "array", "image"])
def test_whatever_segment_accepts_can_be_prepared_and_changed_afterwards(twin, stub, images, kind, tmp_path):
    path, array, buffer = tmp_path / "a.png", np.arange(12, dtype=np.uint8).reshape(3, 4), bytearray(FILE)
    path.write_bytes(FILE)
    given = {"path": path, "bytes": FILE, "bytearray": buffer, "text": TEXT, "array": array}
    prepared = prepare(twin, given.get(kind) if kind in given else Image.fromarray(array))
    path.unlink()
    buffer[:] = b"overwritten....."
    array[:] = 0
    images.drop_all()
    click(twin, prepared)
    first, _, second, _ = stub.requests
    assert first.body == second.body
    if kind not in ("array", "image"):
        assert first.json["image_prompt"] == TEXT


@pytest.mark.parametrize("odd", ["car.png", None, b"", "id:img_1", 3])
def test_other_arguments_are_refused_before_sending(twin, stub, images, odd):
    with pytest.raises(InputError):
        prepare(twin, odd)
    assert stub.requests == []


@pytest.mark.parametrize("odd", [{"id": "img/../x"}, {"id": None}, {"expires_in": "soon"}, {"width": None}])
def test_an_answer_that_does_not_follow_the_api_is_a_bad_response(twin, stub, odd):
    stub.plays(stub.reply(201, {"id": "img_1", "width": 4, "height": 3, "expires_in": 600.0} | odd))
    with pytest.raises(air.BadResponseError, match=next(iter(odd))):
        prepare(twin)


def test_a_server_that_cannot_prepare_is_an_error_of_another_kind(twin, stub):
    stub.plays(stub.reply(404, {"detail": "Not Found"}))
    with pytest.raises(air.NotFoundError) as caught:
        prepare(twin)
    assert not isinstance(caught.value, ImageNotPreparedError)


def test_a_prepared_image_can_be_prepared_for_another_model_as_it_was(twin, stub, images):
    first = prepare(twin, exif="ignore")
    second = prepare(twin, first, model="other")
    assert (second.id, second.model, second.exif) == ("img_2", "other", "ignore")
    assert stub.requests[1].json == {"image_prompt": TEXT, "model": "other", "exif": "ignore"}
    assert prepare(twin, first, exif="apply").exif == "apply"
    assert first.id == "img_1"


# Using


def test_segment_sends_the_id_alone(twin, stub, images):
    prepared = prepare(twin)
    for upload in ("json", "multipart"):
        response = click(twin, prepared, client={"upload": upload}, n=2, extra_body={"a": 1})
        assert response.data[0].score == 0.9
        assert stub.requests[-1].headers["content-type"] == "application/json"
        assert stub.requests[-1].json == {
            "image_prompt": "id:img_1",
            "model": MODEL,
            "segment_prompt": PROMPT,
            "extra_body": {"a": 1},
            "n": 2,
        }
    assert images.uploads == 1


@pytest.mark.parametrize("odd", ["id:", "id:zzz", "id:img_", "id:img_a/b", "id:id:img_1"])
def test_text_that_is_no_id_is_refused_before_it_is_sent(twin, stub, odd):
    with pytest.raises(InputError, match="not the id of a prepared image"):
        twin.segment(odd)
    assert not stub.requests


def test_an_id_as_text_is_sent_as_it_is(twin, stub, images):
    name = f"id:{prepare(twin).id}"
    click(twin, name, client={"upload": "multipart"})
    assert stub.requests[-1].json["image_prompt"] == "id:img_1"
    images.drop_all()
    with pytest.raises(ImageNotPreparedError, match="404: prepare it again"):
        click(twin, name)
    assert images.log == ["upload", "click img_1", "click img_1"]


@pytest.mark.parametrize(
    ("prepared_with", "requested", "allowed"),
    [(None, "apply", True), ("ignore", "ignore", True), (None, "ignore", False), ("ignore", "apply", False)],
)
def test_another_exif_than_it_was_prepared_with_is_refused(twin, stub, images, prepared_with, requested, allowed):
    prepared = prepare(twin, exif=prepared_with)
    if allowed:
        click(twin, prepared, exif=requested)
        assert "exif" not in stub.requests[-1].json
    else:
        with pytest.raises(InputError, match=r"with exif='\w+': exif='\w+' belongs to images\.prepare"):
            click(twin, prepared, exif=requested)
    with pytest.raises(InputError, match=r"belongs to images\.prepare"):
        click(twin, "id:img_1", exif=requested)
    assert len(stub.requests) == 1 + allowed


@pytest.mark.parametrize("arguments", [{"extra_body": [float("nan")]}, {"boxes": "none"}, {"timeout": 0}])
def test_what_cannot_be_sent_is_found_before_the_image_is_uploaded_for_another_model(twin, stub, images, arguments):
    prepared = prepare(twin)
    with pytest.raises(InputError):
        click(twin, prepared, "other", **arguments)
    assert len(stub.requests) == 1


def test_another_model_has_it_uploaded_once_for_that_model_too(twin, stub, images):
    prepared = prepare(twin, exif="ignore", user="ann")
    for model in ("other", MODEL, "other"):
        click(twin, prepared, model)
    assert images.log == ["upload", "upload", "click img_2", "click img_1", "click img_2"]
    assert stub.requests[1].json == stub.requests[0].json | {"model": "other"}
    assert (prepared.id, prepared.model) == ("img_1", MODEL)


def test_another_account_has_it_uploaded_once_too(twin, images):
    prepared = prepare(twin)
    for client in ({"api_key": "another"}, {}, {"api_key": "another"}):
        click(twin, prepared, client=client)
    click(twin, prepared, extra_headers={"AUTHORIZATION": "Bearer another"})
    assert images.log == ["upload", "upload", "click img_2", "click img_1", "click img_2", "click img_2"]


def test_another_server_has_it_uploaded_once_too(twin, images, other_stub):
    prepared, others = prepare(twin), ImageStore(other_stub)
    others.upload = [other_stub.reply(201, {"id": "theirs", "width": 4, "height": 3, "expires_in": 1})]
    others.kept["theirs"] = ("sk-test-0123456789", MODEL)
    for client in ({"base_url": other_stub.url}, {}, {"base_url": other_stub.url}):
        click(twin, prepared, client=client)
    assert others.log == ["upload", "click theirs", "click theirs"]
    assert images.log == ["upload", "click img_1"]
    assert (prepared.id, prepared.expires_in) == ("img_1", 600)


# Uploading again


def test_an_image_that_the_server_dropped_is_uploaded_again(twin, stub, images, caplog):
    prepared = prepare(twin, exif="ignore", user="ann")
    click(twin, prepared)
    images.drop_all()
    with caplog.at_level("INFO", logger="air"):
        assert click(twin, prepared, extra_headers={"x-mine": "yes"}).data[0].score == 0.9
    click(twin, prepared)
    assert images.log == [
        "upload",
        "click img_1",
        "click img_1",
        "upload",
        "click img_2",
        "click img_2",
    ]
    assert prepared.id == "img_2"
    assert prepared.request_id == "req_img_2"
    assert stub.requests[3].body == stub.requests[0].body
    assert stub.requests[3].headers["x-mine"] == "yes"
    assert "dropped the prepared image img_1; uploading it again" in caplog.text


def test_it_is_uploaded_again_in_the_middle_of_a_session_of_clicks(twin, images):
    prepared = prepare(twin)

    def forgetting(i):
        if i == 5:
            images.drop_all()

    def blocking(client):
        for i in range(10):
            forgetting(i)
            client.images.segment(prepared, PROMPT, MODEL)

    async def awaiting(client):
        for i in range(10):
            forgetting(i)
            await client.images.segment(prepared, PROMPT, MODEL)

    twin.run(blocking if twin.kind == "sync" else awaiting)
    assert images.uploads == 2
    assert len(images.log) == 2 + 10 + 1


def test_a_server_that_drops_it_again_at_once_gets_one_more_upload_only(twin, images):
    prepared = prepare(twin)
    images.drops_at_once = True
    images.drop_all()
    with pytest.raises(ImageNotPreparedError) as caught:
        click(twin, prepared)
    assert (caught.value.param, caught.value.status_code) == ("image_prompt", 404)
    assert images.log == ["upload", "click img_1", "upload", "click img_2"]


def test_a_server_may_use_the_same_id_for_each_upload(twin, stub, images):
    same = stub.reply(201, {"id": "img_same", "width": 4, "height": 3, "expires_in": 1})
    images.upload = [same, same]
    images.click = [images.dropped(), stub.segmented()]
    click(twin, prepare(twin))
    assert images.log == ["upload", "click img_same", "upload", "click img_same"]


@pytest.mark.parametrize("status", [401, 413, 415, 422, 500])
def test_an_upload_that_is_refused_is_the_callers_error_and_the_next_call_tries_anew(twin, stub, images, status):
    prepared = prepare(twin)
    images.drop_all()
    images.upload = [stub.error(status, message="not this one")]
    with pytest.raises(air.APIStatusError, match=f"{status}: not this one"):
        click(twin, prepared)
    assert prepared.id == "img_1"
    click(twin, prepared)
    assert images.log == ["upload", "click img_1", "upload", "click img_1", "upload", "click img_2"]


def test_other_errors_have_nothing_uploaded(twin, stub, images):
    prepared = prepare(twin)
    for behaviour in (stub.error(404, code="model_not_found"), stub.error(422, code="image_not_prepared")):
        images.click = [behaviour]
        with pytest.raises(air.APIStatusError) as caught:
            click(twin, prepared)
        assert not isinstance(caught.value, ImageNotPreparedError)
    assert images.uploads == 1


# Without keeping the image


def test_without_its_file_a_dropped_image_is_a_typed_error_that_says_what_to_do(twin, stub, images):
    prepared = prepare(twin, keep=False)
    assert not prepared.kept
    assert FILE not in pickle.dumps(prepared)
    click(twin, prepared)
    images.drop_all()
    for _ in range(2):
        with pytest.raises(ImageNotPreparedError) as caught:
            click(twin, prepared)
        assert "keep=False" in caught.value.__notes__[0]
    assert images.log == ["upload", "click img_1", "click img_1", "click img_1"]


def test_without_its_file_it_cannot_be_used_elsewhere_and_nothing_is_sent(twin, stub, images, other_stub):
    prepared = prepare(twin, keep=False)
    for model, client in (("other", {}), (MODEL, {"base_url": other_stub.url})):
        with pytest.raises(InputError, match=r"for model 'some/model' at http.*keep=False.*prepare it there"):
            click(twin, prepared, model, client)
    with pytest.raises(InputError, match="keep=False"):
        prepare(twin, prepared, model="other")
    assert (len(stub.requests), len(other_stub.requests)) == (1, 0)


def test_without_its_file_another_key_is_tried_since_the_account_may_be_the_same(twin, images, key):
    prepared = prepare(twin, keep=False)
    with pytest.raises(ImageNotPreparedError):
        click(twin, prepared, client={"api_key": "strangers"})
    images.accounts["colleagues"] = key
    click(twin, prepared, client={"api_key": "colleagues"})
    assert images.uploads == 1


# Many at once


def test_many_callers_that_find_it_dropped_upload_it_once(twin, images, caplog):
    prepared = prepare(twin)
    images.drop_all()
    images.upload_delay = 0.2
    with caplog.at_level("INFO", logger="air"):
        outcomes = all_at_once(twin, 8, lambda client, _: client.images.segment(prepared, PROMPT, MODEL))
    assert caplog.text.count("uploading it again") == 1
    assert kinds(outcomes) == {"SegmentationResponse": 8}
    assert images.uploads == 2
    assert prepared.id == "img_2"


def test_many_callers_with_another_model_upload_it_once(twin, images):
    prepared = prepare(twin)
    images.upload_delay = 0.1
    outcomes = all_at_once(twin, 8, lambda client, i: client.images.segment(prepared, PROMPT, f"model {i % 2}"))
    assert kinds(outcomes) == {"SegmentationResponse": 8}
    assert images.uploads == 3


def test_threads_and_tasks_share_one_upload(stub, images, key):
    with AIRefinery(key, stub.url) as client:
        prepared = client.images.prepare(FILE, MODEL)
        images.drop_all()
        images.upload_delay = 0.2

        async def tasks():
            async with AsyncAIRefinery(key, stub.url) as twin:
                return await asyncio.gather(*(twin.images.segment(prepared, PROMPT, MODEL) for _ in range(4)))

        with ThreadPoolExecutor(4) as pool:
            blocking = [pool.submit(client.images.segment, prepared, PROMPT, MODEL) for _ in range(3)]
            awaiting = pool.submit(asyncio.run, tasks())
            assert len(awaiting.result()) == 4
            assert all(future.result().created for future in blocking)
    assert images.uploads == 2


def test_all_callers_get_the_error_of_their_one_upload(twin, stub, images):
    prepared = prepare(twin)
    images.upload = [stub.reply(413, {"error": {"message": "too large"}}, delay=0.2)]
    outcomes = all_at_once(twin, 5, lambda client, _: client.images.segment(prepared, PROMPT, "other"))
    assert kinds(outcomes) == {"PayloadTooLargeError": 5}
    assert {str(error) for error in outcomes} == {"413: too large"}
    assert len({id(error) for error in outcomes}) == 5
    assert images.uploads == 2
    click(twin, prepared, "other")


@pytest.mark.parametrize("fault", ["its time is over", "the server's time is over"])
def test_when_the_one_that_uploads_gives_up_another_takes_over(twin, stub, images, fault):
    prepared = prepare(twin)
    late = stub.silent() if fault == "its time is over" else stub.reply(504, {}, delay=0.3)
    images.upload = [late]
    outcomes = all_at_once(
        twin,
        4,
        lambda client, i: client.images.segment(prepared, PROMPT, "other", timeout=30 if i else 0.5),
        may_begin=lambda i: i == 0 or images.uploads > 1,
    )
    assert isinstance(outcomes[0], air.APITimeoutError | air.GatewayTimeoutError)
    assert kinds(outcomes[1:]) == {"SegmentationResponse": 3}
    assert images.uploads == 3


def test_cancelling_the_uploader_or_a_waiter_does_not_affect_the_others(stub, images, key):
    async def main():
        async with AsyncAIRefinery(key, stub.url) as client:
            prepared = await client.images.prepare(FILE, MODEL)
            images.upload = [stub.silent()]

            def start():
                return asyncio.create_task(client.images.segment(prepared, PROMPT, "other"))

            tasks = [start()]
            while images.uploads < 2:  # noqa: ASYNC110 - another thread adds to them
                await asyncio.sleep(0.01)
            tasks += [start(), start(), start()]
            await asyncio.sleep(0.1)
            tasks[1].cancel()
            tasks[0].cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(main())
    assert [type(outcome).__name__ for outcome in outcomes] == ["CancelledError"] * 2 + ["SegmentationResponse"] * 2
    assert images.uploads == 3


def test_a_loop_may_be_closed_while_a_thread_uploads_for_it(stub, images, key, caplog):
    with AIRefinery(key, stub.url) as client, ThreadPoolExecutor(1) as pool:
        prepared = client.images.prepare(FILE, MODEL)
        images.upload_delay = 0.5
        uploading = pool.submit(client.images.segment, prepared, PROMPT, "other")
        while images.uploads < 2:
            time.sleep(0.01)

        async def impatient():
            async with AsyncAIRefinery(key, stub.url) as twin:
                await twin.images.segment(prepared, PROMPT, "other", timeout=0.1)

        with pytest.raises(air.APITimeoutError):
            asyncio.run(impatient())
        assert uploading.result().created
    assert caplog.records == []


# Time limits and retries


def test_one_time_limit_holds_over_all_calls_and_each_sends_the_remaining_time(twin, stub, images):
    prepared = prepare(twin)
    images.drop_all()
    images.upload_delay = 0.3
    click(twin, prepared, timeout=5)
    sent = [float(request.headers["x-request-timeout"]) for request in stub.requests[1:]]
    assert sent[0] >= sent[1] >= sent[2] + 0.3 > 3


@pytest.mark.parametrize("slow", ["upload", "segmentation"])
def test_it_ends_the_call_in_which_it_expires(twin, stub, images, slow):
    prepared = prepare(twin)
    images.upload_delay = 0.2
    if slow == "upload":
        images.upload = [stub.silent()]
    else:
        images.click = [images.dropped(), stub.silent()]
    images.drop_all()
    began = time.monotonic()
    with pytest.raises(air.APITimeoutError, match=r"within 0\.4 s"):
        click(twin, prepared, timeout=0.4)
    assert 0.35 <= time.monotonic() - began < 10


def test_waiting_for_another_callers_upload_counts_too(twin, stub, images):
    prepared = prepare(twin)
    images.upload_delay = 1
    outcomes = all_at_once(
        twin,
        3,
        lambda client, i: client.images.segment(prepared, PROMPT, "other", timeout=0.3 if i else 30),
        may_begin=lambda i: i == 0 or images.uploads > 1,
    )
    assert kinds(outcomes) == {"SegmentationResponse": 1, "APITimeoutError": 2}
    assert images.log == ["upload", "upload", "click img_2"]


def test_retries_count_over_all_calls_and_an_upload_after_a_drop_is_not_one(twin, stub, images):
    prepared = prepare(twin)
    images.drop_all()
    click(twin, prepared, client={"max_retries": 0})
    stub.requests.clear()
    images.drop_all()
    images.click = [stub.error(503), images.dropped(), stub.error(503, message="the third")]
    images.upload = [stub.hangs_up()]
    with pytest.raises(air.ServiceUnavailableError, match="the third"):
        click(twin, prepared, client={"max_retries": 2})
    assert [said.split()[0] for said in images.log] == ["click", "click", "upload", "upload", "click"]


def test_an_upload_is_retried_as_any_call_is(twin, stub, images):
    images.upload = [stub.error(503), stub.hangs_up()]
    assert prepare(twin).id == "img_1"
    assert images.uploads == 3


# Many requests


def test_segment_many_takes_prepared_images_beside_others(twin, stub, images):
    prepared = prepare(twin)
    images.drop_all()
    images.upload_delay = 0.1
    images.click = [images.dropped()] * 4
    requests = [{"image": prepared, "segment_prompt": [[[i, i]]]} for i in range(8)]
    results = twin.run(lambda c: c.images.segment_many(requests, model=MODEL, exif="apply"))
    assert all(result.error is None for result in results)
    assert images.uploads == 2
    results = twin.run(
        lambda c: c.images.segment_many([*requests, {"image": b"b", "segment_prompt": PROMPT}], model=MODEL)
    )
    assert [type(result.error).__name__ for result in results] == ["NoneType"] * 8 + ["ImageNotPreparedError"]


def test_an_interruption_ends_waiting_for_an_upload_too(stub, images, key):
    with AIRefinery(key, stub.url) as client, ThreadPoolExecutor(1) as pool:
        prepared = client.images.prepare(FILE, MODEL)
        images.upload_delay = 30
        uploading = pool.submit(client.images.segment, prepared, PROMPT, "other")
        while images.uploads < 2:
            time.sleep(0.01)

        def folder():
            yield {"image": prepared, "segment_prompt": PROMPT}
            time.sleep(0.1)
            raise KeyboardInterrupt

        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.images.segment_many(folder(), model="other", concurrency=2)
        assert time.monotonic() - began < 10
        stub.stopped.set()
        assert uploading.result().created
    assert images.uploads == 2


# Deleting


def test_delete_drops_it_for_every_model_and_again_is_no_error(twin, stub, images):
    prepared = prepare(twin)
    click(twin, prepared, "other")
    assert len(images.kept) == 2
    for _ in range(2):
        assert delete(twin, prepared) is None
        assert images.kept == {}
    assert images.log[3:] == ["delete img_1", "delete img_2"] * 2
    assert stub.requests[-1].path == "/v1/images/img_2"
    assert "x-request-timeout" in stub.requests[-1].headers
    assert stub.requests[-1].body == b""


def test_a_deleted_image_that_is_held_can_be_used_again(twin, images):
    prepared = prepare(twin)
    delete(twin, prepared)
    click(twin, prepared)
    assert prepared.id == "img_2"


@pytest.mark.parametrize("prefix", ["", "id:"])
def test_delete_takes_an_id_as_text(twin, stub, images, prefix):
    prepare(twin)
    delete(twin, prefix + "img_1")
    delete(twin, prefix + "img_7")
    assert images.log == ["upload", "delete img_1", "delete img_7"]


@pytest.mark.parametrize("odd", ["", "id:", "..", "a/b", "zzz", "img_", "img_1?x", "img 1", None, b"img_1", 1])
def test_delete_refuses_anything_but_an_id(twin, stub, odd):
    with pytest.raises(InputError, match="id"):
        delete(twin, odd)
    assert stub.requests == []


@pytest.mark.parametrize("error", [{"status": 401}, {"status": 404}, {"status": 500, "code": "image_not_prepared"}])
def test_delete_raises_any_other_error(twin, stub, error):
    stub.plays(stub.error(**error))
    with pytest.raises(air.APIStatusError):
        delete(twin, "img_1")


def test_delete_at_another_server_is_refused(twin, images, other_stub):
    prepared = prepare(twin)
    with pytest.raises(InputError, match=r"prepared at http.*, not at http.*: delete it with that client"):
        delete(twin, prepared, {"base_url": other_stub.url})
    assert other_stub.requests == []


# The image elsewhere


def test_an_overlay_is_drawn_over_the_image_that_is_held(twin, images, tmp_path, to_png64):
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, :20] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(wide).save(path, exif=exif)
    for treatment, size in ((None, (40, 20)), ("ignore", (20, 40))):
        mask = air.Mask(b64_json=to_png64(np.ones(size, np.uint8)))
        expected = mask.overlay(path, exif=treatment or "apply")
        assert np.array_equal(mask.overlay(prepare(twin, path, exif=treatment)), expected)
    assert np.array_equal(mask.overlay(prepare(twin, wide)), mask.overlay(wide))
    with pytest.raises(InputError, match=r"keep=False.*pass the image"):
        mask.overlay(prepare(twin, path, keep=False))
    with pytest.raises(InputError, match=r"is a prepared image's id.*the image itself"):
        mask.overlay("id:img_1")


def test_it_can_be_pickled_and_carries_the_image_but_no_key(twin, images, key):
    prepared = prepare(twin)
    click(twin, prepared, "other")
    pickled = pickle.dumps(prepared)
    assert key.encode() not in pickled
    copy = pickle.loads(pickled)
    assert (repr(copy), copy.exif) == (repr(prepared), "apply")
    click(twin, copy, "other")
    assert images.uploads == 2
    images.drop_all()
    click(twin, copy)
    assert (copy.id, prepared.id) == ("img_3", "img_1")


def test_it_shows_the_key_nowhere(twin, images, key):
    prepared = prepare(twin)
    assert isinstance(prepared, PreparedImage)
    assert key not in repr(prepared) + repr(vars(prepared))


def prepare_many(twin, items, client=None, **arguments):
    return twin.run(lambda c: c.images.prepare_many(items, MODEL, **arguments), **(client or {}))


def test_many_images_are_prepared_in_their_order_and_without_their_files(twin, images):
    files = [b"file %d" % number for number in range(7)]
    results = prepare_many(twin, files, concurrency=3)
    assert [result.index for result in results] == list(range(7))
    assert images.uploads == 7
    assert not any(result.unwrap().kept for result in results)
    click(twin, results[4].unwrap())
    assert images.log[-1] == f"click {results[4].unwrap().id}"


def test_many_images_can_keep_their_files(twin, images):
    [result] = prepare_many(twin, iter([FILE]), keep=True)
    images.drop_all()
    click(twin, result.unwrap())
    assert images.log[-2:] == ["upload", "click img_2"]


def test_an_image_that_cannot_be_prepared_is_a_result_and_the_others_go_on(twin, images, stub, tmp_path):
    images.upload = [stub.error(413, message="too large")]
    seen = []
    results = prepare_many(
        twin, [FILE, tmp_path / "absent.png", b"other"], concurrency=1, progress=lambda *counts: seen.append(counts)
    )
    assert [type(result.error) for result in results] == [air.PayloadTooLargeError, FileNotFoundError, type(None)]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(air.PayloadTooLargeError, match="too large"):
        results[0].unwrap()


def test_options_hold_for_each_of_many_images(twin, images, stub):
    prepare_many(twin, [FILE, FILE], exif="ignore", user="ann", extra_headers={"x-extra": "1"}, concurrency=1)
    assert [(each.json["exif"], each.json["user"], each.headers["x-extra"]) for each in stub.requests] == [
        ("ignore", "ann", "1")
    ] * 2


def test_no_more_images_are_read_than_are_sent(twin, images):
    read = []

    def folder():
        for number in range(6):
            assert number - images.uploads < 2
            read.append(number)
            yield b"file %d" % number

    assert len(prepare_many(twin, folder(), concurrency=2)) == len(read) == 6


def test_images_may_come_from_an_async_generator(images, stub):
    async def folder():
        yield FILE
        yield b"other"

    async def run():
        async with AsyncAIRefinery("key", stub.url) as client:
            return await client.images.prepare_many(folder(), MODEL, concurrency=1)

    assert [result.unwrap().id for result in asyncio.run(run())] == ["img_1", "img_2"]
