//! One interface: its capture, the threads that read it, and the account of every frame from the NIC to the stages. Where the
//! interface goes away for good, the tap waits until there is one of its name again.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use tickscope_model::{Nanos, TapId};
use tickscope_nic::{Capture, Counters, Direction, Driver, Event, OpenError, Options};

use super::merge::Merge;
use super::queue::{Tally, queue};
use super::receive::{self, BUDGET, Handle, Running, Stamped};
use crate::capture::stamp::TapTime;
use crate::stats::{LiveTap, QueueFrames, StampSource};

/// What happened to a tap: so many sentences are kept, the newest.
const EVENTS: usize = 20;
/// Frames of `AF_XDP` are in the ring soon after their stamp, unless the processor is taken away in between, which on a shared
/// machine takes tens of milliseconds.
const XDP_HIDDEN_NS: u64 = 100_000_000;
/// `AF_PACKET` shows a block once it is full or its time is over, by a timer that may be late.
const PACKET_SLACK_NS: u64 = 100_000_000;

/// How to capture one tap.
#[derive(Clone, Debug)]
pub struct TapOptions {
    pub name: String,
    pub nic: Options,
    /// Whose times count, and what is added to them. Without a format named or `auto`, those of NIC and kernel.
    pub time: TapTime,
    /// Memory between each of its receivers and the engine.
    pub queue_bytes: usize,
    /// Receivers run on these processors, in turn; anywhere where there are none.
    pub processors: Vec<usize>,
    /// Receivers run before all ordinary threads, by `SCHED_FIFO` with this priority, unless it is 0.
    pub fifo: u8,
}

/// A ring or queue of the NIC, and the way from it to the engine.
struct Queue {
    number: u32,
    tally: Arc<Tally>,
    stamped: Arc<Stamped>,
    /// Until it was joined.
    thread: Option<Handle>,
}

/// See the head of this file.
pub(super) struct Tap {
    pub(super) options: TapOptions,
    pub(super) id: TapId,
    /// `None` while there is no such interface.
    capture: Option<Capture>,
    queues: Vec<Queue>,
    driver: String,
    interface: String,
    /// Of captures that have ended.
    past: LiveTap,
    event_count: u64,
    events: VecDeque<String>,
    violations: Vec<String>,
    is_stopped: bool,
}

impl Tap {
    pub(super) fn open(options: TapOptions, id: TapId) -> Result<Tap, OpenError> {
        let capture = Capture::open(&options.nic)?;
        let (driver, interface) = (capture.chosen().to_string(), options.nic.interface.clone());
        Ok(Tap {
            options,
            id,
            capture: Some(capture),
            queues: Vec::new(),
            driver,
            interface,
            past: LiveTap::default(),
            event_count: 0,
            events: VecDeque::new(),
            violations: Vec::new(),
            is_stopped: false,
        })
    }

    /// By which it is captured now.
    pub(super) fn driver(&self) -> Option<Driver> {
        self.capture.as_ref().map(|capture| capture.chosen().driver)
    }

    /// Starts a thread for each receiver.
    pub(super) fn start(&mut self, merge: &mut Merge) -> io::Result<()> {
        let Some(capture) = &mut self.capture else { return Ok(()) };
        let hidden_ns = if capture.chosen().driver == Driver::Xdp {
            XDP_HIDDEN_NS
        } else {
            // A block is closed within one to two times this.
            let timeout_ns = u64::from(self.options.nic.packet.block_timeout_ms) * 1_000_000;
            2 * timeout_ns + PACKET_SLACK_NS
        };
        let mut processors = self.options.processors.iter().cycle();
        for receiver in capture.receivers() {
            let (writer, reader) = queue(self.options.queue_bytes, thread::current());
            let (tally, stamped) = (Arc::clone(&reader.tally), Arc::new(Stamped::default()));
            let processor = processors.next().copied();
            let running = Running { processor, fifo: self.options.fifo, hidden_ns };
            let number = receiver.queue();
            let name = format!("{}/{number}", self.options.name);
            let thread = receive::start(&name, receiver, writer, Arc::clone(&stamped), running)?;
            merge.add_queue(self.id, reader);
            self.queues.push(Queue { number, tally, stamped, thread: Some(thread) });
        }
        Ok(())
    }

