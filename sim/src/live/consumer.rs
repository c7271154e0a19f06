//! Whether those who listen on this machine keep up: UDP does not say it, but the kernel does, by the bytes that wait in
//! their sockets (`/proc/net/udp`, `proc_pid_net(5)`: the second half of the column `tx_queue:rx_queue`).

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

/// With more bytes than these waiting, a consumer is given time. A socket holds 212,992 unless it asked for more.
const WAITING: u64 = 64 << 10;
/// So many packets go out between two looks.
const PACKETS: u64 = 16;

/// Nobody listens if so many looks, 10 ms apart, find nobody.
const LOOKS: u32 = 100;

/// Those who listen at a port of this machine, in this network namespace.
pub(super) struct Consumers {
    port: u16,
    sent: u64,
}

impl Consumers {
    pub(super) fn new(port: u16) -> Consumers {
        Consumers { port, sent: 0 }
    }

    /// Before a packet: waits until the slowest of them has room, or `is_over`.
    pub(super) fn wait(&mut self, is_over: impl Fn() -> bool) -> io::Result<()> {
        self.sent += 1;
        if self.sent % PACKETS != 1 {
            return Ok(());
        }
        let mut absent = 0;
        while !is_over() {
            match self.waiting()? {
                Some(waiting) if waiting <= WAITING => return Ok(()),
                Some(_) => thread::sleep(Duration::from_micros(50)),
                None if absent == LOOKS => return Err(self.nobody()),
                // The table may leave out a line while sockets come and go, and a consumer may be starting again.
                None => {
                    absent += 1;
                    thread::sleep(Duration::from_millis(10));
                }
            }
        }
        Ok(())
    }

    fn nobody(&self) -> io::Error {
        let port = self.port;
        io::Error::new(
            io::ErrorKind::NotConnected,
            format!(
                "nobody on this machine listens at UDP port {port}, so nothing tells whether a consumer keeps up: start it \
                 first, or use `speed`"
            ),
        )
    }

    /// Bytes that wait in the fullest socket of the port; `None` where there is none.
    fn waiting(&self) -> io::Result<Option<u64>> {
        let mut fullest = None;
        for table in ["/proc/self/net/udp", "/proc/self/net/udp6"] {
            match fs::read_to_string(table) {
                Ok(text) => fullest = fullest.max(fullest_of(&text, self.port)),
                // A machine without IPv6 has no such table.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io::Error::new(error.kind(), format!("{table}: {error}"))),
            }
        }
        Ok(fullest)
    }
}

/// Of the lines `sl local_address rem_address st tx_queue:rx_queue …`, addresses as `IP:PORT` in hexadecimal.
fn fullest_of(table: &str, port: u16) -> Option<u64> {
    let waiting = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (_, local) = words.next()?.rsplit_once(':')?;
        let (_, received) = words.nth(2)?.split_once(':')?;
        let is_ours = u16::from_str_radix(local, 16).ok()? == port;
        if is_ours { u64::from_str_radix(received, 16).ok() } else { None }
    };
    table.lines().skip(1).filter_map(waiting).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            12: 0100007F:1F90 00000000:0000 07 00000000:00000300 00:00000000 00000000     0        0 1 2 0 0\n\
            13: 00000000:1F90 00000000:0000 07 00000000:00034000 00:00000000 00000000     0        0 1 2 0 0\n\
            14: 00000000:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 0 0\n";
        assert_eq!((fullest_of(table, 8080), fullest_of(table, 8081)), (Some(0x34000), Some(0)));
        assert_eq!((fullest_of(table, 8082), fullest_of("", 1)), (None, None));
    }
}
