//! A real keeper with real processes: this file is the tests, and run with `keeper` as first argument it is the keeper.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use coracle_agent::keeper::protocol::{Attempt, Confine, Failure, Request, Sandbox, Start, State};
use coracle_agent::keeper::{self, record};
use libtest_mimic::{Arguments, Trial};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Parser)]
enum Cli {
    Keeper(keeper::Args),
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("keeper") {
        let Cli::Keeper(args) = Cli::parse();
        return keeper::main(args);
    }
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let tests = vec![
        test("output_and_exit_code_are_kept", output_and_exit_code_are_kept),
        test(
            "a_missing_program_is_a_start_failure",
            a_missing_program_is_a_start_failure,
        ),
        test(
            "what_cannot_be_put_on_record_does_not_run",
            what_cannot_be_put_on_record_does_not_run,
        ),
        test(
            "the_signal_reaches_what_a_shell_started",
            the_signal_reaches_what_a_shell_started,
        ),
        test(
            "what_ignores_the_signal_is_killed",
            what_ignores_the_signal_is_killed,
        ),
        test(
            "daemons_end_with_their_container",
            daemons_end_with_their_container,
        ),
        test("other_containers_live_on", other_containers_live_on),
        test(
            "nothing_is_lost_while_nobody_watches",
            nothing_is_lost_while_nobody_watches,
        ),
        test(
            "nobody_is_waited_for_without_end",
            nobody_is_waited_for_without_end,
        ),
        test(
            "a_container_needs_its_keeper_though_nobody_comes",
            a_container_needs_its_keeper_though_nobody_comes,
        ),
        test("descriptors_do_not_leak", descriptors_do_not_leak),
        test("an_abandoned_command_is_killed", an_abandoned_command_is_killed),
        test("privileges_are_given_up", privileges_are_given_up),
        test("another_user_is_another_user", another_user_is_another_user),
        test(
            "a_fork_bomb_stays_in_its_container",
            a_fork_bomb_stays_in_its_container,
        ),
        test("used_up_memory_is_told", used_up_memory_is_told),
        test("a_sandbox_has_no_way_out", a_sandbox_has_no_way_out),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

/// A keeper in a folder of its own.
struct Keeper {
    dir: tempfile::TempDir,
    process: Child,
}

impl Keeper {
    fn start() -> Self {
        let (dir, listener) = Self::place();
        Self::start_in(dir, listener, PATIENCE)
    }

    /// A keeper that stays so long where nobody needs it, and a client that has come before it.
    fn awaited(patience: Duration) -> (Self, Client) {
        let (dir, listener) = Self::place();
        let client = Client::connect(dir.path());
        (Self::start_in(dir, listener, patience), client)
    }

    fn place() -> (tempfile::TempDir, UnixListener) {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        (dir, listener)
    }

    fn start_in(dir: tempfile::TempDir, listener: UnixListener, patience: Duration) -> Self {
        let process = Command::new(std::env::current_exe().unwrap())
            .args([
                "keeper",
                "--patience-ms",
                &patience.as_millis().to_string(),
                "--dir",
            ])
            .arg(dir.path())
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .spawn()
            .unwrap();
        Self { dir, process }
    }

    fn connect(&self) -> Client {
        Client::connect(self.dir.path())
    }

    fn file(&self, container: &str, extension: &str) -> PathBuf {
        record::file(self.dir.path(), container, 0, extension)
    }

    /// Waits for the keeper's own end.
    fn end(mut self) {
        assert!(self.process.wait().unwrap().success());
    }
}

struct Client {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Client {
    fn connect(dir: &Path) -> Self {
        let stream = UnixStream::connect(dir.join("socket")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            lines: BufReader::new(stream.try_clone().unwrap()),
            stream,
        }
    }

    fn send(&mut self, request: &Request) {
        let mut line = serde_json::to_vec(request).unwrap();
        line.push(b'\n');
        self.stream.write_all(&line).unwrap();
    }

    fn shell(&mut self, container: &str, script: &str) {
        self.confined_shell(container, script, Confine::default());
    }

    fn confined_shell(&mut self, container: &str, script: &str, confine: Confine) {
        self.send(&Request::Start(Box::new(Start {
            container: container.into(),
            program: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("CORACLE_CONTAINER".into(), container.into()),
                ("COLOR".into(), "blue".into()),
            ],
            dir: "/".into(),
            stop_signal: 15,
            log_limit: 1 << 20,
            confine,
            ..Start::default()
        })));
    }

    fn stop(&mut self, container: &str, grace_ms: u64) {
        self.send(&Request::Stop {
            container: container.into(),
            grace_ms,
        });
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.lines.read_line(&mut line).unwrap() > 0).then_some(line)
    }

    /// Waits for a state in which an attempt at a container is as wanted.
    fn wait(&mut self, container: &str, wanted: impl Fn(&Attempt) -> bool) -> Attempt {
        loop {
            let line = self.line().expect("the keeper has gone");
            let state: State = serde_json::from_str(&line).unwrap();
            if let Some(found) = state
                .containers
                .into_iter()
                .find(|a| a.container == container && wanted(a))
            {
                return found;
            }
        }
    }

    fn wait_end(&mut self, container: &str) -> Attempt {
        self.wait(container, |attempt| attempt.exit.is_some())
    }

    fn exit(&mut self) {
        self.send(&Request::Exit { grace_ms: 0 });
        while self.line().is_some() {}
    }
}

fn code(attempt: &Attempt) -> i32 {
    attempt.exit.as_ref().unwrap().code
}

/// A named pipe on which the test waits for a process to say something, or for all its writers to be gone.
fn pipe(keeper: &Keeper, name: &str) -> PathBuf {
    let path = keeper.dir.path().join(name);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    path
}

fn is_alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

fn output_and_exit_code_are_kept() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    client.shell("web", "echo out $COLOR; echo err >&2; printf end; exit 3");
    let attempt = client.wait_end("web");
    assert_eq!(code(&attempt), 3);
    let log = fs::read_to_string(keeper.file("web", "log")).unwrap();
    for text in [" stdout F out blue\n", " stderr F err\n", " stdout F end\n"] {
        assert!(log.contains(text), "{text:?} is not in {log:?}");
    }
    assert_eq!(
        record::read::<Attempt>(&keeper.file("web", "json")),
        Some(attempt)
    );
    client.exit();
    keeper.end();
}

