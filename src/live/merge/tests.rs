//! Tests of the merge: its order, late frames, stamps of devices, and votes on them.

use std::thread;

use super::super::queue::{Writer, queue};
use super::*;
use crate::capture::stamp::Trailer;

const SECOND: u64 = 1_000_000_000;

fn merge(taps: usize) -> (Merge, Vec<Writer>) {
    let mut merge = Merge::default();
    let writers = (0..taps).map(|_| {
        let (writer, reader) = queue(1 << 20, thread::current());
        let tap = merge.add_tap(&TapTime { trailer: Trailer::None, ..TapTime::default() });
        merge.add_queue(tap, reader);
        writer
    });
    let writers = writers.collect();
    (merge, writers)
}

fn send(writer: &mut Writer, times: &[u64]) {
    for &time in times {
        writer.push(Head::new(time, 60, false), &[0; 60]);
    }
    writer.flush();
}

/// Tap, number and time of every frame that is ready at this time.
fn ready(merge: &mut Merge, now: u64) -> Vec<(u16, u64, u64)> {
    let mut all = Vec::new();
    loop {
        match merge.next(|| now) {
            Next::Frame(Captured { frame, .. }, _) => all.push((frame.tap.0, frame.number, frame.time.0)),
            Next::Decided(_) => {}
            Next::Nothing(_) | Next::End => return all,
        }
    }
}

#[test]
fn frames_come_in_time_order_as_far_as_the_other_queues_have_come() {
    let (mut merge, mut writers) = merge(2);
    let now = 10 * SECOND;
    let clock = now + SECOND / 2;
    send(&mut writers[0], &[now + 1, now + 5, now + 9]);
    assert_eq!(ready(&mut merge, clock), [], "the other one may have an earlier frame");
    send(&mut writers[1], &[now + 3, now + 5, now + 6]);
    let expected = [(0, 1, now + 1), (1, 1, now + 3), (0, 2, now + 5), (1, 2, now + 5), (1, 3, now + 6)];
    assert_eq!(ready(&mut merge, clock), expected);
    writers[1].promise(now + 8);
    assert!(matches!(merge.next(|| clock), Next::Nothing(floor) if floor.0 == now + 8));
    writers[1].promise(now + 9);
    assert_eq!(ready(&mut merge, clock), [(0, 3, now + 9)]);
    writers.into_iter().for_each(Writer::end);
    assert!(matches!(merge.next(|| clock), Next::End));
}

#[test]
fn a_queue_that_says_nothing_is_waited_for_a_second_and_its_late_frames_are_counted() {
    let (mut merge, mut writers) = merge(2);
    let start = 10 * SECOND;
    send(&mut writers[0], &[start, start + 5]);
    assert_eq!(ready(&mut merge, start + SECOND - 1), []);
    assert_eq!(ready(&mut merge, start + SECOND + 5).len(), 2);
    send(&mut writers[1], &[start + 3, start + 7]);
    assert_eq!(ready(&mut merge, start + SECOND + 7), [(1, 1, start + 3), (1, 2, start + 7)]);
    assert_eq!((merge.late(TapId(0)), merge.late(TapId(1))), (0, 1));
}

#[test]
fn a_clock_that_is_set_back_is_followed() {
    let (mut merge, mut writers) = merge(1);
    send(&mut writers[0], &[100 * SECOND, 40 * SECOND, 41 * SECOND, 41 * SECOND - 1]);
    writers.remove(0).end();
    assert_eq!(ready(&mut merge, 0).len(), 4);
    assert_eq!(merge.late(TapId(0)), 1);
}

/// Two taps of one device, and the frame that arrives at a time with a stamp of its clock, `ahead` of this host's.
fn stamped(trailer: &str) -> (Merge, Vec<Writer>) {
    let mut merge = Merge::default();
    let writer = |_| {
        let (writer, reader) = queue(1 << 20, thread::current());
        let trailer = Trailer::named(trailer).unwrap();
        let tap = merge.add_tap(&TapTime { trailer, ..TapTime::default() });
        merge.add_queue(tap, reader);
        writer
    };
    let writers = [0, 1].map(writer).into();
    (merge, writers)
}

fn send_stamped(writer: &mut Writer, frames: &[(u64, u64)]) {
    for &(arrival, stamp) in frames {
        let body = [stamp / SECOND, stamp % SECOND].map(|part| u32::try_from(part).unwrap().to_be_bytes()).concat();
        let frame = [vec![0; 64], body, vec![0, 0, 1, 2]].concat();
        writer.push(Head::new(arrival, u32::try_from(frame.len()).unwrap(), false), &frame);
    }
    writer.flush();
}

