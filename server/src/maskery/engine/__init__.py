"""One process' worth of serving: images and prompts in, answers out, at a rate the machine can bear."""

from maskery.engine.admission import Admission, Ticket
from maskery.engine.direct import segment_directly
from maskery.engine.encoder_client import EncoderOptions, EncoderProcess
from maskery.engine.engine import Engine, EngineLimits
from maskery.engine.errors import Busy, CannotPrepare, DeadlineExceeded, EncoderLost, EngineError, NotPrepared
from maskery.engine.job import Job, Prompt, QuotaHook, Reference, Upload
from maskery.engine.metrics import CONTENT_TYPE, Metrics
from maskery.engine.prepared import Prepared
from maskery.engine.timings import Timings

__all__ = [
    "CONTENT_TYPE",
    "Admission",
    "Busy",
    "CannotPrepare",
    "DeadlineExceeded",
    "EncoderLost",
    "EncoderOptions",
    "EncoderProcess",
    "Engine",
    "EngineError",
    "EngineLimits",
    "Job",
    "Metrics",
    "NotPrepared",
    "Prepared",
    "Prompt",
    "QuotaHook",
    "Reference",
    "Ticket",
    "Timings",
    "Upload",
    "segment_directly",
]
