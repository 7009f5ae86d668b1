"""Messages to people: e-mail by SMTP, and text to the incoming web hook of a chat. Certificates are checked, waits short."""

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

import requests

from ml_connector.errors import NoticeNotSent, SetupError
from ml_connector.settings import MailServer
from ml_connector.transport.hosts import checked_origin

SECONDS = 20.0


@dataclass(frozen=True)
class Attachment:
    """A CSV file that goes with a message."""

    name: str
    content: bytes


def send_mail(
    server: MailServer, to: Sequence[str], *, subject: str, text: str, attachments: Sequence[Attachment] = ()
) -> None:
    """Hand one message to the mail server. Raises NoticeNotSent when it was not taken for every address."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = server.sender, ", ".join(to), subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=server.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message.set_content(text)
    for one in attachments:
        message.add_attachment(one.content, maintype="text", subtype="csv", filename=one.name)
    try:
        with _connected(server) as smtp:
            if server.password_file is not None:
                smtp.login(server.user, _line_of(server.password_file))
            refused = smtp.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise NoticeNotSent(
            f"the mail server {server.host} did not take a message: {_told(error)}"
        ) from error
    if refused:
        raise NoticeNotSent(f"the mail server {server.host} refused {', '.join(sorted(refused))}")


def post_hook(file: Path, text: str) -> None:
    """Post one text to the address in `file`. Raises NoticeNotSent; the address is in no message, it is a secret."""
    address = _line_of(file)
    try:
        checked_origin(address)
    except SetupError:
        raise SetupError(f"{file} must hold an address that begins with https://") from None
    session = requests.Session()
    session.trust_env = False
    try:
        with session.post(address, json={"text": text}, timeout=SECONDS, allow_redirects=False) as answer:
            status = answer.status_code
    except requests.RequestException as error:
        raise NoticeNotSent(f"the address in {file} did not answer: {type(error).__name__}") from None
    if not 200 <= status < 300:
        raise NoticeNotSent(f"the address in {file} answered HTTP {status}")


def _connected(server: MailServer) -> smtplib.SMTP:
    trusted = ssl.create_default_context()
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=SECONDS, context=trusted)
    smtp = smtplib.SMTP(server.host, server.port, timeout=SECONDS)
    if server.security == "starttls":
        try:
            smtp.starttls(context=trusted)
        except (OSError, smtplib.SMTPException):
            smtp.close()
            raise
    return smtp


def _line_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{file} cannot be read: {type(error).__name__}") from error


def _told(error: OSError | smtplib.SMTPException) -> str:
    """What went wrong, without what the server answered to a login."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    return f"{type(error).__name__}: {error}"
