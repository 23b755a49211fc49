"""What of the metadata is made when it is asked for: credentials and signatures."""

from __future__ import annotations

import json

from agent.core.clock import iso_seconds
from agent.services.identity import IdentityKey
from agent.services.instance_credentials import RoleCredentials


class LiveItems:
    """A tree.Live of the agent's own keys."""

    def __init__(self, roles: RoleCredentials, identity: IdentityKey) -> None:
        self._roles, self._identity = roles, identity

    def credentials(self, instance_id: str) -> str | None:
        given = self._roles.of(instance_id)
        if given is None:
            return None
        credentials, made_at = given
        shown = {
            "AccessKeyId": credentials.access_key_id,
            "AccessKeySecret": credentials.secret,
            "Expiration": iso_seconds(credentials.expires_at),
            "SecurityToken": credentials.token,
            "LastUpdated": iso_seconds(made_at),
            "Code": "Success",
        }
        return json.dumps(shown, indent=2)

    def pkcs7(self, document: str) -> str:
        return self._identity.pkcs7(document)

    def signature(self, document: str) -> str:
        return self._identity.signature(document)

    def certificate(self) -> str:
        return self._identity.certificate()
