"""The server on another device: every model by ONNX Runtime, end to end."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import numpy as np
import pytest
from command_line import fails, succeeds
from sam_folders import write_model
from samples import b64, png, squares, values_of

from maskery.models import Store

ROUTE = "/v1/images/segmentations"
FAMILIES = ("sam", "sam_hq", "sam2", "edgetam")


@pytest.mark.slow
def test_every_model_answers_the_same_by_onnx_runtime(
    serve: Callable[..., AbstractContextManager[httpx.Client]],
    tmp_path: Path,
    own_home: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for family in FAMILIES:
        Store(own_home / "models").install_from_folder(f"test/{family}", write_model(tmp_path / family, family, seed=1))
    caplog.set_level(logging.INFO)
    answers = {}
    for device in ("cpu", "onnxruntime"):
        cache = tmp_path / "compiled" / device
        with serve(own_home, device=device, precision="f32", compile_cache=cache) as client:
            for model in ("maskery/nano", *(f"test/{family}" for family in FAMILIES)):
                body = {
                    "model": model,
                    "image_prompt": b64(png(squares())),
                    "segment_prompt": [[[20, 20]], [[70, 40]]],
                    "merge_iou": 1,
                }
                response = client.post(ROUTE, json=body, timeout=300)
                assert response.status_code == 200, response.text
                answers[device, model] = values_of(response.json())
            metrics = client.get("/metrics").text
        assert "maskery_compilations_total 0.0" not in metrics
        # Only OpenVINO keeps what it has compiled.
        assert any(cache.rglob("*.blob")) == (device == "cpu")
    for library in ("OpenVINO", "ONNX Runtime"):
        assert f"networks run by {library}" in caplog.text
    for (device, model), values in answers.items():
        assert np.mean(values == answers["cpu", model]) > 0.999, (device, model)


def test_a_device_that_is_not_there_is_one_sentence(own_home: Path) -> None:
    assert "OpenVINO finds no GPU of Intel" in fails("serve", MASKERY_DEVICE="gpu")
    assert "MASKERY_DEVICE" in fails("serve", MASKERY_DEVICE="tpu")
    assert "supported are auto, f32" in fails("serve", MASKERY_DEVICE="onnxruntime", MASKERY_PRECISION="int8")
    assert "on the CPU, in f32" in succeeds("models", "list", MASKERY_DEVICE="onnxruntime")
