//! Why an address cannot be bound, in the operator's terms.

use std::io::{self, ErrorKind};

use crate::server::ListenAddress;

/// Why an address cannot be bound, and what to do.
pub(super) fn why_not_bound(address: &ListenAddress, fault: &io::Error) -> String {
    let port = match address {
        ListenAddress::Tcp(address) => address.port(),
        ListenAddress::Unix(_) => return fault.to_string(),
    };
    match fault.kind() {
        ErrorKind::AddrInUse => {
            format!("another program has port {port} ({fault}): stop it, or take another port")
        }
        ErrorKind::PermissionDenied => format!(
            "the system keeps port {port} from this user ({fault}): take a port from 1024 up, or \
             give keyward \
             CAP_NET_BIND_SERVICE"
        ),
        ErrorKind::AddrNotAvailable => {
            format!(
                "this machine has no such address ({fault}): take one of its own, or 0.0.0.0 or \
                 [::] for all"
            )
        }
        _ if address_family_is_missing(fault) => {
            format!("this machine has no IPv6 ({fault}): take an IPv4 address")
        }
        _ => fault.to_string(),
    }
}

fn address_family_is_missing(fault: &io::Error) -> bool {
    fault.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_an_address_cannot_be_bound_comes_with_what_to_do() {
        let address = ListenAddress::Tcp(([0, 0, 0, 0], 80).into());
        let no_family = io::Error::from(rustix::io::Errno::AFNOSUPPORT);
        for (fault, words) in [
            (ErrorKind::AddrInUse.into(), "another program has port 80"),
            (
                ErrorKind::PermissionDenied.into(),
                "take a port from 1024 up, or give keyward CAP_NET_BIND_SERVICE",
            ),
            (ErrorKind::AddrNotAvailable.into(), "this machine has no such address"),
            (no_family, "this machine has no IPv6"),
        ] {
            let said = why_not_bound(&address, &fault);
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}
