//! The values that a scenario has where its file is silent.

use crate::capture::Format;
use crate::encode::feed::{FeedProtocol, NEW_YORK_WINTER};
use crate::encode::fix::Version;
use crate::scenario::{
    Direction, Exchange, Gateway, Line, Market, Network, Orders, Public, Scenario, Tap, Trader, Trailer,
};
use crate::time::{Instant, Latency, MICRO, MILLI, SECOND, Shift, Span, parse_instant};

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario {
            title: String::new(),
            start: Instant(parse_instant("2026-01-05T14:30:00Z").expect("a valid time")),
            duration: Span(60 * SECOND),
            market: Market::default(),
            line: Vec::new(),
            orders: Orders::default(),
            network: Network::default(),
            trader: Trader::default(),
            strategy: Vec::new(),
            exchange: Exchange::default(),
            gateway: None,
            tap: Vec::new(),
        }
    }
}

impl Default for Market {
    fn default() -> Market {
        Market {
            protocol: FeedProtocol::Itch50,
            symbols: 10,
            names: Vec::new(),
            prices: Vec::new(),
            rate: 50.0,
            even: false,
            branching: 0.4,
            memory: Span(2 * MILLI),
            rush: Vec::new(),
            burst: None,
            messages: 0,
            collect: Span(0),
            heartbeat: Span(SECOND),
            west: Span(NEW_YORK_WINTER),
            recover: None,
            replay: None,
        }
    }
}

impl Default for Line {
    fn default() -> Line {
        Line {
            name: "A".into(),
            group: "233.54.12.111:26477".into(),
            delay: Span(5 * MICRO),
            jitter: Span(0),
            loss: 0.0,
            late: Vec::new(),
        }
    }
}

impl Default for Orders {
    fn default() -> Orders {
        Orders {
            version: Version::Fix44,
            sender: "TRADER".into(),
            target: "EXCHANGE".into(),
            sessions: 1,
            heartbeat: Span(30 * SECOND),
            drops: Vec::new(),
            back_after: Span(200 * MILLI),
            client: "10.0.0.10:41000".into(),
            server: "10.0.1.20:9876".into(),
        }
    }
}

impl Default for Network {
    fn default() -> Network {
        Network {
            delay: Span(5 * MICRO),
            mss: 1448,
            ack: Latency { min: 2 * MICRO, ..Latency::lognormal(8 * MICRO, 0.2) },
            loss: 0.0,
            reorder: 0.0,
            cut: 0.0,
            coalesce: 0.0,
            coalesce_wait: Span(50 * MICRO),
            resend_after: Span(200 * MILLI),
        }
    }
}

impl Default for Trader {
    fn default() -> Trader {
        Trader {
            latency: Latency { min: 5 * MICRO, ..Latency::lognormal(20 * MICRO, 0.25) },
            digits: 6,
            line: String::new(),
        }
    }
}

impl Default for Exchange {
    fn default() -> Exchange {
        Exchange {
            latency: Latency { min: 20 * MICRO, ..Latency::lognormal(50 * MICRO, 0.15) },
            report_gap: Latency::lognormal(6 * MICRO, 0.3),
            reject: 0.0,
            reject_change: 0.0,
            reject_session: 0.0,
            reject_business: 0.0,
            unsolicited: 0.0,
            pending: 0.0,
            public: Public::After,
            public_gap: Span(3 * MICRO),
            public_ids: false,
        }
    }
}

impl Default for Gateway {
    fn default() -> Gateway {
        Gateway {
            latency: Latency::lognormal(12 * MICRO, 0.2),
            name: "GATEWAY".into(),
            address: "10.0.0.30:9800".into(),
        }
    }
}

impl Default for Tap {
    fn default() -> Tap {
        Tap {
            name: "tap".into(),
            sees: vec!["md".into(), "orders".into()],
            place: 1.0,
            direction: Direction::Both,
            group: String::new(),
            offset: Shift(0),
            drift: 0,
            resolution: Span(1),
            snaplen: 0,
            vlan: 0,
            trailer: Trailer::None,
            lag: Span(0),
            loss: 0.0,
            duplicate: 0.0,
            from: Span(0),
            format: Format::Pcap,
        }
    }
}
