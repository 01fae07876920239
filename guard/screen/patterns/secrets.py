"""Secrets: keys and passwords that open something for whoever reads them.

Examples are put together at import: a repository's secret scanner must not take them for real.
"""

import base64
import re

from guard.screen.patterns.checksums import entropy, is_jwt
from guard.screen.patterns.pattern import Pattern

__all__ = ["SECRETS"]

_FEWEST_BITS = 3.5
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_IMAGE = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "PHN2Zy")
_ASSIGNED = r"[\"'`]?\s{0,3}(?::|=>|=|\bis\b)\s{0,3}[\"'`]?"
_MIXED = "a1B2c3D4e5F6g7H8"
_ASKED_FOR = (
    r"(?:password|passwd|passphrase|passcode|pwd|passwort|kennwort|mot\sde\spasse|contraseña|wachtwoord"
    r"|senha|parola\sd'ordine)"
)
_JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"example"}', b"not a signature")
)


def _is_no_blank(token: str) -> bool:
    """Whether a token's last characters vary: those of a placeholder (`XXXXXXXX`) do not."""
    return len(set(token[-16:])) >= 4


def _has_password(url: str) -> bool:
    """Whether a URL's password is one, and no blank to fill in."""
    return _is_filled(url.partition("://")[2].rpartition("@")[0].partition(":")[2])


def _is_filled(text: str) -> bool:
    return not (
        len(set(text)) < 3
        or text[0] in "$<{[%"
        or text.lower() in {"password", "passwd", "pass", "pwd", "secret", "changeme"}
    )


def _is_password(text: str) -> bool:
    """Letters with a digit or symbol among them; not code, not a blank to fill in."""
    if not _is_filled(text) or re.search(r"[(){}\[\]]|\w\.\w+\.?\w|^\d|://", text):
        return False
    return any(c.isalpha() for c in text) and any(c.isdigit() or c in "!@#$%^&*+=?" for c in text)


def _is_random(text: str) -> bool:
    """Looks drawn by lot: three kinds of characters well mixed, or 32 and more hexadecimal digits."""
    if (
        _UUID.fullmatch(text)
        or text.startswith(_IMAGE)
        or entropy(text) < (3.0 if re.fullmatch("[0-9a-f]+|[0-9A-F]+", text) else _FEWEST_BITS)
    ):
        return False
    if re.fullmatch(r"[0-9a-f]{32,}|[0-9A-F]{32,}", text):
        return True
    turns = len(re.findall(r"[A-Za-z](?=\d)|\d(?=[A-Za-z])", text))
    return turns >= 3 and re.search("[A-Z]", text) is not None and re.search("[a-z]", text) is not None


def _token(name: str, title: str, regex: str, example: str, lookalike: str) -> Pattern:
    return Pattern(
        name=name,
        title=title,
        placeholder=name.upper(),
        regex=regex,
        example=example,
        lookalike=lookalike,
        valid=_is_no_blank,
    )


