//! From the fields of a FIX message to an `OrderEvent`: one pass over the tags, then what the message type makes of them.
//! The meaning of `MsgType`, `ExecType`, `OrdStatus` and the others is that of the FIX application layer, 4.0 to 5.0 SP2.

use std::ops::Range;

use tickscope_model::{Decimal, Loss, OrderEvent, OrderKind, Side, Stations};

use super::dictionary::{Item, Version, items};
use super::scan::{Field, Fields};
use super::time::{two_utc_ns, utc_ns};
use crate::Output;

/// The tags that are looked at.
const TAGS: [u16; 40] = [
    8, 11, 17, 20, 31, 32, 34, 35, 37, 38, 39, 40, 41, 43, 44, 45, 48, 49, 52, 54, 55, 56, 59, 60, 66, 97, 117, 141,
    150, 151, 295, 296, 297, 379, 531, 548, 551, 768, 1128, 1137,
];

/// No tag that is looked at is as large as this.
const TAG_LIMIT: usize = 2048;

/// Where the value of a tag is kept; 0 for the tags that are not looked at.
static PLACES: [u8; TAG_LIMIT] = places();

#[expect(clippy::indexing_slicing, reason = "runs in the compiler, on the list above")]
#[expect(clippy::cast_possible_truncation, reason = "there are far fewer than 256 places")]
const fn places() -> [u8; TAG_LIMIT] {
    let mut places = [0; TAG_LIMIT];
    let mut at = 0;
    while at < TAGS.len() {
        places[TAGS[at] as usize] = place(TAGS[at]) as u8;
        at += 1;
    }
    places
}

#[expect(clippy::indexing_slicing, reason = "runs in the compiler; a tag that is not in the list does not compile")]
const fn place(tag: u16) -> usize {
    let mut at = 0;
    while TAGS[at] != tag {
        at += 1;
    }
    at + 1
}

/// The first value of each tag that is looked at; empty where there is none.
#[derive(Clone, Copy)]
pub(super) struct Values<'a>([&'a [u8]; TAGS.len() + 1]);

impl<'a> Values<'a> {
    /// One pass over a message.
    #[inline]
    pub(super) fn of(message: &'a [u8]) -> Values<'a> {
        let mut values = Values([&[]; TAGS.len() + 1]);
        for field in Fields::new(message) {
            values.put(field);
        }
        values
    }

    /// Of a message that was taken apart, what stands outside its groups.
    pub(super) fn outside_groups(items: &[Item<'a>]) -> Values<'a> {
        let mut values = Values([&[]; TAGS.len() + 1]);
        for item in items {
            if let Item::Field(field) = item {
                values.put(*field);
            }
        }
        values
    }

    #[inline]
    fn put(&mut self, field: Field<'a>) {
        let place = usize::try_from(field.tag).ok().and_then(|tag| PLACES.get(tag)).copied().unwrap_or(0);
        if let Some(value) = self.0.get_mut(usize::from(place)) {
            // Outside groups a tag stands once; of two the first counts.
            if value.is_empty() {
                *value = field.value;
            }
        }
    }

    /// The value of a tag of `TAGS`.
    #[inline]
    pub(super) fn text<const TAG: u16>(&self) -> &'a [u8] {
        self.0[const { place(TAG) }]
    }

    pub(super) fn number<const TAG: u16>(&self) -> u64 {
        number(self.text::<TAG>())
    }

    pub(super) fn decimal<const TAG: u16>(&self) -> Option<Decimal> {
        Decimal::parse(self.text::<TAG>())
    }

    fn is_yes<const TAG: u16>(&self) -> bool {
        self.text::<TAG>() == b"Y"
    }

    fn byte<const TAG: u16>(&self) -> u8 {
        self.text::<TAG>().first().copied().unwrap_or(0)
    }

    /// Side (54). Only the four that `--orders` knows; crosses, subscriptions, loans and the like have none.
    pub(super) fn side(&self) -> Option<Side> {
        match self.text::<54>() {
            b"1" => Some(Side::Buy),
            b"2" => Some(Side::Sell),
            b"5" => Some(Side::SellShort),
            b"6" => Some(Side::SellShortExempt),
            _ => None,
        }
    }

    /// Whether an order trades when it comes or not at all, by `OrdType` (40) and `TimeInForce` (59). What waits for a
    /// price, for the opening or for the close does not, whatever else it says.
    fn is_immediate(&self) -> bool {
        let (kind, force) = (self.text::<40>(), self.text::<59>());
        let waits = matches!(kind, b"3" | b"4" | b"5" | b"A" | b"B" | b"J") || matches!(force, b"2" | b"7");
        !waits && (kind == b"1" || matches!(force, b"3" | b"4"))
    }

    /// `TransactTime` (60).
    pub(super) fn transact_ns(&self) -> Option<u64> {
        utc_ns(self.text::<60>())
    }

    /// `SendingTime` (52).
    pub(super) fn sending_ns(&self) -> Option<u64> {
        utc_ns(self.text::<52>())
    }
}

/// A sequence number; 0 for what is none.
fn number(text: &[u8]) -> u64 {
    let mut number = 0_u64;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return 0;
        }
        match number.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(digit))) {
            Some(more) => number = more,
            None => return 0,
        }
    }
    number
}

