"""Prints as many free ports of 127.0.0.1 as it is asked for."""

import socket
import sys

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(listener.getsockname()[1] for listener in sockets))
