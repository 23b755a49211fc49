"""From a request to the Identity that sent it: signature, time, nonce, or the unix socket's peer credentials."""

from __future__ import annotations

import datetime as dt
import grp
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from agent.api.edge import signature
from agent.api.edge.errors import InvalidAccess, Throttling
from agent.api.edge.masking import is_secret
from agent.api.edge.nonces import NonceCache
from agent.api.edge.request import WireRequest
from agent.core.clock import Clock, SystemClock
from agent.core.errors import (
    AccessKeyDisabled,
    AccessKeyNotFound,
    IllegalTimestamp,
    IncompleteSignature,
    MissingParameter,
    SignatureDoesNotMatch,
    SignatureNonceUsed,
    TimestampExpired,
)
from agent.core.identity import Credential, Identity

WINDOW = dt.timedelta(minutes=15)
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class CredentialLookup(Protocol):
    """Access keys. Called from worker threads."""

    def find(self, access_key_id: str, security_token: str) -> Credential | None:
        """The key, also when it is not active; None for an unknown one. `security_token` is empty for lasting
        keys; for a temporary one the lookup checks it and raises an ApiError when it is wrong or expired."""
        ...

    def local_owner(self) -> Identity:
        """As whom the local administrators on the unix socket act: the default account's owner."""
        ...


class _Claim(NamedTuple):
    """What a signed request says of itself, and the strings to prove it with."""

    access_key_id: str
    security_token: str
    timestamp: str
    nonce: str
    given: str
    string_to_sign: str
    told: str  # of the string to sign, to whoever signed it otherwise
    version: int


@dataclass
class Authenticator:
    """`socket_group`: the group whose members may use the unix socket without keys, besides root."""

    credentials: CredentialLookup
    socket_group: str = ""
    clock: Clock = field(default_factory=SystemClock)
    nonces: NonceCache = field(default_factory=NonceCache)

    def authenticate(self, request: WireRequest) -> Identity:
        """Raises an ApiError that says what is wrong with the signature, or Forbidden for an unknown local user."""
        if request.style != "unsigned":
            return self._signed(request, _claim_v3(request) if request.style == "v3" else _claim_v1(request))
        if request.peer.uid is None:
            raise MissingParameter("AccessKeyId")
        return self._local(request.peer.uid, request.peer.groups)

    def _local(self, uid: int, groups: frozenset[int]) -> Identity:
        if not is_administrator(uid, groups, self.socket_group):
            member = f" or a member of the group {self.socket_group}" if self.socket_group else ""
            raise InvalidAccess(
                f"The user with uid {uid} is neither root{member}: sign the request with an access key."
            )
        owner = self.credentials.local_owner()
        return Identity(
            account_id=owner.account_id,
            principal_type=owner.principal_type,
            principal_name=owner.principal_name,
            administrator=True,
            secure_transport=True,
            unix_uid=uid,
        )

    def _signed(self, request: WireRequest, claim: _Claim) -> Identity:
        now = self.clock.now()
        moment = _moment(claim.timestamp)
        if abs(now - moment) > WINDOW:
            raise TimestampExpired(
                f'Specified time stamp or date value is expired: "{claim.timestamp}" is more than 15 minutes '
                f"from this host's time, {now.strftime(_TIME)}."
            )
        credential = self.credentials.find(claim.access_key_id, claim.security_token)
        if credential is None:
            raise AccessKeyNotFound
        _check_signature(claim, credential)
        if not credential.active:
            raise AccessKeyDisabled("Specified access key is disabled.")
        # Only after the proof: a stranger must not be able to use up someone's nonces.
        self._check_nonce(claim, moment + WINDOW, now)
        return Identity(
            account_id=credential.account_id,
            principal_type=credential.principal_type,
            principal_name=credential.principal_name,
            access_key_id=credential.access_key_id,
            administrator=credential.administrator,
            source_ip=request.peer.address,
            secure_transport=request.peer.secure,
            unix_uid=request.peer.uid,
            session=credential.session,
        )

    def _check_nonce(self, claim: _Claim, expires: dt.datetime, now: dt.datetime) -> None:
        try:
            new = self.nonces.add(claim.access_key_id, claim.nonce, expires.timestamp(), now.timestamp())
        except OverflowError:
            raise Throttling("Request was denied due to request throttling: too many requests in 15 minutes.") from None
        if not new:
            raise SignatureNonceUsed("Specified signature nonce was used already.")


def _claim_v1(request: WireRequest) -> _Claim:
    params = request.params
    for name in ("AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "Timestamp"):
        if not params.get(name):
            raise MissingParameter(name)
    if params["SignatureMethod"].upper() != "HMAC-SHA1" or params["SignatureVersion"] != "1.0":
        raise IncompleteSignature(
            f'SignatureMethod "{params["SignatureMethod"]}" with SignatureVersion "{params["SignatureVersion"]}" '
            "is not supported; HMAC-SHA1 with 1.0 is."
        )
    text = signature.v1_string_to_sign(request)
    # It holds every parameter in the clear, and error messages end in logs of clients.
    secret = any(is_secret(name) for name in params if name != "Signature")
    return _Claim(
        access_key_id=params["AccessKeyId"],
        security_token=params.get("SecurityToken", ""),
        timestamp=params["Timestamp"],
        nonce=params["SignatureNonce"],
        given=params["Signature"],
        string_to_sign=text,
        told="The string to sign is not told: it holds a secret." if secret else f"server string to sign is:{text}",
        version=1,
    )


def _claim_v3(request: WireRequest) -> _Claim:
    authorization = signature.v3_authorization(request.header("authorization"))
    signature.v3_check_coverage(request, authorization.signed_headers)
    text = signature.v3_string_to_sign(request, authorization.signed_headers)
    return _Claim(
        access_key_id=authorization.credential,
        security_token=request.header("x-acs-security-token"),
        timestamp=request.header("x-acs-date"),
        nonce=request.header("x-acs-signature-nonce"),
        given=authorization.signature.lower(),
        string_to_sign=text,
        told=f"server StringToSign is [{text}]",
        version=3,
    )


def _check_signature(claim: _Claim, credential: Credential) -> None:
    if claim.version == 1:
        computed = signature.v1_signature(claim.string_to_sign, credential.secret)
    else:
        computed = signature.v3_signature(claim.string_to_sign, credential.secret)
    if not signature.same(claim.given, computed):
        raise SignatureDoesNotMatch(f"Specified signature is not matched with our calculation. {claim.told}")


def _moment(text: str) -> dt.datetime:
    try:
        return dt.datetime.strptime(text, _TIME).replace(tzinfo=dt.UTC)
    except ValueError:
        raise IllegalTimestamp(
            f'Specified time stamp or date value "{text}" is not well formatted: 2026-11-23T07:35:00Z is.'
        ) from None


def is_administrator(uid: int | None, groups: frozenset[int], socket_group: str) -> bool:
    """Whether who connected to a unix socket of ours may act as the host's owner."""
    return uid == 0 or _gid(socket_group) in groups


def _gid(group: str) -> int | None:
    # Looked up each time: the group may be made while the agent runs.
    try:
        return grp.getgrnam(group).gr_gid if group else None
    except KeyError:
        return None
