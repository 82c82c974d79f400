//! The kinds of experiment, how a server is started for each, and the commands to the load generator.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{fmt, thread};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, While};
use crate::figures::Figures;
use crate::manifest::{Manifest, Variant};
use crate::server::{Server, ending_with_us};

/// Interval while a handler blocks: short, so that it hardly hides a gap.
const BLOCKED_INTERVAL: Duration = Duration::from_millis(250);
/// Interval of pushes to stalled clients: short, so that the kernel's buffers are full soon.
const STALLED_INTERVAL: Duration = Duration::from_millis(50);
/// Size of each push to them, in bytes.
const STALLED_PAD: usize = 64 * 1024;
/// Size of a push of JSON, in bytes.
const JSON_PAD: usize = 4096;
/// Interval of clocks that should not push.
const IDLE_INTERVAL: Duration = Duration::from_secs(3600);
/// Clients up to which pushes come fast: far more of them can be measured in the same time, and every
/// variant still has time to spare.
pub const FEW: usize = 1000;
/// Clients up to which they come at [`Times::some`]'s pace.
pub const SOME: usize = 5000;
/// Rounds that are enough where memory fills, or where gaps are as long as a handler blocks.
const STEADY_ROUNDS: usize = 3;
/// Rounds that are enough for a limit, which is a number and takes long to reach.
const HOLD_ROUNDS: usize = 2;
/// Rounds that are enough for pushes, of which a turn has several.
const PUSH_ROUNDS: usize = 8;
/// Time that a load generator may take in addition to the time that it measures.
const LOAD_DEADLINE: Duration = Duration::from_secs(400);

/// A kind of experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Pushes to all clients.
    Push,
    /// Pushes of [`JSON_PAD`] bytes to clients that offer compression.
    Json,
    /// Echoes on all connections.
    Echo,
    /// Clients watch while another one's handler blocks.
    Blocked,
    /// Stalled clients: they never read.
    Stalled,
    /// Connections are tried; how many are held?
    Hold,
    /// Clients say nothing, and nothing is pushed.
    Idle,
    /// Others come and leave as fast as possible.
    Storm,
    /// Pushes to all clients, half of which have come for others that left.
    Churn,
}

/// One experiment: a kind, and the number of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Experiment {
    /// The kind of experiment.
    pub kind: Kind,
    /// The number of clients.
    pub size: usize,
}

/// How a server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Time between two pushes.
    pub interval: Duration,
    /// Bytes of a push, 0 for the bare time.
    pub pad: usize,
}

/// How often pushes come, and how many of them are measured each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushes {
    /// Interval of the clock.
    pub interval: Duration,
    /// Pushes that are measured.
    pub count: usize,
}

/// Durations of the experiments.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Times {
    /// Pushes to [`FEW`] clients and less.
    pub few: Pushes,
    /// Pushes to more than that, and up to [`SOME`].
    pub some: Pushes,
    /// Pushes to more.
    pub many: Pushes,
    /// How long echoes go to and fro.
    pub echo: Duration,
    /// How long a handler blocks.
    pub block: Duration,
    /// How long clients are stalled.
    pub stall: Duration,
    /// How long idle clients are watched.
    pub idle: Duration,
    /// How long clients come and leave.
    #[serde(default)]
    pub storm: Duration,
}

impl Times {
    /// The times of a run with reliable figures. A turn is short, so that there can be many of
    /// them: a noisy neighbour spoils a turn as a whole. The slowest servers need 300 ms for a round of
    /// 5,000 clients, and three times as long for 15,000; a push that comes half an interval after its time
    /// is late, and the choice of the interval should make none late at 5,000.
    ///
    /// The number of pushes is even: Tornado collects its garbage in every other push to 5,000 clients, which takes
    /// twice as long as the push itself. An odd number would count it in some turns more often than in others.
    pub const FULL: Self = Self {
        few: Pushes { interval: Duration::from_millis(200), count: 10 },
        some: Pushes { interval: Duration::from_millis(750), count: 6 },
        many: Pushes { interval: Duration::from_secs(1), count: 4 },
        echo: Duration::from_millis(600),
        block: Duration::from_secs(2),
        stall: Duration::from_secs(30),
        idle: Duration::from_secs(45),
        storm: Duration::from_secs(5),
    };
    /// The times of a run for a first impression.
    pub const QUICK: Self = Self {
        few: Pushes { interval: Duration::from_millis(250), count: 4 },
        some: Pushes { interval: Duration::from_millis(250), count: 4 },
        many: Pushes { interval: Duration::from_millis(250), count: 4 },
        echo: Duration::from_millis(400),
        block: Duration::from_millis(500),
        stall: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        storm: Duration::from_secs(2),
    };

    /// Returns how often pushes come to this number of clients, and how many are measured.
    pub fn pushes(&self, clients: usize) -> Pushes {
        if clients <= FEW {
            self.few
        } else if clients <= SOME {
            self.some
        } else {
            self.many
        }
    }
}

impl Kind {
    /// Whether all variants run side by side. With stalled clients memory counts, and they use hardly any CPU, so the
    /// time passes once for all of them.
    pub fn concurrent(self) -> bool {
        self == Self::Stalled
    }
}

impl fmt::Display for Experiment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.to_possible_value().ok_or(fmt::Error)?;
        write!(out, "{} {}", kind.get_name(), self.size)
    }
}

impl Experiment {
    /// An experiment of this kind and size.
    pub fn new(kind: Kind, size: usize) -> Self {
        Self { kind, size }
    }

