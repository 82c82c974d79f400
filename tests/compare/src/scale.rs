//! `threadcast-compare scale`: the needs of more clients than fit on this machine.
//!
//! It measures constants on this machine, and computes from them with a model. It checks the model against cases
//! that it was not fitted to: as many clients as this machine takes, and a fleet of three. Measured and computed
//! figures stay apart.

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tokio_tungstenite::tungstenite;

use crate::experiment::{Experiment, Kind, Pushes, Setup, Times};
use crate::failure::{Failure, While};
use crate::figures::{self, Figures};
use crate::load::raise_descriptor_limit;
use crate::manifest::{Manifest, Variant};
use crate::program::proc;
use crate::report::numbers::{number, thousands};
use crate::report::tables::Table;
use crate::report::verdicts::SUBJECT;
use crate::server::{Server, free_address};
use crate::stats::median;

/// Clients of the computed table.
const CLIENTS: [usize; 6] = [1000, 10_000, 50_000, 100_000, 300_000, 1_000_000];
/// Machines of the measured fleet.
const MACHINES: usize = 3;
/// Bytes of a frame's header, and of TCP, IP and Ethernet around it.
const HEADERS: f64 = 4.0 + 66.0;
/// The program's own needs, without its clients: mappings, threads, descriptors.
const RESERVE: f64 = 1000.0;
/// Share of a machine's cores that pushes may take. The rest is for new clients, and for their messages.
const BUSY: f64 = 0.5;
/// The most threads that Linux lets a machine have: `pid_max` cannot be larger.
const MOST_THREADS: f64 = 4_194_304.0;
/// Kinds of 1,024 bytes in a push of JSON, beyond a bare one.
const MORE_KIB: f64 = 4.0;
/// Measurements of each constant.
const TURNS: usize = 3;
/// Connections at which the kernel's share is measured.
const KERNEL_CLIENTS: usize = 500;

/// The measured costs of a push and a client.
#[derive(Debug, Clone, Copy)]
pub struct Constants {
    /// CPU of a push for any number of clients, in microseconds.
    pub push_us: f64,
    /// CPU of a push for each client, in microseconds.
    pub client_us: f64,
    /// CPU of a push for each client and each further KiB of the message, in microseconds.
    pub kib_us: f64,
    /// Memory of a client: its own pages, page tables, the thread's stack in the kernel, in KiB.
    pub memory_kib: f64,
    /// The kernel's other memory for a client: its thread, its mappings, its socket, and the peer's on this machine.
    pub kernel_kib: f64,
    /// Memory mappings of a client.
    pub mappings: f64,
}

/// The demand on a fleet.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// Clients of all machines together.
    pub clients: f64,
    /// Between two messages to everybody.
    pub interval: Duration,
    /// Bytes of a message.
    pub message: f64,
    /// Cores of a machine.
    pub cores: f64,
}

/// The needs of a demand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Needs {
    /// Machines.
    pub machines: f64,
    /// Cores of one that are busy with pushes.
    pub cores: f64,
    /// From the first to the last client of a push, in milliseconds, where all cores share it.
    pub spread_ms: f64,
    /// Memory of a machine for its clients, in GiB.
    pub memory_gib: f64,
    /// `vm.max_map_count` of a machine.
    pub mappings: f64,
    /// `kernel.pid_max`, `kernel.threads-max` and descriptors of a machine.
    pub threads: f64,
    /// Mbit/s on a machine's wire.
    pub megabits: f64,
    /// Messages a second that Redis takes and delivers, if the message comes through it.
    pub redis: f64,
}

impl Constants {
    /// CPU of a push to this many clients, in milliseconds.
    pub fn push_ms(&self, clients: f64, message: f64) -> f64 {
        (self.push_us + clients * (self.client_us + self.kib_us * message / 1024.0)) / 1000.0
    }

    /// Returns the needs of a demand, with as few machines as can meet it.
    pub fn needs(&self, demand: Demand) -> Needs {
        let Demand { clients, interval, message, cores } = demand;
        let seconds = interval.as_secs_f64();
        let busy = |clients| self.push_ms(clients, message) / 1000.0 / seconds;
        let mut machines = (clients / (MOST_THREADS - RESERVE)).ceil().max(1.0);
        // Each machine has the cost of a push itself: if that alone is too much, no number of machines is enough.
        while busy(clients / machines) > BUSY * cores && machines < clients {
            machines += 1.0;
        }
        let own = clients / machines;
        Needs {
            machines,
            cores: busy(own),
            spread_ms: self.push_ms(own, message) / cores,
            memory_gib: own * (self.memory_kib + self.kernel_kib) / 1024.0 / 1024.0,
            mappings: own * self.mappings + RESERVE,
            threads: own + RESERVE,
            megabits: own * (message + HEADERS) * 8.0 / seconds / 1e6,
            redis: (1.0 + machines) / seconds,
        }
    }
}

