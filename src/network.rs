//! [`Network`]: a range of addresses. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::error::{Error, Result};

/// One address, or all that begin with the same bits: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`.
///
/// ```
/// use threadcast::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse().unwrap()));
/// assert!(network.contains("::ffff:10.1.2.3".parse().unwrap())); // as a socket for both families has it
/// # Ok::<(), threadcast::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// Without a bit behind the prefix; IPv4 if the address is IPv4-mapped.
    first: IpAddr,
    prefix: u32,
}

impl Network {
    /// Returns whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix) == self.first
    }
}

/// Returns an address without the bits behind the prefix, which is no longer than the address.
fn masked(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

fn length(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Network {
        let first = address.to_canonical();
        Network { first, prefix: length(first) }
    }
}

impl FromStr for Network {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`] for a text that is not an address, with or without a prefix, or that has bits behind the
    /// prefix.
    fn from_str(text: &str) -> Result<Network> {
        let how = || {
            Error::invalid(format!(
                "{text:?} is not a network: use an address or a prefix, such as 10.0.0.7, 10.0.0.0/8 or fd00::/8"
            ))
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| how())?;
        let Some(prefix) = prefix else { return Ok(Network::from(address)) };
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u32 = prefix.parse().ok().filter(|_| is_number).ok_or_else(how)?;
        // `::ffff:10.0.0.0/104` is 10.0.0.0/8.
        let first = address.to_canonical();
        let prefix = if first.is_ipv4() && address.is_ipv6() { prefix.checked_sub(96) } else { Some(prefix) };
        let prefix = prefix.filter(|prefix| *prefix <= length(first)).ok_or_else(how)?;
        let network = Network { first: masked(first, prefix), prefix };
        if network.first != first {
            return Err(Error::invalid(format!(
                "{text:?} has bits after its prefix: write {network}, or {first} for that one address"
            )));
        }
        Ok(network)
    }
}

/// `10.0.0.0/8`
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_as_a_table() {
        for (text, shown, inside, outside) in [
            ("10.0.0.7", "10.0.0.7/32", "10.0.0.7", "10.0.0.6"),
            ("10.0.0.7", "10.0.0.7/32", "::ffff:10.0.0.7", "::10.0.0.7"),
            ("10.0.0.0/8", "10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8", "10.255.0.1", "::ffff:11.0.0.0"),
            ("::ffff:10.0.0.7", "10.0.0.7/32", "10.0.0.7", "10.0.0.8"),
            ("0.0.0.0/0", "0.0.0.0/0", "255.1.2.3", "::1"),
            ("192.168.4.0/22", "192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("fd00::/8", "fd00::/8", "fdff::1", "fe00::"),
            ("::1", "::1/128", "::1", "127.0.0.1"),
            ("::/0", "::/0", "2001:db8::1", "10.0.0.1"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), shown, "{text}");
            assert!(network.contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{text} {outside}");
        }
    }

    #[test]
    fn what_is_not_a_network_is_said() {
        for (text, wrong) in [
            ("", "is not a network"),
            ("10.0.0", "is not a network"),
            ("10.0.0.0/", "is not a network"),
            ("10.0.0.0/33", "is not a network"),
            ("10.0.0.0/+8", "is not a network"),
            ("10.0.0.0/-1", "is not a network"),
            ("10.0.0.0/8/8", "is not a network"),
            ("fd00::/129", "is not a network"),
            ("::ffff:10.0.0.0/95", "is not a network"),
            ("proxy.test", "is not a network"),
            ("10.0.0.1/8", "write 10.0.0.0/8, or 10.0.0.1 for that one address"),
            ("fd00::1/64", "write fd00::/64, or fd00::1 for that one address"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }
}
