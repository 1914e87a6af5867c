"""Identity, credentials and policy: who somebody is, what the broker lets them do, and what an owner allows."""

from .chain import FIRST, LONGEST_LINE, Record, read_chain, sealed
from .charters import (
    MOST_REVOKED,
    Charter,
    attest_module,
    check_module_key,
    description_proof,
    fingerprint,
    member_proof,
    proven_root,
    read_charter,
    read_member_proof,
    read_revocation,
    sign_charter,
    sign_revocation,
)
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
from .grants import Grant, granted_to, read_grant, sign_grant
from .identity import Caller
from .invitations import LONGEST_INVITATION, Invitation, is_invitation
from .nkey import KeyPair, Kind, new_key
from .policy import Decision, Rule, check_pattern, decide, until_text
from .policyfile import APPROVE, POLICY_FILE, POLICY_FILE_BYTES, Policy, end_of, parse_policy
from .statements import read_statement, sign_statement
from .templates import ROLES, SERVICE_INSTITUTE, Role, jobs_exports, net_imports, scope, template

__all__ = [
    "APPROVE",
    "FIRST",
    "LONGEST_INVITATION",
    "LONGEST_LINE",
    "MAX_CREDENTIALS_BYTES",
    "MAX_JWT_BYTES",
    "MOST_REVOKED",
    "POLICY_FILE",
    "POLICY_FILE_BYTES",
    "ROLES",
    "SERVICE_INSTITUTE",
    "Caller",
    "Charter",
    "Condition",
    "Credentials",
    "Decision",
    "Grant",
    "Invitation",
    "KeyPair",
    "Kind",
    "Policy",
    "Record",
    "Role",
    "Rule",
    "account_jwt",
    "attest_module",
    "check_module_key",
    "check_pattern",
    "decide",
    "decode_jwt",
    "description_proof",
    "direct_user_jwt",
    "encode_jwt",
    "end_of",
    "fingerprint",
    "granted_to",
    "is_invitation",
    "jobs_exports",
    "member_proof",
    "net_imports",
    "new_key",
    "operator_jwt",
    "parse_policy",
    "proven_root",
    "read_chain",
    "read_charter",
    "read_grant",
    "read_member_proof",
    "read_revocation",
    "read_statement",
    "scope",
    "sealed",
    "sign_charter",
    "sign_grant",
    "sign_revocation",
    "sign_statement",
    "template",
    "until_text",
    "user_jwt",
    "verify_jwt",
]
