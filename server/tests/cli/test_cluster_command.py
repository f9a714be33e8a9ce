"""`maskery cluster` where Ray is not installed; `make test-cluster` runs it where it is."""

from importlib.util import find_spec

import pytest
from command_line import fails

pytestmark = pytest.mark.skipif(find_spec("ray") is not None, reason="it would start a cluster")


def test_ray_is_named_where_it_is_not_installed() -> None:
    assert "pip install 'maskery[cluster]'" in fails("cluster", "--replicas", 2)
