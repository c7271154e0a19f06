//! Every foreign capture of `robust/` frame by frame against what tshark read in it
//! (`expected/robust/*.tsv`): number, time, lengths, interface, VLAN, addresses, ports, UDP length, TCP sequence number and length.
//! Differences are allowed only where they are listed here, with the reason.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tickscope::capture::stamp::TapTime;
use tickscope::capture::{CaptureFile, Input, Merged, open};
use tickscope::dissect::{Dissector, Filter, Packet, Transport};
use tickscope_model::{Loss, TapId};

const SECTIONS: &str = "tshark numbers interfaces in each section anew, we number them over the file";
const HALF_A_HEADER: &str =
    "the TCP header says it is shorter than 20 bytes: tshark shows its ports and marks it malformed, we count it";
const OUTER_UDP: &str =
    "ICMP in Geneve: a tunnel over UDP is only opened where UDP or TCP is inside, else it is a UDP packet";
const LINK: &str = "link type 239 (NFLOG) is counted as not read";

/// File, frame, and why our reading differs there.
const DIFFERENCES: &[(&str, u64, &str)] = &[
    ("pcapng_be_test201.pcapng", 2, SECTIONS),
    ("pcapng_be_test201.pcapng", 3, SECTIONS),
    ("pcapng_be_test201.pcapng", 4, SECTIONS),
    ("pcapng_le_test201.pcapng", 2, SECTIONS),
    ("pcapng_le_test201.pcapng", 3, SECTIONS),
    ("pcapng_le_test201.pcapng", 4, SECTIONS),
    ("pcapplusplus_tcp-malformed.pcap", 1, HALF_A_HEADER),
    ("pcapplusplus_tcp-malformed.pcap", 2, HALF_A_HEADER),
    ("tcpdump_geneve.pcap", 1, OUTER_UDP),
    ("tcpdump_geneve.pcap", 2, OUTER_UDP),
    ("tcpdump_geneve.pcap", 25, OUTER_UDP),
    ("tcpdump_geneve.pcap", 26, OUTER_UDP),
    ("tcpdump_geneve.pcap", 38, OUTER_UDP),
    ("tcpdump_geneve.pcap", 39, OUTER_UDP),
    ("tcpdump_nflog.pcap", 1, LINK),
    ("tcpdump_nflog.pcap", 2, LINK),
    ("tcpdump_nflog.pcap", 3, LINK),
    ("tcpdump_nflog.pcap", 4, LINK),
];

const FIELDS: [&str; 23] = [
    "frame.number",
    "frame.time_epoch",
    "frame.len",
    "frame.cap_len",
    "frame.interface_id",
    "frame.encap_type",
    "vlan.id",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.flags.mf",
    "ip.frag_offset",
    "ipv6.src",
    "ipv6.dst",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.len",
    "frame.protocols",
    "_ws.malformed",
];

/// The folder of foreign captures; says loudly where it is absent, and fails where it must not be.
fn captures() -> Option<PathBuf> {
    let given = std::env::var_os("TICKSCOPE_CAPTURES").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = given.unwrap_or_else(|| root.join("../shared/captures"));
    if folder.join("INDEX.tsv").is_file() {
        return Some(folder);
    }
    let required = std::env::var_os("TICKSCOPE_REQUIRE_CAPTURES").is_some_and(|value| value == "1");
    assert!(!required, "{} has no captures, and TICKSCOPE_REQUIRE_CAPTURES=1", folder.display());
    let mut err = std::io::stderr();
    let _ = std::io::Write::write_all(
        &mut err,
        format!("SKIPPED: no captures in {} (set TICKSCOPE_CAPTURES)\n", folder.display()).as_bytes(),
    );
    None
}

/// One frame in the words of tshark; fields that do not apply are empty.
type Row = BTreeMap<&'static str, String>;