/// Says what a message is through `out`: one event, or one for each order of a list or side of a cross.
pub(super) fn order(message: &[u8], span: Range<usize>, damaged: bool, values: &Values<'_>, out: &mut dyn Output) {
    match values.text::<35>() {
        b"" => out.stray(if damaged { Loss::BadChecksum } else { Loss::Malformed }, 1),
        b"E" => each_of_group(message, 73, &span, damaged, values, out),
        b"s" | b"t" | b"u" => each_of_group(message, 552, &span, damaged, values, out),
        _ => out.order(span, &one(message, damaged, values)),
    }
}

/// Message types that are no request and no answer, and whose groups carry tags of orders:
/// of them only the header is told. A test holds this list against the dictionaries.
#[rustfmt::skip]
const ONLY_HEADER: &[&[u8]] = &[
    b"AA", b"AD", b"AE", b"AG", b"AH", b"AK", b"AR", b"AS", b"AX", b"AY", b"AZ", b"B", b"BA", b"BB", b"BG", b"BH", b"BJ",
    b"BK", b"BL", b"BM", b"BQ", b"BR", b"BS", b"C", b"CC", b"CD", b"CO", b"DC", b"DJ", b"DK", b"DO", b"DP", b"DW", b"J",
    b"N", b"R", b"T", b"V", b"W", b"X", b"c", b"d", b"k", b"l", b"m", b"w", b"y",
];

fn one<'a>(message: &'a [u8], damaged: bool, values: &Values<'a>) -> OrderEvent<'a> {
    let mut event = OrderEvent { raw: message, ..event(damaged, values) };
    if !values.text::<768>().is_empty() && event.message == b"8" {
        event.stations = stations(message);
    }
    match event.message {
        b"S" | b"AI" => event.clordid = values.text::<117>(),
        b"i" | b"Z" | b"b" => {
            event.clordid = values.text::<117>();
            if !is_one_instrument(message, values) {
                (event.symbol, event.security_id) = (b"", b"");
            }
        }
        b"K" if event.clordid.is_empty() => event.clordid = values.text::<66>(),
        b"j" => event.clordid = values.text::<379>(),
        // The OrigClOrdIDs of these stand in groups: they are of the orders that were cancelled.
        b"r" | b"BZ" => event.orig_clordid = b"",
        _ => {}
    }
    event
}

