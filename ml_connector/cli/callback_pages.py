"""What the person sees in the browser after the consent at Intuit: whose company it is, one question, and how it went."""

from base64 import b64encode
from hashlib import sha256
from html import escape

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1rem;color:#1c2733}"
    "h1{font-size:1.3rem}dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1rem}dt{color:#5b6b7b}dd{margin:0}"
    "button{font:inherit;padding:.5rem 1rem;margin-right:.5rem;border:1px solid #1c2733;border-radius:4px;background:#fff}"
    "button.yes{background:#1c2733;color:#fff}"
)
POLICY = (
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; "
    f"style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'"
)


def question(*, connection: str, name: str, realm: str, action: str, token: str) -> str:
    """Is this the right company? Both answers are sent to `action` with `token`."""
    return _page(
        f"Is this the company of {connection}?",
        f"<dl><dt>Company</dt><dd><strong>{escape(name)}</strong></dd>"
        f"<dt>Realm</dt><dd>{escape(realm)}</dd><dt>Connection</dt><dd>{escape(connection)}</dd></dl>"
        "<p>Its bills will be posted to the Procore company of this connection. Nothing is stored before you confirm.</p>"
        f'<form method="post" action="{escape(action)}"><input type="hidden" name="token" value="{escape(token)}">'
        '<button class="yes" name="answer" value="yes">Yes, connect it</button>'
        '<button name="answer" value="no">No</button></form>',
    )


def result(sentence: str) -> str:
    """How it went."""
    return _page(sentence, "<p>This page can be closed.</p>")


def _page(title: str, content: str) -> str:
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>ml-connector</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1>{content}</html>"
    )
