//! One scenario: a server, traffic, an event again and again, and the judgement.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::event::Event;
use super::loads::Loads;
use super::server::{ECHO_PORT, HTTP_PORT, Pods, Server};
use super::shape::{Count, Shape};
use super::stage::Stage;
use super::{CONTROL, Choice};
use crate::stress::Stress;
use crate::{Cluster, Kubectl, http, naive};

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Nothing fails, no kept connection has to be opened anew, and nothing is executed twice.
    Nothing,
    /// Requests may fail, and must be reported as failed; nothing is executed twice.
    OnceAtMost,
    /// Sessions may be cut, and exactly as many as the pods' events say.
    CutsTold,
}

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The row of the plan.
    pub row: u8,
    /// What the pods run.
    pub server: Server,
    /// How they are kept.
    pub pods: Pods,
    /// The traffic, all of it at once.
    pub shapes: &'static [Shape],
    /// What happens.
    pub event: Event,
    /// How often it happens in the short form; 0: the short form leaves it out.
    pub short: u32,
    /// How often it happens in the long form.
    pub long: u32,
    /// What is promised.
    pub promise: Promise,
    /// Whether other programs keep all processors busy meanwhile.
    pub stress: bool,
}

/// What came of a scenario.
pub struct Played {
    /// A cell for each shape.
    pub cells: Vec<Cell>,
    /// Whether it came to its end, so that the cluster is fit for another one.
    pub ended: bool,
}

/// What came of one shape in a scenario.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The row of the plan.
    pub row: u8,
    /// What the pods ran.
    pub server: String,
    /// What happened.
    pub event: String,
    /// How often.
    pub times: u32,
    /// The traffic.
    pub shape: String,
    /// What came of it.
    pub count: Count,
    /// Requests that were executed twice; `None`: the server does not say.
    pub twice: Option<u64>,
    /// What is wrong; `None`: the promise was kept.
    pub wrong: Option<String>,
    /// Whether failures are allowed.
    pub may_fail: bool,
}

/// What the servers recorded of the POSTs that they executed.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    executed: u64,
    twice: u64,
}

impl Record {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut times: HashMap<&str, u64> = HashMap::new();
        for id in text.lines() {
            *times.entry(id).or_default() += 1;
        }
        Self {
            executed: times.len() as u64,
            twice: times.values().map(|times| times - 1).sum(),
        }
    }
}

impl Scenario {
    /// What happens, in words.
    pub fn title(&self) -> String {
        let stress = if self.stress { ", CPU stress" } else { "" };
        format!("{}{stress}", self.event.name())
    }

    /// How long the slowest request, or the end of a pod, may take.
    fn limit(&self) -> Duration {
        let slowest = self
            .shapes
            .iter()
            .map(|shape| shape.seconds())
            .max()
            .unwrap_or_default();
        Duration::from_secs(slowest + u64::from(self.pods.grace).min(30) + 30)
    }

    /// Plays it, the event so many times, and judges. Where the cluster or the traffic does not do what the event needs,
    /// what was counted until then is told all the same.
    ///
    /// # Panics
    /// If the scenario cannot begin, or what it leaves cannot be removed.
    pub fn play(&self, cluster: &mut Cluster, times: u32, choice: &Choice) -> Played {
        let kubectl = cluster.kubectl();
        let name = format!("row{}", self.row);
        let record = cluster.home().join(format!("{name}.ids"));
        kubectl.apply(&self.pods.manifest(&name, self.server, &record));
        kubectl.rolled_out(&name);
        kubectl.in_service(&format!("app={name}"));
        let address = http::cluster_ip(&kubectl, &name);
        assert_eq!(address.port(), HTTP_PORT, "the first port is for HTTP");
        let echo = (address.ip(), ECHO_PORT).into();
        let loads = Loads::start(self.shapes, choice.short, address, Some(echo));
        let stress = self.stress.then(Stress::start);
        let mut stage = Stage {
            cluster,
            name: &name,
            server: self.server,
            pods: self.pods,
            loads: &loads,
            limit: self.limit(),
            random: StdRng::seed_from_u64(choice.seed ^ u64::from(self.row)),
            is_old: true,
        };
        let mut happened = 0;
        let broken = catch_unwind(AssertUnwindSafe(|| {
            stage.flow();
            while happened < times {
                self.event.happen(&mut stage);
                stage.flow();
                happened += 1;
            }
        }));
        if let Some(stress) = stress {
            stress.end();
        }
        let counts = loads.finish();
        let posted = Record::read(&record);
        if let Err(why) = broken {
            let mut cells = self.judge(happened, counts, posted);
            for cell in &mut cells {
                cell.wrong = Some(reason(&*why));
            }
            return Played { cells, ended: false };
        }
        // What a failed scenario leaves is seen by whoever looks at its record.
        let _ = std::fs::remove_file(&record);
        kubectl.ok(&["delete", "deployment,service", &name, "--cascade=foreground"]);
        let told = (self.promise == Promise::CutsTold).then(|| told_cuts(&kubectl, &name));
        let mut cells = self.judge(times, counts, posted);
        let cut = cells.iter().map(|cell| cell.count.cut).sum::<u64>();
        if let (Some(told), Some(cell)) = (told.filter(|told| *told != cut), cells.last_mut()) {
            cell.wrong = Some(format!("{cut} were cut, and events told {told}"));
        }
        Played { cells, ended: true }
    }