fn a_missing_program_is_a_start_failure() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    let program = "no-such-program".to_owned();
    client.send(&Request::Start(Box::new(Start {
        container: "web".into(),
        program,
        dir: "/".into(),
        ..Start::default()
    })));
    let attempt = client.wait_end("web");
    assert_eq!(code(&attempt), 128);
    let text = "exec: \"no-such-program\": executable file not found in $PATH".to_owned();
    assert_eq!(attempt.exit.unwrap().failure, Some(Failure::Start(text)));
    client.exit();
    keeper.end();
}

/// Found by `scripts/chaos.sh --seed 14`: an nginx that started on a full disk outlived its keeper and its pod.
fn what_cannot_be_put_on_record_does_not_run() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    // What the record is written to first cannot be made, as on a full disk.
    fs::create_dir_all(keeper.file("web", "new")).unwrap();
    client.shell("web", "trap '' TERM; while :; do sleep 1; done");
    let attempt = client.wait_end("web");
    assert_eq!(code(&attempt), 128);
    assert!(matches!(attempt.exit.unwrap().failure, Some(Failure::Start(_))));
    assert!(attempt.pid != 0, "it was started");
    // The keeper does not end before everything that it has started.
    client.exit();
    keeper.end();
    assert!(!is_alive(&attempt.pid.to_string()));
}

