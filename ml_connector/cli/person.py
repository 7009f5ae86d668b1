"""Who gives a command: the account of the system, which no argument and no variable of the environment can change."""

import os

from ml_connector.mapping.sheet_files import account_of


def system_account() -> str:
    """The name of the account that runs this process."""
    return account_of(os.getuid())
