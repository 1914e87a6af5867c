"""What the user of this computer is called in networks, unless an invitation says otherwise."""

from __future__ import annotations

import getpass
import re

from ..errors import InvalidName
from ..names import check_person

__all__ = ["owner_person"]


def owner_person() -> str:
    """Return what the owner of this computer's network is called there: the login name, made a valid name."""
    try:
        login = getpass.getuser()
    except (OSError, KeyError):  # no such user in the system's list, as in some containers
        login = ""
    name = re.sub(r"[^a-z0-9_-]", "-", login.lower())[:63]
    try:
        return check_person(name)
    except InvalidName:  # empty, or beginning with a digit
        return "me"