/// Measures, computes and checks, with this many clients at most; writes all of it to stdout.
pub fn run(manifest: &Manifest, most: usize, interval: Duration, message: usize) -> Result<(), Failure> {
    raise_descriptor_limit()?;
    let variant = manifest.variants.iter().find(|variant| variant.name == SUBJECT);
    let variant = variant.ok_or_else(|| Failure::new(format!("the manifest has no {SUBJECT}")))?;
    let constants = measure(manifest, variant, most)?;
    println!("# Measured\n\n{}", constants.describe());
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let demand =
        |clients: usize| Demand { clients: clients as f64, interval, message: message as f64, cores };
    println!(
        "# Computed\n\nA message of {message} bytes to everybody each {} ms, on machines of {cores} cores, of which pushes \
         take no more than half.\n\n{}",
        interval.as_millis(),
        computed(&constants, demand).markdown()
    );
    println!("# Checked\n\n{}", check(manifest, variant, &constants, most)?.markdown());
    Ok(())
}

/// Pushes that are watched with this number of clients.
fn times(clients: usize) -> Times {
    let pushes =
        Pushes { interval: Duration::from_millis(if clients > 1000 { 1000 } else { 250 }), count: 10 };
    Times { few: pushes, some: pushes, many: pushes, ..Times::FULL }
}

fn play(manifest: &Manifest, variant: &Variant, kind: Kind, clients: usize) -> Result<Figures, Failure> {
    let outcome = Experiment::new(kind, clients).play(manifest, &[variant], &times(clients)).pop();
    outcome.unwrap_or_else(|| Err(Failure::new("nothing was measured")))
}

fn figure(figures: &Figures, name: &str) -> Result<f64, Failure> {
    figures.get(name).copied().ok_or_else(|| Failure::new(format!("the measurements lack {name}")))
}

/// Two sizes yield the cost of a push and of each of its clients. Each is measured in turns, and medians count.
fn measure(manifest: &Manifest, variant: &Variant, most: usize) -> Result<Constants, Failure> {
    let (few, many) = ((most / 15).max(2), (most / 3).max(4));
    let turns = [(Kind::Push, few), (Kind::Push, many), (Kind::Json, few)];
    let (mut cpu, mut memory) = ([(); 3].map(|()| Vec::new()), Vec::new());
    for _ in 0..TURNS {
        for ((kind, clients), cpu) in turns.iter().zip(&mut cpu) {
            let figures = play(manifest, variant, *kind, *clients)?;
            cpu.push(figure(&figures, figures::CPU_MS)? * 1000.0);
            if *clients == many {
                memory.push(figure(&figures, figures::MEMORY_KIB)?);
            }
        }
    }
    let [less, more, padded] = cpu.map(|values| median(&values).unwrap_or_default());
    let client_us = (more - less) / (many - few) as f64;
    let (kernel_kib, mappings) = of_the_kernel(manifest, variant)?;
    Ok(Constants {
        push_us: (less - client_us * few as f64).max(0.0),
        client_us,
        kib_us: (padded - less).max(0.0) / few as f64 / MORE_KIB,
        memory_kib: median(&memory).unwrap_or_default(),
        kernel_kib,
        mappings,
    })
}

/// Returns the kernel's own memory for a client, in KiB, and the client's memory mappings.
fn of_the_kernel(manifest: &Manifest, variant: &Variant) -> Result<(f64, f64), Failure> {
    let setup = Setup { interval: Duration::from_secs(3600), pad: 0 };
    let server = Server::start(manifest, variant, &setup)?;
    let maps = || -> Result<f64, Failure> {
        let path = format!("/proc/{}/maps", server.pid());
        Ok(fs::read_to_string(&path).doing(format!("read {path}"))?.lines().count() as f64)
    };
    let slab = || {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        proc::number(&text, "Slab:").unwrap_or(0) as f64
    };
    let connect = |id: usize| {
        let stream = TcpStream::connect(server.address).doing("connect")?;
        tungstenite::client(format!("ws://{}/websocket?Id=scale-{id}", server.address), stream)
            .doing("connect")
    };
    let mut clients = vec![connect(0)?];
    let (slab_before, maps_before) = (slab(), maps()?);
    for id in 1..=KERNEL_CLIENTS {
        clients.push(connect(id)?);
    }
    let (more_slab, more_maps) = (slab() - slab_before, maps()? - maps_before);
    Ok(((more_slab / KERNEL_CLIENTS as f64).max(0.0), more_maps / KERNEL_CLIENTS as f64))
}

