"""What each kind of channel receives, over real HTTP, TLS and SMTP."""

import base64
import json
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import pytest
from loopback_servers import certificates, http_server
from notify_support import NOTICE, SECRETS, channel
from pydantic import ValidationError
from shelf import REFERENCE, RemoteShelf
from smtp_server import mail_server

from secure_platform.errors import IntegrityError, UsageError
from secure_platform.notify.channels import send
from secure_platform.notify.guard import UndeliveredError
from secure_platform.notify.mail import compose
from secure_platform.notify.verify import sign, verify

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
TEXT = "Release 7 of healthcare waits for approval (production)."
MAIL: dict[str, Any] = {
    "sender": "platform@data.example.org",
    "recipients": ("a@example.org", "b@example.org"),
}


def _received(tmp_path: Path, kind: str, **given: Any) -> tuple[str, dict[str, str], Any]:
    with http_server() as inbox:
        send(channel(tmp_path, kind, inbox.url, **given), NOTICE, SECRETS)
    ((path, headers, body),) = inbox.received
    return path, headers, json.loads(body)


def test_slack_gets_the_sentence_and_a_button(tmp_path: Path) -> None:
    path, _, body = _received(tmp_path, "slack", secret="T0/B0/xyz")
    assert path == "/hook/T0/B0/xyz"
    assert body["text"] == TEXT
    assert [block["type"] for block in body["blocks"]] == ["section", "context", "actions"]
    assert body["blocks"][2]["elements"][0]["url"] == NOTICE.link


def test_servicenow_gets_a_change_request_with_the_ticket(tmp_path: Path) -> None:
    _, headers, body = _received(tmp_path, "servicenow", user="svc")
    assert headers["authorization"] == "Basic " + base64.b64encode(b"svc:s3cret").decode()
    assert (body["correlation_id"], body["parent"]) == (NOTICE.release, "CHG0030192")
    assert body["short_description"] == TEXT


def test_pagerduty_gets_one_incident_per_release(tmp_path: Path) -> None:
    _, _, body = _received(tmp_path, "pagerduty", secret="routing")
    assert (body["routing_key"], body["event_action"], body["dedup_key"]) == (
        "routing",
        "trigger",
        NOTICE.release,
    )
    assert (body["payload"]["summary"], body["payload"]["severity"]) == (TEXT, "info")


def test_a_webhook_is_verified_by_its_receiver(tmp_path: Path) -> None:
    with http_server() as inbox:
        send(channel(tmp_path, "webhook", inbox.url, secret=SECRET), NOTICE, SECRETS)
    ((_, headers, body),) = inbox.received
    assert verify(SECRET, headers, body) == NOTICE.notice_id
    assert json.loads(body) == NOTICE.to_json()


@pytest.mark.parametrize("what", ["body", "webhook-id", "webhook-timestamp", "webhook-signature", "secret"])
def test_a_webhook_that_was_changed_anywhere_is_refused(what: str) -> None:
    headers, body = _signed()
    secret = "whsec_" + base64.b64encode(b"x" * 32).decode() if what == "secret" else SECRET
    if what in headers:
        headers[what] = headers[what][:-2] + "00"
    with pytest.raises(IntegrityError):
        verify(secret, headers, b"{}" if what == "body" else body, tolerance=1e12)


@pytest.mark.parametrize("timestamp", ["0", "99999999999", "-1", "", "١٢", "1e3"])
def test_an_old_or_odd_timestamp_is_refused_though_it_is_signed(timestamp: str) -> None:
    headers, body = _signed(timestamp)
    with pytest.raises(IntegrityError, match="too long ago"):
        verify(SECRET, headers, body)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's reference libraries."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", ["", "s3cret", "whsec_", "whsec_AAAA", "whsec_not base64"])
def test_a_weak_signing_secret_is_refused(secret: str) -> None:
    with pytest.raises(UsageError, match="webhook's secret"):
        sign(secret, "id", "1", b"")


