"""What a backend has counted of its calls, read as monitoring systems read it."""

from __future__ import annotations

import json
import re
import urllib.request

from processes import Child


def counted(backend: Child, what: str) -> int:
    """Return one of its counts, such as ``calls_begun`` or ``sent_bytes``, over all its methods."""
    with urllib.request.urlopen(json.loads(backend.ready)["metrics"], timeout=10) as answer:
        page = answer.read().decode()
    return sum(int(number) for number in re.findall(rf"^landbridge_{what}_total{{.*}} (\d+)$", page, re.MULTILINE))
