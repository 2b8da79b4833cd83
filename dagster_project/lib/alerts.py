"""Where bad news go: a webhook, a mailbox, or nowhere. Both are named by the environment alone and never shown.

REWARDBASE_ALERT_WEBHOOK: address that a JSON object is posted to; its `text` is what Slack, Mattermost, Discord (with
`/slack` at the end) and most others show. REWARDBASE_ALERT_EMAIL: address to write to, through the server that
REWARDBASE_SMTP names, such as `smtps://user:password@mail.example.org:465` or `smtp://localhost:25`.
"""

from __future__ import annotations

import json
import os
import smtplib
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import EmailMessage
from http.client import HTTPException
from urllib.parse import unquote, urlsplit

WEBHOOK, EMAIL, SMTP = "REWARDBASE_ALERT_WEBHOOK", "REWARDBASE_ALERT_EMAIL", "REWARDBASE_SMTP"
_SECONDS = 15.0
_LONGEST = 3000


class AlertError(RuntimeError):
    """An alert could not be sent. The message says by which way and why, but not where to."""


def send(subject: str, text: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """Send an alert every way that is set; returns the ways, none where none is set.

    Raises AlertError where one way failed, after the others were tried.
    """
    settings = os.environ if environment is None else environment
    ways = {"webhook": (WEBHOOK, _post), "e-mail": (EMAIL, _mail)}
    sent, failed = [], []
    for way, (variable, deliver) in ways.items():
        if settings.get(variable, "").strip():
            try:
                deliver(subject, text[:_LONGEST], settings)
                sent.append(way)
            except (OSError, ValueError, HTTPException, smtplib.SMTPException) as error:
                # The words of an error may hold the address, and with it a secret.
                status = f" (status {error.code})" if isinstance(error, urllib.error.HTTPError) else ""
                failed.append(f"the {way} that {variable} names: {type(error).__name__}{status}")
    if failed:
        raise AlertError(f"the alert {subject!r} could not be sent by {'; '.join(failed)}")
    return sent


def _post(subject: str, text: str, settings: Mapping[str, str]) -> None:
    address = settings[WEBHOOK].strip()
    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError
    body = json.dumps({"text": f"{subject}\n{text}", "subject": subject, "detail": text}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=_SECONDS):
        pass


def _mail(subject: str, text: str, settings: Mapping[str, str]) -> None:
    server = urlsplit(settings.get(SMTP, "").strip() or "smtp://localhost:25")
    message = EmailMessage()
    message["Subject"] = " ".join(subject.split())
    message["To"] = message["From"] = settings[EMAIL].strip()
    message.set_content(text)
    kind = smtplib.SMTP_SSL if server.scheme == "smtps" else smtplib.SMTP
    with kind(server.hostname or "localhost", server.port or 0, timeout=_SECONDS) as connection:
        if server.username:
            if kind is smtplib.SMTP:
                connection.starttls()
            connection.login(unquote(server.username), unquote(server.password or ""))
        connection.send_message(message)
