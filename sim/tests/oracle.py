"""Says what tshark sees in a capture of one tap with one FIX session, in the terms of truth.csv, and compares.

An opinion independent of the simulator's own records: times come from tshark's frames, messages from its FIX
dissector, acknowledgements from its TCP one. For clean captures (nothing lost, no message split over segments).
Usage: oracle.py CAPTURE TRUTH; prints the number of rows compared, or every difference and exit code 1.
"""

import csv
import subprocess
import sys


def frames(capture):
    fields = ["frame.time_epoch", "tcp.srcport", "tcp.seq", "tcp.len", "tcp.ack", "fix.MsgType", "fix.ClOrdID",
              "fix.ExecType", "fix.LeavesQty", "fix.OrdStatus", "tcp.flags.syn"]
    command = ["tshark", "-r", capture, "-Y", "tcp", "-d", "tcp.port==9876,fix", "-T", "fields", "-E", "occurrence=a",
               "-E", "aggregator=,"]
    for field in fields:
        command += ["-e", field]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        cells = line.split("\t")
        cells += [""] * (len(fields) - len(cells))
        seconds, _, nanos = cells[0].partition(".")
        yield int(seconds) * 10**9 + int(nanos.ljust(9, "0")[:9]), cells[1:]


def main():
    capture, truth = sys.argv[1:3]
    rows, waiting = {}, []
    for time, (port, seq, length, ack, kinds, ids, execs, leaves, status, syn) in frames(capture):
        to_exchange = port != "9876"
        kinds, ids = kinds.split(",") if kinds else [], ids.split(",") if ids else []
        if to_exchange:
            for kind, order in zip([k for k in kinds if k in "DFG"], ids):
                rows[order] = {"t_out_ns": time, "kind": kind}
                waiting.append((int(seq) + int(length), order))
            continue
        if ack and syn not in ("1", "True"):
            for end, order in [one for one in waiting if one[0] <= int(ack)]:
                rows[order]["tcp_ack_ns"] = time
            waiting = [one for one in waiting if one[0] > int(ack)]
        if len(kinds) != 1 or kinds[0] not in ("8", "9") or not ids or ids[0] not in rows:
            continue
        row = rows[ids[0]]
        if kinds[0] == "9" or execs == "8":
            row.setdefault("reject_ns", time)
        elif execs == "0":
            row.setdefault("ack_ns", time)
        elif execs == "F":
            row.setdefault("first_fill_ns", time)
            if status == "2":
                row.setdefault("full_fill_ns", time)
        elif execs == "4" and row["kind"] == "F":
            row.setdefault("cancel_ack_ns", time)
        elif execs == "5":
            row.setdefault("replace_ack_ns", time)
    wrong = compared = 0
    with open(truth, encoding="utf-8") as file:
        for said in csv.DictReader(file):
            seen = rows.pop(said["clordid"], {})
            start = seen.get("t_out_ns", 0)
            for column in ["t_out_ns", "tcp_ack_ns", "ack_ns", "reject_ns", "first_fill_ns", "full_fill_ns",
                           "cancel_ack_ns", "replace_ack_ns"]:
                value = seen.get(column)
                text = "" if value is None else str(value if column == "t_out_ns" else value - start)
                if text != said[column]:
                    wrong += 1
                    print(f"{said['clordid']} {column}: truth {said[column]!r}, tshark {text!r}")
            compared += 1
    for order in rows:
        wrong += 1
        print(f"{order}: tshark saw it, the truth does not know it")
    print(f"{compared} requests compared, {wrong} differences")
    sys.exit(1 if wrong or not compared else 0)


main()
