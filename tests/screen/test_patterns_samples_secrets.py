"""Secrets: texts in which each is found, and texts that only look alike.

`{MIX32}` and its kin are filled in at run time, so that no scanner takes a line for a leaked key.
"""

import pytest

from guard.policy.schema import PatternRule
from guard.screen.patterns import CATALOGUE, PatternSet

_PARTS = {
    "MIX16": "a1B2c3D4e5F6g7H8",
    "MIX20": "a1B2c3D4e5" * 2,
    "MIX24": "a1B2c3D4" * 3,
    "MIX32": "a1B2c3D4" * 4,
    "MIX35": "a1B2c3D" * 5,
    "MIX36": "a1B2c3" * 6,
    "MIX40": "a1B2c3D4/+" * 4,
    "MIX48": "a1B2c3" * 8,
    "MIX59": "a1B2c3D4e5F" * 5 + "a1B2",
    "MIX96": "a1B2c3D4" * 12,
    "UP16": "Q3EGRUPTSN4X7YZB",
    "HEX40": "9fceb02d0ae598e95dc970b74767f19372d6cd88",
    "RANDOM": "q7Rk2Lw9Xv4Tn8Zb3Mp6",
    "AKIA": "AKI" + "A",
    "ASIA": "ASI" + "A",
    "GH": "gh",
    "GL": "gl" + "pat-",
    "XOX": "xo" + "x",
    "HOOKS": "https://hooks.slack" + ".com",
    "SK": "s" + "k",
    "AIZA": "AI" + "za",
    "NPM": "np" + "m_",
    "PYPI": "py" + "pi-",
    "PEM": "-----BEGIN {} KEY-----",
    "JWT": CATALOGUE["jwt"].example.rpartition(" ")[2],
}

_FOUND = {
    "aws_access_key": ["<AKIA><UP16>", "id=<AKIA><UP16>.", "'<ASIA><UP16>'", "ABIA<UP16>", "key:ACCA<UP16>"],
    "aws_secret_key": [
        "aws_secret_access_key=<MIX40>",
        'AWS_SECRET_ACCESS_KEY = "<MIX40>"',
        "secretAccessKey: <MIX40>",
        "secret access key is <MIX40>",
        "aws secret: <MIX40>,",
    ],
    "github_token": [
        "<GH>p_<MIX36>",
        "token <GH>o_<MIX36>.",
        "<GH>s_<MIX36>",
        "https://x:<GH>u_<MIX36>@github.com",
        "<GH>r_<MIX36>",
        "github_pat_<MIX20>a1_<MIX59>",
    ],
    "gitlab_token": ["<GL><MIX20>", "x=<GL><MIX20>", "'<GL><MIX24>'", "gldt-<MIX20>", "glrt-<MIX20>."],
    "slack_token": [
        "<XOX>b-123456789012-<MIX24>",
        "<XOX>p-123456789012-123456789012-<MIX24>",
        "'<XOX>a-123456789012-<MIX16>'",
        "xapp-1-A0AB1CD2EFG-123456789012-" + "a1b2c3d4" * 6,
        "<XOX>e.xoxp-1-<MIX96>",
    ],
    "slack_webhook": [
        "<HOOKS>/services/T0AB1CD2E/B0AB1CD2E/<MIX24>",
        "post <HOOKS>/services/T0AB1CD2EFG/B0AB1CD2EFG/<MIX24>.",
        "<HOOKS>/workflows/T0AB1CD2E/A0AB1CD2E/<MIX24>",
        '"<HOOKS>/services/T0AB1CD2E/B0AB1CD2E/<MIX24>"',
        "<HOOKS>/triggers/T0AB1CD2E/123456789012/<MIX24>",
    ],
    "stripe_key": [
        "<SK>_live_<MIX24>",
        "<SK>_test_<MIX24>",
        "rk_live_<MIX24>",
        "'<SK>_live_<MIX96>'",
        "whsec_<MIX32>",
    ],
    "google_api_key": [
        "<AIZA><MIX35>",
        "key=<AIZA><MIX35>",
        "'<AIZA><MIX35>'",
        "?k=<AIZA><MIX35>&x=1",
        "(<AIZA><MIX35>)",
    ],
    "openai_key": [
        "<SK>-proj-<MIX48>",
        "<SK>-<MIX48>",
        "<SK>-svcacct-<MIX96>",
        "OPENAI_API_KEY=<SK>-admin-<MIX48>",
        "'<SK>-<MIX48>'",
    ],
    "anthropic_key": [
        "<SK>-ant-api03-<MIX96>",
        "x=<SK>-ant-admin01-<MIX96>",
        "'<SK>-ant-sid01-<MIX96>'",
        "<SK>-ant-oat01-<MIX96>.",
        "(<SK>-ant-api04-<MIX96>)",
    ],
    "npm_token": ["<NPM><MIX36>", "_authToken=<NPM><MIX36>", "'<NPM><MIX36>'", "(<NPM><MIX36>)", "NPM <NPM><MIX36>."],
    "pypi_token": [
        "<PYPI>AgEIcHlwaS5vcmc<MIX96>",
        "<PYPI>AgENdGVzdC5weXBpLm9yZw<MIX96>",
        "password = <PYPI>AgEIcHlwaS5vcmc<MIX96>",
        "'<PYPI>AgEIcHlwaS5vcmc<MIX96>'",
        "(<PYPI>AgEIcHlwaS5vcmc<MIX59>)",
    ],
    "jwt": ["<JWT>", "Bearer <JWT>", "token=<JWT>;", "'<JWT>'", "see <JWT> there"],
    "private_key": [
        "<PEM:PRIVATE>\nMIIB\n-----END PRIVATE KEY-----",
        "<PEM:RSA PRIVATE>\nMIIB",
        "<PEM:OPENSSH PRIVATE>\nb3Bl",
        "<PEM:EC PRIVATE>\nMHcC\n-----END EC PRIVATE KEY-----",
        "<PEM:ENCRYPTED PRIVATE>\nMIIB",
        "<PEM:RSA PRIVATE>\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----",
    ],
    "connection_string": [
        "postgres://guard:s3cr3tpw@db:5432/x",
        "redis://:s3cr3tpw@cache:6379/0",
        "mongodb+srv://me:p4ssw0rd@cluster.example.net",
        "https://me:tok3nt0k@git.example.com/x.git",
        "postgresql+psycopg://a:b1c2d3@h",
    ],
    "password_assignment": [
        "password: hunter2",
        "pwd=Tr0ub4dor&3",
        "Passwort: Geheim12!",
        "mot de passe : Soleil42!",
        '"password": "p4ssw0rd!"',
        "my password is s3cret-x9.",
        "contraseña: M4driz#1",
    ],
    "high_entropy": [
        "api_key=<RANDOM>",
        "secret: <RANDOM>",
        "Authorization: Bearer <RANDOM>",
        '"token": "<RANDOM>"',
        "access_token = <HEX40>",
        "CLIENT_SECRET=<RANDOM>",
    ],
}

