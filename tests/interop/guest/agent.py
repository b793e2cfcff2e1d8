#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What runs in the guest: requests come in over a virtio-serial port, a line of JSON each.

{"id": 1, "do": NAME, ...} is answered by {"id": 1, "ok": VALUE} or {"id": 1, "error": TEXT}.
Packets are sent from threads that are bound to a CPU, so the test says which of the
kernel's per-CPU SAs takes them. Nothing here knows of IPsec.
"""

import glob
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time
import traceback

PORT_NAME = "agent"  # of the virtio-serial port
IP_PMTUDISC = (socket.IPPROTO_IP, 10)  # IP_MTU_DISCOVER
IPV6_PMTUDISC = (socket.IPPROTO_IPV6, 23)
PMTUDISC_DONT, PMTUDISC_DO = 0, 2
BUFFER = 8 << 20
SO_RCVBUFFORCE = 33
UDP_ENCAP, UDP_ENCAP_ESPINUDP = 100, 2

sinks = {}
servers = {}
encaps = []


def udp_socket(address, port=0, df=False):
    """A bound UDP socket; without df what is too big goes in fragments."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM)
    option = IPV6_PMTUDISC if family == socket.AF_INET6 else IP_PMTUDISC
    s.setsockopt(*option, PMTUDISC_DO if df else PMTUDISC_DONT)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    s.bind((address, port))
    return s


