//! Programs that keep the processors busy.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::Background;

/// As many busy programs as there are processors, until dropped.
pub struct Stress {
    programs: Vec<Background>,
}

impl Stress {
    /// Starts them. They end with the thread that starts them, even if that is killed.
    pub fn start() -> Self {
        let count = std::thread::available_parallelism().map_or(2, usize::from);
        let start = |_| {
            // No process between this one and the program: what ends is the program itself.
            let mut command = Command::new("sh");
            Background::start(command.args(["-c", "exec setpriv --pdeathsig KILL yes >/dev/null"]))
        };
        Self {
            programs: (0..count).map(start).collect(),
        }
    }

    /// Ends them, and waits until they have ended.
    pub fn end(self) {
        for program in self.programs {
            program.end(Signal::SIGKILL);
        }
    }
}
