//! Servers that read as they please, strictly or leniently, behind a balancer that moves the connection whenever one of
//! them has seen a request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::http1::properties::{cuts, malice, requests, spoilt};
use super::super::http1::{oracle, readers::READERS, readers::Reader};
use super::*;

/// What a backend connection was given.
struct Record {
    bytes: Vec<u8>,
}

/// Two servers of one case. Each time one of them sees a whole request, in its own reading, the other one becomes the
/// endpoint before the answer goes out.
struct Recorders<'a> {
    balancer: Mutex<&'a mut Balancer>,
    servers: [Server; 2],
    reader: Reader,
    /// In the order of their first bytes.
    records: Mutex<Vec<Record>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl<'a> Recorders<'a> {
    fn new(balancer: &'a mut Balancer, reader: Reader) -> Self {
        let servers = [Server::new(), Server::new()];
        balancer.until_installed(&[&servers[0]]);
        Self {
            balancer: Mutex::new(balancer),
            servers,
            reader,
            records: Mutex::default(),
        }
    }

    /// Serves whoever connects, until [`Self::close`].
    fn serve<'scope>(&'scope self, scope: &'scope thread::Scope<'scope, '_>) {
        for number in 0..2 {
            scope.spawn(move || {
                while let Ok((stream, _)) = self.servers[number].listener.accept() {
                    scope.spawn(move || self.record(Client::new(stream), number));
                }
            });
        }
    }

    fn close(&self) {
        for server in &self.servers {
            rustix::net::shutdown(&server.listener, rustix::net::Shutdown::Both).unwrap();
        }
    }

    fn record(&self, mut client: Client, number: usize) {
        let (mut mine, mut answered) = (None, 0);
        let mut bytes = [0; 4096];
        loop {
            let Ok(count @ 1..) = client.stream.read(&mut bytes) else {
                return;
            };
            let (ends, refused) = {
                let mut records = lock(&self.records);
                let mine = *mine.get_or_insert(records.len());
                if mine == records.len() {
                    records.push(Record { bytes: Vec::new() });
                }
                let record = &mut records[mine];
                record.bytes.extend_from_slice(&bytes[..count]);
                self.reader.ends(&record.bytes)
            };
            for _ in answered..ends.len() {
                lock(&self.balancer).until_installed(&[&self.servers[1 - number]]);
                if client.stream.write_all(OK).is_err() {
                    return;
                }
            }
            answered = ends.len();
            if refused {
                let _ = client
                    .stream
                    .write_all(b"HTTP/1.1 400 Bad\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                // What is left is read, for a reset would destroy the answer on its way and the request be sent again.
                let _ = client.stream.shutdown(Shutdown::Write);
                while let Ok(count @ 1..) = client.stream.read(&mut bytes) {
                    if let Some(mine) = mine {
                        lock(&self.records)[mine].bytes.extend_from_slice(&bytes[..count]);
                    }
                }
                return;
            }
        }
    }

    /// Sends bytes in pieces; returns what became of them when all connections have ended.
    fn send(self, bytes: &[u8], cuts: &[usize]) -> Vec<Record> {
        thread::scope(|scope| {
            self.serve(scope);
            let mut client = lock(&self.balancer).client();
            for piece in oracle::pieces(bytes, cuts) {
                // The server may have refused what came before.
                let _ = client.stream.write_all(piece);
            }
            let _ = client.stream.shutdown(Shutdown::Write);
            let mut answers = Vec::new();
            let ended = client.stream.read_to_end(&mut answers);
            self.close();
            assert!(
                !ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
                "the connection hangs"
            );
        });
        self.records.into_inner().unwrap()
    }
}

/// The invariant, on sockets: what went to one backend before the connection moved on is whole requests, as many for
/// every server that reads them at all; and the backends together got the client's bytes, in order, each once.
#[test]
fn no_server_ever_gets_a_part_of_a_request() {
    let server = Server::new();
    let balancer = Mutex::new(Balancer::to(&[&server]));
    let config = Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    };
    let readers = proptest::sample::select(&READERS[..]);
    let moves = AtomicUsize::new(0);
    TestRunner::new(config)
        .run(
            &(requests(), malice(), cuts(), readers),
            |(messages, malice, cuts, reader)| {
                let mut bytes = messages.concat();
                spoilt(&mut bytes, &malice);
                let mut balancer = lock(&balancer);
                let records = Recorders::new(&mut balancer, reader).send(&bytes, &cuts);
                let together: Vec<u8> = records.iter().flat_map(|record| record.bytes.clone()).collect();
                prop_assert!(
                    bytes.starts_with(&together),
                    "bytes were lost, doubled or mixed up: {}",
                    together.escape_ascii()
                );
                moves.fetch_add(records.len().saturating_sub(1), Ordering::Relaxed);
                for left in records.iter().rev().skip(1) {
                    let whole = |reader: &Reader| {
                        let (ends, refused) = reader.ends(&left.bytes);
                        refused || (ends.len() == 1 && ends[0] == left.bytes.len())
                    };
                    prop_assert!(READERS.iter().all(whole), "{}", left.bytes.escape_ascii());
                }
                Ok(())
            },
        )
        .unwrap();
    assert!(moves.into_inner() > 50, "hardly any connection was moved");
}
