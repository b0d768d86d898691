# SPDX-License-Identifier: Apache-2.0
"""slow_clients.py PORT COUNT: clients that send a request byte by byte for ever, and call again when
they are hung up on. Says how many there are, once all of them have called."""
import socket
import sys
import time

PORT, COUNT = int(sys.argv[1]), int(sys.argv[2])


def call():
    s = socket.create_connection(("127.0.0.1", PORT))
    s.setblocking(False)
    s.send(b"GET /api/v1/top HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    return s


clients = [call() for _ in range(COUNT)]
print(COUNT, flush=True)
while True:
    time.sleep(1)
    for i, s in enumerate(clients):
        try:
            s.send(b"a")
            if s.recv(1) == b"":
                raise ConnectionError
        except BlockingIOError:
            pass
        except OSError:
            s.close()
            clients[i] = call()
