"""Text for a terminal or a log: of strangers without what a terminal obeys, of callers without their secrets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

COMPACT = (",", ":")
"""json.dumps's separators for what programs read: no spaces, as from runc."""
HIDDEN = "..."
SECRET = ("--creds", "-creds", "--password", "-password")
"""Options whose values are."""


def visible(text: str) -> str:
    """Text with escapes such as \\x1b for what a terminal could take for a command or does not show: control
    characters, those that change the direction of writing, line separators."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def without_secrets(words: Sequence[str]) -> Iterator[str]:
    """A command line without passwords, the values of environment variables, and users in URLs."""
    before = ""
    short = "-p" if "login" in words else ""  # of other commands it is not a password
    for word in words:
        name, equals, value = word.partition("=")
        if before == "secret":
            yield HIDDEN
        elif name in SECRET and equals:
            yield f"{name}={HIDDEN}"
        elif short and word.startswith(short) and word not in (short, *SECRET):
            yield f"{short}{HIDDEN}"
        elif name in ("--env", "-env") and equals:
            yield f"{name}={_variable(value)}"
        elif before == "env" or (equals and word.startswith("-e")):
            yield _variable(word)
        else:
            yield without_user(word)
        before = _takes(word, short) if not before else ""


def _takes(word: str, password: str) -> str:
    """The secret that the next word is."""
    if word in SECRET or (password and word == password):
        return "secret"
    short = word.startswith("-") and not word.startswith("--") and word.endswith("e") and "=" not in word
    return "env" if word in ("--env", "-env") or short else ""


def _variable(text: str) -> str:
    name, equals, _ = text.partition("=")
    return f"{name}={HIDDEN}" if equals else text


def without_user(url: str) -> str:
    """A URL without user and password; any other text as it is."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if not separator or "@" not in authority:
        return url
    return f"{scheme}://{HIDDEN}@{authority.rpartition('@')[2]}{slash}{path}"