fn the_signal_reaches_what_a_shell_started() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    let ready = pipe(&keeper, "ready");
    // The outer shell dies of the signal; the inner one must get it too, and time to end.
    let inner = format!(
        "trap \"echo graceful; exit 0\" TERM; echo > {}; while :; do sleep 0.01; done",
        ready.display()
    );
    client.shell("web", &format!("sh -c '{inner}'; true"));
    assert_eq!(fs::read_to_string(ready).unwrap(), "\n");
    client.stop("web", 15_000);
    let attempt = client.wait_end("web");
    assert_eq!(attempt.exit.unwrap().code, 143);
    assert!(
        fs::read_to_string(keeper.file("web", "log"))
            .unwrap()
            .contains("graceful")
    );
    client.exit();
    keeper.end();
}

fn what_ignores_the_signal_is_killed() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    let ready = pipe(&keeper, "ready");
    client.shell(
        "web",
        &format!(
            "trap '' TERM; echo > {}; while :; do sleep 1; done",
            ready.display()
        ),
    );
    assert_eq!(fs::read_to_string(ready).unwrap(), "\n");
    client.stop("web", 60_000);
    client.stop("web", 50);
    assert_eq!(client.wait_end("web").exit.unwrap().code, 137);
    client.exit();
    keeper.end();
}

fn daemons_end_with_their_container() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    let ready = pipe(&keeper, "ready");
    // In a session of its own, its parent gone, its output closed.
    let go = pipe(&keeper, "go");
    let daemon = format!(
        "setsid sh -c 'echo $$ > {}; exec sleep 1000' >/dev/null 2>&1 &",
        ready.display()
    );
    client.shell("web", &format!("{daemon} read x < {}; exit 0", go.display()));
    let daemon = fs::read_to_string(ready).unwrap();
    assert!(is_alive(&daemon));
    fs::write(go, "\n").unwrap();
    assert_eq!(code(&client.wait_end("web")), 0);
    assert!(!is_alive(&daemon));
    client.exit();
    keeper.end();
}

fn other_containers_live_on() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    let ready = pipe(&keeper, "ready");
    client.shell(
        "other",
        &format!(
            "sh -c 'sleep 1000 & echo $! > {}' & wait; exec sleep 1000",
            ready.display()
        ),
    );
    let orphan = fs::read_to_string(ready).unwrap();
    client.shell("web", "exit 0");
    client.wait_end("web");
    assert!(is_alive(&orphan));
    client.exit();
    keeper.end();
    assert!(!is_alive(&orphan));
}

fn nothing_is_lost_while_nobody_watches() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    let go = pipe(&keeper, "go");
    client.shell("web", &format!("read x < {}; echo went on; exit 7", go.display()));
    client.wait("web", |attempt| attempt.pid > 0);
    drop(client);
    fs::write(go, "\n").unwrap();
    let mut client = keeper.connect();
    assert_eq!(code(&client.wait_end("web")), 7);
    assert!(
        fs::read_to_string(keeper.file("web", "log"))
            .unwrap()
            .contains("went on")
    );
    // An attempt that is known is not started again.
    client.shell("web", "exit 8");
    assert_eq!(code(&client.wait_end("web")), 7);
    client.exit();
    keeper.end();
}

fn nobody_is_waited_for_without_end() {
    let (dir, listener) = Keeper::place();
    Keeper::start_in(dir, listener, Duration::ZERO).end();
    // Somebody has come and gone, and nothing was started.
    let (keeper, mut client) = Keeper::awaited(Duration::ZERO);
    assert!(client.line().is_some());
    drop(client);
    keeper.end();
}

fn a_container_needs_its_keeper_though_nobody_comes() {
    let (mut keeper, mut client) = Keeper::awaited(Duration::from_millis(50));
    client.shell("web", "sleep 0.5; exit 7");
    client.wait("web", |attempt| attempt.pid > 0);
    drop(client);
    assert!(keeper.process.wait().unwrap().success());
    let attempt: Attempt = record::read(&keeper.file("web", "json")).unwrap();
    assert_eq!(code(&attempt), 7);
}

