//! The load generator: tens of thousands of clients on one thread.
//!
//! Each scenario is a file. It connects its clients to a server that runs already, watches them,
//! reads the kernel's figures of the server's process, and yields [`Figures`].

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use crate::failure::{Failure, While};
use crate::figures::Figures;
use crate::load::awake::Awake;
use crate::load::crowd::{Crowd, Pace};
use crate::load::ticks::Clients;
use crate::process::Process;
use crate::program::interval;
use crate::values;

mod awake;
mod blocked;
mod client;
mod crowd;
mod echo;
mod event;
mod frame;
mod gaps;
mod handshake;
mod hold;
mod idle;
mod inflate;
mod stalled;
mod stamp;
mod storm;
mod tally;
mod ticks;
mod tls;

/// Route that pushes the time.
const CLOCK: &str = "/websocket";
/// Route that sends every message back.
const ECHO: &str = "/echo";

/// The server under load, and how fast clients come.
#[derive(Args, Debug, Clone)]
pub struct Target {
    /// Where the server listens
    #[arg(long, value_parser = values::address)]
    pub address: SocketAddr,
    /// Process of the server, for its CPU time and memory
    #[arg(long, value_parser = values::pid)]
    pub pid: u32,
    /// Connect with TLS
    #[arg(long)]
    pub tls: bool,
    /// Interval between two pushes of the server
    #[arg(long, default_value = "1s", value_parser = interval::parse_time)]
    pub interval: Duration,
    /// Handshakes under way at once
    #[arg(long, default_value_t = 64, value_parser = values::count)]
    pub in_flight: usize,
    /// Clients opened a second, at most
    #[arg(long, value_parser = values::rate)]
    pub rate: Option<f64>,
}

/// The task of the clients
#[derive(Subcommand, Debug, Clone)]
pub enum Scenario {
    /// Connect clients, and time every push at every client
    Ticks {
        /// Clients to connect
        #[arg(long, value_parser = values::count)]
        clients: usize,
        /// Rounds of pushes to measure
        #[arg(long, default_value_t = 5, value_parser = values::count)]
        rounds: usize,
    },
    /// Pushes after every second client has left, and another one has come for it
    Churn {
        /// Clients to connect
        #[arg(long, value_parser = values::count)]
        clients: usize,
        /// Rounds of pushes to measure
        #[arg(long, default_value_t = 5, value_parser = values::count)]
        rounds: usize,
    },
    /// Pushes to clients that offer compression
    Json {
        /// Clients to connect
        #[arg(long, value_parser = values::count)]
        clients: usize,
        /// Rounds of pushes to measure
        #[arg(long, default_value_t = 5, value_parser = values::count)]
        rounds: usize,
    },
    /// Send a message on each connection, again and again, as soon as the last one is back
    Echo {
        /// Clients to connect
        #[arg(long, value_parser = values::count)]
        clients: usize,
        /// Time to measure
        #[arg(long, default_value = "2s", value_parser = interval::parse_time)]
        time: Duration,
    },
    /// Let one client's handler block, and see what the others notice
    Blocked {
        /// Clients to connect
        #[arg(long, default_value_t = 50, value_parser = values::count)]
        clients: usize,
        /// Time that the handler sleeps, and then spins
        #[arg(long, default_value = "2s", value_parser = interval::parse_time)]
        time: Duration,
    },
    /// Connect stalled clients, which never read, and one that reads
    Stalled {
        /// Clients to connect
        #[arg(long, default_value_t = 10, value_parser = values::count)]
        clients: usize,
        /// Time to watch
        #[arg(long, default_value = "30s", value_parser = interval::parse_time)]
        time: Duration,
    },
    /// Connect clients until no more are let in, and see that those inside get their ticks
    Hold {
        /// Connections to try
        #[arg(long, default_value_t = 100_000, value_parser = values::count)]
        clients: usize,
    },
    /// Connect clients that say nothing, and see what they cost
    Idle {
        /// Clients to connect
        #[arg(long, value_parser = values::count)]
        clients: usize,
        /// Time to watch
        #[arg(long, default_value = "30s", value_parser = interval::parse_time)]
        time: Duration,
    },
    /// Connect and leave as fast as possible, beside clients that stay
    Storm {
        /// Clients that stay
        #[arg(long, default_value_t = 50, value_parser = values::count)]
        clients: usize,
        /// Time to watch
        #[arg(long, default_value = "5s", value_parser = interval::parse_time)]
        time: Duration,
    },
}

/// Plays a scenario.
pub fn run(target: &Target, scenario: &Scenario) -> Result<Figures, Failure> {
    raise_descriptor_limit()?;
    let processors = awake::allowed()?;
    stay_on_one_core(&processors)?;
    match *scenario {
        Scenario::Ticks { clients, rounds } => ticks::run(target, clients, rounds, Clients::default()),
        Scenario::Churn { clients, rounds } => {
            ticks::run(target, clients, rounds, Clients { replaced: true, ..Clients::default() })
        }
        Scenario::Json { clients, rounds } => {
            ticks::run(target, clients, rounds, Clients { compression: true, ..Clients::default() })
        }
        Scenario::Echo { clients, time } => {
            // With more of them no processor ever sleeps.
            let lonely = clients < processors.len();
            let _awake = lonely.then(|| Awake::new(processors.into_iter())).transpose()?;
            echo::run(target, clients, time)
        }
        Scenario::Blocked { clients, time } => blocked::run(target, clients, time),
        Scenario::Stalled { clients, time } => stalled::run(target, clients, time),
        Scenario::Hold { clients } => hold::run(target, clients),
        Scenario::Idle { clients, time } => idle::run(target, clients, time),
        Scenario::Storm { clients, time } => storm::run(target, clients, time),
    }
}

/// Keeps the load generator on the last core that it may use. Otherwise each packet can pull it to the
/// core of the server that sent it, which it then interrupts thousands of times a round.
fn stay_on_one_core(allowed: &[usize]) -> Result<(), Failure> {
    let mut own = CpuSet::new();
    own.set(allowed.last().copied().unwrap_or(0)).doing("choose a core")?;
    sched_setaffinity(Pid::from_raw(0), &own).doing("stay on one core")
}

/// Raises this process's soft limit of descriptors to the hard one, and tells it.
pub fn raise_descriptor_limit() -> Result<u64, Failure> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).doing("read the descriptor limit")?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).doing("raise the descriptor limit")?;
    }
    Ok(hard)
}

impl Target {
    fn process(&self) -> Process {
        Process::new(self.pid)
    }

    /// A crowd without clients, in front of it.
    fn crowd(&self) -> Result<Crowd, Failure> {
        let tls = self.tls.then(tls::config).transpose()?;
        Crowd::new(self.address, tls)
    }

    fn pace(&self) -> Pace {
        Pace { in_flight: self.in_flight.max(1), rate: self.rate }
    }

    /// Time that `clients` may take to connect, before it counts as a failure.
    fn connect_deadline(&self, clients: usize) -> Duration {
        let own_pace = self.rate.map_or(0.0, |rate| clients as f64 / rate);
        Duration::from_secs(30)
            + Duration::from_millis(4) * clients as u32
            + Duration::from_secs_f64(own_pace)
    }
}