_LOOKALIKES = {
    "aws_access_key": [
        "<AKIA>XXXXXXXXXXXXXXXX",
        "<AKIA>",
        "<AKIA>Q3EGRUPTSN4X7YZ",
        "<AKIA><UP16>A",
        "x<AKIA><UP16>",
        "akia<UP16>",
        "ASIA IS A CONTINENT",
        "<AKIA>01890189018901",
    ],
    "aws_secret_key": [
        "commit <HEX40>",
        "<MIX40>",
        "aws secret: in the vault",
        "aws_secret_access_key = ${SECRET}",
        "aws_secret_access_key=<MIX40>a",
        "secret access key: " + "x" * 40,
        "the AWS secrets manager stores it",
        "secret access key: <MIX20>",
    ],
    "github_token": [
        "ghp_token",
        "<GH>p_" + "x" * 36,
        "<GH>p_<MIX35>",
        "<GH>x_<MIX36>",
        "github_pat_<MIX20>",
        "a<GH>p_<MIX36>",
        "the ghp_ prefix",
        "gh pr list",
    ],
    "gitlab_token": [
        "glpat-docs",
        "<GL>" + "x" * 20,
        "glxyz-<MIX20>",
        "a<GL><MIX20>",
        "GL<MIX20>",
        "<GL>short",
        "glpat",
        "gl-<MIX20>",
    ],
    "slack_token": [
        "<XOX>b-your-token-here",
        "<XOX>b-",
        "<XOX>z-123456789012-<MIX24>",
        "a<XOX>b-123456789012-<MIX24>",
        "<XOX>b-123456789012-",
        "xoxo, Jane",
        "xapp-store-2024",
        "<XOX>b-1234-<MIX24>",
    ],
    "slack_webhook": [
        "<HOOKS>/services/",
        "<HOOKS>/services/T000/B000/XXX",
        "https://slack.com/services/T0AB1CD2E/B0AB1CD2E/<MIX24>",
        "<HOOKS>/api/T0AB1CD2E/B0AB1CD2E/<MIX24>",
        "https://api.slack.com/messaging/webhooks",
        "<HOOKS>/services/T0AB1CD2E/B0AB1CD2E/short",
        "<HOOKS>",
        "ftp://hooks.slack.com/services/T0AB1CD2E",
    ],
    "stripe_key": [
        "pk_live_<MIX24>",
        "<SK>_live_xxxxxxxxxxxxxxxxxxxxxxxx",
        "<SK>_live_short",
        "<SK>_prod_<MIX24>",
        "task_live_<MIX24>",
        "<SK>_live_",
        "risk_test_results",
        "whsec_test",
    ],
    "google_api_key": [
        "AIzabel wrote",
        "<AIZA><MIX32>",
        "<AIZA>" + "x" * 35,
        "aiza<MIX35>",
        "x<AIZA><MIX35>",
        "<AIZA><MIX35>abc",
        "AIza",
        "AI za <MIX35>",
    ],
    "openai_key": [
        "<SK>-button-primary-large-rounded",
        "<SK>-<MIX20>",
        "<SK>-" + "x" * 48,
        "task-<MIX48>",
        "<SK>-proj-short",
        "<SK>-...",
        "ask-proj-<MIX48>",
        "<SK>_<MIX48>",
    ],
    "anthropic_key": [
        "<SK>-ant-api03-",
        "<SK>-ant-api03-" + "x" * 96,
        "<SK>-ant-<MIX96>",
        "ask-ant-api03-<MIX96>",
        "<SK>-ant-api03-<MIX20>",
        "<SK>-antelope",
        "ant-api03-<MIX96>",
        "<SK>-ant-API03-<MIX96>",
    ],
    "npm_token": [
        "npm_config_registry",
        "<NPM>" + "x" * 36,
        "<NPM><MIX35>",
        "<NPM><MIX48>",
        "npm install",
        "x<NPM><MIX36>",
        "NPM_<MIX36>",
        "npm-<MIX36>",
    ],
    "pypi_token": [
        "pypi-attestations",
        "<PYPI><MIX96>",
        "<PYPI>AgEIcHlwaS5vcmc",
        "x<PYPI>AgEIcHlwaS5vcmc<MIX96>",
        "pypi.org",
        "<PYPI>AgEIcHlwaS5vcmc<MIX20>",
        "PYPI-AgEIcHlwaS5vcmc<MIX96>",
        "pypi-server-2.0",
    ],
    "jwt": [
        "eyJhYmNkZWZnaGlqa2w.not.atoken",
        "eyJ.a.b",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJIUzI1NiJ9.only",
        "www.example.com",
        "a.b.c",
        "heyJude.has.dots",
        "eyJ0eXAiOiJKV1QifQ.e30.x",
    ],
    "private_key": [
        "<PEM:PUBLIC>\nMIIB\n-----END PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----\nMIIB",
        "a private key is private",
        "BEGIN PRIVATE KEY",
        "-----END PRIVATE KEY-----",
        "<PEM:RSA PUBLIC>",
        "---- BEGIN PRIVATE KEY ----",
        "ssh-rsa AAAAB3NzaC1yc2E me@host",
    ],
    "connection_string": [
        "postgres://localhost:5432/db",
        "postgres://guard:${PASSWORD}@db",
        "postgres://guard:<password>@db",
        "https://example.com:8080/@me",
        "postgres://user:password@host",
        "ssh://git@github.com/x.git",
        "redis://:****@cache",
        "mailto:a@b.example",
        "https://example.com/a:b",
    ],
    "password_assignment": [
        "The password is required.",
        "password: (at least 8 characters)",
        "Password: ********",
        "password = getpass()",
        "password=${DB_PASSWORD}",
        "password: str = Field()",
        "the password is incorrect",
        "Passwords are hashed",
        "password=settings.db.password",
        "password: 8-16characters",
        "reset your password: https://example.com/reset",
    ],
    "high_entropy": [
        "key=123e4567-e89b-12d3-a456-426614174000",
        "commit <HEX40>",
        "token: abcdefghijklmnopqrstuvwxyz",
        "the key is under the mat",
        "public_key=<RANDOM>",
        "<RANDOM>",
        "primary key: user_account_identifier_2024",
        "key: iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAA",
        "secret: xxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "token = some-long-hyphenated-slug-of-2024",
    ],
}