SECRETS = (
    _token(
        "aws_access_key",
        "An AWS access key's id",
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",
        "Use AKI" + "AQ3EGRUPTSN4X7YZB.",
        "Use AKI" + "AXXXXXXXXXXXXXXXX.",
    ),
    Pattern(
        name="aws_secret_key",
        title="An AWS secret access key, after its label",
        placeholder="AWS_SECRET_KEY",
        regex=r"(?i)(?:aws.{0,20}secret|secret[_ -]?access[_ -]?key).{0,20}?"
        + _ASSIGNED
        + r"(?P<value>[A-Za-z0-9/+]{40})(?:$|[^A-Za-z0-9/+=])",
        example="aws_secret_access_key = " + "a1B2c3D4/+" * 4,
        lookalike="the commit is " + "a1b2c3d4e5" * 4,
        valid=_is_no_blank,
    ),
    _token(
        "github_token",
        "A GitHub token",
        r"\b(?:gh[oprsu]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})\b",
        "export GH=" + "ghp_" + "a1B2c3" * 6,
        "the variable ghp_token is unset",
    ),
    _token(
        "gitlab_token",
        "A GitLab token",
        r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|oas)-[A-Za-z0-9_-]{20,64}",
        "export GL=" + "glpat-" + "a1B2c3D4e5" * 2,
        "see glpat-docs for more",
    ),
    _token(
        "slack_token",
        "A Slack token",
        r"\b(?:xox[abeoprs]-\d{5,14}-[A-Za-z0-9-]{10,200}|xoxe(?:\.xox[bp])?-\d-[A-Za-z0-9]{60,300}"
        r"|xapp-\d-[A-Z0-9]{8,14}-\d{8,14}-[a-z0-9]{40,80})",
        "token " + "xoxb" + "-123456789012-" + "a1B2c3D4e5F6",
        "the prefix xoxb-your-token-here is a blank",
    ),
    _token(
        "slack_webhook",
        "A Slack webhook's address",
        r"https://hooks\.slack\.com/(?:services|workflows|triggers)/T[A-Z0-9]{7,12}/[A-Z0-9]{8,13}"
        r"/[A-Za-z0-9]{18,32}",
        "post to https://hooks.slack" + ".com/services/T0AB1CD2E/B0AB1CD2E/" + "a1B2c3D4" * 3,
        "see https://hooks.slack.com/services/ for more",
    ),
    _token(
        "stripe_key",
        "A Stripe secret key or webhook secret",
        r"\b(?:[rs]k_(?:live|test)_[A-Za-z0-9]{16,247}|whsec_[A-Za-z0-9+/]{32,64})",
        "stripe " + "sk_" + "live_" + "a1B2c3D4" * 3,
        "stripe pk_" + "live_" + "a1B2c3D4" * 3,
    ),
    _token(
        "google_api_key",
        "A Google API key",
        r"\bAIza[A-Za-z0-9_-]{35}",
        "maps key " + "AIza" + "a1B2c3D" * 5,
        "AIzabel wrote to us",
    ),
    _token(
        "openai_key",
        "An OpenAI key",
        r"\b(?:sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,200}|sk-[A-Za-z0-9]{48}\b)",
        "key " + "sk-" + "proj-" + "a1B2c3D4" * 6,
        "the class sk-button-primary-large-rounded is styled",
    ),
    _token(
        "anthropic_key",
        "An Anthropic key",
        r"\bsk-ant-[a-z]{3,8}\d{2}-[A-Za-z0-9_-]{60,140}",
        "key " + "sk-" + "ant-api03-" + _MIXED * 6,
        "keys begin with sk-ant-api03- there",
    ),
    _token(
        "npm_token",
        "An npm token",
        r"\bnpm_[A-Za-z0-9]{36}\b",
        "//registry/:_authToken=" + "npm_" + "a1B2c3" * 6,
        "npm_config_registry is set",
    ),
    _token(
        "pypi_token",
        "A PyPI token",
        r"\bpypi-AgE(?:IcHlwaS5vcmc|NdGVzdC5weXBpLm9yZw)[A-Za-z0-9_-]{50,250}",
        "password " + "pypi-" + "AgEIcHlwaS5vcmc" + _MIXED * 5,
        "the package pypi-attestations is on PyPI",
    ),
    Pattern(
        name="jwt",
        title="A JSON web token",
        placeholder="JWT",
        regex=r"\beyJ[A-Za-z0-9_-]{8,600}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*",
        example=f"Authorization: Bearer {_JWT}",
        lookalike="eyJhYmNkZWZnaGlqa2w.not.atoken",
        valid=is_jwt,
    ),
    Pattern(
        name="private_key",
        title="A private key's PEM block, whole or cut off",
        placeholder="PRIVATE_KEY",
        regex=r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:\s{0,2}[A-Za-z-]{1,20}: [^\n]{0,100}\n){0,4}[A-Za-z0-9+/=\s\\,:()]*"
        r"(?:-----END (?:[A-Z0-9]{2,12} ){0,2}PRIVATE KEY(?: BLOCK)?-----)?",
        example="-----BEGIN RSA PRIVATE" + " KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----",
        lookalike="-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
    ),
    Pattern(
        name="connection_string",
        title="An address with a user's password in it",
        placeholder="CONNECTION_STRING",
        regex=r"\b[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s:@/\"'<>]{0,64}:[^\s@/\"'<>]{3,128}@[^\s@/\"'<>,;)]{1,255}",
        example="postgres://guard:" + "s3cr3tpw@db.internal:5432",
        lookalike="postgres://guard:${PASSWORD}@db.internal:5432",
        valid=_has_password,
    ),
    Pattern(
        name="password_assignment",
        title="A password, after its label",
        placeholder="PASSWORD",
        regex=rf"(?i)\b{_ASKED_FOR}" + _ASSIGNED + r"(?P<value>[^\s\"'`,;<>]{5,63}[^\s\"'`,;<>.:)])",
        example="The password is hunter2!",
        lookalike="The password is required.",
        valid=_is_password,
    ),
    Pattern(
        name="high_entropy",
        title="A long random text after a label such as key, token or secret",
        placeholder="SECRET",
        regex=r"(?i)(?P<unless>\b(?:public|foreign|primary|cache|sort|partition)[_ -]?key"
        + _ASSIGNED
        + r"\S{1,200})|(?:key|token|secret|credential|bearer|authorization)s?(?:"
        + _ASSIGNED
        + r"|\s)(?P<value>[A-Za-z0-9+/_~.-]{20,200}={0,2})",
        example="api_key=" + "q7Rk2Lw9Xv4Tn8Zb3Mp6",
        lookalike="key=123e4567-e89b-12d3-a456-426614174000",
        valid=_is_random,
    ),
)
