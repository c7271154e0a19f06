mod golden;
mod invariants;
mod oracle;
mod oracle_decode;
mod robust;
mod support;
mod tape;
