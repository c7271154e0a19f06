//! Judging how the system's clock is kept. What a NIC's clock does is the interface's.

use tickscope_nic::facts::{ClockState, Daemons, Machine, Tracking};

use super::kinds::{CLOCK, CLOCKSOURCE, TAI, TIME_DAEMON};
use super::{Check, Verdict, judged};
use crate::write::{latency, signed_latency};

/// Since 2017-01-01.
const TAI_OFFSET_S: i64 = 37;
/// The kernel lets it grow by 500 µs a second: nobody has kept the clock for half an hour.
const MAXIMUM_ERROR_US: i64 = 1_000_000;
/// Clock sources that are read without leaving the process, and are not slow.
const FAST_SOURCES: [&str; 4] = ["tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page"];
const KEEPERS: [&str; 6] = ["phc2sys", "timemaster", "chronyd", "ntpd", "systemd-timesyn", "sfptpd"];

pub(super) fn checks(machine: &Machine) -> Vec<Check> {
    vec![clock(machine), time_daemon(machine), tai(machine), clocksource(machine)]
}

fn microseconds(value: i64) -> String {
    latency(u64::try_from(value).unwrap_or(0).saturating_mul(1_000))
}

fn clock(machine: &Machine) -> Check {
    judged(&CLOCK, &machine.clock, |state| {
        let ClockState { is_synchronised, estimated_error_us, maximum_error_us, .. } = *state;
        let errors =
            format!("estimated error {}, at most {}", microseconds(estimated_error_us), microseconds(maximum_error_us));
        let (verdict, found) = if !is_synchronised {
            (Verdict::Warn, format!("not synchronised; {errors}"))
        } else if maximum_error_us > MAXIMUM_ERROR_US {
            (Verdict::Warn, format!("synchronised once, and no more: {errors}"))
        } else {
            (Verdict::Ok, format!("synchronised; {errors}"))
        };
        let check = Check::new(&CLOCK, verdict, found, &machine.clock.from)
            .value("synchronised", is_synchronised)
            .value("estimated_error_us", estimated_error_us)
            .value("maximum_error_us", maximum_error_us);
        if verdict == Verdict::Ok { check } else { keep(check, machine.daemons.known()) }
    })
}

/// What keeps the clock: what is running is looked at, else something is started.
fn keep(check: Check, daemons: Option<&Daemons>) -> Check {
    let is_running = |name| daemons.is_some_and(|daemons| daemons.has(name));
    if is_running("chronyd") {
        check.command("chronyc sources -v  (which source it does not trust)")
    } else if is_running("ptp4l") && !is_running("phc2sys") {
        check.command("sudo phc2sys -a -r")
    } else if is_running("ptp4l") || is_running("ntpd") || is_running("systemd-timesyn") {
        check.command(
            "timedatectl timesync-status || journalctl -u ptp4l -u phc2sys -u ntpd -n 20  (why it does not keep it)",
        )
    } else {
        check.command("sudo apt install chrony  (by NTP; or by PTP: sudo apt install linuxptp)")
    }
}

fn time_daemon(machine: &Machine) -> Check {
    let fact = &machine.daemons;
    judged(&TIME_DAEMON, fact, |daemons| {
        let keepers: Vec<&str> = KEEPERS.into_iter().filter(|name| daemons.has(name)).collect();
        let is_synchronised = machine.clock.known().is_some_and(|clock| clock.is_synchronised);
        let others: Vec<&str> =
            daemons.running.iter().map(String::as_str).filter(|name| *name != "irqbalance").collect();
        let check = |verdict, found: String, from: &str| {
            Check::new(&TIME_DAEMON, verdict, found, from).value("running", others.clone())
        };
        match keepers[..] {
            // timemaster starts and steers the others itself.
            [first, second, ..] if !daemons.has("timemaster") => {
                let found = format!("{first} and {second} both keep the system's clock, against each other");
                check(Verdict::Warn, found, &fact.from)
                    .command(format!("sudo systemctl disable --now {}", service(second)))
            }
            [] if daemons.has("ptp4l") => {
                let found = "ptp4l keeps the NIC's clock, and nothing the system's";
                check(Verdict::Warn, found.to_owned(), &fact.from).command("sudo phc2sys -a -r")
            }
            [] if is_synchronised => {
                let found = "none is seen here, and the clock is kept all the same (from outside of this container?)";
                check(Verdict::Ok, found.to_owned(), &fact.from)
            }
            [] => keep(check(Verdict::Warn, "none is running".to_owned(), &fact.from), None),
            _ => match daemons.chrony.as_ref() {
                Some(tracking) => match &tracking.found {
                    Ok(known) => chrony(check(Verdict::Ok, String::new(), &tracking.from), known),
                    Err(why) => check(Verdict::Ok, format!("chronyd is running; {why}"), &tracking.from),
                },
                None => check(Verdict::Ok, format!("running: {}", others.join(", ")), &fact.from),
            },
        }
    })
}