    fn judge(&self, times: u32, counts: Vec<Count>, posted: Record) -> Vec<Cell> {
        let cells = self.shapes.iter().zip(counts).map(|(shape, count)| {
            let recorded = self.server.records() && shape.posts();
            let mut cell = Cell {
                row: self.row,
                server: self.server.name().into(),
                event: self.title(),
                times,
                shape: shape.name(),
                count,
                twice: recorded.then_some(posted.twice),
                wrong: None,
                may_fail: self.promise != Promise::Nothing,
            };
            cell.wrong = cell.fault(posted);
            cell
        });
        cells.collect()
    }
}

impl Cell {
    fn fault(&self, posted: Record) -> Option<String> {
        let count = &self.count;
        if count.requests == 0 {
            return Some("no traffic".into());
        }
        if let Some(twice @ 1..) = self.twice {
            return Some(format!("{twice} executed twice"));
        }
        if self.twice.is_some() && posted.executed == 0 {
            return Some("the server recorded nothing".into());
        }
        if !self.may_fail && count.failures() > 0 {
            return Some(format!("{} failed", count.failures()));
        }
        (!self.may_fail && count.reconnects > 0).then(|| format!("{} reconnects", count.reconnects))
    }

    /// A cell of a scenario that could not begin, or that left something.
    pub fn broken(scenario: &Scenario, times: u32, why: String) -> Self {
        Self {
            row: scenario.row,
            server: scenario.server.name().into(),
            event: scenario.title(),
            times,
            shape: "(all)".into(),
            count: Count::default(),
            twice: None,
            wrong: Some(why),
            may_fail: false,
        }
    }
}

/// How many connections the events on a Deployment's pods say were cut.
fn told_cuts(kubectl: &Kubectl, name: &str) -> u64 {
    let events = kubectl.json(&["events", "--field-selector=reason=ConnectionsCut"]);
    let events = events["items"].as_array().into_iter().flatten();
    let prefix = format!("{name}-");
    let ours = events.filter(|event| {
        let pod = event["involvedObject"]["name"].as_str();
        pod.is_some_and(|pod| pod.starts_with(&prefix))
    });
    let cuts = ours.filter_map(|event| event["message"].as_str()?.split(' ').next()?.parse::<u64>().ok());
    cuts.sum()
}

/// The negative control: judges that see nothing there would prove nothing elsewhere.
pub fn negative_control() -> Cell {
    let mut cell = Cell {
        row: CONTROL,
        server: "nginx".into(),
        event: "roll behind haproxy, 3 s sleep".into(),
        times: 1,
        shape: "wrk and strict".into(),
        count: Count::default(),
        twice: None,
        wrong: None,
        may_fail: true,
    };
    match catch_unwind(naive::roll) {
        Ok(verdict) => {
            let failed = verdict.failed();
            cell.count.requests = verdict.answered() + failed;
            cell.count.failed.insert("of all causes".into(), failed);
            cell.wrong = (failed <= 40).then(|| format!("only {failed} drops were seen"));
        }
        Err(why) => cell.wrong = Some(reason(&*why)),
    }
    cell
}

/// What a panic said.
pub fn reason(why: &(dyn std::any::Any + Send)) -> String {
    let text = why.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| why.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
        .to_owned()
}

/// How long a scenario took, for those who wait.
pub fn took(begin: Instant) -> String {
    format!("{:.1} s", begin.elapsed().as_secs_f64())
}