def payload(number, size):
    """A number, and bytes that follow from it."""
    head = struct.pack("!Q", number)
    return (head + hashlib.sha256(head).digest() * (size // 32 + 1))[:size]


def on_cpu(cpu, function):
    """What the function returns, called on this CPU (None: wherever)."""
    result = {}

    def body():
        try:
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            result["value"] = function()
        except Exception as err:  # for whoever asked
            result["error"] = err

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if "error" in result:
        raise result["error"]
    return result["value"]


def do_encap(port, ip6=False):
    """The socket by which the kernel takes ESP out of UDP on a port."""
    s = socket.socket(socket.AF_INET6 if ip6 else socket.AF_INET, socket.SOCK_DGRAM)
    if ip6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
    s.bind(("", port))
    encaps.append(s)


def do_encap_end():
    """No such socket any more, nor one of the gateway's script for a peer."""
    while encaps:
        encaps.pop().close()
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                if b"esp-in-udp" in f.read():
                    os.kill(int(path.split("/")[2]), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            pass  # it ended by itself


def do_run(script, seconds=30):
    """A shell script: its status and what it wrote."""
    done = subprocess.run(["/bin/sh", "-c", script], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
                          check=False)
    return [done.returncode, done.stdout.decode(errors="replace")]


def do_console(path, command):
    """A command for a gateway that runs here: did it go well, and what did it say?"""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60)
        s.connect(path)
        s.sendall(f"E{command}\n".encode())
        text = b""
        while text[-2:-1] != b"\0":
            data = s.recv(1 << 16)
            if not data:
                raise EOFError(f"{command}: the console went away")
            text += data
    return [text[-1:] == b"0", text[:-2].decode()]


def do_ping(address, cpu):
    """Is an echo request from this CPU answered?"""
    def body():
        return subprocess.run(["/busybox/ping", "-c", "1", "-W", "2", address],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0

    return on_cpu(cpu, body)


def do_file(path, text):
    """Write a file."""
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def do_ip(commands):
    """Commands for iproute2, without the "ip": all in one process."""
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(commands).encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
                          check=False)
    if done.returncode != 0:
        raise ValueError(done.stdout.decode(errors="replace"))


def do_xfrm():
    """What the kernel says of its SAs, and of packets that it refused."""
    states = subprocess.run(["ip", "-s", "xfrm", "state"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, timeout=60, check=True).stdout.decode()
    with open("/proc/net/xfrm_stat", encoding="ascii") as f:
        return [states, f.read()]


def do_send(src, dst, port, numbers, sizes=(32,), cpu=None, flows=1, df=False, tries=1):
    """UDP packets with numbers from the first to before the last in them, from one CPU.

    They go round the sizes (of the UDP payload) and the flows, which have a source port each.
    What is refused is tried so many times, before the next one is sent.
    Returns the errors: number and errno, of every try.
    """
    def body():
        errors = []
        sockets = [udp_socket(src, df=df) for _ in range(flows)]
        for number in range(*numbers):
            size = sizes[number % len(sizes)]
            for _ in range(tries):
                try:
                    sockets[number % flows].sendto(payload(number, size), (dst, port))
                    break
                except OSError as err:
                    errors.append([number, err.errno])
        for s in sockets:
            s.close()
        return errors

    return on_cpu(cpu, body)


def do_send_during(script, after, **how):
    """As do_send(), and a shell script that starts when so many packets were sent."""
    low, high = how["numbers"]
    errors = do_send(**{**how, "numbers": [low, low + after]})
    process = subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.DEVNULL)
    while process.poll() is None and low + after < high - 100:
        errors += do_send(**{**how, "numbers": [low + after, low + after + 20]})
        after += 20
    if process.wait() != 0:
        raise ValueError(f"exit {process.returncode}: {script}")
    return errors + do_send(**{**how, "numbers": [low + after, high]})


class Sink(threading.Thread):
    """Takes UDP packets and keeps their numbers; those with other bytes count as broken."""

    def __init__(self, address, port):
        super().__init__(daemon=True)
        self.socket = udp_socket(address, port)
        self.numbers = []
        self.broken = 0
        self.start()

    def run(self):
        while True:
            data = self.socket.recv(65536)
            if not data:
                return
            number = struct.unpack_from("!Q", data)[0] if len(data) >= 8 else -1
            if data == payload(number, len(data)):
                self.numbers.append(number)
            else:
                self.broken += 1


def do_sink(address, port):
    """Start taking packets."""
    sinks[address, port] = Sink(address, port)


def do_sunk(address, port):
    """What came since do_sink()."""
    sink = sinks[address, port]
    return {"numbers": list(sink.numbers), "broken": sink.broken}


def do_sink_end(address, port):
    """Stop taking packets."""
    sink = sinks.pop((address, port))
    with udp_socket(address) as s:
        s.sendto(b"", (address, port))
    sink.join()
    sink.socket.close()


def stream(number, count):
    """Bytes that follow from a number."""
    block = hashlib.sha256(struct.pack("!Q", number)).digest() * 512
    while count > 0:
        yield block[:count]
        count -= len(block)


def do_tcp_serve(address, port):
    """Take one TCP connection: answers 32 bytes of SHA-256 over what came before the end."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(1)

    def body():
        with listener:
            connection, _ = listener.accept()
        digest = hashlib.sha256()
        with connection:
            while True:
                data = connection.recv(1 << 16)
                if not data:
                    break
                digest.update(data)
            connection.sendall(digest.digest())

    servers[port] = threading.Thread(target=body, daemon=True)
    servers[port].start()


def do_tcp_send(src, dst, port, count, cpu=None, seconds=60):
    """Send bytes to such a server: does its answer fit? Returns the seconds it took."""
    def body():
        family = socket.AF_INET6 if ":" in src else socket.AF_INET
        digest = hashlib.sha256()
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(seconds)
            s.bind((src, 0))
            s.connect((dst, port))
            began = time.monotonic()
            for block in stream(count, count):
                digest.update(block)
                s.sendall(block)
            s.shutdown(socket.SHUT_WR)
            answer = b""
            while True:
                more = s.recv(64)
                if not more:
                    break
                answer += more
            if answer != digest.digest():
                raise ValueError(f"of {count} bytes not all arrived as they were")
            return time.monotonic() - began

    return on_cpu(cpu, body)


def do_tcp_under_way(port):
    """How many connections of a port may still send something."""
    ended = ("06", "0A")  # TIME_WAIT, LISTEN
    count = 0
    for name in ("tcp", "tcp6"):
        with open(f"/proc/thread-self/net/{name}", encoding="ascii") as f:
            for line in f.readlines()[1:]:
                words = line.split()
                ports = [int(w.split(":")[1], 16) for w in words[1:3]]
                count += port in ports and words[3] not in ended
    return count


def answer(request):
    """What a request gives."""
    number = request.pop("id")
    name = request.pop("do")
    try:
        return {"id": number, "ok": globals()["do_" + name](**request)}
    except Exception:
        return {"id": number, "error": traceback.format_exc(limit=4)}


def open_port():
    """The port with our name, which has a number of its own."""
    for path in glob.glob("/sys/class/virtio-ports/*/name"):
        with open(path, encoding="ascii") as f:
            if f.read().strip() == PORT_NAME:
                return os.open("/dev/" + path.split("/")[-2], os.O_RDWR)
    raise FileNotFoundError(f"a virtio-serial port with the name {PORT_NAME}")


def main():
    """Requests one after the other."""
    fd = open_port()
    os.write(fd, b'{"id": 0, "ok": "up"}\n')
    waiting = b""
    while True:
        data = os.read(fd, 1 << 16)
        if not data:  # nobody at the other end
            time.sleep(0.1)
            continue
        waiting += data
        while b"\n" in waiting:
            line, waiting = waiting.split(b"\n", 1)
            text = json.dumps(answer(json.loads(line))).encode() + b"\n"
            while text:
                text = text[os.write(fd, text):]


if __name__ == "__main__":
    main()