impl Constants {
    fn describe(&self) -> String {
        let mut table = Table::new(["constant", "value"]);
        for (what, value, unit) in [
            ("CPU of a push, for any number of clients", self.push_us, "µs"),
            ("CPU of a push, for each client", self.client_us, "µs"),
            ("CPU of a push, for each client and further KiB", self.kib_us, "µs"),
            ("memory of a client, kernel stack included", self.memory_kib, "KiB"),
            ("other memory of the kernel for a client, both ends' sockets included", self.kernel_kib, "KiB"),
            ("memory mappings of a client", self.mappings, ""),
        ] {
            table.push(vec![what.into(), format!("{} {unit}", number(value)).trim_end().to_owned()]);
        }
        table.markdown()
    }
}

fn computed(constants: &Constants, demand: impl Fn(usize) -> Demand) -> Table {
    let mut table = Table::new([
        "clients",
        "machines",
        "busy cores of each",
        "spread, ms",
        "GiB of each",
        "vm.max_map_count",
        "pid_max, threads-max, descriptors",
        "Mbit/s of each",
        "Redis messages a second",
    ]);
    for clients in CLIENTS {
        let needs = constants.needs(demand(clients));
        let whole = |value: f64| thousands(value.ceil() as i64);
        table.push(vec![
            thousands(clients as i64),
            whole(needs.machines),
            number(needs.cores),
            number(needs.spread_ms),
            number(needs.memory_gib),
            whole(needs.mappings),
            whole(needs.threads),
            number(needs.megabits),
            number(needs.redis),
        ]);
    }
    table
}

/// Compares the model with measurements that it was not fitted to.
fn check(
    manifest: &Manifest,
    variant: &Variant,
    constants: &Constants,
    most: usize,
) -> Result<Table, Failure> {
    let mut table = Table::new(["", "figure", "computed", "measured", "measured / computed"]);
    let mut compare = |what: &str, figures: &Figures, clients: usize| -> Result<(), Failure> {
        let (cpu, memory) = (figure(figures, figures::CPU_MS)?, figure(figures, figures::MEMORY_KIB)?);
        let expected = constants.push_ms(clients as f64, 0.0);
        for (name, computed, measured) in
            [("CPU of a push, ms", expected, cpu), ("memory of a client, KiB", constants.memory_kib, memory)]
        {
            let ratio = number(measured / computed);
            table.push(vec![what.into(), name.into(), number(computed), number(measured), ratio]);
        }
        Ok(())
    };
    let title = format!("{} clients on one machine", thousands(most as i64));
    compare(&title, &play(manifest, variant, Kind::Push, most)?, most)?;
    let own = most / MACHINES;
    match start_redis() {
        Err(failure) => eprintln!("the fleet is not checked: {failure}"),
        Ok(redis) => {
            let mut member = variant.clone();
            member.command.extend(["--redis".into(), format!("redis://{}", redis.address)]);
            let fleet = Experiment::new(Kind::Push, own).play(manifest, &[&member; MACHINES], &times(own));
            for (place, outcome) in fleet.into_iter().enumerate() {
                let title =
                    format!("machine {} of {MACHINES}, {} clients each", place + 1, thousands(own as i64));
                compare(&title, &outcome?, own)?;
            }
        }
    }
    Ok(table)
}

/// A Redis that keeps nothing; ends when this is dropped.
fn start_redis() -> Result<Server, Failure> {
    let address = free_address()?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--port", &address.port().to_string()]);
    Server::spawn(command, address, false, "redis-server")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSTANTS: Constants = Constants {
        push_us: 100.0,
        client_us: 10.0,
        kib_us: 1.0,
        memory_kib: 30.0,
        kernel_kib: 10.0,
        mappings: 2.0,
    };

    fn needs(clients: f64, cores: f64) -> Needs {
        CONSTANTS.needs(Demand { clients, interval: Duration::from_secs(1), message: 0.0, cores })
    }

    #[test]
    fn a_machine_is_added_when_pushes_take_half_of_its_cores() {
        for (clients, cores, machines) in [
            (1000.0, 2.0, 1.0),
            (99_000.0, 2.0, 1.0),
            (101_000.0, 2.0, 2.0),
            (1e6, 2.0, 11.0),
            (1e6, 32.0, 1.0),
        ] {
            assert_eq!(needs(clients, cores).machines, machines, "{clients} on {cores} cores");
        }
    }

    #[test]
    fn what_a_machine_needs_is_its_share() {
        let one = needs(50_000.0, 2.0);
        assert_eq!((one.mappings, one.threads, one.redis), (101_000.0, 51_000.0, 2.0));
        assert!((one.cores - 0.5001).abs() < 1e-9 && (one.spread_ms - 250.05).abs() < 1e-9, "{one:?}");
        assert!((one.memory_gib - 1.907).abs() < 1e-3 && (one.megabits - 28.0).abs() < 1e-9, "{one:?}");
    }

    #[test]
    fn a_longer_message_costs_more_of_each_client() {
        assert_eq!(CONSTANTS.push_ms(1000.0, 0.0), 10.1);
        assert_eq!(CONSTANTS.push_ms(1000.0, 2048.0), 12.1);
    }
}
