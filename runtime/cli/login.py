"""The commands login and logout."""

from __future__ import annotations

import sys
from getpass import getpass

from runtime.cli.context import Globals
from runtime.cli.image_table import Login, Logout
from runtime.errors import SteleError, UsageError
from runtime.images.registry import login as at
from runtime.images.registry.credentials import Credentials
from runtime.images.registry.repository import Access


def login(context: Globals, options: Login) -> int:
    registry = at.check_registry(options.registry)
    user = options.username or _ask("Username: ")
    password = options.password
    if options.password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif not password:
        password = _ask("Password: ", secret=True)
    if not user or ":" in user or not password:
        raise UsageError("login: a user name without a colon and a password are needed")
    given = Credentials(user, password)
    at.verify(registry, Access(options.plain_http, options.tls_verify == "true", given))
    path = at.keep(registry, given, options.authfile)
    print(f"Login succeeded; the password is in {path}, readable by its owner only")
    return 0


def logout(context: Globals, options: Logout) -> int:
    registry = at.check_registry(options.registry)
    path, had = at.forget(registry, options.authfile)
    if not had:
        raise SteleError(f'{path} has no credentials for "{registry}"')
    print(f"Removed the credentials for {registry} from {path}")
    return 0


def _ask(prompt: str, *, secret: bool = False) -> str:
    """Ask a person; what is printed goes to the terminal, not to stdout."""
    if not sys.stdin.isatty():
        raise UsageError("login: stdin is not a terminal; give --username, and the password by --password-stdin")
    if secret:
        return getpass(prompt)
    print(prompt, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()
