//! Networks of IP addresses.

use alloc::{borrow::ToOwned, format, string::String};
use core::{fmt, net::IpAddr, str::FromStr};

/// A network of IP addresses, written as `10.0.0.0/8`, or as one address. IPv4-mapped IPv6
/// addresses (`::ffff:10.0.0.1`) count as IPv4.
///
/// ```
/// use roomcast_http::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse().expect("an address")));
/// let fault = "10.1.2.3/8".parse::<Network>().expect_err("an address within");
/// assert!(fault.to_string().contains("10.0.0.0/8"));
/// # Ok::<(), roomcast_http::NetworkError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The first address, canonical.
    first: IpAddr,
    /// The number of bits that all addresses of the network have in common.
    prefix: u8,
}

/// The number of bits before the IPv4 address in an IPv4-mapped IPv6 address.
const MAPPED_BITS: u8 = 96;

impl Network {
    /// True when an address, in any form, is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differs = first.to_bits() ^ address.to_bits();
                differs.leading_zeros() >= self.prefix.into()
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differs = first.to_bits() ^ address.to_bits();
                differs.leading_zeros() >= self.prefix.into()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// The network with a prefix of this length that contains an address.
    const fn around(address: IpAddr, prefix: u8) -> Self {
        let first = match address {
            IpAddr::V4(address) => {
                let bits = match u32::MAX.checked_shl(32 - prefix as u32) {
                    Some(mask) => address.to_bits() & mask,
                    None => 0,
                };
                IpAddr::V4(core::net::Ipv4Addr::from_bits(bits))
            }
            IpAddr::V6(address) => {
                let bits = match u128::MAX.checked_shl(128 - prefix as u32) {
                    Some(mask) => address.to_bits() & mask,
                    None => 0,
                };
                IpAddr::V6(core::net::Ipv6Addr::from_bits(bits))
            }
        };
        Self { first, prefix }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

/// The error of a text that is not a network. It says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| {
            let form = "a network is an IP address, or one with the bits of its prefix: 10.0.0.0/8, \
                ::1, 192.0.2.7";
            NetworkError(form.to_owned())
        })?;
        let bits_max: u8 = if written.is_ipv4() { 32 } else { 128 };
        // Digits only: `parse` would also accept a sign.
        let whole = |bits: &str| {
            let is_number = bits.bytes().all(|byte| byte.is_ascii_digit());
            let prefix = bits.parse().ok().filter(|_| is_number);
            prefix.filter(|prefix| (1..=bits_max).contains(prefix))
        };
        let prefix = bits.map_or(Some(bits_max), whole).ok_or_else(|| {
            NetworkError(format!(
                "the prefix of {address} is 1 to {bits_max}: one of 0 would be every address"
            ))
        })?;
        let mut network = Self::around(written, prefix);
        if network.first != written {
            return Err(NetworkError(format!(
                "{text} has bits behind its prefix: write {}, or the address alone",
                network
            )));
        }
        let canonical = written.to_canonical();
        if canonical != written {
            network = Self {
                first: canonical,
                prefix: prefix.checked_sub(MAPPED_BITS).ok_or_else(|| {
                    NetworkError(format!(
                        "{} is an IPv4 address: write it as {canonical}",
                        written
                    ))
                })?,
            };
        }
        if network.prefix == 0 {
            let all = "the prefix is 1 to 32: one of 0 would be every address";
            return Err(NetworkError(all.to_owned()));
        }
        Ok(network)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        let network: Network = network.parse().expect(network);
        network.contains(address.parse().expect(address))
    }

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        for (network, within, beyond) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("128.0.0.0/1", "255.255.255.255", "127.255.255.255"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7/32", "::ffff:192.0.2.7", "::192.0.2.7"),
            ("::ffff:192.0.2.0/120", "192.0.2.255", "192.0.3.0"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("::1", "::1", "127.0.0.1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("2001:db8::/127", "2001:db8::1", "2001:db8::2"),
            ("8000::/1", "ffff::1", "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.0", "::a00:0"),
        ] {
            assert!(contains(network, within), "{within} is in {network}");
            assert!(!contains(network, beyond), "{beyond} is not in {network}");
        }
    }

    #[test]
    fn what_is_no_network_says_what_to_write() {
        for (bad, says) in [
            ("", "a network is an IP address"),
            ("proxy", "a network is an IP address"),
            ("10.0.0.0/", "1 to 32"),
            ("10.0.0.0/33", "1 to 32"),
            ("10.0.0.0/+8", "1 to 32"),
            ("10.0.0.0/-1", "1 to 32"),
            ("10.0.0.0/8/8", "1 to 32"),
            ("0.0.0.0/0", "every address"),
            ("::/0", "every address"),
            ("::ffff:0.0.0.0/96", "every address"),
            ("::/129", "1 to 128"),
            ("10.0.0.0/255.0.0.0", "1 to 32"),
            ("10.1.2.3/8", "write 10.0.0.0/8"),
            ("192.0.2.7/31", "write 192.0.2.6/31"),
            ("2001:db8::1/64", "write 2001:db8::/64"),
            ("::ffff:10.1.2.3/104", "bits behind its prefix"),
            ("::ffff:0.0.0.0/95", "bits behind its prefix"),
            ("10.0.0", "a network is an IP address"),
            ("fe80::1%eth0", "a network is an IP address"),
            ("10.0.0.1:80", "a network is an IP address"),
        ] {
            let fault = bad.parse::<Network>().expect_err(bad).to_string();
            assert!(fault.contains(says), "{bad}: {fault}");
        }
    }

    #[test]
    fn a_network_prints_as_it_is_written() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(text.parse::<Network>().expect(text).to_string(), shown);
        }
    }
}
