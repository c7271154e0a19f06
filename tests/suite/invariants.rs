//! What must not matter: how TCP cut the bytes, how a capture is stored, into which files it was divided, which tap
//! saw which direction. And what must always hold: whatever is lost, everything is accounted for.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::Value;

use super::support::{Row, assert_sound, decoded, loss, orders, report, succeeds, table};
use super::tape::{ACK, BUSY, End, Folder, Form, Recorded, SYN, fix, simulated, tcp_frame, write};

static MARKET: LazyLock<Vec<Recorded>> = LazyLock::new(|| simulated(BUSY, 7));

const CLIENT: End = End { host: 1, port: 40_000 };
const SERVER: End = End { host: 2, port: 9_878 };

/// Whole messages of both directions of a session: logons, then orders, each accepted and filled.
fn session(count: usize) -> [Vec<Vec<u8>>; 2] {
    let head = |kind: &str, number: usize, from: &str, to: &str| {
        format!("35={kind}|34={number}|49={from}|56={to}|52=20240102-10:00:00.000|")
    };
    let mut out = vec![fix(&(head("A", 1, "US", "EX") + "98=0|108=30|"))];
    let mut back = vec![fix(&(head("A", 1, "EX", "US") + "98=0|108=30|"))];
    for number in 0..count {
        // Texts of different lengths, so that cuts fall everywhere.
        let text = "x".repeat(number * 37 % 400);
        let order = format!("11=o{number}|55=ABC|54=1|38=100|40=2|44=10.5|58={text}|60=20240102-10:00:00.000|");
        out.push(fix(&(head("D", number + 2, "US", "EX") + &order)));
        let shared = format!("37=e{number}|11=o{number}|55=ABC|54=1|38=100|");
        let ack = format!("{shared}17=a{number}|150=0|39=0|151=100|14=0|6=0|");
        let fill = format!("{shared}17=f{number}|150=F|39=2|32=100|31=10.5|151=0|14=100|6=10.5|");
        back.push(fix(&(head("8", 2 * number + 2, "EX", "US") + &ack)));
        back.push(fix(&(head("8", 2 * number + 3, "EX", "US") + &fill)));
    }
    [out, back]
}

/// A piece of a direction's stream that one frame carries.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    way: usize,
    start: usize,
    end: usize,
}

/// How the streams of a session are sent: cuts, swaps of near neighbours, and pieces that are sent again.
#[derive(Clone, Debug)]
struct Sending {
    sizes: Vec<usize>,
    swaps: Vec<(prop::sample::Index, usize)>,
    again: Vec<(prop::sample::Index, usize, usize)>,
    initial: [u32; 2],
}

fn sending() -> impl Strategy<Value = Sending> {
    let size = prop_oneof![1_usize..40, 1_usize..1460];
    let index = any::<prop::sample::Index>;
    (
        prop::collection::vec(size, 1..40),
        prop::collection::vec((index(), 1_usize..6), 0..30),
        prop::collection::vec((index(), 0_usize..300, 1_usize..800), 0..20),
        [any::<u32>(), any::<u32>()],
    )
        .prop_map(|(sizes, swaps, again, initial)| Sending { sizes, swaps, again, initial })
}

/// The frames' pieces in the order in which they are captured.
fn chunks(sending: &Sending, lengths: [usize; 2]) -> Vec<Chunk> {
    let mut sizes = sending.sizes.iter().cycle();
    let (mut at, mut chunks) = ([0, 0], Vec::new());
    while at != lengths {
        for way in 0..2 {
            let end = lengths[way].min(at[way] + sizes.next().expect("endless"));
            if at[way] < end {
                chunks.push(Chunk { way, start: at[way], end });
                at[way] = end;
            }
        }
    }
    for (index, distance) in &sending.swaps {
        let one = index.index(chunks.len());
        let other = (one + distance).min(chunks.len() - 1);
        chunks.swap(one, other);
    }
    for (index, back, length) in &sending.again {
        let at = index.index(chunks.len());
        let Chunk { way, start, .. } = chunks[at];
        let start = start.saturating_sub(*back);
        let end = lengths[way].min(start + length);
        // Only what has been sent can be sent again, so the repetition stands behind everything it repeats.
        let last = chunks.iter().rposition(|chunk| chunk.way == way && chunk.start < end && start < chunk.end);
        if let Some(last) = last {
            chunks.insert(last + 1, Chunk { way, start, end });
        }
    }
    chunks
}

