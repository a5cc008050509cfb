//! Many idle clients: while backends are replaced, and while servers close idle connections at the very moment at which
//! the clients ask again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::*;

const POST: &[u8] = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
const CLIENTS: usize = 500;
const TURNS: usize = 10;
/// How long clients think, and how long the server keeps an idle connection.
const THINKING: Duration = Duration::from_millis(600);

#[test]
fn no_post_is_lost_to_a_server_that_closes_idle_connections() {
    let server = Server::new();
    let balancer = Balancer::to(&[&server]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (addr, closed) = (balancer.addr, Arc::new(AtomicU64::new(0)));
    runtime.block_on(async {
        server.listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(server.listener.try_clone().unwrap()).unwrap();
        tokio::spawn(serve(listener, closed.clone()));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(think_and_ask(addr));
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    });
    let closed = closed.load(Ordering::Relaxed);
    assert!(closed > 1000, "the server closed only {closed} connections");
}

/// Answers, and closes what is idle for as long as the clients think.
async fn serve(listener: tokio::net::TcpListener, closed: Arc<AtomicU64>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let closed = closed.clone();
        tokio::spawn(async move {
            let mut request = [0; POST.len()];
            loop {
                match timeout(THINKING, stream.read_exact(&mut request)).await {
                    Ok(Ok(_)) => stream.write_all(OK).await.unwrap(),
                    Ok(Err(_)) => return,
                    Err(_) => {
                        closed.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
            }
        });
    }
}

async fn think_and_ask(addr: SocketAddr) {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    for _ in 0..TURNS {
        stream.write_all(POST).await.unwrap();
        let mut answer = [0; OK.len()];
        timeout(PATIENCE, stream.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(answer, OK);
        sleep(THINKING).await;
    }
}

/// The clients never see it, and a POST is as good as a GET.
#[test]
fn idle_clients_outlive_their_backends() {
    const IDLE: usize = 200;
    let mut current = Server::new();
    // Declared, so that a backend connection is opened for a request alone.
    let mut balancer = Balancer::with(Settings::default(), Protocol::Http1, &[&current]);
    let mut clients: Vec<_> = (0..IDLE).map(|_| balancer.client()).collect();
    for roll in 0..10 {
        let mut served = Vec::new();
        for (number, client) in clients.iter_mut().enumerate() {
            let request = if (roll + number) % 2 == 0 { GET } else { POST };
            client.say(request);
            let mut end = current.accept();
            end.hear(request);
            end.say(OK);
            client.hear(OK);
            served.push(end);
        }
        let next = Server::new();
        balancer.route(&[&next]);
        let drained = balancer.until_drained(&current);
        assert_eq!((drained.moved, drained.cut), (u32::try_from(IDLE).unwrap(), 0));
        for end in &mut served {
            end.hear_end();
        }
        balancer.datapath.forget(&drained);
        current = next;
    }
}
