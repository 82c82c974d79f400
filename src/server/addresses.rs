//! [`Neighbour`]: one client's address; and [`Addresses`], which limits the clients and the connects of each.
//!
//! Pure: no socket, no lock, no clock. The registry has one, behind its lock.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::rate::Rate;
use crate::server::settings::ServerSettings;

/// Most addresses that the server remembers: 6 MB. Beyond them, it accepts clients without counting them.
const MOST_KNOWN: usize = 200_000;
/// Below this number, no sweep forgets an address.
const FEW: usize = 1024;
/// Time between two sweeps. A sweep reads every address, which takes half a millisecond at the maximum.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// One address, as far as a stranger cannot choose it freely: all of an IPv4 address, the first half of an IPv6 one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Neighbour {
    V4(u32),
    V6(u64),
}

/// See the [module](self). An address without clients that has paid for its connects equals one that is missing.
pub(crate) struct Addresses {
    max_clients: Option<usize>,
    connects: Option<Rate>,
    known: HashMap<Neighbour, Known>,
    /// The length at which to sweep, and when that was done last, since the server's start.
    sweep_at: usize,
    swept: Duration,
}

#[derive(Clone, Copy, Default)]
struct Known {
    clients: u32,
    /// When its connects so far are paid for, in nanoseconds since the server's start.
    paid_at: u64,
}

/// Why an address may have no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressLimit {
    /// It has as many clients as it may.
    Clients { most: usize },
    /// It has connected too often; it may connect again after this time.
    Connects { rate: Rate, early: Duration },
}

impl Neighbour {
    /// Returns the neighbour that has this address. A socket for both families has IPv4 peers as `::ffff:1.2.3.4`.
    pub(crate) fn of(address: IpAddr) -> Neighbour {
        match address.to_canonical() {
            IpAddr::V4(address) => Neighbour::V4(address.to_bits()),
            IpAddr::V6(address) => Neighbour::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// `192.0.2.1` or `2001:db8::/64`
impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Neighbour::V4(bits) => Ipv4Addr::from_bits(bits).fmt(f),
            Neighbour::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(bits) << 64)),
        }
    }
}

impl Addresses {
    /// Starts without addresses.
    pub(crate) fn new(settings: &ServerSettings) -> Addresses {
        Addresses {
            max_clients: settings.max_clients_per_address,
            connects: settings.max_connects_per_address,
            known: HashMap::new(),
            sweep_at: FEW,
            swept: Duration::ZERO,
        }
    }

    /// Counts a connect, or returns why the address may not connect. `now` is since the server's start.
    pub(crate) fn connect(&mut self, neighbour: Neighbour, now: Duration) -> Result<(), AddressLimit> {
        if self.max_clients.is_none() && self.connects.is_none() {
            return Ok(());
        }
        let mut known = self.known.get(&neighbour).copied();
        if known.is_none() && self.has_room(now) {
            known = Some(Known::default());
        }
        let Some(mut known) = known else { return Ok(()) };
        if let Some(rate) = self.connects {
            let arrival = rate.arrive(Duration::from_nanos(known.paid_at), now, 1);
            if !arrival.early.is_zero() {
                return Err(AddressLimit::Connects { rate, early: arrival.early });
            }
            known.paid_at = u64::try_from(arrival.paid_at.as_nanos()).unwrap_or(u64::MAX);
        }
        self.known.insert(neighbour, known);
        match self.max_clients {
            Some(most) if known.clients as usize >= most => Err(AddressLimit::Clients { most }),
            _ => Ok(()),
        }
    }

    /// Counts a client that has [connected](Addresses::connect). True if it has to [leave](Addresses::leave) then.
    pub(crate) fn enter(&mut self, neighbour: Neighbour) -> bool {
        let known = self.max_clients.and_then(|_| self.known.get_mut(&neighbour));
        known.map(|known| known.clients += 1).is_some()
    }

    /// Counts a client's end.
    pub(crate) fn leave(&mut self, neighbour: Neighbour) {
        // An address with clients stays.
        if let Some(known) = self.known.get_mut(&neighbour) {
            known.clients -= 1;
        }
    }

