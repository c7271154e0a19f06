//! Hardware stamps of an interface: which clock it has (ETHTOOL_GET_TS_INFO), whether they are on (SIOCGHWTSTAMP), and
//! switching them on (SIOCSHWTSTAMP). Linux `net_tstamp.h`; Documentation/networking/timestamping.rst.

use std::io;

use crate::sys::{self, Plain};

const ETHTOOL_GET_TS_INFO: u32 = 0x41;
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const SIOCSHWTSTAMP: libc::c_ulong = 0x89B0;
const SIOCGHWTSTAMP: libc::c_ulong = 0x89B1;
const FILTER_NONE: i32 = 0;
const FILTER_ALL: i32 = 1;

/// The number of the clock that stamps this interface's frames; `None` where there is none.
pub(crate) fn phc_index(interface: &str) -> Option<u32> {
    // struct ethtool_ts_info: command, capabilities, index, and eleven words more.
    let mut info = [0u32; 14];
    info[0] = ETHTOOL_GET_TS_INFO;
    sys::interface_ioctl(interface, SIOCETHTOOL, &mut info).ok()?;
    u32::try_from(info[2].cast_signed()).ok()
}

fn config(interface: &str) -> io::Result<libc::hwtstamp_config> {
    let mut config = libc::hwtstamp_config::zero();
    sys::interface_ioctl(interface, SIOCGHWTSTAMP, &mut config).map(|()| config)
}

/// Whether received frames are stamped by the NIC now.
pub(crate) fn is_on(interface: &str) -> bool {
    rx_stamps(interface).is_ok_and(|is_on| is_on)
}

/// The same, and why it is not known.
pub(crate) fn rx_stamps(interface: &str) -> io::Result<bool> {
    config(interface).map(|config| config.rx_filter != FILTER_NONE)
}

/// Sets what was there before when it is dropped.
pub(crate) struct Restore {
    interface: String,
    before: libc::hwtstamp_config,
}

/// Lets the NIC stamp every frame that it receives. `None` where it does so already.
pub(crate) fn switch_on(interface: &str) -> io::Result<Option<Restore>> {
    let before = config(interface)?;
    if before.rx_filter == FILTER_ALL {
        return Ok(None);
    }
    let mut wanted = before;
    wanted.rx_filter = FILTER_ALL;
    sys::interface_ioctl(interface, SIOCSHWTSTAMP, &mut wanted)?;
    let restore = Restore { interface: interface.to_owned(), before };
    // A driver may answer with less than it was asked for; then dropping `restore` sets it back.
    if wanted.rx_filter == FILTER_NONE { Err(io::ErrorKind::Unsupported.into()) } else { Ok(Some(restore)) }
}

impl Drop for Restore {
    fn drop(&mut self) {
        // Renamed or gone: then there is nothing that could be set back.
        let _ = sys::interface_ioctl(&self.interface, SIOCSHWTSTAMP, &mut self.before);
    }
}
