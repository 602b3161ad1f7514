"""Decides whether and how runs are mirrored to W&B; without network, and without importing it."""

from __future__ import annotations

import netrc
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from harness.errors import GanbenchError

FORBIDDEN = frozenset("\\#?%:")
"""What W&B's names must not hold."""
LONGEST_PROJECT = 128
Mode = Literal["disabled", "offline", "online"]

PUBLIC_HOSTS = ("api.wandb.ai", "wandb.ai", "api.forge.coreweave.com", "forge.coreweave.com")
"""Names under which the public server's key may be kept; the last two are its newer address."""


class TrackingError(GanbenchError):
    """A mirror that cannot work, or that stopped working; the results folder is not affected."""


def check_project(project: str) -> str:
    """Refuse what W&B takes for no project; online it would say so only after a run has begun.

    Args:
        project: W&B project, or ``entity/project``.

    Raises:
        TrackingError: saying what a name may be.
    """
    parts = project.split("/")
    if (
        len(parts) > 2
        or not all(part.strip() for part in parts)
        or any(letter in FORBIDDEN or not letter.isprintable() for letter in "".join(parts))
        or len(parts[-1]) > LONGEST_PROJECT
    ):
        raise TrackingError(
            f"--project {project!r} cannot be a W&B project: give a name, or entity/name, of at "
            f"most {LONGEST_PROJECT} characters, without {' '.join(sorted(FORBIDDEN))}"
        )
    return project


def choose_mode(flag: str | None, environ: Mapping[str, str]) -> tuple[Mode, str | None]:
    """Choose a mode, and say so in one line where it is not simply what was asked for.

    Args:
        flag: What ``--wandb`` says; None without it. Then ``WANDB_MODE`` decides, and without
            that: online if a key is configured, else disabled.
        environ: The environment variables.

    Returns:
        The mode, and a message for the user or None. ``online`` is only returned where there is
        a key, so that nothing ever waits at a prompt.

    Raises:
        TrackingError: if the flag is none of the modes.
    """
    if flag is not None and flag not in get_args(Mode):
        raise TrackingError(f"--wandb {flag!r} is unknown; give disabled, offline or online")
    wanted = flag or _mode_of_environment(environ)
    if wanted == "disabled":
        return "disabled", None
    if wanted == "offline":
        return "offline", None
    if key_source(environ) is not None:
        return "online", None
    if wanted == "online":
        return "disabled", (
            "W&B is off: no key is configured; `wandb login` or WANDB_API_KEY gives one, and "
            "`ganbench push` mirrors the results later"
        )
    return "disabled", "W&B is off: no key is configured (--wandb offline mirrors without one)"


def _mode_of_environment(environ: Mapping[str, str]) -> Mode | None:
    """Translate W&B's own variable; its older spellings are still accepted by W&B."""
    older = {"dryrun": "offline", "run": "online", "shared": "online"}
    mode = environ.get("WANDB_MODE", "").strip().lower()
    mode = older.get(mode, mode)
    if environ.get("WANDB_DISABLED", "").strip().lower() in ("1", "true"):
        return "disabled"
    return next((known for known in get_args(Mode) if known == mode), None)


def key_source(environ: Mapping[str, str]) -> str | None:
    """Say where a W&B key is configured, None if nowhere; the key itself is not kept.

    Looks into W&B's two variables and the netrc file's entry for the server.
    """
    for variable in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        if environ.get(variable, "").strip():
            return variable
    file = netrc_file(environ)
    return str(file) if _netrc_has_key(file, environ.get("WANDB_BASE_URL", "")) else None


def netrc_file(environ: Mapping[str, str]) -> Path:
    """Return where W&B keeps the key that ``wandb login`` asked for; it may not exist."""
    if environ.get("NETRC"):
        return Path(environ["NETRC"]).expanduser()
    home = Path(environ.get("HOME") or Path.home())
    windows = home / "_netrc"
    return windows if windows.exists() and not (home / ".netrc").exists() else home / ".netrc"


def _netrc_has_key(file: Path, address: str) -> bool:
    host = urlsplit(address).netloc
    hosts = [host] if host and host not in PUBLIC_HOSTS else list(PUBLIC_HOSTS)
    try:
        entries = netrc.netrc(str(file))
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return False
    authenticators = (entries.authenticators(host) for host in hosts)
    return any(entry is not None and bool(entry[2]) for entry in authenticators)
