"""A key leaked: it makes nothing from now on, and what it vouched for is vouched for by another, or named.

The order is always the same: a new version; what stands is verified under the old one and by the audit log;
it is signed again; the old version is disabled and the trust root published; tokens and sessions end. Which
version leaked is announced in the log first: whoever repeats the command after it died finishes that one.
What is encrypted under a leaked key cannot be made secret again by any command; it is counted, to be written
anew and destroyed.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from secure_platform import canonical
from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action
from secure_platform.audit.reader import Entry
from secure_platform.control.database import utc_now
from secure_platform.control.locks import file_lock
from secure_platform.errors import GateRefusedError, IntegrityError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.resign import resign as resign_decisions
from secure_platform.gate.states import OPEN, ReleaseState
from secure_platform.keys.catalog import CELL, DATA, SIGN, SUBJECT, TOKEN, KeyVersion, domain_of_name
from secure_platform.keys.signing import keyid_of
from secure_platform.orchestration.steps.deploy import (
    one_at_a_time,
    reconcile,
    signed_package,
    verified_package,
)
from secure_platform.orchestration.steps.key_usage import usage_of
from secure_platform.orchestration.steps.package import packing
from secure_platform.orchestration.steps.payload import erased
from secure_platform.orchestration.steps.retokenize import carriers
from secure_platform.release.bundle import signer_of
from secure_platform.release.layout import SIGNATURE, release_directory
from secure_platform.release.resign import resign
from secure_platform.release.trust import TRUST_ROOT, TrustRoot, seal, trust_root
from secure_platform.services import DEPLOYER, Services
from secure_platform.store.temporary import replace_by_way_of

EMERGENCY: Final = "key.emergency"
LOCK: Final = ".emergency.lock"
PUBLISH: Final = "trust_root.publish"
STANDING: Final = OPEN | {ReleaseState.DEPLOYED}
"""What is live, kept for a rollback, or may still be deployed: one that is not ours stops everything."""
REPLACED: Final = frozenset({SIGN, SUBJECT})
"""Kinds of key whose leaked version nothing needs any more: what was made with it is made anew at once."""


@dataclass(frozen=True)
class Emergency:
    """What was done about a leaked key.

    Attributes:
        leaked: The version that leaked.
        version: The one in its place.
        signed_again: What → how many.
        left: Closed releases that do not verify, and keep the signature that nobody believes any more.
        removed: Decisions that the audit log does not know.
        retokenize: Products in production with tokens of the leaked version.
        anew: What was encrypted or authenticated under it → how many; it is to be written anew.
        tokens: How many were revoked.
        sessions: How many were ended.
        trust_root: Where the new one was published.
    """

    name: str
    leaked: int
    version: int
    signed_again: Mapping[str, int] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    removed: int = 0
    retokenize: tuple[str, ...] = ()
    anew: Mapping[str, int] = field(default_factory=dict)
    tokens: int = 0
    sessions: int = 0
    trust_root: Path | None = None


def emergency(services: Services, caller: Principal, name: str, version: int | None = None) -> Emergency:
    """Answer the leak of a key; said again, it finishes what was not finished.

    Args:
        services: The rooms.
        caller: Who answers it.
        name: Of the key.
        version: That leaked; None for the one that an unfinished answer is about, else the newest.

    Raises:
        AccessDeniedError: If the policy does not let the caller.
        GateRefusedError: If somebody else has answered it at the same time, or still does.
        IntegrityError: If something that stands was not made here, whatever its signature says.
        UsageError: If there is no such key.
    """
    since, leaked = services.audit.size(), leaked_version(services, name, version)
    # The schedule may rotate; only a person may end everybody's access.
    for action in (Action.KEY_ROTATE, Action.KEY_DISABLE):
        services.policy.require(caller, action, services.custody.resource(leaked))
    with file_lock(services.settings.home / LOCK, holder="the answer to a leaked key"):
        _require_unanswered(services, leaked, since)
        return _answered(services, caller, leaked)


def leaked_version(services: Services, name: str, version: int | None = None) -> KeyVersion:
    """Which version an answer is about: as `emergency` is told, or finds out.

    Raises:
        UsageError: If there is no such key.
    """
    return services.custody.find(name, version or _unfinished(services, name))


def _answered(services: Services, caller: Principal, leaked: KeyVersion) -> Emergency:
    custody, subject = services.custody, _subject(leaked)
    with services.audit.effect(EMERGENCY, actor=caller.name, subject=subject) as outcome:
        present = custody.find(leaked.name)
        if present.version == leaked.version:
            present = custody.rotate(caller, leaked.name)
        done = _Answer(services, caller, leaked, present).give()
        outcome |= {"version": done.version, "tokens": done.tokens, "sessions": done.sessions}
    services.audit.checkpoint()
    return done


def _require_unanswered(services: Services, leaked: KeyVersion, since: int) -> None:
    """Refuse what was answered while this waited: it ended the access of whoever waits, too."""
    for entry in services.audit.backwards(f'"subject":"{_subject(leaked)}"', since):
        if (entry.body["action"], entry.body["phase"]) == (EMERGENCY, "done"):
            raise GateRefusedError(
                f"{leaked.title} leaked, and somebody else has answered it at the same time",
                f"Look at it: secure-platform keys show {leaked.name}.",
            )


def _subject(leaked: KeyVersion) -> str:
    return f"key:{leaked.name}:{leaked.version}"


def publish_trust_root(services: Services, *, actor: str) -> tuple[TrustRoot, Path]:
    """Write down which signing keys are this home's now, and where that was written."""
    path = services.releases / TRUST_ROOT
    root = trust_root(
        services.keys,
        origin=services.audit.origin,
        environment=services.settings.environment,
        number=services.audit.size(),
        now=utc_now(),
    )
    document = seal(root, services.keys)
    detail = {"digest": canonical.sha256(document)}
    with services.audit.effect(PUBLISH, actor=actor, subject="trust-root", detail=detail):
        replace_by_way_of(services.temporary, path, document)
    return root, path


