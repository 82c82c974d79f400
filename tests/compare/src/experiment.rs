//! What is measured: the kinds of experiment, how a server is started for each, and what the load
//! generator is told to do.

use std::fmt;
use std::io::Read;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;
use serde::Serialize;

use crate::failure::Failure;
use crate::failure::While;
use crate::figures::Figures;
use crate::interval::show_interval;
use crate::manifest::Manifest;
use crate::manifest::Variant;
use crate::server::Server;

/// Interval while a handler blocks: short, so that a gap is seen as it is.
const BLOCKED_INTERVAL: Duration = Duration::from_millis(250);
/// Interval while clients do not read: short, so that the kernel's buffers are full soon.
const STALLED_INTERVAL: Duration = Duration::from_millis(50);
/// Size of each push to clients that do not read, in bytes.
const STALLED_PAD: usize = 64 * 1024;
/// Interval where nothing is to be pushed.
const IDLE_INTERVAL: Duration = Duration::from_secs(3600);
/// Time that a load generator may take besides what it was told to measure.
const LOAD_DEADLINE: Duration = Duration::from_secs(400);

/// A kind of experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Pushes to so many clients.
    Push,
    /// Echoes on so many connections.
    Echo,
    /// So many clients watch while another one's handler blocks.
    Blocked,
    /// So many clients do not read.
    Stalled,
    /// So many connections are tried; how many are held?
    Hold,
    /// So many clients say nothing, and nothing is pushed.
    Idle,
}

/// One experiment: a kind, and the number of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Experiment {
    /// What is done.
    pub kind: Kind,
    /// With how many clients.
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

/// How long things are watched.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Times {
    /// Interval of the clocks where pushes are measured.
    pub interval: Duration,
    /// Pushes that are measured each time.
    pub pushes: usize,
    /// How long echoes go to and fro.
    pub echo: Duration,
    /// How long a handler blocks.
    pub block: Duration,
    /// How long clients do not read.
    pub stall: Duration,
    /// How long idle clients are watched.
    pub idle: Duration,
}

impl Times {
    /// The times of a run whose figures are to be trusted.
    pub const FULL: Self = Self {
        interval: Duration::from_secs(1),
        pushes: 5,
        echo: Duration::from_secs(2),
        block: Duration::from_secs(2),
        stall: Duration::from_secs(30),
        idle: Duration::from_secs(45),
    };
    /// The times of a run that gives a first impression.
    pub const QUICK: Self = Self {
        interval: Duration::from_millis(250),
        pushes: 4,
        echo: Duration::from_millis(400),
        block: Duration::from_millis(500),
        stall: Duration::from_secs(5),
        idle: Duration::from_secs(5),
    };
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

    /// Starts the variant and loads it. A server that has crashed is reported as such, whatever else
    /// went wrong because of that.
    pub fn play(self, manifest: &Manifest, variant: &Variant, times: &Times) -> Result<Figures, Failure> {
        let setup = self.setup(times);
        let mut server = Server::start(manifest, variant, &setup)?;
        let program = std::env::current_exe().doing("find the load generator")?;
        let mut load = Command::new(program);
        load.args(["load", "--address", &server.address.to_string()]);
        load.args(["--pid", &server.pid().to_string()]);
        load.args(["--interval", &show_interval(setup.interval)]);
        load.args(self.scenario(times));
        let outcome = run_load(load);
        match server.crash(outcome.is_err()) {
            Some(crash) => Err(Failure::new(crash)),
            None => outcome,
        }
    }

    fn setup(self, times: &Times) -> Setup {
        let (interval, pad) = match self.kind {
            Kind::Push | Kind::Echo | Kind::Hold => (times.interval, 0),
            Kind::Blocked => (BLOCKED_INTERVAL, 0),
            Kind::Stalled => (STALLED_INTERVAL, STALLED_PAD),
            Kind::Idle => (IDLE_INTERVAL, 0),
        };
        Setup { interval, pad }
    }

    /// The scenario of the load generator, as its command line has it.
    fn scenario(self, times: &Times) -> Vec<String> {
        let (name, extra) = match self.kind {
            Kind::Push => ("ticks", Some(("--rounds", times.pushes.to_string()))),
            Kind::Echo => ("echo", Some(("--time", show_interval(times.echo)))),
            Kind::Blocked => ("blocked", Some(("--time", show_interval(times.block)))),
            Kind::Stalled => ("stalled", Some(("--time", show_interval(times.stall)))),
            Kind::Hold => ("hold", None),
            Kind::Idle => ("idle", Some(("--time", show_interval(times.idle)))),
        };
        let mut words = vec![name.to_owned(), "--clients".into(), self.size.to_string()];
        if let Some((option, value)) = extra {
            words.extend([option.to_owned(), value]);
        }
        words
    }
}

/// Runs the load generator to its end, or to its deadline.
fn run_load(mut command: Command) -> Result<Figures, Failure> {
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
