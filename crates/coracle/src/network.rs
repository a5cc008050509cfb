//! Which loopback addresses a cluster uses.
//!
//! Clusters on one machine must not share addresses. Cluster number C has pods in 127.(10+C).0.0/16 and Services in
//! 127.(96+C).0.0/16; what clients outside see of Services of type LoadBalancer is in 127.(182+C).0.0/16. A number is taken as long as somebody holds its *claim*, a UDP port bound on an address of the block:
//! the server holds it, and the balancer inherits it, so the block stays taken while either lives. UDP, because a server
//! of somebody else's that listens on 0.0.0.0:7443 would make every block look taken.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};

/// Highest cluster number: above it the blocks of load balancers would run into the end of the loopback addresses.
pub const LAST: u8 = 71;

/// The port of the balancer's metrics.
const METRICS_PORT: u16 = 9402;

/// The addresses of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub u8);

impl Network {
    /// First address of the pods' block.
    pub fn pods(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 10 + self.0, 0, 0)
    }

    /// First address of the Services' block.
    pub fn services(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 96 + self.0, 0, 0)
    }

    /// First address of the load balancers' block.
    pub fn load_balancers(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 182 + self.0, 0, 0)
    }

    /// The address of the `kubernetes` Service.
    pub fn kubernetes_service(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 96 + self.0, 0, 1)
    }

    /// Where the balancer's metrics are, unless the user says otherwise.
    pub fn metrics(self) -> SocketAddr {
        SocketAddr::from((self.own_address(), METRICS_PORT))
    }

    /// An address of the block that is the cluster's own.
    fn own_address(self) -> Ipv4Addr {
        Ipv4Addr::new(127, 96 + self.0, 255, 254)
    }

    /// Takes this block, unless somebody has it.
    pub fn claim(self) -> anyhow::Result<Option<OwnedFd>> {
        let claim = SocketAddrV4::new(self.own_address(), 7443);
        let socket = socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .context("cannot open a socket")?;
        match bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrIn::from(claim)) {
            Ok(()) => Ok(Some(socket)),
            Err(Errno::EADDRINUSE) => Ok(None),
            Err(errno) => bail!("cannot use the loopback address {}: {errno}", claim.ip()),
        }
    }

    /// Takes the first block that nobody has.
    pub fn claim_any() -> anyhow::Result<(Self, OwnedFd)> {
        for number in 0..=LAST {
            if let Some(claim) = Self(number).claim()? {
                return Ok((Self(number), claim));
            }
        }
        bail!(
            "{} clusters run on this machine already: stop one with `coracle down`",
            u16::from(LAST) + 1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_one_holder() {
        let (first, _held) = Network::claim_any().unwrap();
        assert!(first.claim().unwrap().is_none());
        let (second, _also_held) = Network::claim_any().unwrap();
        assert_ne!(first, second);
    }
}
