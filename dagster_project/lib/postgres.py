"""Postgres in the place of Dagster's own databases, by REWARDBASE_POSTGRES: its address, and whether it can be used.

No message has a password: the driver is given the parts of the address one by one, and is never quoted with them.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from models_train.errors import UserError, causes, first_line

VARIABLE = "REWARDBASE_POSTGRES"
EXAMPLE = "postgresql://user:password@host:5432/database"
DRIVER = "postgresql+psycopg2"
"""Driver in an address: SQLAlchemy's default is another one, which dagster-postgres does not work with."""
SCHEMES = ("postgresql", "postgres", DRIVER)
CONNECT_SECONDS = 8
"""Longest wait for an answer of the server, in seconds."""
_REASONS = (
    ("password authentication failed", "it does not take the user's password; correct the address"),
    ("no password supplied", "it asks for a password; add it to the address"),
    ("pg_hba.conf", "it does not let this user in from here; see its pg_hba.conf"),
    ("does not exist", "the database or the user is not there; create it (`createdb`), or correct the address"),
    ("too many connections", "it has as many connections as it may; close some, or raise max_connections"),
    ("remaining connection slots", "it has as many connections as it may; close some, or raise max_connections"),
    ("starting up", "it is starting up; try again in a moment"),
    ("shutting down", "it is shutting down; start it again"),
    ("SSL", "the encrypted connection cannot be made; see sslmode in the address"),
    ("invalid connection option", "the address has an option that is none of Postgres's"),
    ("translate host name", "there is no host of this name; correct the address"),
)
"""Signs in the driver's messages, and what they mean."""


def address(text: str) -> str:
    """The address with the driver that is installed. Raises UserError for one that cannot be, without quoting it."""
    try:
        parts = urlsplit(text)
        port = parts.port  # a port that is no number is found here
    except ValueError:
        parts, port = None, None
    if parts is None or parts.scheme not in SCHEMES or port == 0 or not parts.path.strip("/") or _is_torn(text):
        raise UserError(
            f"{VARIABLE} is not the address of a Postgres database; write it as {EXAMPLE}, with %40 for an @ and "
            "%2F for a / in the password, or unset it: Dagster's records are then in the home"
        )
    return f"{DRIVER}{text[len(parts.scheme) :]}"


def _is_torn(text: str) -> bool:
    """True where a character of the password ends the part of the address that it is in."""
    parts = urlsplit(text)
    return bool(parts.fragment) or text.count("@") > 1 or parts.path.count("/") > 1 or any(map(str.isspace, text))


def check(url: str) -> None:
    """Raise UserError where the database cannot hold Dagster's records. url: of `address`."""
    if find_spec("dagster_postgres") is None or find_spec("psycopg2") is None:
        raise UserError(f"{VARIABLE} needs dagster-postgres; install it: pip install -e '.[train,cluster]'")
    import psycopg2

    options = _options(url)
    place = f"{VARIABLE}: the Postgres database {options['dbname']!r} at {options.get('host') or 'the local socket'}"
    try:
        with psycopg2.connect(**{"connect_timeout": CONNECT_SECONDS} | options) as connection:
            cursor = connection.cursor()
            cursor.execute(
                "select pg_is_in_recovery() or current_setting('transaction_read_only')::bool, "
                "current_schema() is not null and has_schema_privilege(current_schema(), 'create')"
            )
            is_read_only, may_create = cursor.fetchone()
        connection.close()
    except (psycopg2.Error, UnicodeError) as error:
        raise UserError(f"{place}: {reason(error)}") from None
    if is_read_only:
        raise UserError(f"{place} is read-only; name its primary server")
    if not may_create:
        raise UserError(f"{place}: the user may not make tables there; grant it CREATE on the schema `public`")


def _options(url: str) -> dict[str, Any]:
    """The driver's options for an address; host and port in its query, as for a socket, count."""
    parts = urlsplit(url)
    named = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}
    decoded = {name: unquote(str(value)) for name, value in named.items() if value}
    return {**decoded, "dbname": unquote(parts.path.strip("/")), **dict(parse_qsl(parts.query))}


def reason(error: BaseException) -> str:
    """Why the database cannot be used, and what to do; no word of the error itself, which may quote a secret."""
    text = str(error)
    found = next((told for sign, told in _REASONS if sign in text), None)
    return found or "the server does not answer; start it, or correct the address"


def lost(error: BaseException) -> str | None:
    """A sentence on a server that went away during the work; None for an error, or its causes, of another kind."""
    for one in causes(error):
        if type(one).__module__.partition(".")[0] in ("psycopg2", "dagster_postgres") or _is_disconnected(one):
            return (
                f"{VARIABLE}: the Postgres server of Dagster's records went away during the work: {reason(one)}; "
                "finished parts are kept, and the same command goes on"
            )
    return None


def _is_disconnected(error: BaseException) -> bool:
    return type(error).__module__ == "sqlalchemy.exc" and "psycopg2" in first_line(error)