const STEP_NS: u64 = 10_000;
const START_NS: u64 = 1_704_189_600_000_000_000;

fn recorded(number: usize, bytes: Vec<u8>) -> Recorded {
    let wire_len = u32::try_from(bytes.len()).expect("small");
    Recorded { time_ns: START_NS + number as u64 * STEP_NS, wire_len, bytes }
}

/// The capture of a session that was sent like this. Nothing is acknowledged, so no hole is given up early.
fn capture(streams: &[Vec<u8>; 2], chunks: &[Chunk], initial: [u32; 2]) -> Vec<Recorded> {
    let ends = |way: usize| if way == 0 { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
    let after =
        |way: usize, place: usize| initial[way].wrapping_add(1).wrapping_add(u32::try_from(place).expect("small"));
    let mut frames = vec![
        tcp_frame(CLIENT, SERVER, 1, (initial[0], 0), SYN, b""),
        tcp_frame(SERVER, CLIENT, 1, (initial[1], after(0, 0)), SYN | ACK, b""),
    ];
    for (number, chunk) in chunks.iter().enumerate() {
        let (from, to) = ends(chunk.way);
        let numbers = (after(chunk.way, chunk.start), after(1 - chunk.way, 0));
        let id = u16::try_from(number + 2).expect("few frames");
        frames.push(tcp_frame(from, to, id, numbers, ACK, &streams[chunk.way][chunk.start..chunk.end]));
    }
    frames.into_iter().enumerate().map(|(number, bytes)| recorded(number, bytes)).collect()
}

/// A line of `decode` without what says where it was seen.
fn content(line: &Value) -> Value {
    let mut line = line.clone();
    let object = line.as_object_mut().expect("an object");
    for key in ["frame", "file", "t_ns", "t"] {
        object.remove(key);
    }
    line
}

/// Rows without the tap.
fn without_tap(rows: &[Row], text: &str) -> Vec<String> {
    assert!(!rows.is_empty(), "{text}");
    text.lines().skip(1).map(|line| line.split_once(',').expect("several columns").1.to_owned()).collect()
}

fn rows(options: &[&str], files: &[&Path]) -> Vec<String> {
    let text = succeeds("analyze", &[options, &["--orders", "-"]].concat(), files);
    without_tap(&table(&text, ','), &text)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// However TCP cuts, repeats and reorders a session, its messages are the same, and each has the number and the
    /// time of the first frame that carried its last byte.
    #[test]
    fn cutting_the_stream_does_not_change_messages(sending in sending()) {
        let messages = session(12);
        let streams = messages.clone().map(|messages| messages.concat());
        let chunks = chunks(&sending, [streams[0].len(), streams[1].len()]);
        let folder = Folder::new();
        let file = folder.capture("cut.pcap", &capture(&streams, &chunks, sending.initial));
        let lines = decoded(&[], &file);
        let mut by_way: [Vec<&Value>; 2] = Default::default();
        for line in &lines {
            by_way[usize::from(line["flow"].as_str().expect("text").starts_with("10.0.0.2"))].push(line);
        }
        for way in 0..2 {
            prop_assert_eq!(by_way[way].len(), messages[way].len());
            let mut end = 0;
            for (number, (line, message)) in by_way[way].iter().zip(&messages[way]).enumerate() {
                end += message.len();
                let brings = |chunk: &Chunk| chunk.way == way && chunk.start < end && end <= chunk.end;
                let first = 2 + chunks.iter().position(brings).expect("every byte is sent");
                prop_assert_eq!(&line["seq"], &Value::from(number + 1));
                prop_assert_eq!(&line["frame"], &Value::from(first + 1));
                prop_assert_eq!(&line["t_ns"], &Value::from(START_NS + first as u64 * STEP_NS));
            }
        }
        let report = report(&[&file]);
        prop_assert_eq!(&report["requests"], &Value::from(12));
        prop_assert_eq!(&report["quality"]["stream_bytes"]["lost"], &Value::from(0));
        prop_assert_eq!(&report["quality"]["messages"]["used"], &Value::from(38));
    }

    /// A capture that ends early gives the messages up to there.
    #[test]
    fn a_prefix_of_a_capture_gives_a_prefix_of_its_messages(length in any::<prop::sample::Index>()) {
        let folder = Folder::new();
        let whole = succeeds("decode", &[], &[&folder.capture("market.pcap", &MARKET)]);
        let length = 1 + length.index(MARKET.len());
        let part = succeeds("decode", &[], &[&folder.capture("market.pcap", &MARKET[..length])]);
        prop_assert!(whole.starts_with(&part), "{} frames", length);
        let lines = whole.lines().take_while(|line| {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            line["frame"].as_u64().expect("a number") <= length as u64
        });
        prop_assert_eq!(lines.count(), part.lines().count(), "{} frames", length);
    }

    /// A capture in pieces, as `tcpdump -C` writes them: the files of one observation point give the rows of the whole.
    #[test]
    fn the_files_of_one_point_may_be_cut_anywhere(cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..4)) {
        let folder = Folder::new();
        let whole = folder.capture("whole.pcap", &MARKET);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(MARKET.len())).collect();
        cuts.extend([0, MARKET.len()]);
        cuts.sort_unstable();
        let (mut files, mut settings) = (Vec::new(), String::new());
        for (number, ends) in cuts.windows(2).enumerate() {
            files.push(folder.capture(&format!("part{number}.pcap"), &MARKET[ends[0]..ends[1]]));
            settings += &format!("[[tap]]\nname = \"part{number}\"\ngroup = \"here\"\n");
        }
        let settings = folder.put("settings.toml", settings.as_bytes());
        let options = ["--config", settings.to_str().expect("UTF-8")];
        let files: Vec<&Path> = files.iter().map(std::path::PathBuf::as_path).collect();
        prop_assert_eq!(rows(&options, &files), rows(&[], &[&whole]));
        let strip = |text: String| -> Vec<Value> {
            text.lines().map(|line| content(&serde_json::from_str(line).expect("JSON"))).collect()
        };
        prop_assert_eq!(strip(succeeds("decode", &options, &files)), strip(succeeds("decode", &[], &[&whole])));
    }

    /// Whatever a capture lost, doubled, cut or damaged: the report adds up, and so does each of its levels.
    #[test]
    fn everything_is_accounted_for(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..5, any::<u16>()), 0..120),
        snaplen in prop_oneof![4 => Just(usize::MAX), 1 => 20_usize..200],
    ) {
        let mut frames = MARKET.clone();
        for (index, change, value) in &changes {
            let at = index.index(frames.len());
            match change {
                0 => drop(frames.remove(at)),
                1 => frames.insert(at, frames[at].clone()),
                2 => frames[at].bytes.truncate(usize::from(*value) % 300),
                3 => {
                    let other = (at + usize::from(*value) % 8).min(frames.len() - 1);
                    let (one, two) = (frames[at].bytes.clone(), frames[other].bytes.clone());
                    (frames[at].bytes, frames[other].bytes) = (two, one);
                }
                _ => {
                    let place = usize::from(*value) % frames[at].bytes.len().max(1);
                    if let Some(byte) = frames[at].bytes.get_mut(place) {
                        *byte ^= 0x55;
                    }
                }
            }
        }
        for frame in &mut frames {
            frame.bytes.truncate(snaplen);
        }
        let folder = Folder::new();
        let file = folder.capture("damaged.pcap", &frames);
        let report = report(&[&file]);
        prop_assert_eq!(&report["quality"]["frames"]["in"], &Value::from(frames.len()));
        let rows = orders(&[&file]);
        prop_assert_eq!(&report["requests"], &Value::from(rows.len()));
    }
}