/// The event of fields that all belong to one order.
#[inline]
fn event<'a>(is_damaged: bool, values: &Values<'a>) -> OrderEvent<'a> {
    let kind = kind(values);
    let message = values.text::<35>();
    let mut event = OrderEvent {
        kind,
        message,
        sender: values.text::<49>(),
        target: values.text::<56>(),
        sequence: values.number::<34>(),
        is_copy: values.is_yes::<43>() || values.is_yes::<97>(),
        is_damaged,
        reset: kind == OrderKind::Logon && values.is_yes::<141>(),
        ref_sequence: values.number::<45>(),
        ..OrderEvent::default()
    };
    // Of session messages, the most frequent of which is the heartbeat, there is nothing more to tell.
    if matches!(message, b"0" | b"1" | b"2" | b"3" | b"4" | b"5" | b"A")
        || (kind == OrderKind::Other && ONLY_HEADER.contains(&message))
    {
        event.sending_ns = values.sending_ns().unwrap_or(0);
        return event;
    }
    let (sending, transact) = two_utc_ns(values.text::<52>(), values.text::<60>());
    event.sending_ns = sending.unwrap_or(0);
    event.transact_ns = transact.unwrap_or(0);
    event.clordid = values.text::<11>();
    event.orig_clordid = values.text::<41>();
    event.order_id = values.text::<37>();
    event.exec_id = values.text::<17>();
    event.symbol = values.text::<55>();
    event.security_id = values.text::<48>();
    event.side = values.side();
    event.price = values.decimal::<44>();
    event.quantity = values.decimal::<38>();
    event.last_price = values.decimal::<31>();
    event.last_quantity = values.decimal::<32>();
    event.leaves = values.decimal::<151>();
    event.order_status = values.byte::<39>();
    event.exec_type = values.byte::<150>();
    event.is_immediate = event.kind.is_request() && values.is_immediate();
    event
}

/// `TrdRegTimestamps`: the stamps of its types 2 (time in) and 3 (time out); of two of a type the first counts. Where such
/// are, `RequestTime` (5979) is looked for too: nanoseconds since 1970, and of whatever else stands there, nothing.
#[cold]
fn stations(message: &[u8]) -> Stations {
    let mut stations = Stations::default();
    let mut stamp = 0;
    for field in Fields::new(message) {
        let slot = match (field.tag, field.value) {
            (769, value) => {
                stamp = utc_ns(value).unwrap_or(0);
                continue;
            }
            (770, b"2") => &mut stations.in_ns,
            (770, b"3") => &mut stations.out_ns,
            (5979, value) if value.len() == EPOCH_DIGITS => {
                stamp = number(value);
                &mut stations.request_ns
            }
            _ => continue,
        };
        if *slot == 0 {
            *slot = std::mem::take(&mut stamp);
        }
    }
    stations
}

/// Nanoseconds since 1970 have so many digits from 2001 to 2286.
const EPOCH_DIGITS: usize = 19;

/// Whether a message whose groups hold instruments is about one of them at most: only then it has a symbol.
fn is_one_instrument(message: &[u8], values: &Values<'_>) -> bool {
    let mut entries = 0;
    let mut instruments = 0;
    for field in Fields::new(message) {
        match field.tag {
            295 => entries += 1,
            55 => instruments += 1,
            _ => {}
        }
    }
    entries <= 1 && instruments <= 1 && matches!(values.text::<295>(), b"" | b"1")
}

/// One event for each entry of a list of orders (`count_tag` 73) or of the sides of a cross (552).
fn each_of_group(
    message: &[u8],
    count_tag: u32,
    span: &Range<usize>,
    damaged: bool,
    values: &Values<'_>,
    out: &mut dyn Output,
) {
    let version = Version::of_begin(values.text::<8>()).unwrap_or(Version::NEWEST);
    let all = items(version, values.text::<35>(), Fields::new(message));
    let outside = Values::outside_groups(&all);
    let mut orders = 0;
    let groups = all.iter().filter_map(|item| match item {
        Item::Group { count, entries } if count.tag == count_tag => Some((number(count.value), entries)),
        _ => None,
    });
    let (stated, entries) = groups.unzip::<_, _, Vec<_>, Vec<_>>();
    for entry in entries.into_iter().flatten() {
        let mut order = Values::outside_groups(entry);
        if order.text::<11>().is_empty() {
            continue;
        }
        // What the entry does not say itself holds for all: the instrument and the price of a cross.
        for (own, common) in order.0.iter_mut().zip(outside.0) {
            if own.is_empty() {
                *own = common;
            }
        }
        orders += 1;
        // Without its message: an id in it would be that of the first order for each of them.
        out.order(span.clone(), &event(damaged, &order));
    }
    if orders == 0 {
        out.order(span.clone(), &without_entries(damaged, &outside));
    } else if stated.iter().any(|&stated| stated != orders) {
        // Entries without ClOrdID, or that could not be told apart.
        out.stray(Loss::Malformed, 1);
    }
}