def _filled(text: str) -> str:
    for kind in (
        "PRIVATE",
        "RSA PRIVATE",
        "OPENSSH PRIVATE",
        "EC PRIVATE",
        "ENCRYPTED PRIVATE",
        "PUBLIC",
        "RSA PUBLIC",
    ):
        text = text.replace(f"<PEM:{kind}>", _PARTS["PEM"].format(kind))
    for name, part in _PARTS.items():
        text = text.replace(f"<{name}>", part)
    return text


def _cases(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(name, text) for name, texts in table.items() for text in texts]


def _finds(name: str, text: str) -> bool:
    return bool(PatternSet({name: PatternRule(category="pii", action="redact")}).find(_filled(text)))


@pytest.mark.parametrize(("name", "text"), _cases(_FOUND))
def test_the_secret_is_found(name: str, text: str) -> None:
    """In assignments, quotes, addresses and prose."""
    assert _finds(name, text)


@pytest.mark.parametrize(("name", "text"), _cases(_LOOKALIKES))
def test_what_opens_nothing_is_no_secret(name: str, text: str) -> None:
    """Blanks to fill in, prefixes alone, public keys, ids and hashes are no hits."""
    assert not _finds(name, text)


def test_every_secret_has_samples_enough() -> None:
    """Five texts that match and eight that do not, for each."""
    assert _FOUND.keys() == _LOOKALIKES.keys()
    assert all(len(texts) >= 5 for texts in _FOUND.values())
    assert all(len(texts) >= 8 for texts in _LOOKALIKES.values())
