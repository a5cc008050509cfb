//! Servers that read as they please, strictly or leniently, behind a balancer that moves the connection whenever one of
//! them has seen a request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::super::http1::properties::{cuts, malice, requests, spoilt};
use super::super::http1::{oracle, readers::READERS, readers::Reader};
use super::*;

/// What a backend connection was given.
struct Record {
    reader: Reader,
    bytes: Vec<u8>,
}

/// Two servers. Each time one of them sees a whole request, in its own reading, the other one becomes the endpoint before
/// the answer goes out.
struct Recorders {
    balancer: Mutex<Balancer>,
    servers: [Server; 2],
    /// In the order of their first bytes.
    records: Mutex<Vec<Record>>,
    /// How the servers read now.
    reader: Mutex<Reader>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Recorders {
    fn start() -> Arc<Self> {
        let servers = [Server::new(), Server::new()];
        let recorders = Arc::new(Self {
            balancer: Mutex::new(Balancer::to(&[&servers[0]])),
            servers,
            records: Mutex::default(),
            reader: Mutex::new(READERS[0]),
        });
        for number in 0..2 {
            let listener = recorders.servers[number].listener.try_clone().unwrap();
            let recorders = recorders.clone();
            // They wait for connections until the process ends.
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let (recorders, client) = (recorders.clone(), Client::new(stream.unwrap()));
                    thread::spawn(move || recorders.record(client, number));
                }
            });
        }
        recorders
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
                    records.push(Record {
                        reader: *lock(&self.reader),
                        bytes: Vec::new(),
                    });
                }
                let record = &mut records[mine];
                record.bytes.extend_from_slice(&bytes[..count]);
                record.reader.ends(&record.bytes)
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
                return;
            }
        }
    }

    /// Sends bytes in pieces and returns what became of them.
    fn send(&self, bytes: &[u8], cuts: &[usize], reader: Reader) -> Vec<Record> {
        *lock(&self.reader) = reader;
        lock(&self.records).clear();
        let mut client = lock(&self.balancer).client();
        for piece in oracle::pieces(bytes, cuts) {
            // The server may have refused what came before.
            let _ = client.stream.write_all(piece);
        }
        let _ = client.stream.shutdown(Shutdown::Write);
        let mut answers = Vec::new();
        let ended = client.stream.read_to_end(&mut answers);
        assert!(
            !ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
            "the connection hangs"
        );
        std::mem::take(&mut lock(&self.records))
    }
}

/// The invariant, on sockets: what went to one backend before the connection moved on is whole requests, as many for
/// every server that reads them at all; and the backends together got the client's bytes, in order, each once.
#[test]
fn no_server_ever_gets_a_part_of_a_request() {
    let recorders = Recorders::start();
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
                let records = recorders.send(&bytes, &cuts, reader);
                let together: Vec<u8> = records.iter().flat_map(|record| record.bytes.clone()).collect();
                prop_assert!(
                    bytes.starts_with(&together),
                    "bytes were lost, doubled or mixed up"
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