/// FIX 4.0 and 4.1 send a list as one message an order. A cross whose sides carry no `ClOrdID` goes by its `CrossID`.
fn without_entries<'a>(damaged: bool, values: &Values<'a>) -> OrderEvent<'a> {
    let event = event(damaged, values);
    if values.text::<35>() == b"E" || !event.clordid.is_empty() {
        return event;
    }
    OrderEvent { clordid: values.text::<548>(), orig_clordid: values.text::<551>(), ..event }
}

/// What a message does, by its type and the fields that tell its kinds apart.
fn kind(values: &Values<'_>) -> OrderKind {
    match values.text::<35>() {
        b"D" | b"E" | b"AB" | b"s" => OrderKind::New,
        b"G" | b"AC" | b"t" => OrderKind::Replace,
        b"F" | b"K" | b"Z" | b"u" => OrderKind::Cancel,
        b"q" => OrderKind::MassCancel,
        b"S" => OrderKind::Quote,
        b"i" => OrderKind::MassQuote,
        b"8" => execution(values),
        b"9" | b"j" => OrderKind::Reject,
        b"3" => OrderKind::SessionReject,
        b"b" | b"AI" => quote_answer(values.text::<297>()),
        b"r" => match values.text::<531>() {
            b"" => OrderKind::Other,
            b"0" => OrderKind::Reject,
            _ => OrderKind::Canceled,
        },
        b"A" => OrderKind::Logon,
        b"5" => OrderKind::Logout,
        _ => OrderKind::Other,
    }
}

/// `QuoteStatus` (297).
fn quote_answer(status: &[u8]) -> OrderKind {
    match status {
        b"0" => OrderKind::Ack,
        b"1" | b"2" | b"3" | b"4" => OrderKind::Canceled,
        b"5" => OrderKind::Reject,
        b"10" => OrderKind::Pending,
        _ => OrderKind::Other,
    }
}

/// `ExecutionReport`. Up to FIX 4.2 `ExecTransType` (20) says whether it is news at all: 1 takes a trade back, 2 corrects one,
/// 3 answers a status request. FIX 4.0 has no `ExecType` (150): there `OrdStatus` (39) tells what happened.
fn execution(values: &Values<'_>) -> OrderKind {
    if !matches!(values.text::<20>(), b"" | b"0") {
        return OrderKind::Other;
    }
    match values.text::<150>() {
        b"" => match values.text::<39>() {
            b"1" | b"2" if values.decimal::<32>().is_none_or(|last| last.mantissa <= 0) => OrderKind::Other,
            status => outcome(status),
        },
        b"F" => OrderKind::Fill,
        exec_type => outcome(exec_type),
    }
}