    /// Returns whether one more address fits. Forgets the addresses whose state equals that of a new one.
    fn has_room(&mut self, now: Duration) -> bool {
        if self.known.len() >= self.sweep_at && now >= self.swept + SWEEP_EVERY {
            let now_nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
            self.known.retain(|_, known| known.clients > 0 || known.paid_at > now_nanos);
            self.swept = now;
            self.sweep_at = (2 * self.known.len()).clamp(FEW, MOST_KNOWN);
            self.known.shrink_to(self.sweep_at);
        }
        self.known.len() < MOST_KNOWN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(max_clients: Option<usize>, connects: Option<Rate>) -> Addresses {
        Addresses::new(&ServerSettings {
            max_clients_per_address: max_clients,
            max_connects_per_address: connects,
            ..ServerSettings::default()
        })
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn neighbours_as_a_table() {
        for (address, neighbour) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64"),
            ("::1", "::/64"),
        ] {
            assert_eq!(Neighbour::of(address.parse().unwrap()).to_string(), neighbour, "{address}");
        }
    }

    #[test]
    fn an_address_has_as_many_clients_as_it_may_and_connects_as_often_as_it_may() {
        let rate = Rate::per_second(2);
        let mut addresses = addresses(Some(3), Some(rate));
        let [one, other] = [1, 2].map(Neighbour::V4);
        for _ in 0..2 {
            addresses.connect(one, seconds(9)).unwrap();
            assert!(addresses.enter(one));
        }
        let early = AddressLimit::Connects { rate, early: Duration::from_millis(500) };
        assert_eq!(addresses.connect(one, seconds(9)), Err(early));
        addresses.connect(other, seconds(9)).unwrap();
        addresses.connect(one, seconds(10)).unwrap();
        assert!(addresses.enter(one));
        assert_eq!(addresses.connect(one, seconds(11)), Err(AddressLimit::Clients { most: 3 }));
        addresses.leave(one);
        addresses.connect(one, seconds(12)).unwrap();
    }

    #[test]
    fn without_limits_nobody_is_remembered_and_without_one_for_clients_nobody_leaves() {
        let mut unlimited = addresses(None, None);
        unlimited.connect(Neighbour::V4(1), seconds(1)).unwrap();
        assert!(!unlimited.enter(Neighbour::V4(1)) && unlimited.known.is_empty());
        let mut rated = addresses(None, Some(Rate::per_hour(1)));
        rated.connect(Neighbour::V4(1), seconds(1)).unwrap();
        assert!(!rated.enter(Neighbour::V4(1)));
    }

    #[test]
    fn those_who_equal_a_stranger_are_forgotten_and_nobody_else() {
        let mut addresses = addresses(Some(2), Some(Rate::per_second(1)));
        let stays = Neighbour::V6(7);
        addresses.connect(stays, seconds(1)).unwrap();
        assert!(addresses.enter(stays));
        for n in 0..MOST_KNOWN as u32 + 9 {
            addresses.connect(Neighbour::V4(n), seconds(1)).unwrap();
        }
        assert_eq!(addresses.known.len(), MOST_KNOWN);
        let late = Neighbour::V4(u32::MAX);
        (0..9).for_each(|_| addresses.connect(late, seconds(1)).expect("is let in uncounted"));
        assert!(!addresses.enter(late));
        assert!(addresses.connect(Neighbour::V4(5), seconds(1)).is_err(), "who is known keeps to the limit");
        // A second after the last sweep, all of them have paid.
        addresses.connect(late, seconds(3)).unwrap();
        assert_eq!(addresses.known.len(), 2);
        assert!(addresses.known.capacity() < 2 * MOST_KNOWN / 10, "{}", addresses.known.capacity());
        addresses.connect(stays, seconds(3)).unwrap();
        assert!(addresses.enter(stays));
        assert_eq!(addresses.connect(stays, seconds(5)), Err(AddressLimit::Clients { most: 2 }));
    }

    #[test]
    fn one_is_remembered_in_32_bytes() {
        assert_eq!(size_of::<(Neighbour, Known)>(), 32);
    }
}