/// A sequence number may have any value on the wire, up to the last one that its field can hold.
#[test]
fn extreme_sequence_numbers_are_survived_and_counted() {
    const PLACE: usize = 14 + 20 + 8 + 10; // behind Ethernet, IPv4, UDP and the session of MoldUDP64
    let packets: Vec<usize> = (0..MARKET.len()).filter(|&at| MARKET[at].bytes.get(23) == Some(&17)).collect();
    let folder = Folder::new();
    for packet in [packets[0], packets[1], packets[packets.len() / 2], packets[packets.len() - 1]] {
        for number in [u64::MAX, u64::MAX - 1, 1 << 63, 1 << 48, (1 << 48) + 1, 1 << 32, 1, 0] {
            let mut frames = MARKET.clone();
            frames[packet].bytes[PLACE..PLACE + 8].copy_from_slice(&number.to_be_bytes());
            let report = report(&[&folder.capture("extreme.pcap", &frames)]);
            assert_eq!(report["quality"]["frames"]["lost"], 0, "{number} in frame {packet}");
        }
    }
}

/// In how many bits a time is written, in which order of bytes, and how the file is packed does not show.
#[test]
fn the_form_of_a_capture_does_not_matter() {
    let folder = Folder::new();
    let mut frames = MARKET.clone();
    let nanoseconds = rows(&[], &[&folder.capture("base.pcap", &frames)]);
    assert_eq!(rows(&[], &[&folder.put("base.pcapng", &write(&frames, Form::PcapNg))]), nanoseconds);
    for frame in &mut frames {
        frame.time_ns -= frame.time_ns % 1000;
    }
    let expected = rows(&[], &[&folder.capture("micro.pcap", &frames)]);
    assert_ne!(expected, nanoseconds, "nanoseconds were there to be lost");
    for (number, form) in
        [Form::PcapMicro, Form::PcapMicroBigEndian, Form::PcapNgMicro, Form::PcapNg].into_iter().enumerate()
    {
        let plain = write(&frames, form);
        let zst = zstd::encode_all(&*plain, 1).expect("memory takes everything");
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gz, &plain).expect("memory takes everything");
        let gz = gz.finish().expect("memory takes everything");
        for (packing, bytes) in [("plain", plain), ("zst", zst), ("gz", gz)] {
            // The name says nothing about the content, on purpose.
            let file = folder.put(&format!("{number}{packing}.bin"), &bytes);
            assert_eq!(rows(&[], &[&file]), expected, "{form:?} {packing}");
        }
    }
}