@dataclass
class _Answer:
    services: Services
    caller: Principal
    leaked: KeyVersion
    present: KeyVersion
    signed: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    removed: int = 0

    def give(self) -> Emergency:
        services, caller, leaked = self.services, self.caller, self.leaked
        if leaked.kind == SIGN:
            self._sign_again()
        if leaked.kind in {DATA, SUBJECT}:
            services.custody.rewrap(caller)
        if leaked.kind in REPLACED and leaked.readable:
            services.custody.disable(caller, leaked.name, leaked.version)
        published = publish_trust_root(services, actor=caller.name)[1] if leaked.kind == SIGN else None
        tokens, sessions = self._end_access()
        return Emergency(
            leaked.name,
            leaked.version,
            self.present.version,
            signed_again=dict(+self.signed),
            left=tuple(self.left),
            removed=self.removed,
            retokenize=self._outdated(),
            anew={} if leaked.kind in REPLACED else usage_of(services, leaked),
            tokens=tokens,
            sessions=sessions,
            trust_root=published,
        )

    def _sign_again(self) -> None:
        services, actor = self.services, self.caller.name
        leaked = keyid_of(self.leaked.public_key or "")
        products = {record.product for record in services.gate.list()}
        for product in sorted(products):
            # What is being packed or deployed has finished, and what begins is signed with the new key.
            with packing(services, product), one_at_a_time(services, product):
                reconcile(services, product, actor=actor)
                self.signed["states of production"] += services.target.resign(product, leaked, actor=actor)
                for record in services.gate.list(product):
                    self._release(record, leaked)

    def _release(self, record: ReleaseRecord, leaked: str) -> None:
        services, actor = self.services, self.caller.name
        # What an erasure took the rows of is deployed by nobody any more.
        stands = record.state in STANDING and erased(services, record) is None
        try:
            signed = signed_package(services, record)
            if signer_of(signed.files[SIGNATURE]) == leaked:
                if stands:
                    with verified_package(services, record):
                        pass
                directory = release_directory(services.releases, record.product, record.number)
                resign(directory, signed, services.keys, services.audit, services.temporary, actor=actor)
                self.signed["releases"] += 1
            found = resign_decisions(
                services.database, services.keys, services.audit, record, leaked=leaked, actor=actor
            )
        except IntegrityError:
            if stands:
                raise
            self.left.append(record.title)
            return
        self.signed["decisions"] += found.kept
        self.removed += found.removed

    def _outdated(self) -> tuple[str, ...]:
        if self.leaked.kind not in {TOKEN, CELL}:
            return ()
        domain = domain_of_name(self.leaked.name)
        return tuple(each.product for each in carriers(self.services, domain) if each.outdated)

    def _end_access(self) -> tuple[int, int]:
        """Revoke every token but the caller's own, and end every session; the deployer gets a new token."""
        services, actor = self.services, self.caller.name
        file = services.settings.deployer_token_file
        spared = None
        if file.is_relative_to(services.settings.home):
            issued = services.tokens.issue(DEPLOYER, actor=actor, days=365)
            replace_by_way_of(services.temporary, file, issued.secret.encode() + b"\n")
            spared = issued.token_id
        tokens = [
            token for token in services.tokens.list() if token.principal != actor and token.token_id != spared
        ]
        for token in tokens:
            services.tokens.revoke(token.token_id, actor=actor)
        sessions = services.sessions.list()
        for session in sessions:
            services.sessions.revoke(session.session_id, actor=actor)
        return len(tokens), len(sessions)


def _unfinished(services: Services, name: str) -> int | None:
    """The version that the last answer about this key was about, if it did not end well."""
    for entry in services.audit.backwards(f'"action":"{EMERGENCY}"'):
        found = _about(entry, name)
        if found is not None:
            return None if entry.body["phase"] == "done" else found
    return None


def _about(entry: Entry, name: str) -> int | None:
    subject, _, version = entry.body["subject"].rpartition(":")
    return int(version) if entry.body["action"] == EMERGENCY and subject == f"key:{name}" else None
