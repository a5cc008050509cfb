//! Processes as `/proc` shows them: identity, family, the mark of the pod they belong to, where they listen.
//!
//! Flows in: `/proc`. Flows out: plain values, and signals. Anything may have vanished by the time it is read, so a
//! process that is not there is an ordinary answer and never an error.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// Environment variable that marks every process of a pod: the pod's uid.
pub const POD_MARK: &str = "CORACLE_POD_UID";
/// Environment variable that marks every process of a container: the container's name.
pub const CONTAINER_MARK: &str = "CORACLE_CONTAINER";

/// How long processes that were sent SIGKILL may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Until they are looked for again.
const KILL_PAUSE: Duration = Duration::from_millis(5);

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The parent's pid.
    pub parent: i32,
    /// Its process group: the pid of the one that founded it.
    pub group: i32,
    /// Its session, likewise.
    pub session: i32,
    /// When it started, in clock ticks since boot: tells it from a later process with the same pid.
    pub started: u64,
    /// It has ended and waits for its parent to notice.
    pub zombie: bool,
}

/// Closes what this process's parent may have left open to it, but for its standard streams: descriptors of others are held
/// open by no process that outlives them, and reach no pod. For the first lines of a `main`: whatever is open must be of
/// others.
///
/// # Errors
/// `/proc` is not readable.
pub fn close_inherited() -> io::Result<()> {
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open.into_iter().filter(|&descriptor| descriptor > 2) {
        // The folder's own descriptor is among them and closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

/// Looks a process up.
pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses and may hold anything.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    let started = fields.nth(15)?.parse().ok()?;
    Some(Stat {
        parent,
        group,
        session,
        started,
        zombie,
    })
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time, with that of children it has waited for.
    pub cpu: Duration,
    /// Memory that is its own alone, in bytes.
    pub bytes: u64,
}

impl Used {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(other.cpu),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// What a process has used so far.
pub fn used(pid: i32) -> Option<Used> {
    let unit = |variable| u64::try_from(sysconf(variable).ok().flatten()?).ok();
    let ticks = ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let pages = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = pages
        .split(' ')
        .skip(1)
        .map_while(|pages| pages.parse::<u64>().ok());
    let own = pages.next()?.saturating_sub(pages.next()?);
    let nanos = ticks.saturating_mul(1_000_000_000) / unit(SysconfVar::CLK_TCK)?.max(1);
    Some(Used {
        cpu: Duration::from_nanos(nanos),
        bytes: own.saturating_mul(unit(SysconfVar::PAGE_SIZE)?),
    })
}

/// In user and kernel mode, of itself and of the children it has waited for.
fn ticks(stat: &str) -> Option<u64> {
    let fields = stat.rsplit_once(") ")?.1.split(' ');
    let times = fields.skip(11).take(4).map(|field| field.parse::<u64>().ok());
    times.sum()
}

/// Whether this very process still runs.
pub fn is_alive(pid: i32, started: u64) -> bool {
    stat(pid).is_some_and(|stat| stat.started == started && !stat.zombie)
}

/// Sends a signal; a process that is gone is none the worse for it.
pub fn signal(pid: i32, signal: Signal) {
    if pid > 1 {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// All processes of the machine.
pub fn all() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The living direct children of a process.
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => found.extend(
                list.split_ascii_whitespace()
                    .filter_map(|pid| pid.parse::<i32>().ok()),
            ),
            // A kernel without CONFIG_PROC_CHILDREN.
            Err(_) => found.extend(
                all()
                    .into_iter()
                    .filter(|&child| stat(child).is_some_and(|s| s.parent == pid)),
            ),
        }
    }
    found.retain(|&child| stat(child).is_some_and(|stat| !stat.zombie));
    found.sort_unstable();
    found.dedup();
    found
}

/// A process and all that descends from it, parents first.
pub fn tree(pid: i32) -> Vec<i32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        for child in children(parent) {
            if !found.contains(&child) {
                found.push(child);
            }
        }
        next += 1;
    }
    found
}

/// The processes of the group that `founder` made in a session, though it may be gone itself. A number is not given to
/// a new process while a group has it; so if another process has the founder's, the group is another too.
pub fn group(founder: i32, started: u64, session: i32) -> Vec<i32> {
    if stat(founder).is_some_and(|stat| stat.started != started) {
        return Vec::new();
    }
    let is_member = |stat: Stat| stat.group == founder && stat.session == session && stat.started >= started;
    let mut found = all();
    found.retain(|&pid| stat(pid).is_some_and(is_member));
    found
}

