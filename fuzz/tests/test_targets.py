"""The seed corpus, which holds every input that fuzzing found to fail, passes all targets."""

import gc
from pathlib import Path

import pytest

from fuzz.targets import REFUSALS, TARGETS

CORPUS = Path(__file__).parents[1] / "corpus"


# Starlette leaves the memory of a form's unfinished part to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_a_target_reads_or_refuses_every_seed(name: str) -> None:
    refused = 0
    seeds = sorted((CORPUS / name).iterdir())
    for seed in seeds:
        try:
            TARGETS[name](seed.read_bytes())
        except REFUSALS:
            refused += 1
    gc.collect()
    # Seeds that are accepted lead the fuzzer further than those that are refused.
    assert refused < len(seeds)
