"""transformers with the attention that it takes where nothing is said."""

from benchmarks.peers import sam_transformers


class Engine(sam_transformers.Engine):
    """See `child.Engine`."""

    attention = "sdpa"
