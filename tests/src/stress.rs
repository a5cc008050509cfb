//! Programs that keep the processors busy.

use std::process::Command;

use crate::Background;

/// As many busy programs as there are processors, until dropped.
pub struct Stress {
    _programs: Vec<Background>,
}

impl Stress {
    /// Starts them. They end by themselves after half an hour of work, if nobody is left to end them.
    pub fn start() -> Self {
        let count = std::thread::available_parallelism().map_or(2, usize::from);
        let start = |_| {
            // No process between this one and the program: what ends is the program itself.
            let mut command = Command::new("sh");
            Background::start(command.args(["-c", "ulimit -t 1800; exec yes >/dev/null"]))
        };
        Self {
            _programs: (0..count).map(start).collect(),
        }
    }
}
