//! [`Lab`]: its routes, before the server starts, and its threads, after.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use serde_json::json;

use crate::lab::beside::{Beside, HERE};
use crate::lab::crowd::Crowd;
use crate::lab::echo::EchoHandler;
use crate::lab::events::{Change, Events};
use crate::lab::numbers::Process;
use crate::lab::orders::Order;
use crate::lab::page::LabHandler;
use crate::lab::recorder::Recorder;
use crate::lab::visitor::{Host, config};
use crate::lab::watch::WatchHandler;
use threadcast::{Application, Delivery, Error, Meter, Result, StaticFiles};

/// The surroundings that the lab shows.
pub struct Setup {
    /// From one push to the next.
    pub interval: Duration,
    /// The thread that writes the pushes.
    pub delivery: Delivery,
    /// The pages, in the binary or in a directory.
    pub pages: StaticFiles,
    /// Whether the server does TLS, so that the lab's own clients do.
    pub tls: bool,
    /// The servers to compare with.
    pub beside: Vec<Beside>,
    /// The numbers and names of the connected clients.
    pub clients: Box<dyn Fn() -> Vec<(u64, String)> + Send>,
}

/// The lab, while the server does not run yet.
pub struct Lab {
    setup: Setup,
    meter: Meter,
    recorder: Recorder,
    changes: (Sender<Change>, Receiver<Change>),
    orders: (Sender<Order>, Receiver<Order>),
}

/// The lab's threads.
pub struct Running {
    events: JoinHandle<()>,
    crowd: JoinHandle<()>,
    changes: Sender<Change>,
    orders: Sender<Order>,
}

impl Lab {
    /// Adds the lab's routes to an application, and watches it.
    pub fn new(setup: Setup, application: Application) -> (Lab, Application) {
        let (recorder, changes, orders) =
            (Recorder::new(), crossbeam_channel::unbounded(), crossbeam_channel::unbounded());
        let (page, to_events, to_crowd) = (setup.pages.clone(), changes.0.clone(), orders.0.clone());
        let application = application
            .observer(recorder.observer.clone())
            .page("/lab", move || LabHandler { pages: page.clone() })
            .static_files("/lab/", setup.pages.clone())
            .websocket("/lab/events", move || WatchHandler {
                changes: to_events.clone(),
                orders: to_crowd.clone(),
            })
            .websocket("/echo", || EchoHandler);
        let meter = application.meter();
        (Lab { setup, meter, recorder, changes, orders }, application)
    }

    /// Starts `lab-events` and `lab-crowd`, for a server at this address.
    ///
    /// # Errors
    /// If the system has no thread for them.
    pub fn start(self, address: SocketAddr) -> Result<Running> {
        let Lab { setup, meter, recorder, changes, orders } = self;
        let running = |beside: &Beside| Some((beside.name.clone(), beside.running?));
        let beside: Vec<_> = setup.beside.iter().filter_map(running).collect();
        let own = (HERE.to_owned(), Process::own());
        let others = beside.iter().map(|(name, (_, pid))| (name.clone(), Process::other(*pid)));
        let addresses = beside.iter().map(|(name, (address, _))| (name.clone(), *address));
        let here = Host { address: reachable(address), tls: setup.tls.then(config).transpose()? };
        let crowd = Crowd::new(here, addresses, orders.1, changes.0.clone());
        let events = Events {
            began: Instant::now(),
            recorder,
            changes: changes.1,
            meter,
            processes: std::iter::once(own).chain(others).collect(),
            hello: json!({
                "interval": setup.interval.as_millis() as u64,
                "delivery": if setup.delivery == Delivery::Handoff { "handoff" } else { "inline" },
                "beside": setup.beside.iter().map(Beside::to_json).collect::<Vec<_>>(),
            }),
            clients: setup.clients,
            crowd: json!({ "places": { HERE: 0 }, "names": [], "stalled": 0 }),
            watchers: Vec::new(),
        };
        Ok(Running {
            events: start("lab-events", move || events.run())?,
            crowd: start("lab-crowd", move || crowd.run())?,
            changes: changes.0,
            orders: orders.0,
        })
    }
}

impl Running {
    /// Ends the lab's clients, and joins its threads.
    pub fn stop(self) {
        // A thread that has ended already has panicked, and that has been reported.
        let _ = self.orders.send(Order::Stop);
        let _ = self.crowd.join();
        let _ = self.changes.send(Change::Stop);
        let _ = self.events.join();
    }
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(Error::io(format!("cannot start the thread {name}")))
}

/// Returns the address at which this machine reaches a server that listens on all addresses.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}