fn rows(tsv: &str) -> Vec<Row> {
    let split = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
    let mut lines = tsv.lines();
    if tsv.is_empty() {
        // What tshark could not open.
        return Vec::new();
    }
    let header = split(lines.next().unwrap_or_default());
    assert_eq!(header, FIELDS, "the oracle's columns");
    lines
        .map(|line| FIELDS.into_iter().zip(split(line).into_iter().chain(std::iter::repeat(String::new()))).collect())
        .collect()
}

/// What the innermost packet of a row is: tshark lists the values of all layers, outermost first.
fn expected_packet(row: &Row) -> String {
    let last = |field: &str| row[field].rsplit(',').next().unwrap_or_default().to_owned();
    let protocols: Vec<&str> = row["frame.protocols"].split(':').collect();
    // Behind ICMP and ARP stand copies of headers, not packets.
    let layers = protocols.split(|name| matches!(*name, "icmp" | "icmpv6" | "arp")).next().unwrap_or_default();
    let transport = layers.iter().rposition(|name| matches!(*name, "udp" | "tcp"));
    let embedded = layers.len() < protocols.len();
    let Some(at) = transport.filter(|_| !embedded) else { return "nothing".to_owned() };
    let version = layers[..at].iter().rev().find(|name| matches!(**name, "ip" | "ipv6"));
    let (source, target) = match version {
        Some(&"ipv6") => (last("ipv6.src"), last("ipv6.dst")),
        _ => (last("ip.src"), last("ip.dst")),
    };
    let vlan = if row["vlan.id"].is_empty() { "0".to_owned() } else { last("vlan.id") };
    if layers[at] == "udp" {
        let (from, to) = (last("udp.srcport"), last("udp.dstport"));
        format!("vlan {vlan} {source}:{from} > {target}:{to} udp length {}", last("udp.length"))
    } else {
        let (from, to) = (last("tcp.srcport"), last("tcp.dstport"));
        let (sequence, length) = (last("tcp.seq_raw"), last("tcp.len"));
        format!("vlan {vlan} {source}:{from} > {target}:{to} tcp sequence {sequence} length {length}")
    }
}

fn found_packet(packet: &Packet<'_>) -> String {
    let Packet { source, target, source_port, target_port, vlan, missing, .. } = packet;
    let missing = usize::try_from(*missing).unwrap();
    let ends = format!("vlan {vlan} {source}:{source_port} > {target}:{target_port}");
    match packet.transport {
        Transport::Udp { payload } => format!("{ends} udp length {}", payload.len() + missing + 8),
        Transport::Tcp { sequence, payload, .. } => {
            format!("{ends} tcp sequence {sequence} length {}", payload.len() + missing)
        }
    }
}

fn described(row: &Row) -> String {
    let interface = if row["frame.interface_id"].is_empty() { "0" } else { &row["frame.interface_id"] };
    let time = if row["frame.time_epoch"].is_empty() { "none" } else { &row["frame.time_epoch"] };
    let (number, len, cap_len) = (&row["frame.number"], &row["frame.len"], &row["frame.cap_len"]);
    format!("frame {number} time {time} len {len} captured {cap_len} interface {interface}")
}

fn describe(file: &CaptureFile) -> String {
    let frame = file.frame(TapId(0));
    let time = file.time().map_or("none".to_owned(), |time| time.to_string());
    let (number, len, captured, interface) = (frame.number, frame.wire_len, frame.bytes.len(), file.interface());
    format!("frame {number} time {time} len {len} captured {captured} interface {interface}")
}

