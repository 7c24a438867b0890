//! Which addresses are anybody's, and which are not: what a name stands for is looked at before it is dialled.
//!
//! From IANA's special-purpose registries (RFC 6890) and what clouds put elsewhere. An IPv6 address with one of IPv4 inside is what that
//! one is, because a gateway or the kernel takes it there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// To anybody's server on the internet.
    Public,
    /// Into a network of somebody's own (RFC 1918, RFC 4193), or a provider's (RFC 6598).
    Private,
    /// To this very machine.
    Loopback,
    /// To this link (RFC 3927, RFC 4291).
    LinkLocal,
    /// To what a cloud tells its machines, credentials among it.
    Metadata,
    /// Nowhere, to many at once, or into a tunnel.
    Reserved,
}

/// Where an address leads.
pub fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => v6(ip),
    }
}

/// Whether a name may stand for this address: it is public, or the operator added it.
pub(super) fn is_vetted(ip: IpAddr, added: &[IpNet]) -> bool {
    reach(ip) == Reach::Public || added.iter().any(|net| net.contains(&ip.to_canonical()))
}

const fn v4(ip: Ipv4Addr) -> Reach {
    match ip.octets() {
        // Nearly every cloud; ECS' and EKS' credentials; Azure's WireServer, which looks public; Alibaba's; Oracle's.
        [169, 254, 169, 254]
        | [169, 254, 170, 2 | 23]
        | [168, 63, 129, 16]
        | [100, 100, 100, 200]
        | [192, 0, 0, 192] => Reach::Metadata,
        [127, ..] => Reach::Loopback,
        [169, 254, ..] => Reach::LinkLocal,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Reach::Private,
        // Linux takes 0.0.0.0 for this machine.
        [0, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [224..=255, ..] => Reach::Reserved,
        _ => Reach::Public,
    }
}

const fn v6(ip: Ipv6Addr) -> Reach {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        // AWS' and Google's.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Reach::Metadata,
        // The kernel and a gateway take these to the IPv4 address itself: mapped (RFC 4291, 2.5.5.2) and NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(within(high, low)),
        // Nobody needs these any more: IPv4-compatible (RFC 4291, 2.5.5.1), translated (RFC 2765), 6to4 (RFC 7526), Teredo (RFC 4380).
        [0, 0, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] | [0x2002, high, low, ..] => {
            tunnelled(within(high, low))
        }
        [0x2001, 0, .., high, low] => tunnelled(within(!high, !low)),
        [0xfe80..=0xfebf, ..] => Reach::LinkLocal,
        // With site-local ones (RFC 3879) and NAT64 of a network's own (RFC 8215).
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Reach::Private,
        // Protocols (RFC 2928), documentation (RFC 3849, RFC 9637).
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Reach::Reserved,
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Reserved,
    }
}

const fn within(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits((high as u32) << 16 | low as u32)
}

/// An outer address is public at no time, and tells what it hides.
const fn tunnelled(inner: Ipv4Addr) -> Reach {
    match v4(inner) {
        Reach::Public => Reach::Reserved,
        reach => reach,
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Private => "an address of a private network",
            Self::Loopback => "this machine itself",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "where a cloud gives its machines their credentials",
            Self::Reserved => "an address that is nobody's server",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Reach {
        reach(text.parse().unwrap_or_else(|_| panic!("{text} is no address")))
    }

    #[test]
    fn each_address_leads_where_the_registries_say() {
        for (expected, addresses) in [
            (
                Reach::Public,
                "1.1.1.1 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1 168.63.129.15 169.253.255.255 \
                 172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 192.169.0.1 198.17.255.255 198.20.0.1 223.255.255.255 \
                 2606:4700::1111 2001:4860:4860::8888 2a00:1450::1 2001:200::1 3ffe::1 64:ff9b::1.1.1.1 ::ffff:1.1.1.1",
            ),
            (
                Reach::Private,
                "10.0.0.0 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.127.255.255 fc00::1 fdff::1 \
                 fec0::1 64:ff9b:1::10.0.0.1 ::ffff:10.0.0.1 ::10.0.0.1 ::ffff:0:10.0.0.1 64:ff9b::192.168.0.1 2002:a00:1::1 \
                 2001::f5ff:fffe",
            ),
            (
                Reach::Loopback,
                "127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::127.0.0.1 2002:7f00:1::",
            ),
            (Reach::LinkLocal, "169.254.0.1 169.254.169.253 fe80::1 febf::1 ::ffff:169.254.0.1 64:ff9b::169.254.0.1"),
            (
                Reach::Metadata,
                "169.254.169.254 169.254.170.2 169.254.170.23 168.63.129.16 100.100.100.200 192.0.0.192 fd00:ec2::254 \
                 fd20:ce::254 ::ffff:169.254.169.254 ::ffff:168.63.129.16 64:ff9b::169.254.169.254 2002:a9fe:a9fe::1",
            ),
            (
                Reach::Reserved,
                "0.0.0.0 0.255.255.255 192.0.0.1 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 \
                 239.255.255.255 240.0.0.1 255.255.255.255 :: ::ffff:0.0.0.0 ::1.1.1.1 ::ffff:0:1.1.1.1 2002:101:101::1 2001::1 2001:db8::1 \
                 2001:1ff::1 3fff:fff::1 100::1 5f00::1 4000::1 ff02::1 200::1",
            ),
        ] {
            for address in addresses.split_whitespace() {
                assert_eq!(of(address), expected, "{address}");
            }
        }
    }

    #[test]
    fn an_operator_adds_networks_and_nothing_around_them() {
        let added = ["10.0.0.0/8", "fd00:1::/32", "127.0.0.1/32"].map(|net| net.parse::<IpNet>().unwrap());
        for (address, vetted) in [
            ("1.1.1.1", true),
            ("10.0.0.7", true),
            ("::ffff:10.0.0.7", true),
            ("fd00:1::7", true),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("11.0.0.7", true),
            ("192.168.0.1", false),
            ("fd00:2::7", false),
            ("169.254.169.254", false),
            // A gateway may take it elsewhere than this machine would.
            ("64:ff9b::10.0.0.7", false),
        ] {
            assert_eq!(is_vetted(address.parse().unwrap(), &added), vetted, "{address}");
        }
    }
}
