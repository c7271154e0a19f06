//! What is found out about interfaces whose truth the test has made itself.

use tickscope_nic::facts;

use super::lab::{B_ADDRESS, LINK, Lab, Setup};

#[test]
fn the_facts_of_a_veth_are_those_that_it_was_made_with() {
    let Some(lab) = Lab::new(Setup { queues: 2, mtu: 2000, ..Setup::default() }) else { return };
    let found = lab.in_b(|| facts::interface(LINK));
    let state = found.state.known().copied().unwrap();
    assert!(state.is_on && state.has_carrier && state.is_ethernet && state.program.is_none(), "{state:?}");
    assert_eq!((state.mtu, state.rx_queues), (2000, 2));
    assert_eq!(found.addresses.found, Ok(vec![B_ADDRESS.parse().unwrap()]));
    assert_eq!(found.driver.found.as_deref(), Ok("veth"));
    let feature =
        |name: &str| found.features.known().unwrap().iter().find(|feature| feature.name == name).unwrap().clone();
    assert!(!feature("rx-gro").is_on && !feature("tx-tcp-segmentation").is_on, "the lab switched them off");
    assert!(!feature("rx-gro").is_fixed);
    assert_eq!(found.stamping.known().map(|stamping| (stamping.has_hardware, stamping.clock)), Some((false, None)));
    assert!(found.clock.is_none());
    // Kernels before 6.3 do not say; veth runs XDP programs since 4.19.
    match &found.xdp.found {
        Ok(ability) => assert!(ability.is_native && !ability.has_zero_copy, "{ability:?}"),
        Err(why) => assert!(why.contains("6.3"), "{why}"),
    }
    let (chosen, _) = lab.in_b(facts::interface_names).found.unwrap();
    assert_eq!(chosen, [LINK], "there is no device in this namespace");
    lab.ip_b(&format!("link set {LINK} down"));
    let down = lab.in_b(|| facts::interface(LINK)).state.known().copied().unwrap();
    assert!(!down.is_on && !down.has_carrier, "{down:?}");
    let dark = lab.in_a(|| facts::interface(LINK)).state.known().copied().unwrap();
    assert!(dark.is_on && !dark.has_carrier, "{dark:?}");
}
