"""Change the number of the replicas of a running cluster, or what each reserves: `redeploy.py REPLICAS PROCESSORS`."""

import sys

import ray
from ray import serve

from maskery.cluster import deployment

ray.init(address="auto", logging_level="error")
serve.run(deployment(int(sys.argv[1]), grace_period=30, processors=float(sys.argv[2])), name="maskery")
