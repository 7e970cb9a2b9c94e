"""Tell systemd that a daemon is ready and alive (sd_notify(3)); nothing where it did not start us."""

import os
import socket


def notify(text: str) -> None:
    """Send a word to the service manager; one that does not listen is none of our business."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # A name that begins with @ lies in the abstract namespace, which the kernel writes with a NUL.
    place = f"\0{address[1:]}" if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(text.encode(), place)
    except OSError:
        return
