//! The real ports of pods: each is unique on the machine.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;

/// Ports that pods get by default.
pub const DEFAULT_RANGE: RangeInclusive<u16> = 20_000..=29_999;

/// Gives out ports, round and round. Clones share them: all agents of a process use one.
#[derive(Clone, Debug)]
pub struct PortAllocator {
    ports: Arc<Mutex<Ports>>,
}

#[derive(Debug)]
struct Ports {
    range: RangeInclusive<u16>,
    next: u16,
    taken: BTreeSet<u16>,
}

impl Default for PortAllocator {
    fn default() -> Self {
        Self::new(DEFAULT_RANGE)
    }
}

impl PortAllocator {
    /// Gives out ports of this range.
    pub fn new(range: RangeInclusive<u16>) -> Self {
        let next = *range.start();
        Self {
            ports: Arc::new(Mutex::new(Ports {
                range,
                next,
                taken: BTreeSet::new(),
            })),
        }
    }

    /// Takes a port on which nobody listens, on any address; `None` if there is none.
    pub fn take(&self) -> Option<u16> {
        let mut ports = self.ports.lock();
        for _ in ports.range.clone() {
            let port = ports.next;
            ports.next = if port == *ports.range.end() {
                *ports.range.start()
            } else {
                port + 1
            };
            if !ports.taken.contains(&port) && is_free(port) {
                ports.taken.insert(port);
                return Some(port);
            }
        }
        None
    }

    /// Takes a certain port: a pod has it already.
    pub fn reserve(&self, port: u16) {
        self.ports.lock().taken.insert(port);
    }

    /// Gives a port back.
    pub fn give_back(&self, port: u16) {
        self.ports.lock().taken.remove(&port);
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_use_are_passed_over() {
        // Below the ports that the system gives out by itself: nobody gets one of these by chance.
        let port = PortAllocator::new(30_000..=32_000).take().unwrap();
        let busy = TcpListener::bind((Ipv4Addr::new(127, 9, 8, 7), port)).unwrap();
        let ports = PortAllocator::new(port..=port);
        assert_eq!(ports.take(), None);
        drop(busy);
        assert_eq!(ports.take(), Some(port));
        assert_eq!(ports.take(), None);
        ports.give_back(port);
        assert_eq!(ports.take(), Some(port));
    }
}
