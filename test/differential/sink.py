# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers for the cases of chance: SMTP on 127.0.0.1 - 127.0.0.6 port 2525 (nothing listens on .3), LMTP on a socket.

What a recipient is told hangs on its local part (perm, temp, data, drop), what a client is told on the address:
.2 defers all recipients, .4 greets with 554, .5 closes at MAIL, .6 knows no extension.  Conversations go into a file.
"""
import os
import socket
import threading

EXTENSIONS = "250-sink\r\n250-SIZE 100000\r\n250-8BITMIME\r\n250-PIPELINING\r\n250-DSN\r\n250 HELP"


class Sink:
    def __init__(self, socket_path):
        self.log, self.active, self.lock = None, 0, threading.Lock()
        for n in (1, 2, 4, 5, 6):
            self.listen(socket.AF_INET, ("127.0.0.%d" % n, 2525), n)
        self.listen(socket.AF_UNIX, socket_path, 0)
        os.chmod(socket_path, 0o777)

    def listen(self, family, address, number):
        s = socket.socket(family, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(address)
        s.listen(20)
        threading.Thread(target=self.serve, args=(s, number), daemon=True).start()

    def serve(self, listener, number):
        while True:
            client = listener.accept()[0]
            with self.lock:
                self.active += 1
            lines = ["connection to %d" % number]
            try:
                client.settimeout(20)
                Conversation(client, number, lines).run()
            except OSError:
                lines.append("broken off")
            client.close()
            with self.lock, open(self.log, "a", encoding="latin-1", newline="") as out:
                out.write("\n".join(lines) + "\n")
                self.active -= 1


class Conversation:
    def __init__(self, client, number, lines):
        self.client, self.number, self.lines, self.accepted = client, number, lines, []
        self.input = client.makefile("rb")

    def say(self, text):
        self.client.sendall((text + "\r\n").encode())

    def line(self):
        got = self.input.readline().decode("latin-1")
        if got:
            self.lines.append(got.rstrip("\n").replace("\r", "") if got.endswith("\r\n") else repr(got))
        return got.rstrip("\r\n") if got else None

    def run(self):
        self.say("554 no service" if self.number == 4 else "220 sink ready")
        self.is_lmtp = False
        while True:
            line = self.line()
            if line is None:
                return
            verb = line[:4].upper()
            if verb == "QUIT":
                return self.say("221 bye")
            if not self.command(verb, line):
                return

    def command(self, verb, line):
        if verb in ("EHLO", "LHLO", "HELO"):
            self.is_lmtp = verb == "LHLO"
            self.say("250 sink" if self.number == 6 else EXTENSIONS)
        elif verb == "MAIL":
            self.accepted = []
            if self.number == 5:
                return False
            self.say("250 sender fine")
        elif verb == "RCPT":
            return self.recipient(line.split("<")[-1])
        elif verb == "DATA":
            return self.data()
        else:
            self.say("250 ok")
        return True

    def recipient(self, who):
        if "drop" in who:
            return False
        if "perm" in who:
            self.say("550 5.1.1 no such user\tthere" if self.number == 6 else "550-first line\r\n550 no such user")
        elif "temp" in who or self.number == 2:
            self.say("451 4.2.1 try again")
        else:
            self.accepted.append(who)
            self.say("250 recipient fine")
        return True

    def data(self):
        if not self.accepted:
            self.say("503 no recipients")
            return True
        self.say("354 go on")
        while True:
            line = self.line()
            if line is None:
                return False
            if line == ".":
                break
        for who in self.accepted if self.is_lmtp else self.accepted[:1]:
            refuse = "data" in who if self.is_lmtp else any("data" in x for x in self.accepted)
            self.say(("450 not this text" if self.number == 6 else "552 text refused") if refuse else "250 taken " + "x" * len(self.accepted))
        return True