/// A variable of a process's initial environment.
pub fn environment_variable(pid: i32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|&byte| byte == 0).find_map(|entry| {
        let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

/// Kills every process that carries a pod's mark, and waits until none is left. Blocks, and reads the environment of
/// every process of the machine: for clean-up after a loss, not for the ordinary way.
pub fn kill_marked(pod_uid: &str) {
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        let strays: Vec<i32> = all()
            .into_iter()
            .filter(|&pid| environment_variable(pid, POD_MARK).as_deref() == Some(pod_uid))
            .filter(|&pid| stat(pid).is_some_and(|stat| !stat.zombie))
            .collect();
        if strays.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            tracing::warn!(pod_uid, ?strays, "processes do not die");
            return;
        }
        for pid in strays {
            signal(pid, Signal::SIGKILL);
        }
        thread::sleep(KILL_PAUSE);
    }
}

/// A kind of sockets that take what anybody sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Listening TCP sockets.
    Tcp,
    /// UDP sockets that are bound and not connected.
    Udp,
}

impl Transport {
    /// The tables in `/proc/PID/net`, and the state of the rows that count.
    fn tables(self) -> ([&'static str; 2], &'static str) {
        match self {
            Self::Tcp => (["tcp", "tcp6"], "0A"),
            Self::Udp => (["udp", "udp6"], "07"),
        }
    }
}

/// Whether anybody who has the network in common with this process takes datagrams at this address, be it with all others.
pub fn is_bound(pid: i32, address: SocketAddrV4) -> bool {
    let is_there = |bound: SocketAddr| {
        let ip = bound.ip().to_canonical();
        bound.port() == address.port() && (ip.is_unspecified() || ip == *address.ip())
    };
    rows(pid, Transport::Udp).any(|(bound, _)| is_there(bound))
}

/// Where these processes accept TCP connections, or take datagrams.
pub fn listening(pids: &[i32], transport: Transport) -> Vec<SocketAddr> {
    let mut inodes = HashSet::new();
    for pid in pids {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else {
                continue;
            };
            let inode = target
                .to_str()
                .and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok());
            inodes.extend(inode);
        }
    }
    let Some(&pid) = pids.first() else {
        return Vec::new();
    };
    let own = rows(pid, transport).filter(|(_, inode)| inodes.contains(inode));
    let mut found: Vec<_> = own.map(|(address, _)| address).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Addresses and inodes of the sockets in the network of a process that take what anybody sends.
fn rows(pid: i32, transport: Transport) -> impl Iterator<Item = (SocketAddr, u64)> {
    let (tables, state) = transport.tables();
    tables.into_iter().flat_map(move |table| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let rows = text.lines().skip(1).filter_map(|row| parse_row(row, state));
        rows.collect::<Vec<_>>()
    })
}

/// Address and inode of a row of `/proc/net/tcp` or `udp` that is in this state.
fn parse_row(row: &str, wanted: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = row.split_ascii_whitespace().collect();
    let (&local, &state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?.parse().ok()?);
    if state != wanted {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut words = Vec::new();
    for word in address.as_bytes().chunks(8) {
        // The kernel prints each 32-bit word as the machine's own integer.
        words.push(
            u32::from_str_radix(std::str::from_utf8(word).ok()?, 16)
                .ok()?
                .to_ne_bytes(),
        );
    }
    let address = match words.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        words => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?)),
    };
    Some((SocketAddr::new(address, port), inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let text = "42 (a) S (b) Z 7 42 43 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 0 0";
        assert_eq!(
            parse_stat(text),
            Some(Stat {
                parent: 7,
                group: 42,
                session: 43,
                started: 12345,
                zombie: true
            })
        );
        assert_eq!(parse_stat("42 (a"), None);
    }

    #[test]
    fn this_process_is_alive_and_listens() {
        let own = i32::try_from(std::process::id()).unwrap();
        let started = stat(own).unwrap().started;
        assert!(is_alive(own, started));
        assert!(!is_alive(own, started + 1));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(listening(&[own], Transport::Tcp).contains(&listener.local_addr().unwrap()));
    }

    #[test]
    fn what_takes_datagrams_is_bound() {
        let own = i32::try_from(std::process::id()).unwrap();
        let bind = |address: &str| std::net::UdpSocket::bind(address).unwrap();
        let asked = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let socket = bind(address);
            let bound = socket.local_addr().unwrap();
            assert!(is_bound(own, asked(bound.port())), "{bound}");
            assert!(listening(&[own], Transport::Udp).contains(&bound));
            drop(socket);
            assert!(!is_bound(own, asked(bound.port())), "{bound}");
        }
        // It is elsewhere, or hears one other only.
        let other = bind("127.0.0.2:0");
        assert!(!is_bound(own, asked(other.local_addr().unwrap().port())));
        let connected = bind("127.0.0.1:0");
        connected.connect(other.local_addr().unwrap()).unwrap();
        assert!(!is_bound(own, asked(connected.local_addr().unwrap().port())));
    }

    #[test]
    fn rows_of_the_table_are_read() {
        let row = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1";
        assert_eq!(
            parse_row(row, "0A"),
            Some(("127.0.0.1:8080".parse().unwrap(), 4242))
        );
        assert_eq!(parse_row(&row.replace(" 0A ", " 01 "), "0A"), None);
    }
}
