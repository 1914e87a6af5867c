"""``landbridge rotate``: other keys for an institute to sign its people with."""

from __future__ import annotations

import time

from ..hub.access import institute_here
from ..hub.institutes import WORK_LIFETIME_S
from ..hub.partners import LONGEST_OVERLAP_S
from ..hub.rotation import replace_keys
from .console import say, show_json
from .ending import UsageError
from .times import until

__all__ = ["rotate"]


def rotate(*, keep: str = "30d", now: bool = False, profile: str | None = None, json: bool = False) -> None:
    """Make other keys for your institute to sign its people with; its root key, by which others know it, stays.

    Nobody notices: credentials of the old keys are good for a while, and renewed with the new ones meanwhile.

    Parameters
    ----------
    keep
        How long the old keys are good, too: 7d at least, as long as a credential. 30d by default, 90d at most.
    now
        Make them void at once, because somebody may have them: everybody has to be invited again.
    profile
        Which institute, if several are run from this computer.
    json
        Print a JSON object.
    """
    ours, at = institute_here(profile), int(time.time())
    keep_s = 0 if now else until(keep, "--keep", now=at) - at
    if not now and not WORK_LIFETIME_S <= keep_s <= LONGEST_OVERLAP_S:
        raise UsageError(f"--keep {keep}: must be from 7d to 90d; --now makes the old keys void at once.")
    replace_keys(ours, keep_s=keep_s, now=at)
    if json:
        show_json({"institute": ours.name, "old_keys_until": at + keep_s})
    else:
        say(
            f"{ours.name} signs its people with other keys from now on. "
            + (
                "Nobody else has a credential that is good: invite them again."
                if now
                else "The old ones are kept, too."
            )
        )
