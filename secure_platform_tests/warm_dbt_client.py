"""What stands where dbt would: hands arguments, environment, folder and streams on, and ends as dbt ended."""

import json
import os
import select
import socket
import sys

with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
    link.connect(sys.argv[1])
    request = {"command": sys.argv[2:], "environment": dict(os.environ), "folder": os.getcwd()}  # noqa: PTH109 - starts fast
    socket.send_fds(link, [json.dumps(request).encode()], [0, 1, 2])
    process = os.pidfd_open(int(link.recv(32)))
    answer = link.recv(1)
    select.select([process], [], [])
sys.exit(answer[0] if answer else 1)
