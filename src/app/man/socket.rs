//! tickscope-socket(7): the socket and the metrics of a run that goes on.

use clap_mangen::roff::bold;

use super::{Page, Writer, preamble};
use crate::write::{ANSWER_KEYS, SNAPSHOT_KEYS};

/// What may be asked.
const QUERIES: &[(&str, &str)] = &[
    (
        r#"{"query":"order","clordid":ID,"session":NAME}"#,
        "The newest row with that ClOrdID, of any session where none is named, and the messages that could have caused it.",
    ),
    (
        r#"{"query":"session","session":NAME}"#,
        "The figures of one session with their buckets, as of the newest snapshot.",
    ),
    (
        r#"{"query":"packets","clordid":ID,"session":NAME}"#,
        "The frames that tell of that request (its trigger's, its own, and those of its acknowledgement and answers) as a pcapng \
         file in base64. Needs --flight. Frames that have aged out of the flight recorder are named in missing, and the others \
         are given; a frame belongs to the tap by its name and is counted from 1. Their times are those that count, with the tap's offset or \
         by the stamps of a device, as the row's are. One such question is answered a tenth of a \
         second, at most 16 wait.",
    ),
    (
        r#"{"query":"rows","after":N,"most":M}"#,
        "Rows that are done, the oldest first, as lists of values: those with numbers above N, or all of them, at most M, or 1000, \
         which is the most. Rows are numbered from 1 in the order in which they became done, and the newest 8192 are kept, so \
         whoever asks again with the number of the last row that it has got is given each once.",
    ),
    (
        r#"{"query":"groups","by":NAME}"#,
        "The figures of the 64 busiest groups with their buckets, as of the next snapshot. NAME is session, symbol, outcome, \
         method (what decided on the trigger, none where there is no trigger) or venue (a session's counterparty: what stands \
         behind -> in its name, else the address and port of its server, else its name).",
    ),
    (r#"{"query":"snapshot"}"#, "The next snapshot, once."),
    (r#"{"query":"stream"}"#, "All snapshots from now on."),
];

pub(super) fn page() -> Page {
    let mut page = Writer { text: preamble(), file: "tickscope-socket.7".into(), commands: Vec::new() };
    page.title("tickscope-socket", "7");
    page.section("NAME");
    page.paragraph("tickscope-socket - figures of a running tickscope live for screens, scripts and scrapers");
    page.section("SOCKET");
    page.paragraph(
        "tickscope live makes a Unix stream socket: the path of --socket or [live] socket, else live.sock in the first of \
         $RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR/tickscope and /run/tickscope that is set; none makes none. It is for owner and \
         group (mode 0660). A socket that a killed process left behind is replaced; one that is in use is an error, and of the \
         place that nobody named a note.",
    );
    page.paragraph(
        "Whoever connects is sent a snapshot ten times a second: one JSON document a line. Up to 32 readers are served. Nobody \
         waits for a reader: one that leaves more than 4 MiB untaken is dropped, which is said in the log and counted in \
         readers.dropped. Snapshots are only made while somebody wants one; the last one of a run has is_last and the numbers \
         of its report.",
    );
    page.section("QUERIES");
    page.paragraph(
        "A reader may send lines, each a JSON object with a query, of at most 64 KiB. From its first line on it is sent \
         answers alone, a line each and in order (but for packets, groups and snapshot, whose answers come when they are there), until it asks for \
         the stream again. One that asked and then closes its \
         side is let go behind the last answer. What cannot be answered gives a line with error.",
    );
    for (query, text) in QUERIES {
        page.item(vec![bold(*query)], text);
    }
    page.section("VERSIONS");
    page.paragraph(
        "tickscope_snapshot and tickscope_answer change only when the meaning of a key changes, or a key goes away. Keys may \
         be added at any time: a reader must ignore those that it does not know.",
    );
    page.section("KEYS OF A SNAPSHOT");
    page.paragraph(
        "A dot stands between the key of an object and a key inside it; elements of a list have the path of the list; a star is \
         any name. Keys that --json has too mean the same there. Numbers without a unit are counts.",
    );
    page.rows(SNAPSHOT_KEYS);
    page.section("KEYS OF AN ANSWER");
    page.rows(ANSWER_KEYS);
    page.section("METRICS");
    page.paragraph(
        "--metrics ADDR or [live] metrics gives the figures as OpenMetrics 1.0 text under http://ADDR/metrics; a port alone is \
         one of 127.0.0.1. There is neither encryption nor a password. tickscope_latency_seconds is a histogram by segment and \
         session, tickscope_hop_seconds one of packets that passed two taps, with buckets from 100 ns to 10 s; a bucket counts to \
         0.1 %. The first 32 sessions have series of their own, the others together are session=\"other\", and \
         tickscope_sessions_other says how many they are. ClOrdIDs stand in exemplars only: the slowest request that is known of \
         a series. Every reason for a loss is a counter, of frames by tap and queue. Messages missing of a feed may still come, so \
         tickscope_feed_missing is a gauge.",
    );
    page.close(
        "Examples:\n  nc -U /run/tickscope/live.sock | jq '.segments.t2t.p99_ns'\n  \
         echo '{\"query\":\"order\",\"clordid\":\"A-17\"}' | socat -t5 - UNIX:/run/tickscope/live.sock\n  \
         curl -s http://127.0.0.1:9464/metrics\n",
    )
}