/// All differences between our reading of a capture and the oracle's.
fn differences(path: &Path, rows: &[Row]) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    let mut file = match open(path) {
        Ok(file) => file,
        Err(error) if rows.is_empty() => {
            assert!(error.to_string().contains(&path.display().to_string()), "an error names the file: {error}");
            return found;
        }
        Err(error) => return vec![(0, error.to_string())],
    };
    let mut dissector = Dissector::new();
    for row in rows {
        let number: u64 = row["frame.number"].parse().unwrap();
        if row["frame.protocols"] == "data" && row["frame.time_epoch"].is_empty() {
            // A custom block: Wireshark numbers it, and shows it as data. We only number it.
            continue;
        }
        if !file.advance() {
            found.push((number, format!("ends: {:?}", file.cut())));
            break;
        }
        let (ours, theirs) = (describe(&file), described(row));
        if ours != theirs {
            found.push((number, format!("read {ours}, expected {theirs}")));
        }
        let answer = dissector.dissect(&file.frame(TapId(0)));
        let ours = answer.map_or("nothing".to_owned(), |packet| found_packet(&packet));
        let theirs = expected_packet(row);
        if ours != theirs {
            found.push((number, format!("found {ours} {:?}, expected {theirs}", answer.err())));
        }
    }
    while file.advance() {
        found.push((file.frame(TapId(0)).number, "a frame that the oracle does not have".to_owned()));
    }
    found
}

fn is_explained(name: &str, frame: u64) -> bool {
    DIFFERENCES.iter().any(|(file, number, _)| *file == name && *number == frame)
}

