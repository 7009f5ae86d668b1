"""Who gives a command: the account of the system, which no argument and no variable of the environment can change."""

import os
import pwd


def system_account() -> str:
    """The name of the account that runs this process, or `uid 1234` where the system has no name for it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
