//! "No allocation per frame": from the capture through dissection, flow and decoder to the ticks, once the run has
//! warmed up. Counted by an allocator that knows its thread, so that other tests do not disturb.
#![allow(unsafe_code, reason = "an allocator is an unsafe trait; this one only counts and passes on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tickscope::capture::{Input, Merged};
use tickscope::merge::{Feeds, Symbols};
use tickscope::pair::Pairer;
use tickscope::pipeline::correlator::Correlator;
use tickscope::pipeline::{Configured, Pipeline};

use super::support::rules;
use super::tape::{Folder, simulated};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local!(static COUNT: Cell<u64> = const { Cell::new(0) });

fn count() {
    // A thread that is ending has no counter any more, and no test on it either.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the trait's promises.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as for the trait.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for the trait.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for the trait.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[test]
fn market_data_frames_do_not_allocate() {
    for protocol in ["itch50", "tops16", "deep10"] {
        let scenario = format!("duration = \"10s\"\n[market]\nprotocol = \"{protocol}\"\nsymbols = 5\nrate = 1000.0\n");
        let mut frames = simulated(&scenario, 3);
        frames.retain(|frame| frame.bytes.get(23) == Some(&17)); // IPv4 protocol number: UDP
        assert!(frames.len() > 6000, "{}", frames.len());
        // Within one slot of the course over time, which grows once a slot and not with the frames.
        let start = frames[0].time_ns / 1_000_000_000 * 1_000_000_000;
        for (number, frame) in frames.iter_mut().enumerate() {
            frame.time_ns = start + number as u64 * 5000;
        }
        let folder = Folder::new();
        let inputs = [Input { name: None, path: folder.capture("market.pcap", &frames) }];
        let mut captures = Merged::open(&inputs, &[]).expect("a capture");
        let mut pipeline = Pipeline::new(Configured::default(), None, Vec::new());
        let mut lane = Correlator::new(Symbols::default(), Feeds::new(Vec::new()), Pairer::new(rules()), vec![vec![0]]);
        let warm = frames.len() * 3 / 4; // beyond the last doubling of the ring of arrivals
        let mut read = 0;
        let mut before = 0;
        while let Some(captured) = captures.next() {
            lane.advance(captured.frame.time);
            pipeline.frame(&captured, &mut lane);
            read += 1;
            if read == warm {
                before = COUNT.get();
            }
        }
        let allocations = COUNT.get() - before;
        assert_eq!(read, frames.len());
        assert!(before > 0, "the counter counts");
        assert!(lane.messages.market_used > 1500, "{protocol}: {:?}", lane.messages);
        assert_eq!(allocations, 0, "{protocol}: in {} frames after warming up", read - warm);
    }
}
