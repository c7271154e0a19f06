mod oracle;
mod oracle_decode;
mod robust;
mod support;
