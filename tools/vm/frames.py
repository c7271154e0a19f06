#!/usr/bin/env python3
"""Frames for the checks in the guest: sends them, and compares captures of them. Standard library only.

  frames.py replay IF FILE                 sends a pcap file; gaps are kept, but for long ones
  frames.py spread IF FLOWS COUNT PER_S [REGISTERS]
                                           sends COUNT UDP frames of FLOWS flows, each with a number of its own
  frames.py compare A B                    frames in both files, in one alone, and how much later they are in B: min p50 max ns
  frames.py tai SECONDS                    tells the kernel how far TAI is from UTC, as a time daemon does
  frames.py stamp-all REGISTERS            lets the 82576 that QEMU makes stamp IPv4, see the function
"""
import collections, ctypes, mmap, os, socket, struct, sys, time

LONGEST_GAP_NS = 2_000_000
# Registers of the 82576.
ETQF3, TSYNCRXCFG, RXSATRH = 0x5CBC, 0x5F50, 0xB630


def pcap(path):
    """The frames of a file as (ns, bytes)."""
    data = open(path, "rb").read()
    unit = {b"\x4d\x3c\xb2\xa1": 1, b"\xd4\xc3\xb2\xa1": 1000}[data[:4]]
    at = 24
    while at + 16 <= len(data):
        s, fraction, length, _ = struct.unpack_from("<IIII", data, at)
        yield s * 10**9 + fraction * unit, data[at + 16 : at + 16 + length]
        at += 16 + length


def raw(interface):
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((interface, 0))
    return out


def wait_until(due_ns):
    while (left := due_ns - time.monotonic_ns()) > 0:
        if left > 200_000:
            time.sleep((left - 100_000) / 1e9)


def replay(interface, path):
    out, before, due, sent = raw(interface), None, time.monotonic_ns(), 0
    for ns, frame in pcap(path):
        due += min(max(ns - (before or ns), 0), LONGEST_GAP_NS)
        before = ns
        wait_until(due)
        out.send(frame)
        sent += 1
    print(sent)


def udp(flow, number):
    payload = struct.pack(">QQ", number, flow) + bytes(32)
    transport = struct.pack(">HHHH", 20000 + flow, 5000, 8 + len(payload), 0) + payload
    # Type of service 2: see stamp_all.
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 2, 20 + len(transport), number & 0xFFFF, 0, 64, 17, 0,
                       socket.inet_aton("10.77.0.1"), socket.inet_aton("10.77.0.2"))
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    return bytes.fromhex("0200000000020200000000010800") + head + transport


def spread(interface, flows, count, per_s, stamped_by=None):
    out, start = raw(interface), time.monotonic_ns()
    registers = stamped_by and igb(stamped_by)
    for number in range(int(count)):
        wait_until(start + number * 10**9 // int(per_s))
        if registers:
            # QEMU keeps a stamp, and makes no other, until RXSATRH is read, which Linux' driver does not do.
            registers[RXSATRH : RXSATRH + 4]
        out.send(udp(number % int(flows), number))
    print(count)


def compare(one, other):
    frames = collections.defaultdict(list)
    for ns, frame in pcap(one):
        frames[frame].append(ns)
    later, only_other = [], 0
    for ns, frame in pcap(other):
        if frames[frame]:
            later.append(ns - frames[frame].pop(0))
        else:
            only_other += 1
            print("other only:", ns, frame.hex(), file=sys.stderr)
    for frame, times in frames.items():
        for ns in times:
            print("one only:", ns, frame.hex(), file=sys.stderr)
    only_one = sum(map(len, frames.values()))
    later.sort()
    times = [later[0], later[len(later) // 2], later[-1]] if later else [0, 0, 0]
    print(len(later), only_one, only_other, *times)


def tai(seconds):
    # struct timex: modes, then at 8 bytes each …, `constant` is the seventh long.
    timex = (ctypes.c_long * 26)()
    timex[0], timex[6] = 0x0080, int(seconds)
    if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
        sys.exit(os.strerror(ctypes.get_errno()))


def igb(resource):
    return mmap.mmap(os.open(resource, os.O_RDWR), 0x20000)


def stamp_all(resource):
    """The 82576 stamps frames of PTP only, as QEMU makes it: of one Ethernet type, by their first two bytes. Both are registers, and
    the driver is not asked: type 0x0800, first byte 0x45 and second byte 2 is IPv4 with a type of service that nobody else uses here.
    """
    registers = igb(resource)

    def write(at, value):
        registers[at : at + 4] = struct.pack("<I", value)

    write(ETQF3, 0x0800 | 1 << 26 | 1 << 30)  # this type, on, stamped
    write(TSYNCRXCFG, 0x45 << 8)  # this first byte


if __name__ == "__main__":
    commands = {"replay": replay, "spread": spread, "compare": compare, "tai": tai, "stamp-all": stamp_all}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])
