"""Identity, credentials and policy: who somebody is, what the broker lets them do, and what an owner allows."""

from .claims import (
    MAX_JWT_BYTES,
    account_jwt,
    decode_jwt,
    direct_user_jwt,
    encode_jwt,
    operator_jwt,
    user_jwt,
    verify_jwt,
)
from .credentials import MAX_CREDENTIALS_BYTES, Credentials
from .grants import Grant, read_grant, sign_grant
from .identity import Caller
from .nkey import KeyPair, Kind, new_key
from .policy import Decision, check_pattern, decide
from .templates import ROLES, SERVICE_INSTITUTE, Role, jobs_exports, net_imports, scope, template

__all__ = [
    "MAX_CREDENTIALS_BYTES",
    "MAX_JWT_BYTES",
    "ROLES",
    "SERVICE_INSTITUTE",
    "Caller",
    "Credentials",
    "Decision",
    "Grant",
    "KeyPair",
    "Kind",
    "Role",
    "account_jwt",
    "check_pattern",
    "decide",
    "decode_jwt",
    "direct_user_jwt",
    "encode_jwt",
    "jobs_exports",
    "net_imports",
    "new_key",
    "operator_jwt",
    "read_grant",
    "scope",
    "sign_grant",
    "template",
    "user_jwt",
    "verify_jwt",
]
