//! Which Service addresses and node ports are taken.
//!
//! Flows in: requests to take and to give back. Flows out: addresses and ports that nobody else has. Lives in memory and
//! is filled from the stored Services at start: the Services themselves are the record.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use parking_lot::Mutex;
use rand::Rng;

/// The addresses and ports of Services.
#[derive(Debug)]
pub(crate) struct Allocator {
    network: Network,
    ports: RangeInclusive<u16>,
    taken: Mutex<Taken>,
}

/// A range of IPv4 addresses, `127.96.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address.
    pub address: Ipv4Addr,
    /// How many leading bits all addresses share, at most 32.
    pub prefix: u8,
}

impl Network {
    fn size(self) -> u64 {
        1_u64 << (32 - u32::from(self.prefix.min(32)))
    }

    /// The address at an index, counted from the first.
    fn at(self, index: u64) -> Option<Ipv4Addr> {
        let index = u32::try_from(index).ok()?;
        u32::from(self.address).checked_add(index).map(Ipv4Addr::from)
    }

    /// The first address that a Service may have: that of the `kubernetes` Service.
    #[must_use]
    pub fn first_host(self) -> Ipv4Addr {
        self.at(1).unwrap_or(self.address)
    }

    /// Whether a Service may have an address: in the range, and neither its first nor its last.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        let index = u64::from(u32::from(address)).checked_sub(u32::from(self.address).into());
        index.is_some_and(|index| index > 0 && index < self.size() - 1)
    }
}

#[derive(Debug, Default)]
struct Taken {
    addresses: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<u16>,
}

/// Why an address or a port cannot be had. `Display` is upstream's sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Another Service has the address.
    #[error("failed to allocate IP {0}: provided IP is already allocated")]
    AddressTaken(Ipv4Addr),
    /// The address is not a Service's.
    #[error("failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. The range of valid IPs is {network}/{prefix}", network = network.address, prefix = network.prefix)]
    AddressOutside {
        /// The address asked for.
        address: Ipv4Addr,
        /// The range.
        network: Network,
    },
    /// Another Service has the port.
    #[error("provided port is already allocated")]
    PortTaken,
    /// The port is not a node port.
    #[error("provided port is not in the valid range. The range of valid ports is {}-{}", .0.start(), .0.end())]
    PortOutside(RangeInclusive<u16>),
    /// No address is left.
    #[error("failed to allocate a serviceIP: range is full")]
    NoAddress,
    /// No port is left.
    #[error("failed to allocate a nodePort: range is full")]
    NoPort,
}

impl Allocator {
    /// With nothing taken but the `kubernetes` Service's address, which only a Service that asks for it gets.
    pub fn new(network: Network, ports: RangeInclusive<u16>) -> Self {
        Self {
            network,
            ports,
            taken: Mutex::default(),
        }
    }

    /// Takes an address that a Service asks for.
    pub fn take_address(&self, address: Ipv4Addr) -> Result<Ipv4Addr, Refused> {
        if !self.network.contains(address) {
            return Err(Refused::AddressOutside {
                address,
                network: self.network,
            });
        }
        let fresh = self.taken.lock().addresses.insert(address);
        if fresh {
            Ok(address)
        } else {
            Err(Refused::AddressTaken(address))
        }
    }

    /// Takes any free address.
    pub fn any_address(&self) -> Result<Ipv4Addr, Refused> {
        let mut taken = self.taken.lock();
        let size = self.network.size();
        let start = rand::rng().random_range(0..size);
        let candidates = (0..size).filter_map(|step| self.network.at((start + step) % size));
        let reserved = self.network.first_host();
        let free = candidates
            .filter(|address| self.network.contains(*address) && *address != reserved)
            .find(|address| !taken.addresses.contains(address));
        let address = free.ok_or(Refused::NoAddress)?;
        taken.addresses.insert(address);
        Ok(address)
    }

    /// Gives an address back.
    pub fn free_address(&self, address: Ipv4Addr) {
        self.taken.lock().addresses.remove(&address);
    }

    /// Takes a port that a Service asks for.
    pub fn take_port(&self, port: u16) -> Result<u16, Refused> {
        if !self.ports.contains(&port) {
            return Err(Refused::PortOutside(self.ports.clone()));
        }
        if self.taken.lock().ports.insert(port) {
            Ok(port)
        } else {
            Err(Refused::PortTaken)
        }
    }

    /// Takes any free port.
    pub fn any_port(&self) -> Result<u16, Refused> {
        let mut taken = self.taken.lock();
        let (first, last) = (u32::from(*self.ports.start()), u32::from(*self.ports.end()));
        let size = last.saturating_sub(first) + 1;
        let start = rand::rng().random_range(0..size);
        let candidates = (0..size).filter_map(|step| u16::try_from(first + (start + step) % size).ok());
        let port = { candidates }
            .find(|port| !taken.ports.contains(port))
            .ok_or(Refused::NoPort)?;
        taken.ports.insert(port);
        Ok(port)
    }

    /// Gives a port back.
    pub fn free_port(&self, port: u16) {
        self.taken.lock().ports.remove(&port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator() -> Allocator {
        Allocator::new(
            Network {
                address: Ipv4Addr::new(127, 96, 0, 0),
                prefix: 29,
            },
            30000..=30001,
        )
    }

    #[test]
    fn gives_out_every_address_once_but_not_the_reserved_one() {
        let allocator = allocator();
        // Eight addresses, without the first, the last and the `kubernetes` Service's.
        let mut got: Vec<_> = (0..5).map(|_| allocator.any_address().unwrap()).collect();
        got.sort();
        assert_eq!(got.first(), Some(&Ipv4Addr::new(127, 96, 0, 2)));
        assert_eq!(allocator.any_address(), Err(Refused::NoAddress));
        allocator.free_address(got[2]);
        assert_eq!(allocator.any_address(), Ok(got[2]));
    }

    #[test]
    fn refuses_what_is_taken_or_outside() {
        let allocator = allocator();
        let address = Ipv4Addr::new(127, 96, 0, 1);
        assert_eq!(allocator.take_address(address), Ok(address));
        assert_eq!(
            allocator.take_address(address),
            Err(Refused::AddressTaken(address))
        );
        assert!(allocator.take_address(Ipv4Addr::new(10, 0, 0, 1)).is_err());
        assert_eq!(allocator.take_port(30000), Ok(30000));
        assert_eq!(allocator.take_port(30000), Err(Refused::PortTaken));
        assert!(allocator.take_port(80).is_err());
        assert_eq!(allocator.any_port(), Ok(30001));
        assert_eq!(allocator.any_port(), Err(Refused::NoPort));
    }
}