/// Optical taps deliver each direction by itself: two files that are one observation point without being told so.
#[test]
fn a_tap_for_each_direction_gives_the_same_rows() {
    let folder = Folder::new();
    let whole = folder.capture("whole.pcap", &MARKET);
    let base = report(&[&whole]);
    let client = base["order_sessions"][0]["client"].as_str().expect("a session").to_owned();
    let client: std::net::SocketAddr = client.parse().expect("an endpoint");
    let std::net::IpAddr::V4(client) = client.ip() else { panic!("IPv4") };
    let (sent, received): (Vec<Recorded>, Vec<Recorded>) = MARKET
        .iter()
        .cloned()
        .partition(|frame| frame.bytes.get(26..30) == Some(&client.octets()) && frame.bytes.get(23) == Some(&6));
    assert!(sent.len() > 100 && received.len() > sent.len());
    let (sent, received) = (folder.capture("out.pcap", &sent), folder.capture("in.pcap", &received));
    assert_eq!(rows(&[], &[&sent, &received]), rows(&[], &[&whole]));
    assert_eq!(rows(&[], &[&received, &sent]), rows(&[], &[&whole]));
    assert_sound(&report(&[&sent, &received]), "two taps");
}

/// A second copy of everything, as badly set up mirror ports deliver it, changes no latency.
#[test]
fn a_mirror_port_that_doubles_every_frame_changes_no_row() {
    let folder = Folder::new();
    let doubled: Vec<Recorded> = MARKET
        .iter()
        .flat_map(|frame| [frame.clone(), Recorded { time_ns: frame.time_ns + 1, ..frame.clone() }])
        .collect();
    let once = rows(&[], &[&folder.capture("once.pcap", &MARKET)]);
    let twice = rows(&[], &[&folder.capture("twice.pcap", &doubled)]);
    assert_eq!(once, twice);
    let report = report(&[&folder.capture("twice.pcap", &doubled)]);
    assert!(loss(&report, "capture_duplicate") > 0, "{}", report["quality"]["losses"]);
}
