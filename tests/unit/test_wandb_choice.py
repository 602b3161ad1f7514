"""The choice between disabled, offline and online: by flag, variables and configured keys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.commands.push import push_results
from harness.errors import GanbenchError
from harness.tracking.choice import TrackingError, choose_mode, key_source

KEY = "0123456789" * 4


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and a working folder without settings."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def environ(home: Path, **variables: str) -> dict[str, str]:
    return {"HOME": str(home), **variables}


def test_without_flag_and_key_it_is_disabled_and_says_so_in_one_line(home: Path) -> None:
    mode, message = choose_mode(None, environ(home))
    assert mode == "disabled"
    assert message is not None
    assert "no key" in message
    assert "--wandb offline" in message
    assert "\n" not in message


def test_without_flag_a_key_means_online(home: Path) -> None:
    assert choose_mode(None, environ(home, WANDB_API_KEY=KEY)) == ("online", None)


@pytest.mark.parametrize("mode", ["disabled", "offline", "online"])
def test_the_flag_wins_over_everything(home: Path, mode: str) -> None:
    other = "offline" if mode != "offline" else "disabled"
    found = choose_mode(mode, environ(home, WANDB_API_KEY=KEY, WANDB_MODE=other))
    assert found == (mode, None)


def test_online_without_a_key_is_off_rather_than_a_prompt(home: Path) -> None:
    mode, message = choose_mode("online", environ(home))
    assert mode == "disabled"
    assert message is not None
    assert "wandb login" in message
    assert "ganbench push" in message


def test_an_unknown_mode_names_the_known_ones(home: Path) -> None:
    with pytest.raises(TrackingError, match="disabled, offline or online"):
        choose_mode("onlin", environ(home))


@pytest.mark.parametrize(
    ("value", "mode"),
    [("offline", "offline"), ("dryrun", "offline"), ("disabled", "disabled"), ("", "online")],
)
def test_wandbs_own_variable_counts_where_there_is_no_flag(
    home: Path, value: str, mode: str
) -> None:
    assert choose_mode(None, environ(home, WANDB_API_KEY=KEY, WANDB_MODE=value)) == (mode, None)


def test_wandb_disabled_counts(home: Path) -> None:
    assert choose_mode(None, environ(home, WANDB_API_KEY=KEY, WANDB_DISABLED="true"))[0] == (
        "disabled"
    )


def test_netrc_of_the_public_server(home: Path) -> None:
    (home / ".netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {KEY}\n")
    assert key_source(environ(home)) == str(home / ".netrc")
    assert key_source(environ(home, WANDB_BASE_URL="https://api.wandb.ai")) is not None


def test_netrc_of_another_server_only_counts_there(home: Path) -> None:
    (home / ".netrc").write_text(f"machine wandb.lab.org\n  login user\n  password {KEY}\n")
    assert key_source(environ(home)) is None
    assert key_source(environ(home, WANDB_BASE_URL="https://wandb.lab.org")) is not None


def test_netrc_elsewhere(home: Path) -> None:
    (home / "keys").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    assert key_source(environ(home, NETRC=str(home / "keys"))) == str(home / "keys")


@pytest.mark.parametrize("content", ["machine", "\x00\xff", "machine api.wandb.ai login u"])
def test_a_damaged_netrc_is_no_key(home: Path, content: str) -> None:
    (home / ".netrc").write_bytes(content.encode("latin-1"))
    assert key_source(environ(home)) is None


def test_settings_files_give_no_key(home: Path) -> None:
    for folder in (home / ".config" / "wandb", home / "work" / "wandb"):
        folder.mkdir(parents=True)
        (folder / "settings").write_text(f"[default]\napi_key = {KEY}\n")
    assert key_source(environ(home)) is None


def test_choosing_does_not_import_wandb() -> None:
    code = (
        "import sys; from harness.tracking.choice import choose_mode; choose_mode(None, {}); "
        "sys.exit('wandb' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("wandb", "said"), [("disabled", "leaves nowhere to push to"), (None, "no key is configured")]
)
def test_a_push_to_nowhere_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, wandb: str | None, said: str
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(GanbenchError, match=said):
        push_results(home, wandb=wandb, project="p", follow=False, until_eof=False)
