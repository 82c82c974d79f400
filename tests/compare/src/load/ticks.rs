//! Connects clients, and times every push at every client. It reads the server's use between rounds, when nothing is in
//! flight. It reads the pushes then too, since the kernel records when each of them arrived: a load generator that read
//! them at once would take a core from the server.

use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::figures::{self, Figures};
use crate::load::crowd::Crowd;
use crate::load::event::{Action, Ended, Event};
use crate::load::tally::Tally;
use crate::load::{CLOCK, Target};
use crate::process::{Memory, OwnUse};
use crate::program::proc::KERNEL_STACK_KIB;

/// The longest wait before the next check whether a round has ended without all its clients.
const GLANCE: Duration = Duration::from_millis(20);
/// Intervals that a push may take before it counts as lost.
const PATIENCE: u32 = 3;
/// Time added to that, for servers that are busy.
const GRACE: Duration = Duration::from_secs(10);

/// The clients of a scenario, beyond their number.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clients {
    /// They offer compression.
    pub compression: bool,
    /// Half of them have left, and others have come in their places.
    pub replaced: bool,
}

/// Runs the scenario.
pub fn run(target: &Target, clients: usize, rounds: usize, manner: Clients) -> Result<Figures, Failure> {
    let server = target.process();
    let before = (server.memory()?, server.descriptors()?, server.mappings()?, server.cpu()?);
    let mut crowd = target.crowd()?;
    crowd.offer_compression(manner.compression);
    let mut tally = Tally::new(clients, target.interval);
    let deadline = target.connect_deadline(clients);
    let own = OwnUse::now();
    let connect = crowd.connect_all((CLOCK, clients), target.pace(), deadline, &mut |_, event, now| {
        tally.hear(&event, now)
    })?;
    let (_, wanted) = OwnUse::now().since(own, connect);
    let connect_cpu = server.cpu()? - before.3;
    if manner.replaced {
        replace_half(target, clients, &mut crowd, &mut tally)?;
    }

    await_end_of(tally.begun(), &mut crowd, &mut tally, target.interval)?;
    let first = tally.begun();
    let (switches, cpu, received) = (server.switches()?, server.cpu()?, crowd.received());
    await_end_of(first + rounds - 1, &mut crowd, &mut tally, target.interval)?;
    let (cpu, switches) = (server.cpu()? - cpu, server.switches()? - switches);
    let received = crowd.received() - received;
    let seen = (tally.begun() - first) as f64;

    let mut figures = tally.figures(first..first + rounds)?;
    figures.extend(memory_of_each(clients, before.0, server.memory()?));
    let descriptors = (server.descriptors()? - before.1) / clients as f64;
    let mappings = (server.mappings()? - before.2) / clients as f64;
    for (name, value) in [
        (figures::CONNECT_S, connect.as_secs_f64()),
        (figures::CONNECT_LOAD_BOUND, figures::load_bound(wanted)),
        (figures::CONNECT_CPU_US, connect_cpu.as_secs_f64() * 1e6 / clients as f64),
        (figures::CPU_MS, cpu.as_secs_f64() * 1000.0 / seen),
        (figures::WIRE_BYTES, received as f64 / seen / clients as f64),
        (figures::SWITCHES, switches.max(0.0) / seen),
        (figures::MAPPINGS, mappings),
        (figures::DESCRIPTORS, descriptors),
        (figures::LOST, tally.lost as f64),
    ] {
        figures.insert(name.into(), value);
    }
    Ok(figures)
}

/// Every second client leaves, and as many come: the server's memory is then in another order than its clients.
fn replace_half(
    target: &Target,
    clients: usize,
    crowd: &mut Crowd,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let deadline = Instant::now() + target.connect_deadline(clients);
    let leaves = |place: usize| place % 2 == 1;
    while crowd.opened() > clients.div_ceil(2) {
        if Instant::now() > deadline {
            return Err(Failure::new("no push came at which half of the clients could leave"));
        }
        crowd.turn(Instant::now() + GLANCE, &mut |place, event, now| match event {
            Event::Message(_) if leaves(place) => Action::HangUp,
            Event::Ended(Ended::HungUp) => Action::None,
            event => tally.hear(&event, now),
        })?;
    }
    let come = (CLOCK, clients / 2);
    crowd.connect_all(come, target.pace(), target.connect_deadline(clients), &mut |_, event, now| {
        tally.hear(&event, now)
    })?;
    Ok(())
}

/// Waits until a round has ended; earlier rounds may take any time. While all clients have the latest push, it rests
/// until the middle between the next push and the one after it.
pub fn await_end_of(
    round: usize,
    crowd: &mut Crowd,
    tally: &mut Tally,
    interval: Duration,
) -> Result<(), Failure> {
    let patience = interval * PATIENCE + GRACE;
    let (mut begun, mut heard) = (tally.begun(), Instant::now());
    while !tally.has_ended(round, Instant::now()) {
        let rest = tally.latest_if_whole().map(|first| first + interval * 3 / 2);
        thread::sleep(rest.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now())));
        let until = Instant::now() + GLANCE;
        crowd.turn(until, &mut |_, event, now| tally.hear(&event, now))?;
        if crowd.opened() == 0 {
            return Err(Failure::new("the server closed every connection"));
        }
        if tally.begun() > begun {
            (begun, heard) = (tally.begun(), Instant::now());
        }
        if heard.elapsed() > patience {
            tally.figures(0..0)?;
            let seconds = patience.as_secs();
            return Err(Failure::new(format!("no new push in {seconds} s")));
        }
    }
    Ok(())
}

/// Each client's share of the server's memory.
fn memory_of_each(clients: usize, before: Memory, after: Memory) -> Figures {
    let share = |before: f64, after: f64| (after - before) / clients as f64;
    let resident = share(before.resident, after.resident);
    let page_tables = share(before.page_tables, after.page_tables);
    let kernel_stack = share(before.threads, after.threads) * KERNEL_STACK_KIB as f64;
    Figures::from([
        (figures::RESIDENT_KIB.into(), resident),
        (figures::PAGE_TABLES_KIB.into(), page_tables),
        (figures::KERNEL_STACK_KIB.into(), kernel_stack),
        (figures::MEMORY_KIB.into(), resident + page_tables + kernel_stack),
        (figures::THREADS.into(), after.threads),
    ])
}
