"""The engine of one server process: it caches embeddings, queues requests and runs models."""

from maskery.engine.admission import Admission, Ticket
from maskery.engine.disk_cache import DiskCache
from maskery.engine.encoder import NewImage
from maskery.engine.encoder_client import EncoderClient
from maskery.engine.encoding import EncoderOptions
from maskery.engine.engine import Engine, EngineLimits
from maskery.engine.errors import Busy, CannotPrepare, DeadlineExceeded, EncoderLost, EngineError, NotPrepared
from maskery.engine.job import Job, ModelRegistry, Prompt, QuotaHook, Reference, Upload
from maskery.engine.metrics import CONTENT_TYPE, Metrics
from maskery.engine.prepared import Prepared
from maskery.engine.timings import Timings

__all__ = [
    "CONTENT_TYPE",
    "Admission",
    "Busy",
    "CannotPrepare",
    "DeadlineExceeded",
    "DiskCache",
    "EncoderClient",
    "EncoderLost",
    "EncoderOptions",
    "Engine",
    "EngineError",
    "EngineLimits",
    "Job",
    "Metrics",
    "ModelRegistry",
    "NewImage",
    "NotPrepared",
    "Prepared",
    "Prompt",
    "QuotaHook",
    "Reference",
    "Ticket",
    "Timings",
    "Upload",
]
