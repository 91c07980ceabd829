"""Run as a program: who is told things outside. What they are sent becomes files, which are searched.

They listen on loopback: a receiver of lineage, traces and webhooks, and a mail server. What there is to reach
them by is in `places.json` in the folder.
"""

import json
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from loopback_servers import certificates, http_server
from smtp_server import mail_server

PLACES: Final = "places.json"
PAUSE_SECONDS: Final = 0.05


def serve(folder: Path) -> None:
    """Listen until the program is told to end; each request and each mail becomes a file as it comes."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    made = certificates(folder)
    with http_server() as inbox, mail_server(made.context(), implicit=True) as mailbox:
        places = {"http": inbox.url, "mail": f"smtps://localhost:{mailbox.port}", "ca": str(made.ca)}
        (folder / "places.new").write_text(json.dumps(places))
        (folder / "places.new").rename(folder / PLACES)
        kept = 0
        while not ended.wait(PAUSE_SECONDS):
            received = [(re.sub(r"\W", "", path), body) for path, _, body in list(inbox.received)]
            mails = [("mail", text.encode()) for text in list(mailbox.messages)]
            for name, body in [*received, *mails]:
                file = folder / f"{name}-{abs(hash(body))}.received"
                if not file.exists():
                    file.write_bytes(body)
                    kept += 1
    print(f"{kept} came", flush=True)  # noqa: T201 - this is a program


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