fn descriptors_do_not_leak() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    client.shell("web", "ls -l /proc/self/fd; cat /proc/self/status");
    client.wait_end("web");
    let log = fs::read_to_string(keeper.file("web", "log")).unwrap();
    // 0, 1, 2, and the one that ls lists with.
    assert_eq!(
        log.lines().filter(|line| line.contains(" -> ")).count(),
        4,
        "{log}"
    );
    assert!(log.contains(" 0 -> /dev/null"), "{log}");
    assert!(log.contains("SigBlk:\t0000000000000000"), "{log}");
    client.exit();
    keeper.end();
}

fn an_abandoned_command_is_killed() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    client.shell("web", "exec sleep 1000");
    client.wait("web", |attempt| attempt.pid > 0);
    let (read, write) = nix::unistd::pipe().unwrap();
    let other = keeper.connect();
    let line =
        r#"{"exec":{"container":"web","command":["sh","-c","echo $$; exec sleep 1000"],"terminal":false}}"#;
    send_with_descriptors(&other.stream, &format!("{line}\n"), &write);
    drop(write);
    let mut lines = BufReader::new(fs::File::from(read)).lines();
    let pid = lines.next().unwrap().unwrap();
    assert!(is_alive(&pid));
    drop(other);
    // The end of its output is the end of the command.
    assert!(lines.next().is_none());
    client.exit();
    keeper.end();
}

fn send_with_descriptors(stream: &UnixStream, line: &str, output: &OwnedFd) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::os::fd::AsFd as _;
    let null = fs::File::open("/dev/null").unwrap();
    let descriptors = [null.as_fd(), output.as_fd(), output.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let data = [std::io::IoSlice::new(line.as_bytes())];
    assert_eq!(
        sendmsg(stream, &data, &mut ancillary, SendFlags::empty()),
        Ok(line.len())
    );
}

fn privileges_are_given_up() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    let confine = Confine {
        no_new_privs: true,
        ..Confine::default()
    };
    client.confined_shell("web", "grep NoNewPrivs /proc/self/status", confine);
    client.wait_end("web");
    client.shell("other", "grep NoNewPrivs /proc/self/status");
    client.wait_end("other");
    let said = |container| fs::read_to_string(keeper.file(container, "log")).unwrap();
    assert!(said("web").contains("NoNewPrivs:\t1"), "{}", said("web"));
    assert!(said("other").contains("NoNewPrivs:\t0"), "{}", said("other"));
    client.exit();
    keeper.end();
}

