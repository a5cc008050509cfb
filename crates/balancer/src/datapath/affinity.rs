//! Session affinity: a client's connections go to one backend, whatever port they come from.
//!
//! Flows in: a client's address and the backends that are offered now. Flows out: the backend of that client. A client
//! without one gets the backend that a hash of both ranks first, so that after a restart of the balancer, or when a
//! client had to be forgotten, the same backends give the same choice. From then on it is remembered, so that a backend
//! that is added takes no client from another.
//!
//! All threads share what is remembered. It is asked once a backend connection, not once a byte, and its locks are held
//! for one look-up in one of [`SHARDS`] maps; routes without affinity never come here. Memory is bounded: a map that is
//! full forgets the half that was seen longest ago.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::backend::Backend;
use super::table::Offer;

/// Maps that clients are spread over, each with a lock of its own.
const SHARDS: usize = 16;
/// Clients that one map remembers at most: 65,536 a route, at about 50 bytes each.
const MOST: usize = 4096;

/// A route's affinity.
#[derive(Clone)]
pub struct Affinity {
    pins: Arc<Pins>,
    /// How long after its last connection a client is remembered, in milliseconds.
    timeout: u64,
}

/// The backends of a route's clients. Outlives the tables of the route.
#[derive(Default)]
pub struct Pins([Mutex<HashMap<IpAddr, Pin>>; SHARDS]);

struct Pin {
    backend: Arc<Backend>,
    /// When the client last opened a connection, on the datapath's clock.
    seen: u64,
}

impl Affinity {
    pub fn new(pins: Arc<Pins>, timeout: u64) -> Self {
        Self { pins, timeout }
    }

    /// The client's backend among those offered, which are in the order of [`position`]. One that refuses
    /// connections loses the client to another. `None` if there is none.
    pub fn choose<'a>(&self, client: IpAddr, offered: &'a [Arc<Offer>], now: u64) -> Option<&'a Arc<Offer>> {
        let mut pins = self.pins.0[shard(client)].lock();
        let pinned = pins
            .get(&client)
            .filter(|pin| pin.seen + self.timeout > now && !pin.backend.is_suspect(now))
            .and_then(|pin| position(offered, &pin.backend))
            .map(|at| &offered[at]);
        let offer = pinned.or_else(|| first(client, offered, now))?;
        if pins.len() >= MOST && !pins.contains_key(&client) {
            forget(&mut pins);
        }
        let pin = Pin {
            backend: offer.backend.clone(),
            seen: now,
        };
        pins.insert(client, pin);
        Some(offer)
    }

    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pins, &other.pins) && self.timeout == other.timeout
    }
}

/// Where a backend is among offers that are in the order of their backends' addresses in memory.
pub fn position(offered: &[Arc<Offer>], backend: &Arc<Backend>) -> Option<usize> {
    offered
        .binary_search_by_key(&Arc::as_ptr(backend), |offer| Arc::as_ptr(&offer.backend))
        .ok()
}

/// The backend that ranks first for a client, among those that do not refuse connections if there are any.
fn first(client: IpAddr, offered: &[Arc<Offer>], now: u64) -> Option<&Arc<Offer>> {
    offered.iter().max_by_key(|offer| {
        let backend = &offer.backend;
        (!backend.is_suspect(now), hash((client, backend.identity())))
    })
}

/// Makes room: forgets the half of the clients that was seen longest ago.
fn forget(pins: &mut HashMap<IpAddr, Pin>) {
    let mut seen: Vec<u64> = pins.values().map(|pin| pin.seen).collect();
    let middle = seen.len() / 2;
    let (_, median, _) = seen.select_nth_unstable(middle);
    let median = *median;
    // Where all were seen in the same millisecond, all go.
    pins.retain(|_, pin| pin.seen > median);
}

fn shard(client: IpAddr) -> usize {
    usize::try_from(hash(client) % SHARDS as u64).unwrap_or(0)
}

