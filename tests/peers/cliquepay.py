"""The server under test as a process on loopback, for scripts that drive it from outside.

    with CliquePay(binary) as server: …      server.url answers; on leaving it is stopped in good order and checked
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from synapse import free_port

SERVER_NAME = "cliquepay.test"
START_LIMIT_SECONDS = 60
STOP_LIMIT_SECONDS = 30

CONFIG = """server_name = "{name}"
data_dir = "{folder}/data"
listen = ["127.0.0.1:{port}"]
rate_limits = false
log = "{log}"

[auth.registration]
enabled = true
without_verification = true

[auth.password]
memory_kib = 64
iterations = 1

[auth.oauth]
access_lifetime_seconds = 20

[client_api]
public_base_url = "http://127.0.0.1:{port}"
"""


class CliquePay:
    """One server."""

    kind = "cliquepay"

    def __init__(self, binary: str):
        self.binary, self.port = binary, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cliquepay-stock-"))
        log = os.environ.get("CLIQUEPAY_TEST_LOG", "info,ruma_state_res=off")
        self.config = self.folder / "config.toml"
        self.config.write_text(CONFIG.format(name=SERVER_NAME, folder=self.folder, port=self.port, log=log))
        # The configuration file alone counts, not what the caller's environment sets.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("CLIQUEPAY_")}
        self.process = None

    def trust(self, provider) -> None:
        """People can log in through it, from the next start on."""
        with open(self.config, "a") as config:
            config.write(provider.for_cliquepay())

    def start(self) -> None:
        """Starts it, also again, and waits until it answers."""
        with open(self.folder / "output.log", "ab") as output:
            command = [self.binary, "--config", str(self.config)]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment
            )
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/_matrix/client/versions", timeout=2):
                    return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"the server did not start:\n{self.log()}")

    def restart(self) -> None:
        """Kills it and starts it again."""
        self.process.kill()
        self.process.wait()
        self.start()

    def log(self, lines: int = 60) -> str:
        """The end of what it said."""
        return "\n".join((self.folder / "output.log").read_text(errors="replace").splitlines()[-lines:])

    def stop_and_check(self) -> None:
        """It ends in good order, and what it has stored fits together."""
        self.process.terminate()
        status = self.process.wait(STOP_LIMIT_SECONDS)
        assert status == 0, f"it ended with {status}\n{self.log()}"
        command = [self.binary, "--config", str(self.config), "check"]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        assert done.returncode == 0, f"check:\n{done.stdout}{done.stderr}"

    def __enter__(self) -> "CliquePay":
        self.start()
        return self

    def __exit__(self, kind, error, _) -> None:
        try:
            if error is None:
                self.stop_and_check()
            else:
                print(f"== {self.kind}\n{self.log()}", file=sys.stderr)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            shutil.rmtree(self.folder, ignore_errors=True)
