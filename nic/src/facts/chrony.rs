//! What chronyd(8) says of its own synchronisation: the answer to `chronyc tracking`, asked in its own words (version 6 of its
//! command protocol; chrony's `candm.h`) on the loopback address, where it answers everybody unless `cmdport 0` is set.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use super::Fact;

const PORT: u16 = 323;
const VERSION: u8 = 6;
const REQUEST: u8 = 1;
const ANSWER: u8 = 2;
const ASK_TRACKING: u16 = 33;
const TRACKING: u16 = 5;
/// Of the answer without its end mark; requests are as long, so that they are no lever for floods.
const BYTES: usize = 104;
const NOT_SYNCHRONISED: u16 = 3;
/// A loopback answer takes a millisecond; who is silent has its command port closed.
const WAIT: Duration = Duration::from_millis(300);

/// What chrony knows of the system's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tracking {
    pub is_synchronised: bool,
    /// Steps from a reference clock.
    pub stratum: u16,
    /// How far the clock is off now, as chrony believes. The sign is chrony's: positive where the clock is slow.
    pub correction_ns: i64,
    /// Root mean square of the last offsets.
    pub rms_offset_ns: i64,
    /// No further off than this: correction, dispersion, and half of the way to the reference.
    pub bound_ns: i64,
}

pub(super) fn tracking() -> Fact<Tracking> {
    let found = ask().and_then(|answer| {
        parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not understood"))
    });
    let found = found.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "chronyd does not answer (cmdport 0?)".to_owned(),
        _ => error.to_string(),
    });
    Fact::new("chronyd, 127.0.0.1:323", found)
}

fn ask() -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(WAIT))?;
    socket.connect((Ipv4Addr::LOCALHOST, PORT))?;
    let mut request = [0; BYTES];
    (request[0], request[1]) = (VERSION, REQUEST);
    request[4..6].copy_from_slice(&ASK_TRACKING.to_be_bytes());
    socket.send(&request)?;
    let mut answer = vec![0; 2 * BYTES];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<Tracking> {
    let short = |at: usize| answer.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes);
    let nanoseconds = |at: usize| answer.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes).map(nanoseconds);
    // Kind, command, form of the answer, and success.
    let head = (answer.get(1).copied()?, short(4)?, short(6)?, short(8)?);
    if head != (ANSWER, ASK_TRACKING, TRACKING, 0) {
        return None;
    }
    let correction_ns = nanoseconds(68)?;
    let (root_delay_ns, root_dispersion_ns) = (nanoseconds(92)?, nanoseconds(96)?);
    Some(Tracking {
        is_synchronised: short(54)? != NOT_SYNCHRONISED,
        stratum: short(52)?,
        correction_ns,
        rms_offset_ns: nanoseconds(76)?,
        bound_ns: correction_ns.saturating_abs().saturating_add(root_delay_ns / 2).saturating_add(root_dispersion_ns),
    })
}

/// chrony's own number of 32 bits, in seconds: an exponent of 7 bits and a coefficient of 25, both signed; 2^25 is 1.
fn nanoseconds(bits: u32) -> i64 {
    let exponent = bits.cast_signed() >> 25;
    let coefficient = i128::from((bits << 7).cast_signed() >> 7) * 1_000_000_000;
    let shift = exponent - 25;
    let value = if shift < 0 { coefficient >> shift.unsigned_abs() } else { coefficient << shift };
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `candm.h`: value = coefficient × 2^(exponent − 25).
    #[test]
    fn numbers_of_chrony_come_to_nanoseconds() {
        let number = |exponent: i32, coefficient: i32| {
            (exponent.cast_unsigned() << 25) | (coefficient.cast_unsigned() & 0x1FF_FFFF)
        };
        for (bits, expected) in [
            (0, 0),
            (number(2, 1 << 23), 1_000_000_000), // 2^23 × 2^-23
            (number(3, 1 << 23), 2_000_000_000),
            (number(1, 1 << 23), 500_000_000),
            (number(2, -(1 << 23)), -1_000_000_000),
            (number(1, -(1 << 24)), -1_000_000_000),
            (number(-8, 1 << 23), 976_562), // 2^-10 s
            (number(63, 1 << 23), i64::MAX),
            (number(-64, 1), 0),
        ] {
            assert_eq!(nanoseconds(bits), expected, "{bits:08x}");
        }
    }

    #[test]
    fn other_answers_are_none() {
        let mut answer = vec![0; BYTES];
        (answer[0], answer[1]) = (VERSION, ANSWER);
        answer[4..6].copy_from_slice(&ASK_TRACKING.to_be_bytes());
        answer[6..8].copy_from_slice(&TRACKING.to_be_bytes());
        answer[52..54].copy_from_slice(&2u16.to_be_bytes());
        answer[68..72].copy_from_slice(&0x03FF_FFFFu32.to_be_bytes()); // the smallest negative, times 2^-24
        assert_eq!(parse(&answer).map(|tracking| (tracking.is_synchronised, tracking.stratum)), Some((true, 2)));
        answer[54..56].copy_from_slice(&NOT_SYNCHRONISED.to_be_bytes());
        assert_eq!(parse(&answer).map(|tracking| tracking.is_synchronised), Some(false));
        for length in 0..BYTES - 4 {
            assert_eq!(parse(&answer[..length]), None, "{length}");
        }
        for at in [1, 5, 7, 9] {
            let mut wrong = answer.clone();
            wrong[at] ^= 0x40;
            assert_eq!(parse(&wrong), None, "{at}");
        }
    }
}
