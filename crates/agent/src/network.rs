//! The addresses of nodes and pods.
//!
//! Every node has a block of loopback addresses: the first one is its own, the others are its pods'. An address that
//! was just freed is given out last, so that what somebody still remembers about it has time to go stale.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Addresses of a block that are no pod's: the network's, the node's and the last.
const RESERVED: u32 = 3;

/// How a cluster's block of pod addresses is divided among its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: Ipv4Addr,
    prefix: u8,
}

impl Network {
    /// `base` is the first address of the cluster's block, a /16; each node gets a /24 of it, or more where `max_pods`
    /// need more.
    pub fn new(base: Ipv4Addr, max_pods: u32) -> Self {
        let bits = 32 - (max_pods.saturating_add(RESERVED).saturating_sub(1)).leading_zeros();
        let bits = bits.clamp(8, 15);
        // At most 15, so that it always fits.
        let prefix = u8::try_from(32 - bits).unwrap_or(24);
        Self { base, prefix }
    }

    /// How many nodes there is room for.
    pub fn nodes(&self) -> u32 {
        (1 << (self.prefix - 16)) - 1
    }

    fn block(&self, node_index: u16) -> u32 {
        u32::from(self.base) + ((u32::from(node_index) + 1) << (32 - self.prefix))
    }

    /// The address of a node itself; nodes are numbered from 0.
    pub fn node_ip(&self, node_index: u16) -> Ipv4Addr {
        Ipv4Addr::from(self.block(node_index) + 1)
    }

    /// A node's block, as in `spec.podCIDR`.
    pub fn pod_cidr(&self, node_index: u16) -> String {
        format!("{}/{}", Ipv4Addr::from(self.block(node_index)), self.prefix)
    }

    /// The pod addresses of a node.
    pub fn pool(&self, node_index: u16) -> AddressPool {
        let first = self.block(node_index) + 2;
        let last = self.block(node_index) + (1 << (32 - self.prefix)) - 2;
        AddressPool {
            pool: Arc::new(Mutex::new(Pool {
                first,
                last,
                next: first,
                taken: BTreeSet::new(),
            })),
        }
    }
}

/// Addresses that are given out one at a time, round and round. Clones share them.
#[derive(Clone, Debug)]
pub struct AddressPool {
    pool: Arc<Mutex<Pool>>,
}

#[derive(Debug)]
struct Pool {
    first: u32,
    last: u32,
    next: u32,
    taken: BTreeSet<u32>,
}

impl AddressPool {
    /// Takes an address; `None` if all are taken.
    pub fn take(&self) -> Option<Ipv4Addr> {
        let mut pool = self.pool.lock();
        let upwards = (pool.next..=pool.last).find(|address| !pool.taken.contains(address));
        let from_start = || (pool.first..pool.next).find(|address| !pool.taken.contains(address));
        let address = upwards.or_else(from_start)?;
        pool.taken.insert(address);
        pool.next = if address == pool.last {
            pool.first
        } else {
            address + 1
        };
        Some(address.into())
    }

    /// Takes a certain address: a pod has it already. The next one given out is a later one.
    pub fn reserve(&self, address: Ipv4Addr) {
        let mut pool = self.pool.lock();
        let address = u32::from(address);
        pool.taken.insert(address);
        if (pool.next..=pool.last).contains(&address) {
            pool.next = if address == pool.last {
                pool.first
            } else {
                address + 1
            };
        }
    }

    /// Gives an address back.
    pub fn give_back(&self, address: Ipv4Addr) {
        self.pool.lock().taken.remove(&u32::from(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_grow_with_the_number_of_pods() {
        let base = Ipv4Addr::new(127, 10, 0, 0);
        let small = Network::new(base, 110);
        assert_eq!(small.pod_cidr(0), "127.10.1.0/24");
        assert_eq!(small.node_ip(2), Ipv4Addr::new(127, 10, 3, 1));
        assert_eq!(small.nodes(), 255);
        assert_eq!(Network::new(base, 253).pod_cidr(0), "127.10.1.0/24");
        let large = Network::new(base, 1000);
        assert_eq!(large.pod_cidr(1), "127.10.8.0/22");
        assert_eq!(large.nodes(), 63);
    }

    #[test]
    fn a_freed_address_is_used_last() {
        let pool = Network::new(Ipv4Addr::new(127, 10, 0, 0), 110).pool(0);
        let first = pool.take().unwrap();
        assert_eq!(first, Ipv4Addr::new(127, 10, 1, 2));
        pool.give_back(first);
        for last in 3..=254 {
            assert_eq!(pool.take(), Some(Ipv4Addr::new(127, 10, 1, last)));
        }
        assert_eq!(pool.take(), Some(first));
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn a_reserved_address_is_not_given_out() {
        let pool = Network::new(Ipv4Addr::new(127, 10, 0, 0), 110).pool(0);
        pool.reserve(Ipv4Addr::new(127, 10, 1, 3));
        assert_eq!(pool.take(), Some(Ipv4Addr::new(127, 10, 1, 4)));
    }
}
