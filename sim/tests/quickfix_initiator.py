"""A real FIX engine as the client of the live mock exchange: the QuickFIX initiator with its own data dictionaries.

Usage: quickfix_initiator.py VERSION HOST:PORT SYMBOL FOLDER [DICTIONARIES]
Logs on, trades, is dropped by the exchange (which the test arranges), comes back, asks for what it missed, trades on,
logs out. Prints `ready`, then one JSON object. Any session-level reject, in either direction, is an error, as is every message that
QuickFIX itself does not like.
"""

import json
import os
import sys
import threading
import time

import quickfix as fix

VERSIONS = {"4.2": ("FIX.4.2", "FIX42.xml"), "4.4": ("FIX.4.4", "FIX44.xml"), "5.0sp2": ("FIXT.1.1", "FIX50SP2.xml")}


class Client(fix.Application):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()
        self.session = None
        self.seen = {"logons": 0, "logouts": 0, "reports": 0, "copies": 0, "fills": 0, "cancelled": 0, "replaced": 0,
                     "resend_requests": 0, "rejects": []}
        self.status = {}
        self.price = None
        self.next = 1

    def value(self, message, field):
        return message.getField(field) if message.isSetField(field) else ""

    def onCreate(self, session):
        self.session = session

    def onLogon(self, session):
        self.seen["logons"] += 1

    def onLogout(self, session):
        self.seen["logouts"] += 1

    def toAdmin(self, message, session):
        self.admin(message)

    def fromAdmin(self, message, session):
        self.admin(message)

    def admin(self, message):
        kind = message.getHeader().getField(35)
        if kind == "3":
            self.seen["rejects"].append(message.toString().replace("\x01", "|"))
        if kind == "2":
            self.seen["resend_requests"] += 1

    def toApp(self, message, session):
        pass

    def fromApp(self, message, session):
        kind = message.getHeader().getField(35)
        if kind == "j":
            self.seen["rejects"].append(message.toString().replace("\x01", "|"))
        if kind not in ("8", "9"):
            return
        with self.lock:
            self.seen["reports"] += 1
            header = message.getHeader()
            self.seen["copies"] += int(header.isSetField(43) and header.getField(43) == "Y")
            exec_type = self.value(message, 150) if kind == "8" else "cancel reject"
            self.seen["fills"] += exec_type in ("F", "1", "2")
            self.seen["cancelled"] += exec_type == "4"
            self.seen["replaced"] += exec_type == "5"
            self.status[self.value(message, 11)] = exec_type
            if self.value(message, 31):
                self.price = float(self.value(message, 31))

    def send(self, kind, fields):
        message = fix.Message()
        message.getHeader().setField(fix.BeginString(self.begin_string))
        message.getHeader().setField(fix.MsgType(kind))
        for tag, value in fields.items():
            message.setField(fix.StringField(tag, str(value)))
        message.setField(fix.TransactTime())
        fix.Session.sendToTarget(message, self.session)

    def order(self, symbol, side, quantity, price=None, tif=0):
        name = f"Q{self.next:05}"
        self.next += 1
        fields = {11: name, 21: 1, 55: symbol, 54: side, 38: quantity, 40: 1 if price is None else 2, 59: tif}
        if price is not None:
            fields[44] = f"{price:.2f}"
        self.send("D", fields)
        return name

    def change(self, kind, orig, symbol, side, quantity, price=None):
        name = f"Q{self.next:05}"
        self.next += 1
        fields = {11: name, 41: orig, 55: symbol, 54: side, 38: quantity}
        if kind == "G":
            fields.update({21: 1, 40: 2, 44: f"{price:.2f}"})
        self.send(kind, fields)
        return name


def wait(what, condition, seconds=15):
    until = time.time() + seconds
    while time.time() < until:
        if condition():
            return
        time.sleep(0.01)
    raise SystemExit(f"waited {seconds} s for: {what}")


def main():
    version, address, symbol, folder = sys.argv[1:5]
    begin_string, dictionary = VERSIONS[version]
    host, port = address.rsplit(":", 1)
    dictionaries = "".join(sys.argv[5:6]) or os.path.join(sys.prefix, "share", "quickfix")
    lines = ["[DEFAULT]", "ConnectionType=initiator", "ReconnectInterval=1", "StartTime=00:00:00", "EndTime=00:00:00",
             f"FileStorePath={folder}/store", f"FileLogPath={folder}/log", "UseDataDictionary=Y", "HeartBtInt=2",
             "ValidateUserDefinedFields=Y", "[SESSION]", f"BeginString={begin_string}", "SenderCompID=QUICKFIX",
             "TargetCompID=EXCHANGE", f"SocketConnectHost={host}", f"SocketConnectPort={port}"]
    if version == "5.0sp2":
        lines += ["DefaultApplVerID=FIX.5.0SP2", f"TransportDataDictionary={dictionaries}/FIXT11.xml",
                  f"AppDataDictionary={dictionaries}/{dictionary}"]
    else:
        lines.append(f"DataDictionary={dictionaries}/{dictionary}")
    path = os.path.join(folder, "quickfix.cfg")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    settings = fix.SessionSettings(path)
    client = Client()
    client.begin_string = begin_string
    store, log = fix.FileStoreFactory(settings), fix.FileLogFactory(settings)
    initiator = fix.SocketInitiator(client, store, settings, log)
    print("ready", flush=True)  # the market begins now: reading the dictionaries takes a while
    initiator.start()
    wait("the first logon", lambda: client.seen["logons"] == 1)
    for _ in range(5):
        name = client.order(symbol, 1, 100)
        wait("a market order's fill", lambda n=name: client.status.get(n) in ("F", "1", "2", "4"))
    assert client.price, "a market order was filled"
    # The exchange cancels some orders by itself: then once more.
    for turn in range(10):
        low = client.order(symbol, 1, 100, client.price - 3)
        wait("a resting order's acknowledgement", lambda: client.status.get(low) in ("0", "4"))
        new = client.change("G", low, symbol, 1, 200, client.price - 4)
        wait("a replace", lambda: client.status.get(new) in ("5", "4", "cancel reject"))
        gone = client.change("F", new, symbol, 1, 200)
        wait("a cancel", lambda: client.status.get(gone) in ("4", "cancel reject"))
        if client.status.get(gone) == "4":
            break
    assert client.status.get(gone) == "4", "a replace and a cancel went through"
    late = client.change("F", new, symbol, 1, 200)
    wait("a cancel that comes too late", lambda: client.status.get(late) == "cancel reject")
    # These rest where the crowd trades; some of their fills happen while the connection is down.
    while client.seen["logouts"] == 0:
        with client.lock:
            price = client.price
        for step in (0.0, 0.01):
            client.order(symbol, 1, 300, price - step)
            client.order(symbol, 2, 300, price + step)
        time.sleep(0.05)
    wait("the second logon", lambda: client.seen["logons"] == 2)
    name = client.order(symbol, 1, 100)
    wait("a fill after the reconnection", lambda: client.status.get(name) in ("F", "1", "2", "4"), 20)
    time.sleep(3)  # longer than the heartbeat interval
    session = fix.Session.lookupSession(client.session)
    session.logout()
    wait("the logout", lambda: not session.isLoggedOn())
    initiator.stop()
    print(json.dumps(client.seen))


main()
