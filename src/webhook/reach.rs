//! How far away an address is: this machine, somebody's inner network, or the internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far away an address is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// This machine.
    Own,
    /// A private, shared, link-local or otherwise special network.
    Inner,
    /// The internet.
    Public,
}

/// Returns how far away an address is.
pub(super) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => reach_v6(v6),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    match (a, b) {
        (127, _) => Reach::Own,
        (0 | 10 | 224.., _) | (100, 64..=127) | (169, 254) | (172, 16..=31) | (192, 168) | (198, 18 | 19) => {
            Reach::Inner
        }
        (192, 0) if c == 0 || c == 2 => Reach::Inner,
        _ => Reach::Public,
    }
}

/// An address that stands for one of version 4 reaches as far as that one.
fn reach_v6(address: Ipv6Addr) -> Reach {
    let words = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match words {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Own,
        [0, 0, 0, 0, 0, 0xffff, high, low] => reach_v4(v4(high, low)),
        // Translated and tunnelled: never this machine's own.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] if reach_v4(v4(high, low)) == Reach::Public => {
            Reach::Public
        }
        // 2000::/3 is what is routed; within it Teredo and the space for examples are not.
        [0x2002, ..] | [0x2001, 0, ..] | [0x2001, 0xdb8, ..] => Reach::Inner,
        [first, ..] if first & 0xe000 == 0x2000 => Reach::Public,
        _ => Reach::Inner,
    }
}
