"""tap-quickbooks against another address: `SERVER [the tap's own arguments]`.

The tap has no setting for the address; two constants of its module are all that is changed.
"""

import sys

from tap_quickbooks import client, main  # type: ignore[import-not-found]

if __name__ == "__main__":
    server = sys.argv.pop(1)
    client.SANDBOX_ENDPOINT_BASE = server
    client.TOKEN_REFRESH_URL = f"{server}/oauth2/v1/tokens/bearer"
    main()
