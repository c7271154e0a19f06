//! Frames for people: the headers of each in short, and what `decode` says of the messages that it carries.

use serde_json::{Map, Value};
use tickscope_model::{Frame, LinkType, Timestamp};
use tickscope_tui::{Dissect, FrameView};

use crate::app::config::Settings;
use crate::app::open;
use crate::capture::Merged;
use crate::capture::stamp::{TapTime, Trailer};
use crate::dissect::{Packet, TcpFlags, Transport, dissect};
use crate::flow::FlowKey;
use crate::live::pcapng;
use crate::pipeline::Pipeline;
use crate::pipeline::printer::{Printer, Wanted};

/// Values of a decoded line that its fields repeat.
const HEAD: [&str; 5] = ["frame", "file", "t_ns", "t", "flow"];

/// Reads a pcapng as the configuration says.
pub(in crate::app) fn dissector(settings: &Settings) -> Dissect {
    let settings = settings.clone();
    Box::new(move |bytes| views(&settings, bytes).map_err(|error| format!("{error:#}")))
}

fn views(settings: &Settings, bytes: &[u8]) -> anyhow::Result<Vec<FrameView>> {
    // The times in the file are those that count.
    let rules = [TapTime { trailer: Trailer::None, ..TapTime::default() }];
    let mut captures = Merged::of_bytes("packets", bytes.to_vec(), &rules)?;
    // What was seen anywhere belongs to one conversation.
    let points = vec![0; captures.taps().len()];
    let mut pipeline = Pipeline::new(open::configured(settings)?, None, points);
    let mut decoded = Vec::new();
    let wanted = Wanted { from: Timestamp::MIN, to: Timestamp::MAX, ..Wanted::default() };
    let mut printer = Printer::new(&mut decoded, vec![String::new()], wanted);
    let mut frames = Vec::new();
    while let Some(captured) = captures.next() {
        frames.push((captured.frame.tap, view(&captured.frame)));
        pipeline.frame(&captured, &mut printer);
    }
    pipeline.end(&mut printer);
    printer.flush()?;
    drop(printer);
    let taps: Vec<String> = captures.taps().iter().map(|tap| tap.interface.clone()).collect();
    let comments = pcapng::comments(bytes);
    let mut views: Vec<FrameView> = Vec::with_capacity(frames.len());
    for (at, (tap, mut view)) in frames.into_iter().enumerate() {
        view.tap = taps.get(usize::from(tap.0)).cloned().unwrap_or_default();
        let name = comments.get(at).cloned().flatten().unwrap_or_else(|| format!("frame {}", at + 1));
        view.title = format!("{name}: {}", view.title);
        views.push(view);
    }
    for line in decoded.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        message(&mut views, &serde_json::from_slice(line)?);
    }
    Ok(views)
}

/// Adds a decoded message to its frame.
fn message(views: &mut [FrameView], line: &Map<String, Value>) {
    let number = line.get("frame").and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    let Some(view) = number.and_then(|number| views.get_mut(number.checked_sub(1)?)) else { return };
    let (protocol, msg) = (text(line.get("protocol")), text(line.get("msg")));
    view.title = format!("{}, {protocol} {msg}", view.title);
    view.fields.push((protocol, msg));
    let is_own = |name: &str| !HEAD.contains(&name) && !["protocol", "msg", "fields"].contains(&name);
    for (name, value) in line.iter().filter(|(name, _)| is_own(name)) {
        view.fields.push((format!("  {name}"), text(Some(value))));
    }
    if let Some(Value::Object(fields)) = line.get("fields") {
        view.fields.push(("  fields".to_owned(), String::new()));
        add(&mut view.fields, fields, 2);
    }
}

fn add(all: &mut Vec<(String, String)>, fields: &Map<String, Value>, level: usize) {
    let indent = "  ".repeat(level);
    for (name, value) in fields {
        match value {
            Value::Object(inner) => {
                all.push((format!("{indent}{name}"), String::new()));
                add(all, inner, level + 1);
            }
            Value::Array(list) => {
                all.push((format!("{indent}{name}"), list.len().to_string()));
                for (at, one) in list.iter().enumerate() {
                    let Value::Object(inner) = one else {
                        all.push((format!("{indent}  {}", at + 1), text(Some(one))));
                        continue;
                    };
                    all.push((format!("{indent}  {}", at + 1), String::new()));
                    add(all, inner, level + 2);
                }
            }
            value => all.push((format!("{indent}{name}"), text(Some(value)))),
        }
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// A frame with its headers.
fn view(frame: &Frame<'_>) -> FrameView {
    let mut fields = vec![
        ("frame".to_owned(), format!("{} bytes", frame.wire_len)),
        ("  captured".to_owned(), format!("{} bytes", frame.bytes.len())),
        ("  time".to_owned(), frame.time.to_string()),
    ];
    if let (LinkType::Ethernet, Some((to, rest))) = (frame.link, frame.bytes.split_first_chunk::<6>()) {
        let from = rest.first_chunk::<6>().copied().map(mac).unwrap_or_default();
        fields.push(("Ethernet".to_owned(), format!("{from} > {}", mac(*to))));
    }
    let title = match dissect(frame) {
        Ok(packet) => headers(&packet, &mut fields),
        Err(loss) => loss.text().to_owned(),
    };
    FrameView { title, t_ns: frame.time.0, tap: String::new(), bytes: frame.bytes.to_vec(), fields }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// Adds those of the innermost packet, and says who sends whom what.
fn headers(packet: &Packet<'_>, fields: &mut Vec<(String, String)>) -> String {
    let mut add = |name: &str, value: String| fields.push((name.to_owned(), value));
    if packet.vlan != 0 {
        add("VLAN", packet.vlan.to_string());
    }
    add(if packet.source.is_ipv4() { "IPv4" } else { "IPv6" }, format!("{} > {}", packet.source, packet.target));
    if packet.source.is_ipv4() {
        add("  identification", packet.ip_id.to_string());
    }
    let (name, payload) = match packet.transport {
        Transport::Udp { payload } => ("UDP", payload),
        Transport::Tcp { payload, .. } => ("TCP", payload),
    };
    add(name, format!("{} > {}", packet.source_port, packet.target_port));
    if let Transport::Tcp { sequence, acknowledgement, flags, .. } = packet.transport {
        add("  sequence", sequence.to_string());
        add("  acknowledgement", acknowledgement.to_string());
        add("  flags", flag_names(flags));
    }
    add("  payload", format!("{} bytes", payload.len()));
    if packet.missing > 0 {
        add("  not captured", format!("{} bytes", packet.missing));
    }
    format!("{name} {}", FlowKey::of(0, packet).to_string().replace('>', " > "))
}

fn flag_names(flags: TcpFlags) -> String {
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let set = names.iter().enumerate().filter(|(bit, _)| flags.0 >> bit & 1 != 0);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}
