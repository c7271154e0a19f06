//! Every way in which input can fail to become a latency: one counter each, all shown to the user.

/// What is counted: frames, messages, or order-flow rows. At each level *in = used + sum of its losses*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Captured frames.
    Frame,
    /// Bytes of a TCP stream.
    Stream,
    /// Decoded messages.
    Message,
    /// Requests and answers.
    Order,
}

impl Level {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Level::Frame => "frame",
            Level::Stream => "stream",
            Level::Message => "message",
            Level::Order => "order",
        }
    }
}

macro_rules! losses {
    ($($(#[$meta:meta])* $variant:ident = $level:ident, $name:literal, $text:literal;)*) => {
        /// Why something did not become a latency.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Loss { $(#[doc = $text] $variant),* }

        impl Loss {
            /// Every reason, in the order of the report.
            pub const ALL: &'static [Loss] = &[$(Loss::$variant),*];

            /// The ASCII name in JSON, metrics and the manual.
            pub fn name(self) -> &'static str { match self { $(Loss::$variant => $name),* } }

            /// The sentence that the user reads.
            pub fn text(self) -> &'static str { match self { $(Loss::$variant => $text),* } }

            /// What is being counted.
            pub fn level(self) -> Level { match self { $(Loss::$variant => Level::$level),* } }
        }
    };
}

losses! {
    // ── frames: each frame is used or counted under exactly one of these ──
    LinkUnknown = Frame, "link_unknown", "link type that tickscope does not read";
    NoTimestamp = Frame, "no_timestamp", "frame without a time (Simple Packet Block)";
    NotIp = Frame, "not_ip", "neither IPv4 nor IPv6 (ARP, LLC, …)";
    Keyframe = Frame, "keyframe", "frame of a capture device that says what the stamps of the others mean";
    NotUdpTcp = Frame, "not_udp_tcp", "IP, but neither UDP nor TCP";
    FrameMalformed = Frame, "frame_malformed", "headers that contradict themselves or the frame's length";
    FrameCut = Frame, "frame_cut", "cut by the capture (snaplen) inside its headers or its message";
    FragmentHeld = Frame, "fragment", "piece of a fragmented datagram, used with the piece that completed it";
    FragmentLost = Frame, "fragment_lost", "piece of a fragmented datagram that was never completed";
    CaptureDuplicate = Frame, "capture_duplicate", "the mirror port delivered this frame twice";
    Filtered = Frame, "filtered", "left out by --filter";
    UnknownUdp = Frame, "unknown_udp", "UDP of a protocol that tickscope does not know";
    UnknownTcp = Frame, "unknown_tcp", "TCP of a protocol that tickscope does not know";
    Encrypted = Frame, "encrypted", "TCP that is encrypted (TLS or SSH)";
    FlowEvicted = Frame, "flow_evicted", "belonged to a conversation beyond the limit on conversations";
    // ── bytes of TCP streams ──
    StreamGap = Stream, "stream_gap", "bytes of a TCP stream that were never captured";
    StreamSkipped = Stream, "stream_skipped", "bytes passed over to find the next message after a hole or damage";
    StreamTail = Stream, "stream_tail", "bytes of a message whose end was not captured";
    // ── messages ──
    Malformed = Message, "malformed", "message whose content contradicts its specification";
    UnknownMessage = Message, "unknown_message", "message of a type that the protocol's specification does not have";
    BadChecksum = Message, "bad_checksum", "message whose checksum or length field is wrong";
    FeedDuplicate = Message, "feed_duplicate", "market-data message that had been seen before (other line, retransmission)";
    FeedGap = Message, "feed_gap", "market-data message that was seen on no line";
    NoSymbol = Message, "no_symbol", "market-data message about an instrument whose symbol is not known yet";
    PossDup = Message, "poss_dup", "resent order-flow message (PossDup or PossResend): neither request nor answer";
    // ── requests and answers ──
    OutsideWindow = Order, "outside_window", "request outside --from/--to, --symbol or --session";
    NegativeResidual = Order, "negative_residual",
        "answer that came sooner than the exchange says it took: a wrong pair, or a wrong stamp";
    Orphan = Order, "orphan", "answer whose request was not captured";
    Unanswered = Order, "unanswered", "request without any answer in the capture";
    Untriggered = Order, "untriggered", "request that no market-data message in the trigger window, and no fill, explains likely enough";
    CrossClock = Order, "cross_clock", "request with a latency between two clocks of unknown difference, which is left out";
    Negative = Order, "negative", "latency below zero, kept out of the histogram";
    AckWithAnswer = Order, "ack_with_answer", "TCP ACK that rode on the answer itself, kept out of the network figures";
    AmbiguousWall = Order, "w2w_ambiguous", "request with several wall-to-wall candidates";
    TickEvicted = Order, "tick_evicted", "request whose trigger window reached beyond the ticks that are kept";
    OrderEvicted = Order, "order_evicted", "request closed early because too many were open";
}

/// One counter for each [`Loss`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Losses([u64; Loss::ALL.len()]);

impl Default for Losses {
    fn default() -> Self {
        Losses([0; Loss::ALL.len()])
    }
}

impl Losses {
    /// Counts one.
    pub fn add(&mut self, loss: Loss) {
        self.add_many(loss, 1);
    }

    /// Counts several.
    pub fn add_many(&mut self, loss: Loss, count: u64) {
        if let Some(counter) = self.0.get_mut(loss as usize) {
            *counter += count;
        }
    }

    /// How many were counted under this reason.
    pub fn count(&self, loss: Loss) -> u64 {
        self.0.get(loss as usize).copied().unwrap_or(0)
    }

    /// The sum over one level.
    pub fn total(&self, level: Level) -> u64 {
        Loss::ALL.iter().filter(|loss| loss.level() == level).map(|&loss| self.count(loss)).sum()
    }

    /// Adds the counters of another run or lane.
    pub fn merge(&mut self, other: &Losses) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The reasons that were counted at least once.
    pub fn nonzero(&self) -> impl Iterator<Item = (Loss, u64)> + '_ {
        Loss::ALL.iter().map(|&loss| (loss, self.count(loss))).filter(|&(_, count)| count > 0)
    }
}
