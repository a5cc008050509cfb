//! The queue under paused time: nothing here waits for a clock.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::*;

type Started = mpsc::UnboundedReceiver<(&'static str, Duration)>;

/// Runs a queue whose reconcile reports each start and then does as `act` says.
fn start<R>(
    workers: usize,
    act: impl Fn(&'static str) -> R + Send + Sync + 'static,
) -> (
    Queue<&'static str>,
    Started,
    CancellationToken,
    tokio::task::JoinHandle<()>,
)
where
    R: Future<Output = Result<Next, String>> + Send + 'static,
{
    let queue = Queue::new("test");
    let stop = CancellationToken::new();
    let (report, started) = mpsc::unbounded_channel();
    let begin = Instant::now();
    let run = queue.clone().run(workers, stop.clone(), move |key| {
        report.send((key, begin.elapsed())).expect("the test listens");
        act(key)
    });
    (queue, started, stop, tokio::spawn(run))
}

#[tokio::test(start_paused = true)]
async fn a_failing_key_is_retried_with_growing_pauses_and_a_panic_is_a_failure() {
    let tries = AtomicUsize::new(0);
    let (queue, mut started, _stop, _run) = start(2, move |_| {
        let attempt = tries.fetch_add(1, Ordering::Relaxed);
        async move {
            match attempt {
                0 => Err("no".to_owned()),
                1 => panic!("a bug in the reconcile"),
                2 => Err("no".to_owned()),
                _ => Ok(Next::Wait),
            }
        }
    });
    queue.add("a");
    let mut times = Vec::new();
    for _ in 0..4 {
        times.push(started.recv().await.unwrap().1.as_millis());
    }
    assert_eq!(
        times[1..]
            .iter()
            .zip(&times)
            .map(|(b, a)| b - a)
            .collect::<Vec<_>>(),
        [5, 10, 20]
    );
    queue.add("a");
    started.recv().await.unwrap();
    assert!(started.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn one_worker_a_key_and_several_keys_at_once() {
    let (finish, finished) = mpsc::channel::<()>(10);
    let finished = Arc::new(tokio::sync::Mutex::new(finished));
    let (queue, mut started, _stop, _run) = start(2, move |_| {
        let finished = finished.clone();
        async move {
            finished.lock().await.recv().await;
            Ok(Next::Wait)
        }
    });
    for key in ["a", "a", "b", "c"] {
        queue.add(key);
    }
    assert_eq!(started.recv().await.unwrap().0, "a");
    assert_eq!(started.recv().await.unwrap().0, "b");
    queue.add("a");
    queue.add("a");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(started.try_recv().is_err(), "both workers are busy");
    for _ in 0..4 {
        finish.send(()).await.unwrap();
    }
    assert_eq!(started.recv().await.unwrap().0, "c");
    assert_eq!(
        started.recv().await.unwrap().0,
        "a",
        "changed while worked on: once more, and only once"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(started.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn delays_are_kept_and_the_earliest_counts() {
    let first = AtomicUsize::new(0);
    let (queue, mut started, _stop, _run) = start(1, move |_| {
        let next = match first.fetch_add(1, Ordering::Relaxed) {
            0 => Next::After(Duration::from_secs(3)),
            _ => Next::Wait,
        };
        std::future::ready(Ok(next))
    });
    queue.add_after("a", Duration::from_secs(10));
    queue.add_after("a", Duration::from_secs(2));
    assert_eq!(started.recv().await.unwrap().1.as_secs(), 2);
    assert_eq!(started.recv().await.unwrap().1.as_secs(), 5);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(started.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn stop_waits_for_what_is_under_way_and_starts_nothing_new() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let (queue, mut started, stop, run) = start(1, move |_| {
        let count = count.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            count.fetch_add(1, Ordering::Relaxed);
            Ok(Next::Wait)
        }
    });
    queue.add("a");
    queue.add("b");
    started.recv().await.unwrap();
    stop.cancel();
    run.await.unwrap();
    assert_eq!(ended.load(Ordering::Relaxed), 1);
    assert!(started.recv().await.is_none());
}
