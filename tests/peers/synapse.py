#!/usr/bin/env python3
"""A throwaway Synapse on loopback: the control that every test of ours can be tried against.

    synapse.py start [--port N] [--dir DIR] [--venv DIR]   prints url=, pid= and dir=, leaves it running
    synapse.py run   [--port N] [--dir DIR] [--venv DIR]   the same, in the foreground until interrupted
    synapse.py stop DIR                                    stops the one started in DIR and deletes DIR
    synapse.py venv  [--venv DIR]                          installs Synapse where it is missing, prints its Python's path

SQLite, all rate limits off, open registration in one request (m.login.dummy), shared-secret registration with
the key "complement". Nothing but 127.0.0.1 is listened on and nothing outside is contacted at run time;
matrix-synapse is installed from PyPI once, into a virtual environment under ~/.cache.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv

DEFAULT_VENV = pathlib.Path.home() / ".cache" / "cliquepay" / "synapse-venv"
VERSION = "1.163.2"
SERVER_NAME = "peer.test"
SHARED_SECRET = "complement"
START_LIMIT_SECONDS = 90

UNLIMITED = {"per_second": 1_000_000, "burst_count": 1_000_000}
RATE_LIMITS = {
    "rc_message": UNLIMITED,
    "rc_registration": UNLIMITED,
    "rc_registration_token_validity": UNLIMITED,
    "rc_login": {"address": UNLIMITED, "account": UNLIMITED, "failed_attempts": UNLIMITED},
    "rc_admin_redaction": UNLIMITED,
    "rc_joins": {"local": UNLIMITED, "remote": UNLIMITED},
    "rc_joins_per_room": UNLIMITED,
    "rc_invites": {"per_room": UNLIMITED, "per_user": UNLIMITED, "per_issuer": UNLIMITED},
    "rc_room_creation": UNLIMITED,
    "rc_reports": UNLIMITED,
    "rc_presence": {"per_user": UNLIMITED},
    "rc_media_create": UNLIMITED,
    "rc_delayed_event_mgmt": UNLIMITED,
    "rc_user_directory": UNLIMITED,
}

LOGGING = """version: 1
formatters: {plain: {format: "%(asctime)s %(levelname)s %(name)s %(message)s"}}
handlers: {file: {class: logging.FileHandler, filename: LOGFILE, formatter: plain}}
root: {level: WARNING, handlers: [file]}
disable_existing_loggers: false
"""


def ensure_installed(folder: pathlib.Path) -> pathlib.Path:
    """Path of a Python that can import Synapse; installs it into `folder` when missing."""
    python = folder / "bin" / "python"
    probe = [str(python), "-c", "import synapse.app.homeserver, authlib"]
    if python.exists() and subprocess.run(probe, capture_output=True).returncode == 0:
        return python
    print(f"installing matrix-synapse into {folder}", file=sys.stderr)
    venv.create(folder, with_pip=True)
    packages = [f"matrix-synapse[oidc]=={VERSION}"]
    subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True, stdout=sys.stderr)
    return python


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_config(folder: pathlib.Path, port: int, more: dict | None = None) -> pathlib.Path:
    """Writes homeserver.yaml (JSON is YAML), with `more` in it, and the logging configuration; returns the former's path."""
    logging = folder / "log.yaml"
    logging.write_text(LOGGING.replace("LOGFILE", json.dumps(str(folder / "synapse.log"))))
    config = {
        "server_name": SERVER_NAME,
        "public_baseurl": f"http://127.0.0.1:{port}/",
        "pid_file": str(folder / "synapse.pid"),
        "listeners": [
            {
                "port": port,
                "type": "http",
                "tls": False,
                "bind_addresses": ["127.0.0.1"],
                "resources": [{"names": ["client"], "compress": False}],
            }
        ],
        "database": {"name": "sqlite3", "args": {"database": str(folder / "homeserver.db")}},
        "log_config": str(logging),
        "media_store_path": str(folder / "media"),
        "signing_key_path": str(folder / "signing.key"),
        "macaroon_secret_key": "throwaway",
        "form_secret": "throwaway",
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "report_stats": False,
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "registration_shared_secret": SHARED_SECRET,
        # Accounts are made by the dozen here, and their passwords protect nothing.
        "bcrypt_rounds": 4,
        # The reference of the /sync model test is one sync with a very large timeline.
        "filter_timeline_limit": -1,
        # It syncs from old tokens again, and wants no answer kept from the first time.
        "caches": {"sync_response_cache_duration": "0"},
        # `state_after` is in the specification since v1.16; Synapse knows it under its unstable name.
        "experimental_features": {"msc4222_enabled": True},
        **RATE_LIMITS,
        **(more or {}),
    }
    path = folder / "homeserver.yaml"
    path.write_text(json.dumps(config, indent=1))
    return path