const DAY: u64 = 1_700_000_000 * SECOND;

#[test]
fn frames_of_one_device_come_in_the_order_of_its_stamps() {
    for ahead in [0, 3 * SECOND] {
        let (mut merge, mut writers) = stamped("metamako");
        let stamp = |after: u64| DAY + ahead + after;
        send_stamped(&mut writers[0], &[(DAY + 100, stamp(10)), (DAY + 200, stamp(120))]);
        send_stamped(&mut writers[1], &[(DAY + 90, stamp(20)), (DAY + 250, stamp(110))]);
        assert_eq!(ready(&mut merge, DAY + 1000), [], "they vote");
        writers.into_iter().for_each(Writer::end);
        let expected = [(0, 1, stamp(10)), (1, 1, stamp(20)), (1, 2, stamp(110)), (0, 2, stamp(120))];
        assert_eq!(ready(&mut merge, DAY + 2000), expected);
        assert_eq!((merge.late(TapId(0)), merge.late(TapId(1))), (0, 0));
        let counts = merge.stamps(TapId(1)).unwrap().counts;
        assert_eq!((counts.stamped, counts.without()), (2, 0), "each frame is read once");
    }
}

#[test]
fn a_vote_ends_after_some_seconds_or_when_queues_fill() {
    let (mut merge, mut writers) = stamped("auto");
    send_stamped(&mut writers[0], &[(DAY, DAY)]);
    assert_eq!(ready(&mut merge, DAY + 1), []);
    assert_eq!(ready(&mut merge, DAY + 6 * SECOND), [(0, 1, DAY)], "one frame elects nobody");
    let told = [0, 1].map(|tap| merge.take_told(TapId(tap)).len());
    assert_eq!(told, [1, 0], "the other tap has no frame, and holds nobody up");

    let (mut merge, mut writers) = stamped("auto");
    for number in 0..100 {
        let frame = vec![0; 8000];
        writers[0].push(Head::new(DAY + number, 8000, false), &frame);
    }
    writers[0].flush();
    writers[1].promise(DAY + SECOND);
    assert_eq!(ready(&mut merge, DAY + SECOND).len(), 100);
    assert_eq!(merge.take_told(TapId(1)).len(), 0, "it may vote later");
}

#[test]
fn a_device_whose_clock_is_set_goes_on_in_its_place() {
    let (mut merge, mut writers) = stamped("metamako");
    send_stamped(&mut writers[0], &[(DAY + 1, DAY)]);
    send_stamped(&mut writers[1], &[(DAY + 6, DAY + 5)]);
    assert_eq!(ready(&mut merge, DAY + 1), []);
    assert_eq!(ready(&mut merge, DAY + 6 * SECOND), [(0, 1, DAY), (1, 1, DAY + 5)], "they have voted");
    let (now, set) = (DAY + 10 * SECOND, 1000 * SECOND);
    send_stamped(&mut writers[0], &[(now + 11, now + set + 10), (now + 21, now + set + 20)]);
    send_stamped(&mut writers[1], &[(now + 16, now + 15), (now + 26, now + 25)]);
    writers.into_iter().for_each(Writer::end);
    // The first stamp of another time is not believed; the next one, which agrees with it, is.
    let expected = [(0, 2, now + 10), (1, 2, now + 15), (0, 3, now + set + 20), (1, 3, now + 25)];
    assert_eq!(ready(&mut merge, now + SECOND), expected);
    assert_eq!((merge.late(TapId(0)), merge.late(TapId(1))), (0, 0));
    assert!(merge.take_told(TapId(0)).iter().any(|text| text.contains("1000 s from")));
}

