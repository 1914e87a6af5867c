"""Identity, credentials and policy: who somebody is, what the broker lets them do, and what an owner allows."""

from .chain import FIRST, LONGEST_LINE, Record, read_chain, sealed
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
from .conditions import Condition
from .credentials import MAX_CREDENTIALS_BYTES, Credentials
from .grants import Grant, read_grant, sign_grant
from .identity import Caller
from .nkey import KeyPair, Kind, new_key
from .policy import Decision, Rule, check_pattern, decide, until_text
from .policyfile import APPROVE, POLICY_FILE, POLICY_FILE_BYTES, Policy, end_of, parse_policy
from .templates import ROLES, SERVICE_INSTITUTE, Role, jobs_exports, net_imports, scope, template

__all__ = [
    "APPROVE",
    "FIRST",
    "LONGEST_LINE",
    "MAX_CREDENTIALS_BYTES",
    "MAX_JWT_BYTES",
    "POLICY_FILE",
    "POLICY_FILE_BYTES",
    "ROLES",
    "SERVICE_INSTITUTE",
    "Caller",
    "Condition",
    "Credentials",
    "Decision",
    "Grant",
    "KeyPair",
    "Kind",
    "Policy",
    "Record",
    "Role",
    "Rule",
    "account_jwt",
    "check_pattern",
    "decide",
    "decode_jwt",
    "direct_user_jwt",
    "encode_jwt",
    "end_of",
    "jobs_exports",
    "net_imports",
    "new_key",
    "operator_jwt",
    "parse_policy",
    "read_chain",
    "read_grant",
    "scope",
    "sealed",
    "sign_grant",
    "template",
    "until_text",
    "user_jwt",
    "verify_jwt",
]