fn another_user_is_another_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let keeper = Keeper::start();
    fs::set_permissions(keeper.dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let mut client = keeper.connect();
    client.shell("mine", "echo secret");
    client.wait_end("mine");
    let confine = Confine {
        user: Some(4242),
        group: Some(4243),
        ..Confine::default()
    };
    let log = keeper.file("mine", "log");
    let script = format!("id -u; id -g; id -G; cat {}", log.display());
    client.confined_shell("theirs", &script, confine);
    assert_ne!(code(&client.wait_end("theirs")), 0);
    let said = fs::read_to_string(keeper.file("theirs", "log")).unwrap();
    let lines: Vec<_> = said.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(lines[..3], ["4242", "4243", "4243"], "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    client.exit();
    keeper.end();
}

/// A name that no other run of this test has.
fn cgroup(container: &str) -> Option<String> {
    Some(format!("coracle-test-{}-{container}", std::process::id()))
}

/// Whether this user may make groups of a controller here.
fn has_cgroups(keeper: &Keeper, container: &str) -> bool {
    let has = keeper.dir.path().join(container).join("cgroups").exists();
    if !has {
        eprintln!("skipped: no control groups can be made here");
    }
    has
}

fn groups(keeper: &Keeper, container: &str) -> Vec<PathBuf> {
    let text = fs::read(keeper.dir.path().join(container).join("cgroups")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn a_fork_bomb_stays_in_its_container() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    let confine = Confine {
        cgroup: cgroup("bomb"),
        processes: Some(30),
        ..Confine::default()
    };
    // Each process that lives has as many children as it can get, and ignores the signal.
    let go = pipe(&keeper, "go");
    let bomb = "trap '' TERM; bomb() { while :; do bomb & sleep 0.05; done; }; bomb";
    // It is not lit where nothing would bound it.
    let script = format!("read line < {}; [ $line = now ] || exit; {bomb}", go.display());
    client.confined_shell("bomb", &script, confine);
    client.wait("bomb", |attempt| attempt.pid > 0);
    if has_cgroups(&keeper, "bomb") {
        let dirs = groups(&keeper, "bomb");
        fs::write(&go, "now\n").unwrap();
        let pids = dirs.iter().find(|dir| dir.join("pids.events").exists()).unwrap();
        let deadline = std::time::Instant::now() + PATIENCE;
        while fs::read_to_string(pids.join("pids.events")).unwrap().trim() == "max 0" {
            assert!(std::time::Instant::now() < deadline, "the limit is never reached");
            std::thread::sleep(Duration::from_millis(10));
        }
        client.shell("other", "echo alive");
        assert_eq!(code(&client.wait_end("other")), 0);
        client.stop("bomb", 100);
        client.wait_end("bomb");
        assert!(dirs.iter().all(|dir| !dir.exists()), "{dirs:?}");
    } else {
        fs::write(&go, "never\n").unwrap();
    }
    client.exit();
    keeper.end();
}

fn used_up_memory_is_told() {
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    let confine = Confine {
        cgroup: cgroup("eater"),
        memory: Some(32 << 20),
        ..Confine::default()
    };
    let go = pipe(&keeper, "go");
    client.confined_shell(
        "eater",
        &format!("read line < {}; exec tail /dev/zero", go.display()),
        confine,
    );
    client.wait("eater", |attempt| attempt.pid > 0);
    let has = has_cgroups(&keeper, "eater");
    fs::write(&go, "now\n").unwrap();
    let attempt = client.wait_end("eater");
    if has {
        let exit = attempt.exit.unwrap();
        assert_eq!((exit.code, exit.failure), (137, Some(Failure::OutOfMemory)));
        assert!(!keeper.dir.path().join("eater/cgroups").exists());
    }
    client.exit();
    keeper.end();
}

fn a_sandbox_has_no_way_out() {
    if !keeper::landlock::is_available() {
        eprintln!("skipped: this kernel has no Landlock");
        return;
    }
    let keeper = Keeper::start();
    let mut client = keeper.connect();
    let folder = |name: &str| {
        let path = keeper.dir.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("old"), name).unwrap();
        path.to_string_lossy().into_owned()
    };
    let (own, given, other) = (folder("own"), folder("given"), folder("other"));
    let confine = Confine {
        sandbox: Some(Sandbox {
            read: vec![given.clone()],
            write: vec![own.clone()],
        }),
        ..Confine::default()
    };
    // A line for each thing that worked, in a child too.
    let script = format!(
        "cd {own}; sh -c 'cat old; echo x > new; cat {given}/old; echo x > {given}/new; cat {other}/old; ls {other}; \
         ln -s {other} link; cat link/old; echo x > {other}/new; cat /etc/hosts > /dev/null; echo end' 2> /dev/null"
    );
    client.confined_shell("web", &script, confine);
    assert_eq!(code(&client.wait_end("web")), 0);
    let log = fs::read_to_string(keeper.file("web", "log")).unwrap();
    let said: String = log.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(said, "owngivenend", "{log}");
    let is_there = |folder: &str| Path::new(folder).join("new").exists();
    assert_eq!(
        [is_there(&own), is_there(&given), is_there(&other)],
        [true, false, false]
    );
    client.exit();
    keeper.end();
}
