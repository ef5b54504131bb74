"""Copied as sitecustomize.py before an interpreter starts: no network, and no program but Python itself."""

import sys


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Raise where the process would look outside."""
    if event in {"socket.connect", "socket.getaddrinfo", "socket.bind"}:
        message = f"the network was used: {event} {arguments}"
        raise PermissionError(message)
    if event == "subprocess.Popen" and arguments[0] != sys.executable:
        message = f"another program was used: {arguments}"
        raise PermissionError(message)


sys.addaudithook(refuse)
