"""Process start to first result with Landbridge."""

import landbridge as lb

net = lb.connect()
assert net.bench.work.add(1, 2) == 3