@pytest.mark.parametrize("implicit", [False, True])
def test_an_email_goes_over_tls_after_a_login(implicit: bool, tmp_path: Path) -> None:  # noqa: FBT001
    made = certificates(tmp_path)
    with mail_server(made.context(), implicit=implicit) as mailbox:
        url = f"{'smtps' if implicit else 'smtp'}://localhost:{mailbox.port}"
        send(channel(tmp_path, "email", url, user="me", ca=made.ca, **MAIL), NOTICE, SECRETS)
    message = message_from_string(mailbox.messages[0], policy=policy.default)
    assert mailbox.encrypted == [True]
    assert mailbox.logins == ["\0me\0s3cret"]
    assert (message["Subject"], message["To"]) == (TEXT, "a@example.org, b@example.org")
    assert message["Message-ID"] == f"<{NOTICE.notice_id}@data.example.org>"
    assert str(NOTICE.link) in mailbox.messages[0].replace("=\r\n", "").replace("=3A", ":")
    assert [line for line in mailbox.commands if line.startswith("rcpt")] == [
        "rcpt TO:<a@example.org>",
        "rcpt TO:<b@example.org>",
    ]


def test_a_mail_server_without_tls_gets_nothing(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    with mail_server(made.context(), starttls=False) as mailbox:
        settings = channel(
            tmp_path, "email", f"smtp://localhost:{mailbox.port}", user="me", ca=made.ca, **MAIL
        )
        with pytest.raises(UndeliveredError, match="refused the e-mail: SMTPNotSupportedError"):
            send(settings, NOTICE, SECRETS)
    assert (mailbox.logins, mailbox.messages) == ([], [])


@pytest.mark.parametrize("address", ["a@b.example\r\nBcc: evil@example.org", "a\0@b", "a@b.example\nX: y"])
def test_an_address_cannot_add_a_header(address: str, tmp_path: Path) -> None:
    settings = channel(tmp_path, "email", "smtps://localhost", sender=address, recipients=("a@example.org",))
    try:
        message = compose(settings, NOTICE)
    except UsageError:
        return
    assert set(message.keys()) <= {
        *("From", "To", "Subject", "Date", "Message-ID"),
        *("Content-Type", "Content-Transfer-Encoding", "MIME-Version"),
    }
    assert "\n" not in message["From"].strip()


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = channel(tmp_path, "slack", "https://example.org")
    (tmp_path / "slack.secret").chmod(0o644)
    with pytest.raises(UsageError, match="only 0600 keeps it secret"):
        send(settings, NOTICE, SECRETS)
    (tmp_path / "slack.secret").unlink()
    with pytest.raises(UsageError, match="does not exist"):
        send(settings, NOTICE, SECRETS)


def test_a_channel_that_refuses_its_secret_gets_the_newest_one_and_no_other_twice(tmp_path: Path) -> None:
    shelf = RemoteShelf("one")
    secrets = shelf.remembered_by()
    with http_server(status=401) as inbox:
        settings = channel(tmp_path, "pagerduty", inbox.url).model_copy(update={"secret": REFERENCE})
        for tried in (["one"], ["one", "two"], ["two"]):
            inbox.received.clear()
            with pytest.raises(UndeliveredError):
                send(settings, NOTICE, secrets)
            assert [json.loads(body)["routing_key"] for body in inbox.bodies] == tried
            shelf.value = "two"
            shelf.later()


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("slack", {"secret": None}),
        ("webhook", {"secret": None}),
        ("servicenow", {"user": None}),
        ("pagerduty", {"secret": None}),
        ("email", {"sender": "a@example.org", "recipients": ()}),
        ("slack", {"events": ("release.pendin",)}),
        ("slack", {"allow": ("not a network",)}),
        ("slack", {"name": "Not a name"}),
    ],
)
def test_a_channel_that_could_never_deliver_is_refused_when_it_is_read(
    kind: str, given: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ValidationError):
        channel(tmp_path, kind, "https://example.org", **given)


def _signed(timestamp: str = "1614265330") -> tuple[dict[str, str], bytes]:
    body = b'{"a":1}'
    return {
        "webhook-id": "id-1",
        "webhook-timestamp": timestamp,
        "webhook-signature": sign(SECRET, "id-1", timestamp, body),
    }, body