def wait_until_up(url: str, process: subprocess.Popen) -> None:
    """Returns when /versions answers; raises when the process dies or the limit passes."""
    deadline = time.monotonic() + START_LIMIT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"synapse exited with {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/_matrix/client/versions", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise SystemExit("synapse did not answer in time")


def launch(arguments: argparse.Namespace, more: dict | None = None) -> tuple[subprocess.Popen, pathlib.Path, str]:
    """Makes the folder and configuration and starts the server; returns process, folder and URL."""
    python = ensure_installed(pathlib.Path(arguments.venv).expanduser())
    folder = pathlib.Path(arguments.dir or tempfile.mkdtemp(prefix="cliquepay-synapse-"))
    folder.mkdir(parents=True, exist_ok=True)
    port = arguments.port or free_port()
    config = write_config(folder, port, more)
    command = [str(python), "-m", "synapse.app.homeserver", "-c", str(config)]
    subprocess.run([*command, "--generate-keys"], check=True, stdout=sys.stderr, cwd=folder)
    with open(folder / "output.log", "ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, start_new_session=True
        )
    (folder / "pid").write_text(str(process.pid))
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(url, process)
    except SystemExit:
        sys.stderr.write((folder / "output.log").read_text()[-4000:])
        raise
    return process, folder, url


def stop(folder: pathlib.Path) -> None:
    """Stops the server started in `folder` and deletes the folder. Refuses a folder it did not make."""
    pid_file = folder / "pid"
    if not pid_file.exists() or not (folder / "homeserver.yaml").exists():
        raise SystemExit(f"{folder} holds no throwaway Synapse")
    pid = int(pid_file.read_text())
    try:
        command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        if str(folder).encode() in command:
            os.kill(pid, signal.SIGTERM)
            for _ in range(100):
                if not pathlib.Path(f"/proc/{pid}").exists():
                    break
                time.sleep(0.1)
    except (FileNotFoundError, ProcessLookupError):
        pass
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description="a throwaway Synapse on loopback")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("start", "run"):
        sub = verbs.add_parser(verb)
        sub.add_argument("--port", type=int, help="loopback port (default: a free one)")
        sub.add_argument("--dir", help="data folder (default: a new temporary one)")
        sub.add_argument("--venv", default=os.environ.get("SYNAPSE_VENV", str(DEFAULT_VENV)))
    verbs.add_parser("stop").add_argument("dir")
    venv_verb = verbs.add_parser("venv")
    venv_verb.add_argument("--venv", default=os.environ.get("SYNAPSE_VENV", str(DEFAULT_VENV)))
    arguments = parser.parse_args()
    if arguments.verb == "venv":
        print(ensure_installed(pathlib.Path(arguments.venv).expanduser()))
        return
    if arguments.verb == "stop":
        stop(pathlib.Path(arguments.dir))
        return
    process, folder, url = launch(arguments)
    print(f"url={url}\npid={process.pid}\ndir={folder}\nshared_secret={SHARED_SECRET}", flush=True)
    if arguments.verb == "run":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            process.wait()
        except KeyboardInterrupt:
            pass
        finally:
            process.terminate()
            process.wait()
            stop(folder)


if __name__ == "__main__":
    main()