    /// The rounds that it takes part in when a run has this number of them: from the first on, and fewer where
    /// the figures hardly depend on the moment.
    pub fn rounds(self, rounds: usize) -> usize {
        match self.kind {
            Kind::Push | Kind::Churn => rounds.min(PUSH_ROUNDS),
            // The kernel places its threads on the cores by chance, and keeps them there for the whole turn.
            Kind::Echo => rounds,
            Kind::Hold => rounds.min(HOLD_ROUNDS),
            Kind::Json | Kind::Blocked | Kind::Stalled | Kind::Idle | Kind::Storm => {
                rounds.min(STEADY_ROUNDS)
            }
        }
    }

    /// Starts the variants, and loads all of them at the same time. An outcome for each, in their order.
    pub fn play(
        self,
        manifest: &Manifest,
        variants: &[&Variant],
        times: &Times,
    ) -> Vec<Result<Figures, Failure>> {
        let setup = self.setup(times);
        // One after the other: a port that was free must be taken before the next one is looked for.
        let servers: Vec<_> =
            variants.iter().map(|variant| Server::start(manifest, variant, &setup)).collect();
        thread::scope(|scope| {
            let load = |server| scope.spawn(move || self.load(server?, &setup, times));
            let loads: Vec<_> = servers.into_iter().map(load).collect();
            let panicked = |_| Err(Failure::new("the runner panicked"));
            loads.into_iter().map(|load| load.join().unwrap_or_else(panicked)).collect()
        })
    }

    /// Loads a server. Reports a crash as such, and not the errors that it causes.
    fn load(self, mut server: Server, setup: &Setup, times: &Times) -> Result<Figures, Failure> {
        let program = std::env::current_exe().doing("find the load generator")?;
        let mut load = Command::new(program);
        load.args(["load", "--address", &server.address.to_string()]);
        load.args(["--pid", &server.pid().to_string()]);
        load.args(["--interval", &in_ms(setup.interval)]);
        load.args(server.tls.then_some("--tls"));
        load.args(self.scenario(times));
        let outcome = run_load(load);
        match server.crash(outcome.is_err()) {
            Some(crash) => Err(Failure::new(crash)),
            None => outcome,
        }
    }

    fn setup(self, times: &Times) -> Setup {
        let (interval, pad) = match self.kind {
            Kind::Push | Kind::Churn | Kind::Echo | Kind::Hold | Kind::Storm => {
                (times.pushes(self.size).interval, 0)
            }
            // Compressing for each client takes the slowest servers a tenth of a second.
            Kind::Json => (times.some.interval, JSON_PAD),
            Kind::Blocked => (BLOCKED_INTERVAL, 0),
            Kind::Stalled => (STALLED_INTERVAL, STALLED_PAD),
            Kind::Idle => (IDLE_INTERVAL, 0),
        };
        Setup { interval, pad }
    }

    /// The scenario of the load generator, as its command line has it.
    fn scenario(self, times: &Times) -> Vec<String> {
        let (name, extra) = match self.kind {
            Kind::Json => ("json", Some(("--rounds", times.some.count.to_string()))),
            Kind::Push => ("ticks", Some(("--rounds", times.pushes(self.size).count.to_string()))),
            Kind::Churn => ("churn", Some(("--rounds", times.pushes(self.size).count.to_string()))),
            Kind::Echo => ("echo", Some(("--time", in_ms(times.echo)))),
            Kind::Blocked => ("blocked", Some(("--time", in_ms(times.block)))),
            Kind::Stalled => ("stalled", Some(("--time", in_ms(times.stall)))),
            Kind::Hold => ("hold", None),
            Kind::Storm => ("storm", Some(("--time", in_ms(times.storm)))),
            Kind::Idle => ("idle", Some(("--time", in_ms(times.idle)))),
        };
        let mut words = vec![name.to_owned(), "--clients".into(), self.size.to_string()];
        if let Some((option, value)) = extra {
            words.extend([option.to_owned(), value]);
        }
        words
    }
}

/// Returns a time as this crate's command lines take it.
pub fn in_ms(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// Runs the load generator to its end, or to its deadline.
fn run_load(command: Command) -> Result<Figures, Failure> {
    let mut command = ending_with_us(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().doing("start the load generator")?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send((read_all(stdout), read_all(stderr)));
    });
    let said = receiver.recv_timeout(LOAD_DEADLINE);
    if said.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().doing("wait for the load generator")?;
    let Ok((figures, complaint)) = said else {
        let seconds = LOAD_DEADLINE.as_secs();
        return Err(Failure::new(format!("not done after {seconds} s")));
    };
    if status.success() {
        return serde_json::from_str(&figures).doing("read the load generator's figures");
    }
    match complaint.trim() {
        "" => Err(Failure::new(format!("the load generator failed: {status}"))),
        line => Err(Failure::new(line)),
    }
}

fn read_all(stream: Option<impl Read>) -> String {
    let mut text = String::new();
    if let Some(mut stream) = stream {
        let _ = stream.read_to_string(&mut text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_clients_the_slower_the_pushes() {
        for (clients, milliseconds) in
            [(1, 200), (FEW, 200), (FEW + 1, 750), (SOME, 750), (SOME + 1, 1000), (20_000, 1000)]
        {
            let interval = Times::FULL.pushes(clients).interval;
            assert_eq!(interval, Duration::from_millis(milliseconds), "{clients} clients");
        }
    }

    #[test]
    fn what_hardly_varies_has_fewer_rounds() {
        for (kind, size, rounds) in
            [(Kind::Push, 15_000, 8), (Kind::Echo, 500, 12), (Kind::Blocked, 50, 3), (Kind::Hold, 20_000, 2)]
        {
            let experiment = Experiment::new(kind, size);
            assert_eq!(experiment.rounds(12), rounds, "{experiment}");
            assert_eq!(experiment.rounds(1), 1, "{experiment}");
        }
    }
}
