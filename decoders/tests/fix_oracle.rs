//! Real FIX sessions against what an independent reader says is in them (`captures/expected/fix/*.msgs.tsv`):
//! every message, its place in the stream and its fields. The captures are not part of the repository.
//! The pcap and TCP reader here is for these files only: Ethernet, IPv4, bytes put in place by their sequence number.

mod fix_support;

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use fix_support::{Memory, feed};
use serde_json::Value;
use tickscope_model::Loss;

fn captures() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = std::env::var_os("TICKSCOPE_CAPTURES").map_or_else(|| root.join("../shared/captures"), PathBuf::from);
    if folder.join("INDEX.tsv").exists() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("TICKSCOPE_REQUIRE_CAPTURES").is_none_or(|value| value != "1"),
        "no captures in {folder:?}"
    );
    eprintln!("SKIPPED: no captures in {}", folder.display());
    None
}

fn read(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes;
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
    plain
}

/// One direction of a connection: bytes by their distance from the first.
#[derive(Default)]
struct Stream {
    first: Option<u32>,
    bytes: Vec<u8>,
    have: Vec<bool>,
}

impl Stream {
    fn put(&mut self, sequence: u32, is_syn: bool, payload: &[u8]) {
        let data = sequence.wrapping_add(u32::from(is_syn));
        let first = *self.first.get_or_insert(data);
        let at = usize::try_from(data.wrapping_sub(first)).unwrap();
        if payload.is_empty() || at > 1 << 30 {
            return;
        }
        self.bytes.resize(self.bytes.len().max(at + payload.len()), 0);
        self.have.resize(self.bytes.len(), false);
        self.bytes[at..at + payload.len()].copy_from_slice(payload);
        self.have[at..at + payload.len()].fill(true);
    }
}