fn robust_files(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut files: Vec<_> = ["robust", "robust/pcapng_be", "robust/pcapng_le"]
        .into_iter()
        .flat_map(|inside| std::fs::read_dir(folder.join(inside)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.strip_prefix(folder.join("robust")).unwrap().to_string_lossy().replace('/', "_");
            (name, path)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn robust_files_read_as_tshark_reads_them() {
    let Some(folder) = captures() else { return };
    let mut report = String::new();
    let mut frames = 0;
    let files = robust_files(&folder);
    let mut used = vec![false; DIFFERENCES.len()];
    for (name, path) in &files {
        let tsv = std::fs::read_to_string(folder.join("expected/robust").join(format!("{name}.tsv"))).unwrap();
        let rows = rows(&tsv);
        frames += rows.len();
        for (number, difference) in differences(path, &rows) {
            for (mark, (file, frame, _)) in used.iter_mut().zip(DIFFERENCES) {
                *mark |= file == name && *frame == number;
            }
            if !is_explained(name, number) {
                let _ = writeln!(report, "{name} {number}: {difference}");
            }
        }
    }
    assert!(report.is_empty(), "differences without a reason:\n{report}");
    assert!(files.len() >= 51 && frames > 3000, "{} files, {frames} frames", files.len());
    assert!(used.iter().all(|used| *used), "an explained difference is gone: {used:?}");
}

/// The rest of the captures against tshark itself, where it is installed.
#[test]
#[ignore = "needs tshark, and takes minutes: cargo test --test capture_oracle -- --ignored"]
fn other_files_read_as_tshark_reads_them() {
    let Some(folder) = captures() else { return };
    let mut report = String::new();
    let mut total = 0;
    for inside in ["fix", "hwts", "iex", "soup"] {
        for entry in std::fs::read_dir(folder.join(inside)).unwrap() {
            let path = entry.unwrap().path();
            let mut command = Command::new("tshark");
            command.args(["-n", "-T", "fields", "-E", "header=y", "-E", "occurrence=a", "-r"]).arg(&path);
            command.args(FIELDS.iter().flat_map(|field| ["-e", field]));
            let output = command.output().expect("tshark is installed");
            let rows = rows(&String::from_utf8_lossy(&output.stdout));
            total += rows.len();
            for (number, difference) in differences(&path, &rows) {
                let _ = writeln!(report, "{} {number}: {difference}", path.display());
            }
        }
    }
    assert!(report.is_empty(), "{report}");
    assert!(total > 50_000, "{total} frames");
}

#[test]
fn broken_files_end_with_a_reason() {
    let Some(folder) = captures() else { return };
    let error = open(&folder.join("robust/rusticata_err-eof.bin")).err().expect("no capture").to_string();
    assert!(error.contains("rusticata_err-eof.bin: the first bytes are of no kind that is known"), "{error}");
    let error = open(&folder.join("README.md")).err().expect("no capture").to_string();
    assert!(error.contains("README.md: this is text"), "{error}");
    let error = open(&folder).err().expect("no capture").to_string();
    assert!(error.contains("this is a folder"), "{error}");
    let error = open(Path::new("/nowhere/x.pcap")).err().expect("no capture").to_string();
    assert!(error.starts_with("/nowhere/x.pcap: No such file"), "{error}");
}

#[test]
fn interfaces_become_taps() {
    let Some(folder) = captures() else { return };
    let path = folder.join("robust/pcapplusplus_many_interfaces-1.pcapng");
    let input = Input { name: Some("mac".to_owned()), path };
    let rule = TapTime { name: "mac".to_owned(), offset: tickscope_model::Nanos(-1000), ..TapTime::default() };
    let mut merged = Merged::open(&[input], &[rule]).unwrap();
    let mut by_tap = BTreeMap::<String, u64>::new();
    let mut first = None;
    while let Some(captured) = merged.next() {
        let (tap, time) = (captured.frame.tap, captured.frame.time);
        first.get_or_insert(time);
        *by_tap.entry(merged.taps()[usize::from(tap.0)].name.clone()).or_default() += 1;
    }
    assert_eq!(first.unwrap().0, 1_439_753_725_701_606_000, "the offset is applied");
    assert_eq!(merged.taps().len(), 11);
    let expected = [("mac:en0".to_owned(), 62), ("mac:lo0".to_owned(), 2)];
    assert_eq!(by_tap, BTreeMap::from(expected));
    assert_eq!(merged.cuts().count(), 0);
}

#[test]
fn fragments_are_put_together_and_accounted_for() {
    let Some(folder) = captures() else { return };
    let mut file = open(&folder.join("robust/pcapplusplus_ip4_fragments.pcap")).unwrap();
    let mut dissector = Dissector::new();
    let (mut frames, mut packets, mut held, mut lost) = (0_u64, 0, 0, 0);
    while file.advance() {
        frames += 1;
        match dissector.dissect(&file.frame(TapId(0))) {
            Ok(_) => packets += 1,
            Err(Loss::FragmentHeld) => held += 1,
            Err(_) => lost += 1,
        }
    }
    dissector.give_up();
    let counts = dissector.fragments();
    assert_eq!(counts.used + counts.lost, held);
    assert_eq!(frames, packets + lost + counts.used + counts.lost);
    assert_eq!((frames, packets), (53, 9));
}

/// `--filter` against tcpdump, frame count by frame count. (Frames without VLAN tags and tunnels: behind those a BPF
/// program looks only where it is told to, and we always do.)
#[test]
#[ignore = "needs tcpdump: cargo test --test capture_oracle -- --ignored"]
fn filters_choose_what_tcpdump_chooses() {
    let Some(folder) = captures() else { return };
    let files = [
        "fix/quickfix_session_cli.pcap",
        "fix/ttt_iex_fix_cli.pcap",
        "iex/TOPS16_20170710.pcap",
        "soup/soup_ouch1.pcap",
        "robust/pcapplusplus_nanosecs_big_endian.pcap",
        "robust/suricata_linktype-228.pcap",
    ];
    let expressions = [
        "tcp",
        "udp",
        "ip",
        "ip6",
        "tcp port 9878",
        "port 9878 or 10378",
        "src port 9878",
        "tcp dst port 9878 and greater 100",
        "dst net 10.0.0.0/8",
        "src net 10.77",
        "net 239.0.0.0/8 or net 192.168.0.0 mask 255.255.0.0",
        "udp and dst net 224.0.0.0/4",
        "not tcp and not udp port 53",
        "portrange 9000-10400",
        "src portrange 1024-65535 and not dst port 9878",
        "len > 200",
        "less 66",
        "len != 66 && !(tcp || ip6)",
        "udp or tcp and less 80",
        "src or dst net 10",
        "src and dst net 10",
        "ip proto 17",
        "ip proto \\tcp and len <= 70",
        "host 10.0.0.1 or 10.77.0.1 or 10.77.0.2",
        "src 10.77.0.1",
    ];
    let (mut report, mut chosen) = (String::new(), 0);
    for name in files {
        let path = folder.join(name);
        for expression in expressions {
            let wanted = format!("(tcp or udp) and ({expression})");
            let output = Command::new("tcpdump").arg("-n").arg("-r").arg(&path).args(["-w", "-", &wanted]).output();
            let picked = std::env::temp_dir().join(format!("tickscope-filter-{}.pcap", std::process::id()));
            let output = output.expect("tcpdump is installed");
            let said = String::from_utf8_lossy(&output.stderr);
            // libpcap notices where nothing can match, and says so instead of reading.
            let nothing = said.contains("rejects all packets");
            assert!(output.status.success() || nothing, "{wanted}: {said}");
            std::fs::write(&picked, output.stdout).unwrap();
            let theirs = if nothing { 0 } else { count(&picked, None) };
            let ours = count(&path, Some(expression));
            std::fs::remove_file(&picked).unwrap();
            chosen += ours;
            if ours != theirs {
                let _ = writeln!(report, "{name}: `{expression}` chooses {ours}, tcpdump {theirs}");
            }
        }
    }
    assert!(report.is_empty(), "{report}");
    assert!(chosen > 100_000, "{chosen}");
}

fn count(path: &Path, expression: Option<&str>) -> u64 {
    let filter = expression.map(|text| Filter::parse(text).unwrap());
    let mut file = open(path).unwrap();
    let mut dissector = Dissector::new();
    let mut chosen = 0;
    while file.advance() {
        let frame = file.frame(TapId(0));
        if let Ok(packet) = dissector.dissect(&frame) {
            chosen += u64::from(filter.as_ref().is_none_or(|filter| filter.matches(&packet, frame.wire_len)));
        }
    }
    chosen
}

#[test]
fn joined_captures_keep_their_taps_and_their_own_byte_order() {
    let Some(folder) = captures() else { return };
    let part = |inside: &str| std::fs::read(folder.join(inside)).unwrap();
    let (little, big) = (part("robust/pcapng_le/test100.pcapng"), part("robust/pcapng_be/test100.pcapng"));
    let path = std::env::temp_dir().join(format!("tickscope-joined-{}.pcapng", std::process::id()));
    std::fs::write(&path, [little.as_slice(), &big, &little].concat()).unwrap();
    let input = Input { name: Some("x".to_owned()), path: path.clone() };
    let mut merged = Merged::open(&[input], &[]).unwrap();
    let mut seen = Vec::new();
    while let Some(captured) = merged.next() {
        let frame = captured.frame;
        seen.push((frame.tap, frame.link, frame.time, captured.has_time, frame.bytes.to_vec()));
    }
    std::fs::remove_file(&path).unwrap();
    let names: Vec<&str> = merged.taps().iter().map(|tap| tap.name.as_str()).collect();
    assert_eq!(merged.files().next().unwrap().interfaces().len(), 9, "three in each section");
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("x:")), "{names:?}");
    assert_eq!(seen.len(), 15);
    assert_eq!(seen[..5].iter().filter(|frame| !frame.3).count(), 2, "Simple Packet Blocks have no time");
    // A frame without a time is handed out with that of the frame before it; the first has none to take over.
    assert!(seen[1..5].windows(2).all(|pair| pair[1].3 || pair[1].2 == pair[0].2));
    assert_eq!(seen[1..5], seen[6..10]);
    assert_eq!(seen[6..10], seen[11..]);
}