    /// To be called once a second: notices what happened, checks the account, and opens the capture anew where that is needed.
    pub(super) fn advance(&mut self, merge: &mut Merge, tell: &mut dyn FnMut(&str, &str)) -> io::Result<()> {
        if self.is_stopped {
            return Ok(());
        }
        let mut events = Vec::new();
        if let Some(capture) = &mut self.capture {
            let result = capture.advance(&mut |event| events.push(event));
            self.interface.clone_from(&capture.link().name);
            if let Err(error) = result {
                self.happened(error.to_string(), tell);
                events.push(Event::Removed);
            }
        }
        for event in &events {
            let text = match event {
                Event::Removed => "the interface is gone; it is opened again when it is back".to_owned(),
                event => event.to_string(),
            };
            self.happened(text, tell);
        }
        self.tell_decided(merge, tell);
        self.check(tell);
        if events.contains(&Event::Removed) || self.has_failed(tell) {
            self.close(tell);
            merge.interrupt(self.id);
        } else if self.capture.is_none() && self.queues.iter().all(|queue| queue.thread.is_none()) {
            self.reopen(merge, tell)?;
        }
        Ok(())
    }

    /// Whose times count, once that is known.
    fn tell_decided(&mut self, merge: &mut Merge, tell: &mut dyn FnMut(&str, &str)) {
        for text in merge.take_told(self.id) {
            self.happened(text, tell);
        }
    }

    fn happened(&mut self, text: String, tell: &mut dyn FnMut(&str, &str)) {
        tell(&self.options.name, &text);
        self.event_count += 1;
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(text);
    }

    /// Whether a receiver has given up although nobody stopped it.
    fn has_failed(&mut self, tell: &mut dyn FnMut(&str, &str)) -> bool {
        let is_over = |queue: &Queue| queue.thread.as_ref().is_some_and(Handle::is_finished);
        if self.capture.is_none() || !self.queues.iter().any(is_over) {
            return false;
        }
        for error in self.join() {
            self.happened(error, tell);
        }
        true
    }