/// The values that `ExecType` and `OrdStatus` share. Done for the day, stopped, suspended, calculated and restated are no answers
/// to a request, nor are the `ExecTypes` that only one of them has: G and H (trade corrected, taken back), I (status), J to L.
fn outcome(code: &[u8]) -> OrderKind {
    match code {
        b"0" => OrderKind::Ack,
        b"1" | b"2" => OrderKind::Fill,
        b"4" | b"C" => OrderKind::Canceled,
        b"5" => OrderKind::Replaced,
        b"8" => OrderKind::Reject,
        b"6" | b"A" | b"E" => OrderKind::Pending,
        _ => OrderKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::orders::fix::dictionary::dictionary;

    /// What `event` reads, other than from the header.
    const OF_ORDERS: [u32; 17] = [11, 17, 31, 32, 37, 38, 39, 41, 44, 48, 54, 55, 60, 66, 117, 150, 151];

    fn kind_of(message: &str) -> OrderKind {
        let text = message.replace('|', "\x01");
        kind(&Values::of(text.as_bytes()))
    }

    /// One pass over the tags is right only where no repeating group has the tags of an order.
    #[test]
    fn messages_with_orders_in_groups_are_known() {
        let grouped: BTreeSet<_> = dictionary().types_with_groups_of(&OF_ORDERS).into_iter().collect();
        let header: BTreeSet<_> = ONLY_HEADER.iter().map(|kind| String::from_utf8_lossy(kind).into_owned()).collect();
        assert_eq!(header.len(), ONLY_HEADER.len());
        let treated: BTreeSet<_> = ["E", "s", "t", "u", "i", "b", "Z", "r", "BZ"].map(str::to_owned).into();
        assert_eq!(grouped, &header | &treated);
    }

    #[test]
    fn execution_reports_of_all_styles() {
        let rows = [
            // FIX 4.0: OrdStatus and ExecTransType.
            ("20=0|39=0|", OrderKind::Ack),
            ("20=0|39=1|32=100|", OrderKind::Fill),
            ("20=0|39=2|32=100|", OrderKind::Fill),
            ("20=0|39=2|32=0|", OrderKind::Other),
            ("20=0|39=1|", OrderKind::Other),
            ("20=0|39=3|", OrderKind::Other),
            ("20=0|39=4|", OrderKind::Canceled),
            ("20=0|39=5|", OrderKind::Replaced),
            ("20=0|39=6|", OrderKind::Pending),
            ("20=0|39=8|", OrderKind::Reject),
            ("20=3|39=0|", OrderKind::Other),
            ("20=1|39=2|32=100|", OrderKind::Other),
            // FIX 4.1 and 4.2.
            ("20=0|150=0|39=0|", OrderKind::Ack),
            ("20=0|150=1|39=1|32=5|", OrderKind::Fill),
            ("20=0|150=2|39=2|32=5|", OrderKind::Fill),
            ("20=0|150=4|39=4|", OrderKind::Canceled),
            ("20=0|150=5|39=0|", OrderKind::Replaced),
            ("20=0|150=6|39=6|", OrderKind::Pending),
            ("20=0|150=8|39=8|", OrderKind::Reject),
            ("20=1|150=2|39=1|32=5|", OrderKind::Other),
            ("20=2|150=2|39=2|32=5|", OrderKind::Other),
            ("20=3|150=0|39=0|", OrderKind::Other),
            // FIX 4.3 and later.
            ("150=F|39=1|32=5|", OrderKind::Fill),
            ("150=A|39=A|", OrderKind::Pending),
            ("150=E|39=E|", OrderKind::Pending),
            ("150=C|39=C|", OrderKind::Canceled),
            ("150=3|39=3|", OrderKind::Other),
            ("150=7|39=7|", OrderKind::Other),
            ("150=9|39=9|", OrderKind::Other),
            ("150=B|39=B|", OrderKind::Other),
            ("150=D|39=0|", OrderKind::Other),
            ("150=G|39=1|32=5|", OrderKind::Other),
            ("150=H|39=1|32=5|", OrderKind::Other),
            ("150=I|39=0|", OrderKind::Other),
            ("39=F|", OrderKind::Other),
        ];
        for (fields, expected) in rows {
            assert_eq!(kind_of(&format!("35=8|{fields}")), expected, "{fields}");
        }
    }

    #[test]
    fn other_types() {
        let rows = [
            ("35=D|", OrderKind::New),
            ("35=AB|", OrderKind::New),
            ("35=G|", OrderKind::Replace),
            ("35=AC|", OrderKind::Replace),
            ("35=F|", OrderKind::Cancel),
            ("35=Z|", OrderKind::Cancel),
            ("35=q|", OrderKind::MassCancel),
            ("35=S|", OrderKind::Quote),
            ("35=i|", OrderKind::MassQuote),
            ("35=9|", OrderKind::Reject),
            ("35=j|", OrderKind::Reject),
            ("35=3|", OrderKind::SessionReject),
            ("35=b|297=0|", OrderKind::Ack),
            ("35=b|297=5|", OrderKind::Reject),
            ("35=AI|297=4|", OrderKind::Canceled),
            ("35=AI|297=10|", OrderKind::Pending),
            ("35=AI|297=16|", OrderKind::Other),
            ("35=r|531=0|", OrderKind::Reject),
            ("35=r|531=7|", OrderKind::Canceled),
            ("35=A|", OrderKind::Logon),
            ("35=5|", OrderKind::Logout),
            ("35=0|", OrderKind::Other),
            ("35=2|", OrderKind::Other),
            ("35=H|", OrderKind::Other),
            ("35=R|", OrderKind::Other),
            ("35=U1|", OrderKind::Other),
        ];
        for (message, expected) in rows {
            assert_eq!(kind_of(message), expected, "{message}");
        }
    }

    #[test]
    fn orders_that_trade_at_once_or_not_at_all() {
        let rows = [
            ("35=D|40=1|", true),
            ("35=D|40=1|59=0|", true),
            ("35=D|40=2|44=1|59=3|", true),
            ("35=D|40=2|44=1|59=4|", true),
            ("35=G|40=1|", true),
            ("35=D|40=2|44=1|59=0|", false),
            ("35=D|", false),
            // They wait for the opening, for the close, or for a price.
            ("35=D|40=1|59=2|", false),
            ("35=D|40=1|59=7|", false),
            ("35=D|40=5|59=3|", false),
            ("35=D|40=3|99=1|59=3|", false),
            // A report repeats them.
            ("35=8|150=0|39=0|40=1|", false),
        ];
        for (message, expected) in rows {
            let text = message.replace('|', "\x01");
            assert_eq!(event(false, &Values::of(text.as_bytes())).is_immediate, expected, "{message}");
        }
    }

    #[test]
    fn stations_are_the_regulatory_stamps_of_their_types() {
        let of = |fields: &str| {
            let text = format!("35=8|150=0|39=0|11=c|{fields}").replace('|', "\x01");
            let stations = one(text.as_bytes(), false, &Values::of(text.as_bytes())).stations;
            [stations.request_ns, stations.in_ns, stations.out_ns]
        };
        let (first, second) = ("20260121-12:53:20.000000100", "20260121-12:53:20.000000250");
        let start = 1_769_000_000_000_000_000;
        let both = format!("768=3|769={first}|770=2|769={second}|770=3|769={second}|770=1|");
        assert_eq!(of(&both), [0, start + 100, start + 250]);
        assert_eq!(of(&format!("{both}5979=1769000000000000050|")), [start + 50, start + 100, start + 250]);
        assert_eq!(of(&format!("{both}5979=20260121|")), [0, start + 100, start + 250], "no nanoseconds");
        assert_eq!(of(&format!("768=2|769={first}|770=2|769={second}|770=2|")), [0, start + 100, 0]);
        assert_eq!(of("768=2|770=2|769=soon|770=3|"), [0, 0, 0]);
        assert_eq!(of(&format!("769={first}|770=2|")), [0, 0, 0], "no such group");
    }

    #[test]
    fn sequence_numbers() {
        let rows: [(&[u8], u64); 5] =
            [(b"", 0), (b"17", 17), (b"18446744073709551615", u64::MAX), (b"18446744073709551616", 0), (b"1x", 0)];
        for (text, expected) in rows {
            assert_eq!(number(text), expected);
        }
    }
}
