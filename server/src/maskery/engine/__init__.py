"""One process' worth of serving: pictures and prompts in, answers out, at a rate the machine can bear."""

from maskery.engine.engine import Engine, Job, Prompt
from maskery.engine.errors import Busy, DeadlineExceeded, EngineError
from maskery.engine.machine import memory, processors
from maskery.engine.workers import Workers

__all__ = ["Busy", "DeadlineExceeded", "Engine", "EngineError", "Job", "Prompt", "Workers", "memory", "processors"]
