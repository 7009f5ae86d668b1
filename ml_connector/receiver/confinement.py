"""What the receiver's worker gives up for good before it works on anything from the internet.

Whoever takes the worker over finds programs' files, the verifier token and the inbox: no other file of the machine, no
program to start, no database. By landlock(7) and seccomp(2) of Linux, which need no rights.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from pathlib import Path

import ml_connector

READ_FILE, READ_DIR = 1 << 2, 1 << 3
LOOK = READ_FILE | READ_DIR
LIST = READ_DIR
STORE = LOOK | 1 << 1 | 1 << 5 | 1 << 8 | 1 << 14  # write, remove, make and truncate files

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every processor
_VERSION, _PATH_BENEATH, _PORT = 1, 1, 2
_NO_NEW_PRIVILEGES = 38  # of prctl(2)
_FILTER, _ALL_THREADS = 1, 1  # of seccomp(2)
# From which version of Landlock on it knows how many kinds of access to files.
_KINDS = {1: 13, 2: 14, 3: 15, 5: 16}
_BIND, _CONNECT = 0b01, 0b10  # TCP, from version 4 on
_SCOPES = 0b11  # abstract sockets and signals, from version 6 on
# Audit number of the processor, and the numbers of seccomp(2), socket(2) and connect(2) on it.
_PROCESSORS = {"x86_64": (0xC000003E, 317, 41, 42), "aarch64": (0xC00000B7, 277, 198, 203)}
_IO_URING_SETUP = 425  # would open sockets past the filter
_FOREIGN_CALLS = 0x40000000  # x32: the same calls under other numbers

_c = ctypes.CDLL(None, use_errno=True)
_c.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_ulong]


def keep_to(home: Path, port: int) -> bool:
    """Keep this thread, and all that it starts, to the files of a receiver of `home` and to `port`.

    False when the kernel cannot. Raises OSError when it could, and refuses.
    """
    _checked(_c.prctl(_NO_NEW_PRIVILEGES, 1, None, 0, 0))
    programs = {Path(sys.prefix), Path(sys.base_prefix), Path("/usr"), Path("/lib"), Path("/lib64")}
    programs.add(Path(ml_connector.__file__).parent)
    allowed = {path: LOOK for path in programs if path.is_dir()}
    allowed |= {home / "receiver": LOOK, home / "inbox": STORE, home / "done": LIST}
    version = _c.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    kinds = (1 << max(count for since, count in _KINDS.items() if since <= version)) - 1
    rules = struct.pack("=Q", kinds)
    rules += struct.pack("=Q", _BIND | _CONNECT) if version >= 4 else b""
    rules += struct.pack("=Q", _SCOPES) if version >= 6 else b""
    ruleset = _checked(_c.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0))
    try:
        for path, access in allowed.items():
            _allow(ruleset, path, access & kinds)
        if version >= 4:
            _checked(_c.syscall(_ADD_RULE, ruleset, _PORT, struct.pack("=QQ", _BIND, port), 0))
        _checked(_c.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: Path, access: int) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _checked(_c.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, folder), 0))
    finally:
        os.close(folder)


def open_no_socket() -> bool:
    """Let no thread of this process open a socket from now on: Landlock does not see those of a local database.

    Call it when the process listens. False when the kernel cannot. Raises OSError when it could, and refuses.
    """
    if platform.machine() not in _PROCESSORS:
        return False
    audit, seccomp, *calls = _PROCESSORS[platform.machine()]
    load, is_equal, is_at_least, answer = 0x20, 0x15, 0x35, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.EACCES
    refused = [*calls, _IO_URING_SETUP]
    tests = [(is_at_least, _FOREIGN_CALLS), *((is_equal, call) for call in refused)]
    steps = [(load, 0, 0, 4), (is_equal, 0, len(tests) + 2, audit), (load, 0, 0, 0)]
    steps += [(code, len(tests) - place, 0, value) for place, (code, value) in enumerate(tests)]
    steps += [(answer, 0, 0, allow), (answer, 0, 0, refuse)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    if _c.syscall(seccomp, _FILTER, _ALL_THREADS, program) == 0:
        return True
    if ctypes.get_errno() in (
        errno.EINVAL,
        errno.ENOSYS,
        errno.EPERM,
    ):  # no filters, or a fence around us forbids more
        return False
    raise _error()


def _checked(result: int) -> int:
    if result < 0:
        raise _error()
    return result


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"the receiver cannot be confined: {os.strerror(number)}")
