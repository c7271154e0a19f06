//! The market-data side of the world: the crowd acts, changes become packets on every line, lost ones are asked for.

use std::io::{self, Write};
use std::rc::Rc;

use crate::book::{Change, Side};
use crate::encode::feed::Packet;
use crate::encode::fix::price_text;
use crate::random::{to_count, to_float};
use crate::replay::Recorded;
use crate::scenario_check::parse_address;
use crate::tap::{Carries, Link, OnWire};
use crate::time::{MICRO, MILLI, SECOND};
use crate::truth::Cause;
use crate::wire::{Node, UDP_HEADERS, udp_begin, udp_finish, udp_frame};
use crate::world::{CLOSING, Event, KEPT_PACKETS, PREAMBLE, World};

impl<W: Write> World<W> {
    pub(crate) fn open_market(&mut self) -> io::Result<()> {
        self.feed.system_event(self.now, b'O');
        for symbol in 0..self.scenario.market.symbols {
            let instrument = &self.market.instruments[usize::from(symbol)];
            self.feed.introduce(self.now, symbol, instrument);
            if self.feed.is_full() {
                self.send_packet()?;
                self.now += 2 * MICRO;
            }
        }
        self.feed.system_event(self.now, b'S');
        self.feed.system_event(self.now, b'Q');
        for symbol in 0..self.scenario.market.symbols {
            let mut changes = Vec::new();
            self.market.open(symbol, &mut changes);
            for change in changes {
                self.feed.change(self.now, &change, &self.market.instruments[usize::from(symbol)]);
                if self.feed.is_full() {
                    self.send_packet()?;
                    self.now += 2 * MICRO;
                }
            }
        }
        if !self.feed.is_empty() {
            self.send_packet()?;
        }
        self.now = self.scenario.start.0;
        Ok(())
    }

    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.now = self.end + CLOSING + SECOND;
        self.feed.system_event(self.now, b'M');
        self.feed.system_event(self.now, b'E');
        self.feed.system_event(self.now, b'C');
        self.send_packet()?;
        self.now += MILLI;
        let packet = self.feed.end_of_session(self.now);
        self.distribute(packet, self.now)
    }

    pub(crate) fn crowd_acts(&mut self) -> io::Result<()> {
        let mut changes = std::mem::take(&mut self.changes);
        changes.clear();
        self.market.step(&mut changes);
        if self.now < self.hold_until {
            self.held.append(&mut changes);
        } else {
            self.publish_changes(&changes)?;
        }
        self.changes = changes;
        if !self.market.struck.is_empty() {
            let outcome = self.exchange.struck(self.now, &mut self.market);
            self.schedule_reports(outcome.reports, self.now, None);
        }
        Ok(())
    }

    pub(crate) fn publish_changes(&mut self, changes: &[Change]) -> io::Result<()> {
        for change in changes {
            if self.feed.is_full() {
                self.send_packet()?;
            }
            let instrument = &self.market.instruments[usize::from(change.symbol)];
            self.feed.change(self.now, change, instrument);
            if let Some(at) = self.own_changes.iter().position(|(reference, _)| change.is_of(*reference)) {
                let (_, request) = self.own_changes.remove(at);
                // The packet at hand gets the next number.
                self.recorder.pin(self.packets);
                self.recorder.requests[request].public = Some((self.packets, self.feed.end()));
            }
        }
        if self.feed.is_empty() {
            return Ok(());
        }
        if self.scenario.market.collect.0 == 0 {
            return self.send_packet();
        }
        if !self.flush_due {
            self.flush_due = true;
            self.at(self.now + self.scenario.market.collect.0, Event::FlushFeed);
        }
        Ok(())
    }

    pub(crate) fn publish(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        self.publish_changes(&held)
    }

    pub(crate) fn send_packet(&mut self) -> io::Result<()> {
        self.flush_due = false;
        if self.feed.is_empty() {
            return Ok(());
        }
        let packet = self.feed.packet(self.now);
        self.messages += u64::from(packet.count);
        self.distribute(packet, self.now)
    }

    /// Sends a packet on every line.
    fn distribute(&mut self, packet: Packet, now: u64) -> io::Result<()> {
        let number = self.packets;
        self.packets += 1;
        self.last_packet = now;
        self.feed_ip_id = self.feed_ip_id.wrapping_add(1);
        let trades = !self.scenario.strategy.is_empty() && packet.count > 0 && packet.count < u16::MAX;
        let mut arrivals = Vec::with_capacity(self.scenario.line.len());
        for at in 0..self.scenario.line.len() {
            let line = &self.scenario.line[at];
            if self.network_random.chance(line.loss) {
                continue;
            }
            let jitter = if line.jitter.0 > 0 { self.network_random.below(line.jitter.0) } else { 0 };
            let mut frame = Vec::with_capacity(UDP_HEADERS + packet.payload.len());
            udp_begin(&mut frame, &self.feed_source, &self.line_groups[at], self.feed_ip_id);
            frame.extend_from_slice(&packet.payload);
            udp_finish(&mut frame);
            // One packet after the other: 10 Gb/s are 0.8 ns a byte.
            let elapsed = now - self.scenario.start.0;
            let late = line.late.iter().filter(|late| late.from.0 <= elapsed && elapsed < late.to.0);
            let late: u64 = late.map(|late| late.add.0).sum();
            let sent = (now + jitter + late).max(self.line_busy[at]);
            self.line_busy[at] = sent + frame.len() as u64 * 4 / 5;
            let carries = Carries::Packet { number, line: at };
            let payload = packet.payload.len();
            let on_wire = OnWire { frame: Rc::new(frame), payload_at: UDP_HEADERS, payload, carries };
            self.taps.pass(Link::Line(at), sent, line.delay.0, &on_wire);
            if self.scenario.trader.line.is_empty() || self.scenario.trader.line == line.name {
                arrivals.push(sent + line.delay.0);
            }
        }
        if trades {
            let packet = Rc::new(packet);
            for time in arrivals {
                self.at(time, Event::Packet { number, packet: Rc::clone(&packet) });
            }
            if self.scenario.market.recover.is_some() {
                if self.kept.len() == KEPT_PACKETS {
                    self.kept.pop_front();
                }
                self.kept.push_back((number, packet));
            }
        }
        self.taps.flush(now, &mut self.recorder)
    }

    pub(crate) fn feed_heartbeat(&mut self) -> io::Result<()> {
        let every = self.scenario.market.heartbeat.0.max(MILLI);
        if self.now >= self.last_packet + every {
            let packet = self.feed.heartbeat(self.now);
            self.distribute(packet, self.now)?;
        }
        if !self.is_closing {
            self.at((self.last_packet + every).max(self.now + MILLI), Event::FeedHeartbeat);
        }
        Ok(())
    }

    pub(crate) fn packet_arrives(&mut self, number: u64, packet: &Packet) {
        if self.has_seen(number) {
            return;
        }
        let (word, bit) = packet_bit(number);
        if self.seen_packets.len() <= word {
            self.seen_packets.resize(word + 1, 0);
        }
        self.seen_packets[word] |= bit;
        self.ask_for_missing(packet);
        self.trader.packet();
        for tick in &packet.ticks {
            for order in self.trader.tick(self.now, tick) {
                self.recorder.pin(number);
                let instrument = &self.market.instruments[usize::from(tick.symbol)];
                let price = price_text(tick.price);
                let side = if tick.side == Side::Buy { "B" } else { "S" };
                let cause = Cause {
                    packet: number,
                    end: tick.end,
                    sequence: tick.sequence,
                    name: tick.name,
                    symbol: instrument.symbol.clone(),
                    text: format!("{} {} {side} {} @ {price}", tick.name, instrument.symbol, tick.quantity),
                };
                let elapsed = self.now - self.scenario.start.0;
                let latency = self.scenario.trader.latency.draw(&mut self.latency_random, elapsed);
                let (cause, decided) = (Some(Box::new(cause)), self.now);
                self.at(self.now + latency, Event::TraderSends { order: Box::new(order), cause, decided });
            }
        }
    }

    /// Whether this packet reached the trader before, on whatever line.
    fn has_seen(&self, number: u64) -> bool {
        let (word, bit) = packet_bit(number);
        self.seen_packets.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Where messages are missing on every line so far, `MoldUDP64`'s request server is asked for them.
    fn ask_for_missing(&mut self, packet: &Packet) {
        let expected = self.next_expected;
        self.next_expected = expected.max(packet.first + u64::from(packet.count));
        let Some(latency) = &self.scenario.market.recover else { return };
        if packet.first <= expected {
            return;
        }
        let latency = latency.draw(&mut self.latency_random, self.now - self.scenario.start.0);
        let missing: Vec<u64> = (self.kept.iter())
            .filter(|(number, kept)| kept.first >= expected && kept.first < packet.first && !self.has_seen(*number))
            .map(|(number, _)| *number)
            .collect();
        let count = u16::try_from(packet.first - expected).unwrap_or(u16::MAX - 1);
        let request = self.feed.request(expected, count);
        self.send_recovery(false, &request, Carries::Nothing);
        for number in missing {
            self.at(self.now + latency, Event::Recover { number });
        }
    }

    /// The request server sends a packet again.
    pub(crate) fn recover(&mut self, number: u64) {
        let Some((_, packet)) = self.kept.iter().find(|(kept, _)| *kept == number).cloned() else { return };
        self.send_recovery(true, &packet.payload, Carries::Packet { number, line: 0 });
        self.at(self.now + self.scenario.line[0].delay.0, Event::Packet { number, packet });
    }

    fn send_recovery(&mut self, to_trader: bool, payload: &[u8], carries: Carries) {
        let (client, _) = parse_address(&self.scenario.orders.client).expect("checked by the scenario");
        let (host, server) = (Node::host(client, 40_001), Node { port: 26_400, ..self.feed_source });
        let (from, to) = if to_trader { (server, host) } else { (host, server) };
        self.feed_ip_id = self.feed_ip_id.wrapping_add(1);
        let frame = udp_frame(&from, &to, self.feed_ip_id, payload);
        let on_wire = OnWire { frame: Rc::new(frame), payload_at: UDP_HEADERS, payload: payload.len(), carries };
        self.taps.pass(Link::Recovery, self.now, self.scenario.line[0].delay.0, &on_wire);
    }

    // ── recorded market data ──

    /// Schedules the next recorded frame.
    pub(crate) fn next_recorded(&mut self) -> io::Result<()> {
        let (Some(recording), Some(settings)) = (&mut self.recording, &self.scenario.market.replay) else {
            return Ok(());
        };
        let Some(recorded) = recording.next_frame()? else { return Ok(()) };
        let after = to_count(to_float(recorded.after) / settings.speed);
        let time = (self.scenario.start.0 + PREAMBLE + after).max(self.now);
        if time < self.end {
            self.at(time, Event::Replay { recorded: Box::new(recorded) });
        }
        Ok(())
    }

    /// A recorded frame goes out as it was, on the first line.
    pub(crate) fn replay(&mut self, recorded: Recorded) -> io::Result<()> {
        self.packets += 1;
        let delay = self.scenario.line[0].delay.0;
        let sent = self.now.max(self.line_busy[0]);
        self.line_busy[0] = sent + recorded.frame.len() as u64 * 4 / 5;
        let payload_at = recorded.payload.start;
        let payload = recorded.payload.len();
        let on_wire = OnWire { frame: Rc::new(recorded.frame), payload_at, payload, carries: Carries::Nothing };
        self.taps.pass(Link::Line(0), sent, delay, &on_wire);
        self.next_recorded()
    }
}

fn packet_bit(number: u64) -> (usize, u64) {
    (usize::try_from(number / 64).expect("a count of packets in memory"), 1 << (number % 64))
}