    /// Waits for the threads that have come to their end, and returns what they say.
    fn join(&mut self) -> Vec<String> {
        let mut errors = Vec::new();
        for queue in &mut self.queues {
            let Some(thread) = queue.thread.take_if(|thread| thread.is_finished()) else { continue };
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => errors.push(error.to_string()),
                Err(panicked) => std::panic::resume_unwind(panicked),
            }
        }
        errors
    }

    /// This capture is over; what is on its way still comes.
    fn close(&mut self, tell: &mut dyn FnMut(&str, &str)) {
        if let Some(mut capture) = self.capture.take() {
            capture.stop();
            // Its receivers wait for what the kernel has counted, a second at most.
            for queue in &mut self.queues {
                let Some(thread) = queue.thread.take() else { continue };
                match thread.join() {
                    Ok(_) => {}
                    Err(panicked) => std::panic::resume_unwind(panicked),
                }
            }
            let ended = self.account(Some(&capture));
            // What went into a queue comes out of it.
            let copied = |queue: &Queue| queue.tally.copied.load(Ordering::Relaxed);
            let mut ended = LiveTap { used: self.queues.iter().map(copied).sum(), ..ended };
            for (frames, queue) in ended.queues.iter_mut().zip(&self.queues) {
                frames.used = copied(queue);
            }
            self.past.add(&ended);
            self.queues.clear();
        }
        self.check(tell);
    }

    fn reopen(&mut self, merge: &mut Merge, tell: &mut dyn FnMut(&str, &str)) -> io::Result<()> {
        let Ok(capture) = Capture::open(&self.options.nic) else { return Ok(()) };
        self.driver = capture.chosen().to_string();
        self.interface.clone_from(&self.options.nic.interface);
        self.capture = Some(capture);
        self.happened(format!("{} is back: {}", self.interface, self.driver), tell);
        self.start(merge)
    }

    /// Takes nothing more from the interface.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
        if let Some(capture) = &mut self.capture {
            capture.stop();
        }
    }

    /// Everything was read: the account must be exact.
    pub(super) fn finish(&mut self, merge: &mut Merge, tell: &mut dyn FnMut(&str, &str)) {
        self.tell_decided(merge, tell);
        for error in self.join() {
            self.happened(error, tell);
        }
        let Some(counters) = self.capture.as_ref().and_then(|capture| capture.counters().ok()) else { return };
        let finished = counters.iter().filter_map(|counters| counters.check_finished().err());
        let mut wrong: Vec<String> = finished.map(|imbalance| imbalance.to_string()).collect();
        let sum = |of: fn(&Tally) -> u64| self.queues.iter().map(|queue| of(&queue.tally)).sum::<u64>();
        let delivered: u64 = counters.iter().map(|counters| counters.delivered).sum();
        let (taken, dropped) = (sum(taken), sum(dropped));
        if delivered != taken + dropped {
            wrong.push(format!("{delivered} frames delivered are not {taken} taken and {dropped} dropped"));
        }
        for text in wrong {
            self.violated(text, tell);
        }
    }

    fn violated(&mut self, text: String, tell: &mut dyn FnMut(&str, &str)) {
        tell(&self.options.name, &format!("the account does not add up: {text}"));
        if self.violations.len() < EVENTS {
            self.violations.push(text);
        }
    }

    /// The rule while frames are on their way: what was taken out went in, and what was delivered went in or was dropped, but
    /// for what a receiver has in its hands.
    fn check(&mut self, tell: &mut dyn FnMut(&str, &str)) {
        let Some(counters) = self.capture.as_ref().and_then(|capture| capture.counters().ok()) else { return };
        let mut wrong: Vec<String> =
            counters.iter().filter_map(|counters| Some(counters.check().err()?.to_string())).collect();
        for queue in &self.queues {
            let taken = taken(&queue.tally);
            let copied = queue.tally.copied.load(Ordering::Relaxed);
            if taken > copied {
                wrong.push(format!("{taken} frames were taken out of a queue that had {copied}"));
            }
        }
        let sum = |of: fn(&Tally) -> u64| self.queues.iter().map(|queue| of(&queue.tally)).sum::<u64>();
        // In this order, so that what moves meanwhile can only be missing on the left.
        let handed_on = sum(taken) + sum(dropped);
        let now = self.capture.as_ref().and_then(|capture| capture.counters().ok()).unwrap_or_default();
        let delivered: u64 = now.iter().map(|counters| counters.delivered).sum();
        let in_hands = (BUDGET * self.queues.len()) as u64;
        if handed_on > delivered + in_hands {
            wrong.push(format!("{handed_on} frames were handed on of {delivered} that were delivered"));
        }
        for text in wrong {
            self.violated(text, tell);
        }
    }

    /// The numbers of the capture that runs.
    fn account(&self, capture: Option<&Capture>) -> LiveTap {
        let mut live = LiveTap::default();
        let sum = |of: fn(&Tally) -> u64| self.queues.iter().map(|queue| of(&queue.tally)).sum::<u64>();
        // What came out is read before what went in.
        (live.used, live.losses) = (sum(taken), vec![("queue_full", sum(dropped))]);
        let frames = |queue: &Queue| QueueFrames {
            queue: queue.number,
            seen: 0,
            used: taken(&queue.tally),
            losses: vec![("queue_full", dropped(&queue.tally))],
        };
        live.queues = self.queues.iter().map(frames).collect();
        for counters in capture.and_then(|capture| capture.counters().ok()).unwrap_or_default() {
            live.add(&of_counters(&counters));
        }
        if let Some(capture) = capture {
            let drops = capture.interface_drops();
            (live.dropped, live.missed, live.damaged) = (drops.dropped, drops.missed, drops.errors);
            live.clock_error = capture.hardware_mapping().map(|mapping| Nanos(mapping.plus_minus_ns));
            live.tai_offset_s = capture.tai_offset_s();
        }
        for (source, direction, frames) in self.queues.iter().flat_map(|queue| queue.stamped.all()) {
            let stamps = vec![StampSource {
                name: source.name(),
                direction: if direction == Direction::Out { "out" } else { "in" },
                about: source.describe(direction),
                frames,
            }];
            live.add(&LiveTap { stamps, ..LiveTap::default() });
        }
        live
    }

    /// Everything that is known now.
    pub(super) fn report(&self, merge: &Merge) -> LiveTap {
        let mut live = self.account(self.capture.as_ref());
        live.add(&self.past);
        live.waiting = live.seen.saturating_sub(live.used + live.lost());
        live.interface.clone_from(&self.interface);
        live.driver.clone_from(&self.driver);
        live.fill_permille = merge.fill_permille(self.id);
        live.late = merge.late(self.id);
        live.event_count = self.event_count;
        live.events = self.events.iter().cloned().collect();
        live.violations.clone_from(&self.violations);
        live
    }
}

fn taken(tally: &Tally) -> u64 {
    tally.taken.load(Ordering::Relaxed)
}

fn dropped(tally: &Tally) -> u64 {
    tally.dropped.load(Ordering::Relaxed)
}

fn of_counters(counters: &Counters) -> LiveTap {
    LiveTap {
        seen: counters.seen,
        losses: counters.losses().to_vec(),
        queues: vec![QueueFrames {
            queue: counters.queue,
            seen: counters.seen,
            used: 0,
            losses: counters.losses().to_vec(),
        }],
        cut: counters.truncated,
        super_frames: counters.super_frames,
        ..LiveTap::default()
    }
}