/// A UDP packet as a `MetaWatch` forwards it: with the time of a clock that is so far ahead of its arrival; or as it is.
fn send_packet(writer: &mut Writer, arrival: u64, ahead_ns: Option<i64>) {
    let ip = [0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let mut frame = [&[2; 12][..], &[8, 0], &ip, &[7; 26]].concat();
    if let Some(ahead_ns) = ahead_ns {
        let stamp = arrival.saturating_add_signed(ahead_ns);
        let parts = [stamp / SECOND, stamp % SECOND].map(|part| u32::try_from(part).unwrap().to_be_bytes());
        frame = [frame, vec![0; 4], parts.concat(), vec![0, 0, 1, 2]].concat();
    }
    writer.push(Head::new(arrival, u32::try_from(frame.len()).unwrap(), false), &frame);
}

const MS: u64 = 1_000_000;

type TapAndTime = (u16, u64);

/// Tap 0 has two queues, and a device that is switched on behind its first vote; tap 1 is stamped by this host.
fn switched_on(ahead_ns: i64) -> (Merge, Vec<TapAndTime>, Vec<(usize, Decision)>) {
    let mut merge = Merge::default();
    let taps = [Trailer::Auto, Trailer::None].map(|trailer| merge.add_tap(&TapTime { trailer, ..TapTime::default() }));
    let mut writers = [taps[0], taps[0], taps[1]].map(|tap| {
        let (writer, reader) = queue(1 << 20, thread::current());
        merge.add_queue(tap, reader);
        writer
    });
    (0..256).for_each(|at| send_packet(&mut writers[0], DAY + at * MS, None));
    writers[0].flush();
    for writer in &writers {
        writer.promise(DAY + SECOND);
    }
    let first = ready(&mut merge, DAY + SECOND);
    assert_eq!((first.len(), first[255].2), (256, DAY + 255 * MS), "the first vote");
    let on = DAY + 20 * SECOND;
    for at in 0..300 {
        send_packet(&mut writers[0], on + at * MS, Some(ahead_ns));
        send_packet(&mut writers[2], on + at * MS + MS / 2, None);
    }
    send_packet(&mut writers[1], on + 255 * MS + MS / 4, Some(ahead_ns));
    writers.into_iter().for_each(Writer::end);
    let (mut frames, mut decisions) = (Vec::new(), Vec::new());
    loop {
        match merge.next(|| on + SECOND) {
            Next::Frame(Captured { frame, .. }, _) => frames.push((frame.tap.0, frame.time.0 - on)),
            Next::Decided(decision) => decisions.push((frames.len(), decision)),
            Next::Nothing(_) => panic!("nobody is held up"),
            Next::End => return (merge, frames, decisions),
        }
    }
}

#[test]
fn a_later_vote_holds_nobody_up_and_moves_the_times_of_its_tap_from_its_last_voter_on() {
    let on = DAY + 20 * SECOND;
    // Far ahead, and so little that keys are times, and frames seem to come in front of others that have gone out.
    for ahead_ns in [3_000_000_000_i64, 20_000_000] {
        let ahead = ahead_ns.unsigned_abs();
        let (mut merge, frames, decisions) = switched_on(ahead_ns);
        // The second queue's only frame votes when it becomes its queue's first, so the 256th voter is this one.
        let moved = 254 * MS;
        assert_eq!(decisions.len(), 1);
        let (at, Decision { tap, moved_at }) = &decisions[0];
        assert_eq!((tap.0, moved_at.as_slice()), (0, &[on + moved + ahead, on + moved].map(Timestamp)[..]));
        let before = frames.iter().take(*at).filter(|frame| frame.0 == 0).count();
        assert_eq!(before, 254, "right in front of its first frame with the device's time");
        let of_tap = |tap| frames.iter().filter(move |frame| frame.0 == tap).map(|frame| frame.1);
        let own = (0..254).map(|at| at * MS);
        let mut device: Vec<u64> = (254..300).map(|at| at * MS + ahead).collect();
        device.insert(2, 255 * MS + MS / 4 + ahead);
        assert_eq!(of_tap(0).collect::<Vec<_>>(), own.chain(device).collect::<Vec<_>>());
        assert!(of_tap(1).eq((0..300).map(|at| at * MS + MS / 2)), "the other tap's times stay");
        assert_eq!((merge.late(TapId(0)), merge.late(TapId(1))), (0, 0));
        let stamps = merge.stamps(TapId(0)).unwrap();
        assert_eq!((stamps.counts.stamped, stamps.counts.without()), (47, 0), "each frame is read once");
        assert_eq!(stamps.since, Some(Timestamp(on + moved)), "by the host's clock");
        assert!(merge.is_stamped(TapId(0)) && !merge.is_stamped(TapId(1)));
        let told = merge.take_told(TapId(0));
        assert!(told.iter().any(|text| text.contains("the stamps of metamako count from now on")), "{told:?}");
    }
}

#[test]
fn frames_whose_times_went_back_to_a_device_that_is_behind_are_not_late() {
    let (merge, frames, _) = switched_on(-20_000_000);
    assert_eq!(frames.len(), 601);
    assert_eq!((merge.late(TapId(0)), merge.late(TapId(1))), (0, 0));
}
