"""JSON Web Tokens as nats-server reads them, made without any NATS tool.

=========  ======================  ==========  =========================================================
token      signed by               subject     says
=========  ======================  ==========  =========================================================
operator   itself                  O…          which account is the system account
account    operator                A…          limits, imports, exports, and the *scopes*: signing keys,
                                               each with the permissions of whoever it signs
user       a scope's signing key   U…          name, tags, expiry, and nothing else
direct     the account's own key   U…          name and explicit permissions; only for the operator's own
=========  ======================  ==========  =========================================================

A scope is what keeps an institute inside its own names, so `encode_jwt`, through which every token goes, refuses
what would open it: a signing key without a scope (it acts as everybody), a scope without permissions (the same),
``resp`` (lets a backend publish to whatever reply subject a caller named, thus as that subject's owner), and
``bearer_token`` (lets one connect without the seed, with anybody's public key as subject).

Nothing here reads a clock or makes randomness: both are arguments.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ..errors import Malformed, NotConfigured, PermissionDenied, TooLarge
from ..names import check_institute, check_module, check_person
from .nkey import KeyPair, Kind, kind_of, verify_signature

__all__ = [
    "MAX_JWT_BYTES",
    "account_jwt",
    "decode_jwt",
    "direct_user_jwt",
    "encode_jwt",
    "operator_jwt",
    "user_jwt",
    "verify_jwt",
]

MAX_JWT_BYTES = 4 << 20
"""Longest token that is decoded: an account of some thousand institutes."""

# The server refuses a CONNECT line over 4096 bytes, of which the rest needs some hundred.
_MAX_USER_JWT_BYTES = 3500
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
# Go matches the names of fields whatever their case, so these are compared after casefold().
_FORBIDDEN = {
    "resp": "it would let a backend publish to any reply subject, as if it were somebody else",
    "allow_responses": "it would let a backend publish to any reply subject, as if it were somebody else",
    "bearer_token": "it would let anybody connect who has seen the token, without the key",
}
_UNLIMITED = -1


def encode_jwt(claims: Mapping[str, Any], signing_seed: str | bytes) -> str:
    """Return `claims` as a token signed by `signing_seed`, whose public key must be the issuer (``iss``).

    Raises
    ------
    NotConfigured
        When the claims would give more than the templates allow (see the head of this module), or when they name
        another issuer.
    """
    pair = KeyPair.from_seed(signing_seed)
    if claims.get("iss") != pair.public:
        raise NotConfigured(
            f"Refused to sign a token: it names {claims.get('iss')!r} as issuer, but the key given is {pair.public}. "
            "A server would refuse it; sign it with the key of its issuer."
        )
    _refuse_dangerous(claims)
    head = f"{_base64url(_json(_HEADER))}.{_base64url(_json(claims))}"
    return f"{head}.{_base64url(pair.sign(head.encode('ascii')))}"


def decode_jwt(text: str | bytes) -> dict[str, Any]:
    """Return the claims of a token without believing them: use `verify_jwt` for a token from elsewhere.

    Raises
    ------
    Malformed
        When `text` is no token.
    TooLarge
        When it is longer than `MAX_JWT_BYTES`.
    """
    return _split(text)[0]


def verify_jwt(text: str | bytes, *, issuers: Collection[str]) -> dict[str, Any]:
    """Return the claims of a token that one of `issuers` (public keys) really signed. Does not look at its expiry.

    Raises
    ------
    PermissionDenied
        When somebody else signed it, or when it was changed afterwards.
    Malformed, TooLarge
        As in `decode_jwt`.
    """
    claims, signed, signature = _split(text)
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or issuer not in issuers:
        raise PermissionDenied(
            f"A credential was refused: it was issued by {str(issuer)[:56]!r}, which is none of the accepted keys. "
            "Ask whoever runs the network for a credential of this network."
        )
    if not verify_signature(issuer, signed, signature):
        raise PermissionDenied(
            f"A credential was refused: its signature is not that of its issuer {issuer}, so it was changed or forged. "
            "Have a new one issued."
        )
    return claims


def operator_jwt(operator: KeyPair, *, name: str, system_account: str, now: int, jti: str | None = None) -> str:
    """Return the token of an operator, signed by itself.

    Parameters
    ----------
    operator : KeyPair
        Key of kind ``operator``.
    name : str
        For people to read.
    system_account : str
        Public key of the account whose users may push accounts at run time.
    now : int
        Time of issue, in seconds since 1970 UTC.
    jti : str, optional
        Id of the token; by default the hash of its content, as NATS's own tools make it.
    """
    nats = {"type": "operator", "version": 2, "system_account": _of_kind("account", system_account)}
    return _issue(operator, _of_kind("operator", operator.public), nats, name=name, now=now, jti=jti)


def account_jwt(
    account: str,
    operator: KeyPair,
    *,
    name: str,
    now: int,
    jti: str | None = None,
    signing_keys: Sequence[Mapping[str, Any]] = (),
    exports: Sequence[Mapping[str, Any]] = (),
    imports: Sequence[Mapping[str, Any]] = (),
    revocations: Mapping[str, int] | None = None,
    jetstream: bool = False,
) -> str:
    """Return the token of an account, signed by the operator.

    Parameters
    ----------
    account : str
        Public key of the account.
    operator : KeyPair
        Key of kind ``operator``.
    name : str
        For people to read.
    now : int
        Time of issue, in seconds since 1970 UTC. A server keeps the token with the later time.
    jti : str, optional
        Id of the token; by default the hash of its content.
    signing_keys : sequence of mappings
        Scopes, as `landbridge.security.scope` makes them. A plain key is refused.
    exports, imports : sequence of mappings
        What other accounts may use of this one, and this one of others.
    revocations : mapping of str to int, optional
        Public keys of users and the time up to which what was issued to them is void. Use 2**62 to ban a key: a
        token issued later than the time is valid again.
    jetstream : bool
        Whether the account may have streams.

    Raises
    ------
    NotConfigured
        When a signing key has no scope, or a scope no permissions.
    """
    limits: dict[str, Any] = dict.fromkeys(
        ("subs", "data", "payload", "imports", "exports", "conn", "leaf"), _UNLIMITED
    )
    limits["wildcards"] = True
    if jetstream:
        limits |= dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), _UNLIMITED)
    nats: dict[str, Any] = {"type": "account", "version": 2, "limits": limits}
    parts = {"signing_keys": signing_keys, "exports": exports, "imports": imports, "revocations": revocations}
    nats |= {key: part for key, part in parts.items() if part}
    _of_kind("operator", operator.public)
    return _issue(operator, _of_kind("account", account), nats, name=name, now=now, jti=jti)


def user_jwt(
    user: str,
    signing_key: KeyPair,
    *,
    issuer_account: str,
    institute: str,
    person: str,
    modules: Iterable[str] = (),
    now: int,
    expires: int,
    jti: str | None = None,
) -> str:
    """Return the token of a person, signed by a scoped key of that person's institute.

    Parameters
    ----------
    user : str
        Public key of the person.
    signing_key : KeyPair
        The institute's key for the role; its scope decides what the person may do.
    issuer_account : str
        Public key of the account that knows the signing key.
    institute, person : str
        Names; checked here, because the server puts the person's into subjects as it stands: one named ``*`` would
        be everybody. The institute is written down for the person's own use only: the server takes it from the scope.
    modules : iterable of str
        Names of the modules that the person may serve.
    now, expires : int
        Times of issue and of expiry, in seconds since 1970 UTC.
    jti : str, optional
        Id of the token; by default the hash of its content.

    Raises
    ------
    InvalidName
        When one of the names may not be one.
    TooLarge
        When there are so many modules that a server would not read the token.
    """
    check_institute(institute, reserved=True)
    tags = [f"institute:{institute}", *(f"module:{check_module(module)}" for module in dict.fromkeys(modules))]
    # Nothing else may stand here: the server refuses a scoped token that has permissions or limits of its own.
    nats = {"type": "user", "version": 2, "issuer_account": _of_kind("account", issuer_account), "tags": tags}
    _of_kind("account", signing_key.public)
    name, subject = check_person(person), _of_kind("user", user)
    token = _issue(signing_key, subject, nats, name=name, now=now, expires=expires, jti=jti)
    if len(token) > _MAX_USER_JWT_BYTES:
        advice = "Serve fewer modules with one credential, and the others with a second one"
        raise TooLarge(f"The credential of {institute}/{person}", len(token), _MAX_USER_JWT_BYTES, advice)
    return token


def direct_user_jwt(
    user: str,
    account: KeyPair,
    *,
    name: str,
    publish: Sequence[str],
    subscribe: Sequence[str],
    now: int,
    expires: int | None = None,
    jti: str | None = None,
) -> str:
    """Return the token of a user with explicit permissions, signed by the account's own key: the operator's own only.

    Parameters
    ----------
    user : str
        Public key of the user.
    account : KeyPair
        The account's own key, which never leaves the operator.
    name : str
        For people to read.
    publish, subscribe : sequence of str
        Subjects; both must name at least one, since none would mean all.
    now, expires : int
        Times of issue and of expiry, in seconds since 1970 UTC.
    jti : str, optional
        Id of the token; by default the hash of its content.
    """
    nats: dict[str, Any] = {"type": "user", "version": 2, "subs": _UNLIMITED, "data": _UNLIMITED, "payload": _UNLIMITED}
    nats |= {"pub": {"allow": list(publish)}, "sub": {"allow": list(subscribe)}}
    _refuse_unlimited(nats, f"the user {name!r}")
    _of_kind("account", account.public)
    return _issue(account, _of_kind("user", user), nats, name=name, now=now, expires=expires, jti=jti)


def _issue(
    signer: KeyPair,
    subject: str,
    nats: Mapping[str, Any],
    *,
    name: str,
    now: int,
    expires: int | None = None,
    jti: str | None = None,
) -> str:
    claims: dict[str, Any] = {"iss": signer.public, "sub": subject, "name": name, "iat": now, "nats": nats}
    if expires is not None:
        claims["exp"] = expires
    # A server that already has a token of this id does not look at it again: different content, different id.
    claims["jti"] = jti or base64.b32encode(hashlib.sha256(_json(claims)).digest()).decode("ascii").rstrip("=")
    return encode_jwt(claims, signer.seed)


def _refuse_dangerous(node: object) -> None:
    """Raise `NotConfigured` if claims, at any depth, hold what no token of ours may hold."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            name = str(key).casefold()
            if name in _FORBIDDEN:
                raise NotConfigured(f"Refused to sign a token with {key!r}: {_FORBIDDEN[name]}. Leave it out.")
            if name == "signing_keys":
                _refuse_unscoped(value)
            _refuse_dangerous(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _refuse_dangerous(value)


def _refuse_unscoped(signing_keys: object) -> None:
    for scope in signing_keys if isinstance(signing_keys, (list, tuple)) else [signing_keys]:
        template = scope.get("template") if isinstance(scope, Mapping) and scope.get("kind") == "user_scope" else None
        if not isinstance(scope, Mapping) or not isinstance(template, Mapping):
            raise NotConfigured(
                "Refused to sign an account with a plain signing key: whoever holds it could act as everybody. "
                "Give each signing key a scope with the permissions of its role."
            )
        _refuse_unlimited(template, f"the scope {scope.get('role')!r}")


def _refuse_unlimited(permissions: Mapping[str, Any], whose: str) -> None:
    for side in ("pub", "sub"):
        part = permissions.get(side)
        if not isinstance(part, Mapping) or not part.get("allow"):
            raise NotConfigured(
                f"Refused to sign a token in which {whose} has no list of allowed subjects for {side!r}: to the "
                "server that means all. Name at least one subject."
            )


def _split(text: str | bytes) -> tuple[dict[str, Any], bytes, bytes]:
    if len(text) > MAX_JWT_BYTES:
        raise TooLarge("A token", len(text), MAX_JWT_BYTES, "It cannot be a credential of this network")
    try:
        whole = text if isinstance(text, str) else text.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("a token with characters that are not ASCII") from None
    parts = whole.strip().split(".", 3)
    if len(parts) != 3:
        raise Malformed("a token that does not have three parts")
    header, payload, signature = (_unbase64url(part) for part in parts)
    if _load_object(header, "header") != _HEADER:
        raise Malformed("a token whose header is not that of NATS version 2")
    return _load_object(payload, "content"), f"{parts[0]}.{parts[1]}".encode("ascii"), signature


def _load_object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Malformed(f"a token whose {what} is not plain JSON") from None
    if not isinstance(value, dict):
        raise Malformed(f"a token whose {what} is not an object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse doubled names: two readers might believe two different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False).encode("utf-8")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _unbase64url(text: str) -> bytes:
    # The library skips characters that do not belong, so that many texts would mean the same bytes.
    if not _BASE64URL.fullmatch(text):
        raise Malformed("a token with a part that is not base64url")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise Malformed("a token with a part that is not base64url") from None


def _of_kind(kind: Kind, public: str) -> str:
    if (found := kind_of(public)) != kind:
        raise NotConfigured(f"Refused to sign a token: it needs a key of kind {kind}, {public} is one of kind {found}.")
    return public
