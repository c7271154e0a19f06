//! Packets that pass two taps, live: how long they took from one to the other, against what tcpdump's stamps say and what
//! `analyze` finds in its files.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::Value;
use tickscope::capture::{Input, Merged};

use super::daemon::{Folder, live, tcpdump};
use super::equal::{await_frames, run};
use super::lab::{ARRIVES, Lab, SENT};
use super::readers::reader;
use super::wire::{Burst, Ends, udp};

/// Of a flow that both taps see, and of one that only one sees.
const SHARED: u64 = 3000;
const OTHERS: u64 = 5000;
/// Where the numbers of the others begin.
const OTHERS_FROM: u64 = 1 << 32;

fn datagram(host: u8, port: u16, number: u64) -> Vec<u8> {
    let ends = Ends { source: (Ipv4Addr::new(10, 0, 0, host), port), target: (Ipv4Addr::new(10, 0, 1, 1), 7000) };
    let payload: Vec<u8> = [1; 10].into_iter().chain(number.to_be_bytes()).chain([2; 10]).collect();
    udp(ends, 0, &payload)
}

/// How many frames on each interface. On the way to the second, somebody changes the addresses; one packet is sent twice.
fn send() -> [u64; 2] {
    let mut bursts = SENT.map(Burst::open);
    for number in 0..SHARED {
        bursts[0].push(datagram(1, 5000, number));
        bursts[0].flush();
        bursts[1].push(datagram(9, 6000, number));
        bursts[1].flush();
    }
    (0..OTHERS).for_each(|number| bursts[0].push(datagram(1, 5001, OTHERS_FROM + number)));
    bursts[0].push(datagram(1, 5000, 7));
    bursts.each_mut().map(|burst| {
        burst.flush();
        burst.sent
    })
}

/// By their numbers, the times of packets in a file of tcpdump.
fn times(path: &Path) -> BTreeMap<u64, Vec<u64>> {
    let mut times: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut frames = Merged::open(&[Input { name: None, path: path.to_owned() }], &[]).unwrap();
    while let Some(captured) = frames.next() {
        let number = u64::from_be_bytes(captured.frame.bytes[52..60].try_into().unwrap());
        times.entry(number).or_default().push(captured.frame.time.0);
    }
    times
}

#[test]
fn packets_that_pass_two_taps_are_joined() {
    let Some(lab) = Lab::new() else { return };
    let folder = Folder::new("hops");
    let dumps = ARRIVES.map(|interface| folder.0.join(format!("{interface}.pcap")));
    let dumping = [0, 1].map(|at| tcpdump(&lab.receiver, ARRIVES[at], &dumps[at]));
    let socket = folder.file("live.sock");
    let running = live(&lab, "afpacket", &["--json", "--socket", &socket]);
    let is_complete = |snapshot: &Value| snapshot["hops"]["pairs"][0]["n"].as_u64() == Some(SHARED - 1);
    let (so_far, to_the_end) = (reader(&socket, is_complete), reader(&socket, |_| false));
    let sent = lab.in_sender(send);
    // While the run goes on.
    assert!(is_complete(so_far.join().unwrap().last().unwrap()));
    let (status, report, said) = running.end(libc::SIGTERM);
    assert!(status.success(), "{said:#?}");
    dumps.iter().zip(sent).for_each(|(dump, sent)| await_frames(dump, sent));
    for dump in dumping {
        dump.end(libc::SIGINT);
    }

    let [first, second] = dumps.each_ref().map(|dump| times(dump));
    let is_once =
        |(number, here): (&u64, &Vec<u64>)| Some(second.get(number)?[0] - *here.first()?).filter(|_| here.len() == 1);
    let apart: Vec<u64> = first.iter().filter_map(is_once).collect();
    let report: Value = serde_json::from_str(&report).unwrap();
    let hops = &report["hops"];
    let pair = &hops["pairs"][0];
    assert_eq!((&pair["from"], &pair["to"], hops["pairs"].as_array().unwrap().len()), (&"md".into(), &"ord".into(), 1));
    assert_eq!(&to_the_end.join().unwrap().last().unwrap()["hops"], hops);
    let expected = [apart.len() as u64, *apart.iter().min().unwrap(), *apart.iter().max().unwrap()];
    let found = ["n", "min_ns", "max_ns"].map(|key| pair[key].as_u64().unwrap());
    assert_eq!((found, apart.len() as u64), (expected, SHARED - 1), "{hops:#}");
    assert_eq!((&hops["ambiguous"], &hops["overlooked"]), (&1.into(), &0.into()), "{hops:#}");

    let taps = [format!("md={}", dumps[0].display()), format!("ord={}", dumps[1].display())];
    let offline: Value = serde_json::from_str(&run(&["analyze", "--json", &taps[0], &taps[1]])).unwrap();
    assert_eq!(hops, &offline["hops"]);
}
