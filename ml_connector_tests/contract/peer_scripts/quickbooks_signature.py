"""Checks webhook signatures by python-quickbooks.

Reads `[{"body", "signature", "token"}, ...]` on standard input, prints a list of verdicts.
"""

import json
import sys

from quickbooks import QuickBooks  # type: ignore[import-not-found]

qb = QuickBooks(minorversion=75)
posts = json.load(sys.stdin)
json.dump(
    [qb.validate_webhook_signature(post["body"], post["signature"], post["token"]) for post in posts],
    sys.stdout,
)