/// The unit of a process whose name /proc cuts.
fn service(process: &str) -> &str {
    match process {
        "systemd-timesyn" => "systemd-timesyncd",
        "chronyd" => "chrony",
        other => other,
    }
}

fn chrony(check: Check, tracking: &Tracking) -> Check {
    let Tracking { is_synchronised, stratum, correction_ns, rms_offset_ns, bound_ns } = *tracking;
    let check = check
        .value("stratum", stratum)
        .value("correction_ns", correction_ns)
        .value("rms_offset_ns", rms_offset_ns)
        .value("bound_ns", bound_ns);
    if !is_synchronised {
        let found = "chronyd is running and has no source that it trusts".to_owned();
        return keep(
            Check { verdict: Verdict::Warn, found, ..check },
            Some(&Daemons { running: vec!["chronyd".to_owned()], chrony: None }),
        );
    }
    let found = format!(
        "chronyd: stratum {stratum}, to correct {}, last offsets {} (rms), no further off than {}",
        signed_latency(correction_ns),
        latency(rms_offset_ns.unsigned_abs()),
        latency(bound_ns.unsigned_abs()),
    );
    Check { found, ..check }
}

fn tai(machine: &Machine) -> Check {
    judged(&TAI, &machine.clock, |clock| {
        let offset_s = clock.tai_offset_s;
        let daemons = machine.daemons.known();
        let has = |name: &str| daemons.is_some_and(|daemons| daemons.has(name));
        let sets_it = has("phc2sys") || has("ptp4l") || has("timemaster");
        let check =
            |verdict, found: String| Check::new(&TAI, verdict, found, &machine.clock.from).value("offset_s", offset_s);
        let command = if has("chronyd") {
            "echo 'leapsectz right/UTC' | sudo tee -a /etc/chrony/chrony.conf && sudo systemctl restart chrony"
        } else {
            "sudo phc2sys -a -r"
        };
        match offset_s {
            TAI_OFFSET_S => check(Verdict::Ok, format!("{TAI_OFFSET_S} s")),
            0 if sets_it => {
                check(Verdict::Warn, "0 s: nobody has told the kernel yet, and a PTP daemon may".to_owned())
                    .command(command)
            }
            0 => check(
                Verdict::Ok,
                "0 s: nobody has told the kernel; CLOCK_TAI is UTC here, and taken for it".to_owned(),
            ),
            other => {
                check(Verdict::Warn, format!("{other} s, where it is {TAI_OFFSET_S} s since 2017")).command(command)
            }
        }
    })
}

