"""Name the cause of a failure of a store, and the next safe step.

Libraries report most failures in one generic class, and put the cause into a text of their own. Their texts are not
shown, because a server's answer may quote a header; the causes that we know in them are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tlnlp.errors import StorageError, TlnlpError


@dataclass(frozen=True)
class Cause:
    """Why a store failed.

    Fields:
        reason: the cause, as the message gives it in brackets.
        step: what the user can do next.
    """

    reason: str
    step: str

    def __str__(self) -> str:
        return f"({self.reason}); {self.step}"


_RIGHTS = "this user or these credentials lack the right: ask for access or choose another address"
_NETWORK = "check the address, the permissions and the network"

# The first cause whose pattern occurs in an error, or in one that led to it, is taken. Codes stand without underscores.
_CAUSES: tuple[tuple[str, Cause], ...] = (
    (
        r"No space left on device|database or disk is full|max ?temp ?directory ?size",
        Cause("No space left on device", "free disk space or choose another folder, then run it again"),
    ),
    (r"quota ?exceeded", Cause("Quota exceeded", "free space or raise the quota, then run it again")),
    (
        r"Read-only file system",
        Cause("Read-only file system", "choose a folder on a file system that can be written"),
    ),
    (
        r"ExpiredToken|TokenRefreshRequired|token.{0,40}expired|SSO session.{0,60}expired|UnauthorizedSSOToken"
        r"|SSOTokenLoad",
        Cause("the credentials have expired", "log in again, or renew the AWS_* keys"),
    ),
    (
        r"TimeTooSkewed|Signature not yet current|Signature expired",
        Cause("the clock of this machine is wrong", "set it by a time server, as the store compares it with its own"),
    ),
    (
        r"NoSuchBucket|ContainerNotFound|(bucket|container) does not exist",
        Cause("the bucket does not exist", "create it, or correct the address"),
    ),
    (
        r"NoCredentialsError|Unable to locate credentials|PartialCredentialsError",
        Cause("no credentials were found", "set AWS_PROFILE or the AWS_* keys, or log in"),
    ),
    (
        r"InvalidAccessKeyId|XAdminUserNotFound|SignatureDoesNotMatch|AuthenticationFailed|InvalidClientTokenId",
        Cause("the store refuses the credentials", "correct the AWS_* keys or the profile"),
    ),
    (
        r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint|status 301",
        Cause("the bucket is in another region", "set AWS_REGION to the region of the bucket"),
    ),
    (
        r"Access ?Denied|status 40[13]|Forbidden|Permission ?Denied|Operation not permitted|Unauthenticated"
        r"|not authorized",
        Cause("Permission denied", _RIGHTS),
    ),
    (
        r"dns error|failed to lookup address|Name or service not known|Temporary failure in name resolution"
        r"|nodename nor servname|Could(n't| not) resolve|Failed to resolve|UnknownHost|No address associated",
        Cause("the host name cannot be resolved", "check the endpoint, the region and the network"),
    ),
    (
        r"Connection ?refused|Could(n't| not) connect",
        Cause("Connection refused", "check that the server runs, and its address and port"),
    ),
    (
        r"certificate|SSLError",
        Cause("the certificate of the server is not trusted", "check the address, or install the certificate"),
    ),
    (r"Too many open files", Cause("Too many open files", "raise the limit with ulimit -n")),
    (
        r"timed? ?out",
        Cause("the server does not answer in time", "check the address and the network, then run it again"),
    ),
)
# What a server or the system says for itself; the rest of a text may hold names of files.
_SAID = (
    (re.compile(r"<Code>(\w+)</Code>"), "{}"),
    (re.compile(r"\((\w+)\) when calling"), "{}"),
    (re.compile(r"AWS Error (?!NETWORK|UNKNOWN)([A-Z_]+)"), "{}"),
    (re.compile(r"status code: (\d+)"), "status {}"),
)
_SYSTEM = re.compile(r"[(\[](?:os error|errno) (\d+)[)\]]", re.IGNORECASE)
_NAMES = re.compile(r"\w+://\S+|(?<=path: )\"[^\"]*\"|'[^']*'|\S*/\S+")
_LIBRARIES = ("obstore", "botocore", "boto3", "urllib3", "pyiceberg", "pyarrow", "sqlite3", "sqlalchemy", "duckdb")


def cause_of(error: BaseException) -> Cause | None:
    """Return the cause of an error of a library or of the operating system; None where it is not known."""
    texts = [_said(one) for one in _chain(error)]
    for pattern, cause in _CAUSES:
        if any(re.search(pattern, text, re.IGNORECASE) for text in texts):
            return cause
    return None


def described(error: BaseException) -> str:
    """Return the cause in brackets and the next step: the end of a message about a store that failed."""
    return str(cause_of(error) or Cause(reason_of(error), _NETWORK))


def reason_of(error: BaseException) -> str:
    """Return why a library or the operating system failed, in a few words: at least the name of the error's class."""
    cause = cause_of(error)
    return cause.reason if cause else _system_reason(error) or type(error).__name__


def storage_failure(error: BaseException) -> StorageError | None:
    """Return what a command reports if a store, a disk or the network is why ``error`` rose; None if it is not."""
    cause, chain = cause_of(error), list(_chain(error))
    if cause is None or not (is_full(error) or any(_of_store(one) for one in chain)):
        return None
    files = (one.filename for one in chain if isinstance(one, OSError) and isinstance(one.filename, str))
    return StorageError(f"{next(files, 'a file or store')}: cannot be read or written {cause}")


def is_full(error: BaseException) -> bool:
    """Return True if a disk is full, or a quota of one is reached."""
    cause = cause_of(error)
    return cause is not None and cause.reason in ("No space left on device", "Quota exceeded")


def _of_store(error: BaseException) -> bool:
    return isinstance(error, OSError) or type(error).__module__.lstrip("_").startswith(_LIBRARIES)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, and each error that led to it."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        yield one
        seen.append(one)
        one = one.__cause__ or one.__context__


def _said(error: BaseException) -> str:
    """Return what an error says about its cause, without names of files or objects."""
    if isinstance(error, TlnlpError):
        return ""
    text = str(error)
    for pattern, form in _SAID:
        if found := pattern.search(text):
            return form.format(found[1].replace("_", ""))
    return _system_reason(error) or f"{type(error).__name__}: {_NAMES.sub('', text)}"


def _system_reason(error: BaseException) -> str | None:
    """Return the system's words for an error that has the system's number, in its attribute or in its text."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    found = _SYSTEM.search(str(error))
    return os.strerror(int(found[1])) if found else None
