"""One process' worth of serving: pictures and prompts in, answers out, at a rate the machine can bear."""

from maskery.engine.admission import Admission, Visit
from maskery.engine.direct import segment_directly
from maskery.engine.encoder import EncoderOptions, EncoderProcess
from maskery.engine.engine import Engine, EngineLimits
from maskery.engine.errors import Busy, CannotPrepare, DeadlineExceeded, EncoderLost, EngineError, NotPrepared
from maskery.engine.job import Job, Prompt, Reference, Toll, Upload
from maskery.engine.machine import memory, processors
from maskery.engine.metrics import CONTENT_TYPE, Metrics
from maskery.engine.prepared import Prepared
from maskery.engine.trace import Trace

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
    "Reference",
    "Toll",
    "Trace",
    "Upload",
    "Visit",
    "memory",
    "processors",
    "segment_directly",
]
