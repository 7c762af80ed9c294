"""Run commands in a namespace of their own, and report what they tried to reach, where they listened.

This file is a program: ``unshare`` starts it with a network that holds nothing but the loopback interface, and with a
user id that the machine has no name for. It gives that interface an outer address and a default route, so that the
machine looks as any other to the commands, and nothing can leave it. Then a name look-up comes to a server here, and
every packet for another machine can be seen on the interface.

Usage: namespace_main.py REQUEST.json REPORT.json
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

OUTER = "192.0.2.1"
PR_CAP_AMBIENT, CLEAR_ALL, MS_BIND, ETH_P_ALL = 47, 4, 4096, 3
SIOCADDRT, SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP, IFF_RUNNING = 0x890B, 0x8914, 0x8916, 1, 64
LISTENING = "0A"


def address(host: str) -> bytes:
    """Return a ``struct sockaddr_in`` of a host."""
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(host))


def raise_interface() -> None:
    """Switch loopback on, and give it an outer address and the route to everywhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP | IFF_RUNNING))
        fcntl.ioctl(control, SIOCSIFADDR, struct.pack("16s16s", b"lo:1", address(OUTER)))
        device = ctypes.create_string_buffer(b"lo")
        # struct rtentry: destination, gateway and mask are zero, for the default route.
        anywhere = address("0.0.0.0") * 3
        values = (0, anywhere, 1, 0, 0, 0, 0, ctypes.addressof(device), 0, 0, 0)
        route = struct.pack("@L48sHhLPhPLLH", *values)
        fcntl.ioctl(control, SIOCADDRT, route)


def replace(path: str, content: str, folder: Path) -> None:
    """Put a file with this content in the place of a file of the machine, in this namespace only."""
    if not os.path.exists(path):
        return
    own = folder / Path(path).name
    own.write_text(content)
    if ctypes.CDLL(None, use_errno=True).mount(str(own).encode(), path.encode(), None, MS_BIND, None):
        raise OSError(ctypes.get_errno(), f"cannot replace {path}")


def in_background(work: Any, *arguments: Any) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


def serve_names(asked: set[str]) -> None:
    """Answer every name look-up with "there is no such name", and record the name."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def serve() -> None:
        while True:
            query, client = server.recvfrom(4096)
            labels, at = [], 12
            while at < len(query) and query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode(errors="replace"))
                at += 1 + query[at]
            asked.add(".".join(labels))
            server.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + query[12 : at + 5], client)

    in_background(serve)


def watch_packets(sent: set[str]) -> None:
    """Record the destination of each packet that is not for a loopback address."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))

    def watch() -> None:
        while True:
            packet = tap.recv(65535)
            if packet[0] >> 4 == 4 and packet[16] != 127:
                head = (packet[0] & 15) * 4
                port = struct.unpack("!H", packet[head + 2 : head + 4])[0] if packet[9] in (6, 17) else 0
                sent.add(f"{socket.inet_ntoa(packet[16:20])}:{port}")
            elif packet[0] >> 4 == 6 and packet[24:40] != bytes(15) + b"\1":
                sent.add(socket.inet_ntop(socket.AF_INET6, packet[24:40]))

    in_background(watch)


def is_loopback(words: str) -> bool:
    """Return whether an address of /proc/net/tcp* (words of 4 bytes, in the byte order of the machine) is loopback."""
    host = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    return (
        host[0] == 127 if len(host) == 4 else host == bytes(15) + b"\1" or host.startswith(bytes(10) + b"\xff\xff\x7f")
    )


def owner(inode: str) -> str:
    """Return the command line of the process that holds a socket."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            folder = f"/proc/{process}/fd"
            if any(os.readlink(f"{folder}/{name}") == f"socket:[{inode}]" for name in os.listdir(folder)):
                words = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ")
                return words.decode(errors="replace")[:200]
        except OSError:  # It has ended, or belongs to somebody else.
            continue
    return "a process that has ended"


def watch_sockets(report: dict[str, Any]) -> None:
    """Look again and again for what listens, and for folders of this user that others may write to."""
    seen: set[str] = set()

    def look() -> None:
        for name in ("tcp", "tcp6"):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == LISTENING and words[9] not in seen:
                    seen.add(words[9])
                    place = "on_loopback" if is_loopback(words[1].partition(":")[0]) else "on_other_addresses"
                    report[place].append(f"{words[1]} {owner(words[9])}")
        for entry in os.scandir(os.environ["TMPDIR"]):
            try:
                mode = entry.stat(follow_symlinks=False).st_mode
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(mode) and mode & 0o022 and entry.path not in report["open_folders"]:
                report["open_folders"].append(entry.path)

    def watch() -> None:
        while True:
            try:
                look()
            except Exception as error:
                report["faults"].append(repr(error))
            time.sleep(0.1)

    in_background(watch)


def main(request_file: str, report_file: str) -> None:
    request = json.loads(Path(request_file).read_text())
    folder = Path(report_file).parent
    asked, sent = set[str](), set[str]()
    report: dict[str, Any] = {"runs": [], "on_loopback": [], "on_other_addresses": [], "open_folders": []}
    report["faults"] = []  # of this program itself
    raise_interface()
    replace("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", folder)
    replace("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n", folder)
    serve_names(asked)
    watch_packets(sent)
    watch_sockets(report)
    # The commands get no capability: then they may do no more than the user id may.
    ctypes.CDLL(None).prctl(PR_CAP_AMBIENT, CLEAR_ALL, 0, 0, 0)
    for run in request["runs"]:
        before = asked | sent
        done = subprocess.run(
            run["command"], cwd=run["cwd"], env=run["environment"], capture_output=True, text=True, check=False
        )
        time.sleep(0.2)
        attempts = sorted((asked | sent) - before)
        report["runs"].append({"code": done.returncode, "out": done.stdout, "err": done.stderr, "attempts": attempts})
        if done.returncode != run["code"]:
            break
    report |= {"names": sorted(asked), "packets": sorted(sent)}
    Path(report_file).write_text(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
