"""airbyte-source-quickbooks against another address: `SERVER [the connector's own arguments]`.

Its manifest names Intuit's addresses; they are replaced in the manifest as it is read, nothing else is.
"""

import sys

from airbyte_cdk.entrypoint import launch  # type: ignore[import-not-found]
from source_quickbooks.source import SourceQuickbooks  # type: ignore[import-not-found]

INTUIT = ("https://sandbox-quickbooks.api.intuit.com", "https://oauth.platform.intuit.com")

if __name__ == "__main__":
    server = sys.argv.pop(1)
    parse = SourceQuickbooks._parse  # noqa: SLF001 the only place where the manifest can be reached

    def moved(text: str) -> object:
        """The manifest with the addresses of this machine."""
        for address in INTUIT:
            text = text.replace(address, server)
        return parse(text)

    SourceQuickbooks._parse = staticmethod(moved)  # noqa: SLF001
    launch(SourceQuickbooks(), sys.argv[1:])