fn clocksource(machine: &Machine) -> Check {
    judged(&CLOCKSOURCE, &machine.clocksource, |name| {
        let is_fast = FAST_SOURCES.contains(&name.as_str());
        let verdict = if is_fast { Verdict::Ok } else { Verdict::Warn };
        let check =
            Check::new(&CLOCKSOURCE, verdict, name.as_str(), &machine.clocksource.from).value("name", name.as_str());
        if is_fast {
            check
        } else {
            check.command(format!(
                "echo tsc | sudo tee {}  (if available_clocksource beside it has tsc)",
                machine.clocksource.from
            ))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::only;
    use super::super::samples::{fact, machine, machine_with, unknown};
    use super::*;

    /// Verdict, and a part of what was found, after one change of a fit machine.
    fn check(name: &str, verdict: Verdict, part: &str, change: impl FnOnce(&mut Machine)) -> Check {
        let all = checks(&machine_with(change));
        let check = only(&all, name).clone();
        assert_eq!(check.verdict, verdict, "{check:?}");
        assert!(check.found.contains(part), "{part}: {check:?}");
        assert_eq!(check.commands.is_empty(), verdict != Verdict::Warn, "{check:?}");
        check
    }

    fn clock(machine: &mut Machine) -> &mut ClockState {
        machine.clock.found.as_mut().unwrap()
    }

    fn running(names: &[&str]) -> impl FnOnce(&mut Machine) + use<> {
        let running = names.iter().map(|name| (*name).to_owned()).collect();
        move |machine| machine.daemons.found = Ok(Daemons { running, chrony: None })
    }

    #[test]
    fn a_fit_machine_is_ok_in_everything() {
        let all = checks(&machine());
        assert!(all.iter().all(|check| check.verdict == Verdict::Ok && check.commands.is_empty()), "{all:#?}");
    }

    #[test]
    fn a_clock_that_nobody_keeps() {
        check("clock", Verdict::Ok, "estimated error 2.000 µs, at most 900.000 µs", |_| ());
        check("clock", Verdict::Warn, "not synchronised; estimated error 2.000 µs, at most 16.000 s", |machine| {
            clock(machine).is_synchronised = false;
            clock(machine).maximum_error_us = 16_000_000;
        });
        check("clock", Verdict::Ok, "at most 1.000 s", |machine| clock(machine).maximum_error_us = 1_000_000);
        check("clock", Verdict::Warn, "synchronised once", |machine| clock(machine).maximum_error_us = 1_000_001);
        check("clock", Verdict::Unknown, "EPERM", |machine| unknown(&mut machine.clock, "EPERM"));
    }

    #[test]
    fn what_keeps_the_clock_is_looked_at_first() {
        for (running, command) in [
            (&["chronyd"][..], "chronyc sources -v"),
            (&["ptp4l"], "sudo phc2sys -a -r"),
            (&["ptp4l", "phc2sys"], "timedatectl timesync-status || journalctl -u ptp4l"),
            (&["irqbalance"], "sudo apt install chrony"),
        ] {
            let check = check("clock", Verdict::Warn, "not synchronised", |machine| {
                clock(machine).is_synchronised = false;
                self::running(running)(machine);
            });
            assert!(check.commands[0].starts_with(command), "{check:?}");
        }
    }

    #[test]
    fn each_clock_has_one_daemon() {
        check("time_daemon", Verdict::Ok, "running: phc2sys, ptp4l", |_| ());
        check("time_daemon", Verdict::Ok, "none is seen here", running(&[]));
        check("time_daemon", Verdict::Warn, "none is running", |machine| {
            clock(machine).is_synchronised = false;
            running(&["irqbalance"])(machine);
        });
        check("time_daemon", Verdict::Warn, "nothing the system's", running(&["ptp4l"]));
        check("time_daemon", Verdict::Ok, "timemaster", running(&["chronyd", "phc2sys", "timemaster"]));
        let two = check(
            "time_daemon",
            Verdict::Warn,
            "against each other",
            running(&["phc2sys", "ptp4l", "systemd-timesyn"]),
        );
        assert_eq!(two.commands, ["sudo systemctl disable --now systemd-timesyncd"]);
        check("time_daemon", Verdict::Unknown, "hidepid", |machine| unknown(&mut machine.daemons, "hidepid"));
    }

    #[test]
    fn chrony_says_how_well_it_does() {
        let tracking = Tracking {
            is_synchronised: true,
            stratum: 2,
            correction_ns: -1_500,
            rms_offset_ns: 2_000,
            bound_ns: 300_000,
        };
        let with = |tracking: Result<Tracking, String>| {
            move |machine: &mut Machine| {
                let chrony = Some(super::super::Fact { found: tracking, ..fact("chronyd", Tracking::default()) });
                machine.daemons.found = Ok(Daemons { running: vec!["chronyd".into()], chrony });
            }
        };
        let good = check(
            "time_daemon",
            Verdict::Ok,
            "stratum 2, to correct -1.500 µs, last offsets 2.000 µs (rms), no further off than 300.000 µs",
            with(Ok(tracking)),
        );
        assert!(good.values.contains(&("bound_ns", 300_000.into())), "{good:?}");
        check(
            "time_daemon",
            Verdict::Warn,
            "no source that it trusts",
            with(Ok(Tracking { is_synchronised: false, ..tracking })),
        );
        check("time_daemon", Verdict::Ok, "is running; it is silent", with(Err("it is silent".into())));
    }

    #[test]
    fn the_offset_to_tai_is_37_or_left_alone() {
        check("tai_offset", Verdict::Ok, "37 s", |_| ());
        check("tai_offset", Verdict::Warn, "0 s: nobody has told", |machine| clock(machine).tai_offset_s = 0);
        check("tai_offset", Verdict::Ok, "CLOCK_TAI is UTC here", |machine| {
            clock(machine).tai_offset_s = 0;
            running(&["chronyd"])(machine);
        });
        let old = check("tai_offset", Verdict::Warn, "36 s, where it is 37 s", |machine| {
            clock(machine).tai_offset_s = 36;
            running(&["chronyd"])(machine);
        });
        assert!(old.commands[0].contains("leapsectz right/UTC"), "{old:?}");
    }

    #[test]
    fn slow_clock_sources_are_warned_about() {
        for (name, verdict) in
            [("tsc", Verdict::Ok), ("kvm-clock", Verdict::Ok), ("hpet", Verdict::Warn), ("acpi_pm", Verdict::Warn)]
        {
            check("clocksource", verdict, name, |machine| machine.clocksource.found = Ok(name.to_owned()));
        }
        check("clocksource", Verdict::Unknown, "No such file", |machine| {
            unknown(&mut machine.clocksource, "No such file");
        });
    }
}
