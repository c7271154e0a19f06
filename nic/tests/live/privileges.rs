//! What a process may do with exactly the capabilities that are asked for, and what it is told without them: the example runs as
//! another user, by setpriv(1).

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::lab::{LINK, Lab, Setup};

const NOBODY: &str = "65534";

/// The first line of what `count` says with these capabilities and no others.
fn first_line(lab: &Lab, capabilities: &[&str], arguments: &[&str]) -> String {
    let example = std::env::current_exe().unwrap().parent().unwrap().join("../examples/count");
    assert!(example.exists(), "build it: cargo build -p tickscope-nic --example count");
    // Another user may not come to where it was built.
    let copy = std::env::temp_dir().join(format!("tickscope-count-{}-{}", std::process::id(), capabilities.len()));
    std::fs::copy(example, &copy).unwrap();
    let list = |sign: char| capabilities.iter().map(|name| format!("{sign}{name}")).collect::<Vec<_>>().join(",");
    let (ambient, only) = (list('+'), format!("-all,{}", list('+')));
    let only = only.trim_end_matches(',');
    let mut command = Command::new("ip");
    // The limit of locked memory that most systems have.
    command.args(["netns", "exec", lab.b_name(), "prlimit", "--memlock=8388608:8388608"]);
    command.args(["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    command.args(["--inh-caps", only]);
    if !capabilities.is_empty() {
        command.args(["--ambient-caps", &ambient]);
    }
    let mut child =
        command.arg(&copy).arg(LINK).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .chain(BufReader::new(child.stderr.take().unwrap()).lines());
    let line = lines.next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(copy).unwrap();
    line
}

#[test]
fn the_named_capabilities_suffice_and_missing_ones_are_named() {
    let Some(lab) = Lab::new(Setup { has_address: false, ..Setup::default() }) else { return };
    let every = ["net_raw", "net_admin", "bpf", "perfmon", "ipc_lock"];
    for (capabilities, arguments, expected) in [
        (&every[..], &["xdp"][..], vec!["ready: AF_XDP (native, copied"]),
        (&every[..], &["auto", "9001"], vec!["ready: AF_XDP (native", "carries no address of this host"]),
        (&every[..1], &["afpacket"], vec!["ready: AF_PACKET (one ring)"]),
        (&every[..1], &["auto"], vec!["ready: AF_PACKET", "AF_XDP needs CAP_NET_ADMIN and CAP_BPF and CAP_PERFMON"]),
        (&every[..3], &["xdp"], vec!["AF_XDP needs CAP_PERFMON, which", "sudo setcap cap_net_raw,"]),
        (&[], &["afpacket"], vec!["AF_PACKET needs CAP_NET_RAW, which", "sudo setcap cap_net_raw,"]),
        // Memory of a queue is then counted against `ulimit -l`.
        (&every[..4], &["xdp"], vec!["grant CAP_IPC_LOCK, raise `ulimit -l`"]),
    ] {
        let line = first_line(&lab, capabilities, arguments);
        assert!(expected.iter().all(|part| line.contains(part)), "{capabilities:?} {arguments:?}: {line}");
    }
}
