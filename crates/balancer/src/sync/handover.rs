//! The balancer's part in a handover, from both sides: see [`crate::handover`].
//!
//! Flows in: processes that connect to the handover socket; in a new balancer, everything of the old one. Flows out: the
//! loop's state, to the next balancer; copies of the listening sockets, to those who watch them. While a handover is
//! under way the loop stands still, so nothing is written to the API that the next balancer would not know of.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::rounds::Rounds;
use super::status_socket::listen;
use super::{BalancerError, Question};
use crate::datapath::Datapath;
use crate::handover::{
    self, Channel, ChannelError, Estate, Heir, Message, Offer, STANDSTILL, Wants, find, give, greet,
};

/// How long writes under way are waited for.
const QUIET: Duration = Duration::from_secs(2);

/// Listens at the path until `stop`.
pub fn serve(
    path: &Path,
    questions: mpsc::Sender<Question>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<(), BalancerError> {
    let listener = listen(path)?;
    tasks.spawn(stop.run_until_cancelled_owned(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (stream, questions) = (stream.into_std(), questions.clone());
                    tokio::spawn(async move {
                        let greeted = spawn_blocking(|| greet(stream.map_err(ChannelError::from)?));
                        match greeted.await {
                            // If the loop has ended there is nothing to hand over.
                            Ok(Ok(heir)) => drop(questions.send(Question::Handover(heir)).await),
                            Ok(Err(error)) => tracing::warn!(%error, "somebody at the handover socket"),
                            Err(_) => {}
                        }
                    });
                }
                // Out of descriptors, which is the datapath's to tell; whoever wants something asks again.
                Err(error) => {
                    tracing::debug!(%error, "cannot accept at the handover socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }));
    Ok(())
}

/// One who is told of every listening socket.
pub struct Watcher {
    channel: Channel,
    /// The listening sockets that it has been given, once it has.
    given: Option<BTreeSet<(u32, SocketAddr)>>,
}

impl Watcher {
    /// Tells what has changed.
    fn tell(&mut self, datapath: &Datapath) -> Result<(), ChannelError> {
        let now: BTreeSet<_> = datapath.listening().map(|(id, addr, _)| (id, addr)).collect();
        if self.given.as_ref() == Some(&now) {
            return Ok(());
        }
        let given = self.given.take().unwrap_or_default();
        for (_, addr) in given.difference(&now) {
            self.channel.send(&Message::Gone { addr: *addr }, &[])?;
        }
        for (id, addr, socket) in datapath.listening() {
            if !given.contains(&(id, addr)) {
                self.channel.send(&Message::Listener { addr }, &[socket])?;
            }
        }
        self.given = Some(now);
        self.channel.send(&Message::End, &[])
    }
}

impl Rounds {
    /// Takes over from the balancer that runs, if one does, or else what another has left. No table may have been applied
    /// yet.
    pub async fn inherit(mut self) -> Result<Self, BalancerError> {
        let taking = spawn_blocking(move || {
            if let Some(estate) = find(
                &self.config.handover_socket,
                self.config.spare_socket.as_deref(),
                self.config.must_inherit,
            )? {
                self.take_over(estate)?;
            }
            Ok(self)
        });
        match taking.await {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn take_over(&mut self, mut estate: Estate) -> Result<(), BalancerError> {
        self.in_service.inherit(std::mem::take(&mut estate.pods));
        let keepsakes = std::mem::take(&mut estate.keepsakes);
        self.config.keepsakes.extend(keepsakes.into_iter().map(Arc::new));
        let connections = estate.connections();
        // Before the other one ends: there must always be one that is known.
        (self.config.announce)();
        estate.commit(&mut self.datapath)?;
        tracing::info!(connections, "took over from another balancer");
        Ok(())
    }

    /// Gives somebody what he wants. `None`: he is the balancer now, and this process must end.
    pub async fn hand_over(mut self, (channel, wants): Heir) -> Option<Self> {
        if wants == Wants::Listeners {
            match channel.patient() {
                Ok(channel) => self.watchers.push(Watcher { channel, given: None }),
                Err(error) => tracing::warn!(%error, "cannot give copies of the listening sockets"),
            }
            self.tell_watchers();
            return Some(self);
        }
        // The loop stands still, so no more begin.
        let quiet = timeout(QUIET, async {
            while self.in_service.is_writing()
                && let Some((write, written)) = self.results.recv().await
            {
                self.in_service.written(&write, written, Instant::now());
            }
        });
        if quiet.await.is_err() {
            let why = "the API does not answer a write that is under way: try again".to_owned();
            // It will find out by itself otherwise.
            let _ = channel.send(&Message::Refused { why }, &[]);
            return Some(self);
        }
        let giving = spawn_blocking(move || match self.give(channel) {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "the next balancer did not take over: going on");
                (self.config.announce)();
                Some(self)
            }
        });
        // A panic has been printed. The datapath is gone with it, so this process has to end.
        giving.await.unwrap_or(None)
    }

    fn give(&self, channel: Channel) -> Result<(), handover::HandoverError> {
        let keepsakes: Vec<&OwnedFd> = self.config.keepsakes.iter().map(|file| &**file).collect();
        let offer = Offer {
            keepsakes: &keepsakes,
            pods: self.in_service.estate(&self.datapath.backends()),
            standstill: STANDSTILL,
        };
        give(channel, &self.datapath, offer)
    }

    /// Tells those who watch the listening sockets what has changed. One who does not listen is dropped, and asks anew.
    pub fn tell_watchers(&mut self) {
        let datapath = &self.datapath;
        self.watchers.retain_mut(|watcher| watcher.tell(datapath).is_ok());
    }
}