/// Streams by number of the connection (a SYN opens a new one) and sender, as the oracle counts.
fn streams(pcap: &[u8]) -> BTreeMap<(usize, String), Stream> {
    let word = |at: usize| u32::from_le_bytes(pcap[at..at + 4].try_into().unwrap());
    assert!(matches!(word(0), 0xa1b2_c3d4 | 0xa1b2_3c4d), "little-endian pcap");
    assert_eq!(word(20), 1, "Ethernet");
    let (mut at, mut next) = (24, 0);
    let mut numbers: HashMap<[String; 2], usize> = HashMap::new();
    let mut all: BTreeMap<(usize, String), Stream> = BTreeMap::new();
    while at + 16 <= pcap.len() {
        let length = word(at + 8) as usize;
        let frame = &pcap[at + 16..at + 16 + length];
        at += 16 + length;
        if frame[12..14] != [8, 0] || frame[23] != 6 {
            continue;
        }
        let ip = &frame[14..];
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let tcp = &ip[usize::from(ip[0] & 15) * 4..total];
        let payload = &tcp[usize::from(tcp[12] >> 4) * 4..];
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let host = |at: usize| format!("{}.{}.{}.{}", ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
        let (from, to) = (format!("{}:{}", host(12), port(0)), format!("{}:{}", host(16), port(2)));
        let sequence = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
        let mut pair = [from.clone(), to.clone()];
        pair.sort();
        let is_syn = tcp[13] & 2 != 0;
        let is_new = is_syn && tcp[13] & 16 == 0 && {
            let known = numbers.get(&pair).and_then(|&number| all.get(&(number, from.clone())));
            known.and_then(|stream| stream.first).is_some_and(|first| first != sequence.wrapping_add(1))
        };
        if is_new || !numbers.contains_key(&pair) {
            numbers.insert(pair.clone(), next);
            next += 1;
        }
        all.entry((numbers[&pair], from)).or_default().put(sequence, is_syn, payload);
    }
    all
}

/// The oracle's columns, under the name that the field has in the dictionaries and so in `fields`.
const COLUMNS: &[(&str, &[&str])] = &[
    ("begin", &["BeginString"]),
    ("type", &["MsgType"]),
    ("seq", &["MsgSeqNum"]),
    ("sender", &["SenderCompID"]),
    ("target", &["TargetCompID"]),
    ("possdup", &["PossDupFlag"]),
    ("sending_time", &["SendingTime"]),
    ("ClOrdID", &["ClOrdID"]),
    ("OrigClOrdID", &["OrigClOrdID"]),
    ("OrderID", &["OrderID"]),
    ("ExecID", &["ExecID"]),
    ("ExecType", &["ExecType"]),
    ("OrdStatus", &["OrdStatus"]),
    ("Symbol", &["Symbol"]),
    ("Side", &["Side"]),
    ("OrderQty", &["OrderQty"]),
    ("Price", &["Price"]),
    ("LastQty", &["LastQty", "LastShares"]),
    ("LastPx", &["LastPx"]),
    ("CumQty", &["CumQty"]),
    ("LeavesQty", &["LeavesQty"]),
    ("RefSeqNum", &["RefSeqNum"]),
    ("NewSeqNo", &["NewSeqNo"]),
    ("GapFill", &["GapFillFlag"]),
    ("BeginSeqNo", &["BeginSeqNo"]),
    ("EndSeqNo", &["EndSeqNo"]),
    ("TestReqID", &["TestReqID"]),
];

fn check(capture: &str, expected: &str, messages: usize) {
    let Some(folder) = captures() else { return };
    let streams = streams(&read(&folder.join("fix").join(capture)));
    let table = String::from_utf8(read(&folder.join("expected/fix").join(expected))).unwrap();
    let mut lines = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let mut rows: BTreeMap<(usize, String), Vec<HashMap<&str, &str>>> = BTreeMap::new();
    for line in lines {
        let row: HashMap<_, _> = head.iter().copied().zip(line).collect();
        assert_eq!(row["csum_ok"], "1");
        rows.entry((row["stream"].parse().unwrap(), row["src"].to_owned())).or_default().push(row);
    }
    assert_eq!(rows.values().map(Vec::len).sum::<usize>(), messages, "messages in {expected}");
    let mut compared = 0;
    for (key, rows) in rows {
        let stream = streams.get(&key).unwrap_or_else(|| panic!("stream {key:?}"));
        assert!(stream.have.iter().all(|&have| have), "{capture} {key:?} has a hole");
        let mut memory = Memory { wants_fields: true, ..Memory::default() };
        // Segments of 1448 bytes, whatever the capture had.
        let used = feed(&stream.bytes, (1448..stream.bytes.len()).step_by(1448), &mut memory);
        assert_eq!(used, stream.bytes.len(), "{key:?}");
        assert_eq!(memory.losses.nonzero().collect::<Vec<_>>(), [], "{key:?}");
        assert_eq!((memory.told.len(), memory.described.len()), (rows.len(), rows.len()), "{key:?}");
        for ((row, (span, described)), told) in rows.iter().zip(&memory.described).zip(&memory.told) {
            let (start, length): (usize, usize) = (row["off"].parse().unwrap(), row["len"].parse().unwrap());
            assert_eq!(*span, start..start + length, "{row:?}");
            assert_eq!((told.start..told.end, told.is_damaged), (span.clone(), false));
            assert_eq!(told.is_copy, row["possdup"] == "Y", "{row:?}");
            for (column, names) in COLUMNS {
                let found = names.iter().find_map(|&name| described.fields.get(name)).and_then(Value::as_str);
                assert_eq!(found.unwrap_or_default(), row[column], "{column} of {row:?}");
            }
            for (column, found) in
                [("ClOrdID", &told.clordid), ("OrigClOrdID", &told.orig_clordid), ("Symbol", &told.symbol)]
            {
                assert_eq!(found, row[column], "{column} of {row:?}");
            }
            assert_eq!((told.price.as_str(), told.quantity.as_str()), (row["Price"], row["OrderQty"]), "{row:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, messages);
    eprintln!("{capture}: {compared} messages equal");
}

#[test]
fn tinyfix() {
    check("tinyfix_fix-session1.pcap", "tinyfix_fix-session1.msgs.tsv", 46);
}

#[test]
fn quickfix_session() {
    check("quickfix_session_cli.pcap", "quickfix_session_cli.msgs.tsv.gz", 21_331);
}

#[test]
fn quickfix_lossy() {
    check("quickfix_lossy_cli.pcap", "quickfix_lossy_cli.msgs.tsv", 2_562);
}

#[test]
fn ttt_iex() {
    check("ttt_iex_fix_cli.pcap", "ttt_iex_fix_cli.msgs.tsv", 1_211);
}

/// A capture that begins anywhere: what is passed over is counted, and everything after it is found.
#[test]
fn a_session_may_begin_anywhere() {
    let Some(folder) = captures() else { return };
    for stream in streams(&read(&folder.join("fix/tinyfix_fix-session1.pcap"))).into_values() {
        let mut whole = Memory::default();
        feed(&stream.bytes, [], &mut whole);
        for start in 0..stream.bytes.len() {
            let mut memory = Memory::default();
            let used = feed(&stream.bytes[start..], [], &mut memory);
            let expected: Vec<_> =
                whole.told.iter().filter(|told| told.start >= start).map(|told| &told.text).collect();
            assert_eq!(memory.told.iter().map(|told| &told.text).collect::<Vec<_>>(), expected, "from {start}");
            let next = whole.told.iter().map(|told| told.start).find(|&at| at >= start).unwrap_or(stream.bytes.len());
            assert_eq!(memory.losses.count(Loss::StreamSkipped), (next - start) as u64, "from {start}");
            assert_eq!(used, stream.bytes.len() - start);
        }
    }
}