/// The same in every process.
fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::counters::Series;
    use super::*;

    fn backends(ports: std::ops::Range<u16>) -> Vec<Arc<Offer>> {
        let backend = |port: u16| {
            let addr = ([127, 0, 0, 1], port).into();
            Arc::new(Offer {
                backend: Arc::new(Backend::new(addr, "pod".into(), Arc::new(|| {}))),
                series: Arc::new(Series::new(1)),
            })
        };
        let mut backends: Vec<_> = ports.map(backend).collect();
        backends.sort_by_key(|offer| Arc::as_ptr(&offer.backend));
        backends
    }

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from(0x7f00_0000 + number).into()
    }

    fn affinity() -> Affinity {
        Affinity::new(Arc::default(), 1000)
    }

    #[test]
    fn a_client_stays_when_backends_are_added_and_moves_when_its_own_goes() {
        let (affinity, all) = (affinity(), backends(1..9));
        let few = &all[..3];
        for number in 0..100 {
            let chosen = affinity.choose(client(number), few, 1).unwrap().clone();
            assert!(Arc::ptr_eq(
                affinity.choose(client(number), &all, 2).unwrap(),
                &chosen
            ));
            let rest: Vec<_> = all
                .iter()
                .filter(|other| !Arc::ptr_eq(other, &chosen))
                .cloned()
                .collect();
            let next = affinity.choose(client(number), &rest, 3).unwrap().clone();
            // It has moved for good.
            assert!(Arc::ptr_eq(
                affinity.choose(client(number), &all, 4).unwrap(),
                &next
            ));
        }
        assert!(affinity.choose(client(0), &[], 5).is_none());
    }

    #[test]
    fn a_client_stays_until_its_timeout_after_its_last_connection() {
        let (affinity, all) = (affinity(), backends(1..33));
        let few = &all[..1];
        let pinned = |affinity: &Affinity, now| {
            let chosen = affinity.choose(client(7), &all, now).unwrap();
            Arc::ptr_eq(chosen, &few[0])
        };
        affinity.choose(client(7), few, 1).unwrap();
        assert!(pinned(&affinity, 1000));
        assert!(pinned(&affinity, 1999), "each connection begins the time anew");
        let free = first(client(7), &all, 0).unwrap();
        assert!(Arc::ptr_eq(affinity.choose(client(7), &all, 2999).unwrap(), free));
    }

    #[test]
    fn clients_are_spread_and_chosen_alike_by_every_process() {
        let (one, other, all) = (affinity(), affinity(), backends(1..5));
        let mut counts = [0; 4];
        for number in 0..1000 {
            let chosen = one.choose(client(number), &all, 1).unwrap();
            assert!(Arc::ptr_eq(
                chosen,
                other.choose(client(number), &all, 1).unwrap()
            ));
            counts[position(&all, &chosen.backend).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| *count > 150), "{counts:?}");
    }

    #[test]
    fn a_backend_that_refuses_loses_its_clients() {
        let (affinity, all) = (affinity(), backends(1..3));
        let chosen = affinity.choose(client(1), &all, 1).unwrap();
        chosen.backend.suspect(500);
        let other = affinity.choose(client(1), &all, 2).unwrap();
        assert!(!Arc::ptr_eq(chosen, other));
        other.backend.suspect(500);
        assert!(affinity.choose(client(1), &all, 3).is_some(), "the last resort");
    }

    #[test]
    fn memory_is_bounded() {
        let (affinity, all) = (affinity(), backends(1..3));
        for number in 0..200_000 {
            affinity
                .choose(client(number), &all, 1 + u64::from(number / 100))
                .unwrap();
        }
        let remembered: usize = affinity.pins.0.iter().map(|pins| pins.lock().len()).sum();
        assert!(remembered <= SHARDS * MOST, "{remembered}");
        assert!(remembered > SHARDS * MOST / 4, "{remembered}");
    }
}
