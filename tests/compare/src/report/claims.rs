//! What threads can win or lose on: the figures that tell, and how they are said.

use crate::experiment::Kind;
use crate::figures;

/// The variant that all others are set against.
pub const SUBJECT: &str = "threadcast";

/// Something that can be won or lost.
pub struct Claim {
    /// What is compared.
    pub what: &'static str,
    /// The kind of experiment that tells.
    pub kind: Kind,
    /// The smallest size that was measured tells, rather than the largest.
    pub smallest: bool,
    /// The figure that tells.
    pub figure: &'static str,
    /// What stands before a value.
    pub verb: &'static str,
    /// Its unit, with a space before it.
    pub unit: &'static str,
    /// Whether more of it is better.
    pub more_is_better: bool,
    /// Where both values are below this, they are too small to be compared.
    pub least: f64,
    /// Under which circumstances; `{}` stands for the size.
    pub setting: &'static str,
}

/// What most claims have in common: the largest push tells, and less is better.
const PUSH: Claim = Claim {
    what: "",
    kind: Kind::Push,
    smallest: false,
    figure: "",
    verb: "",
    unit: " ms",
    more_is_better: false,
    least: 0.0,
    setting: "with {} clients",
};
/// Memory of the server for each client.
pub const MEMORY: Claim =
    Claim { what: "memory for each client", figure: figures::MEMORY_KIB, unit: " KiB", ..PUSH };
/// CPU of the server for a round of pushes.
pub const CPU: Claim = Claim { what: "CPU for a round of pushes", figure: figures::CPU_MS, ..PUSH };
/// Time from the first client of a round to the last.
pub const SPREAD: Claim =
    Claim { what: "the time from the first client to the last", figure: figures::SPREAD_MS, ..PUSH };
/// Time until all clients are connected. A hundred are there before much can be measured.
pub const CONNECT: Claim = Claim {
    what: "the time to connect all clients",
    figure: figures::CONNECT_S,
    unit: " s",
    least: 0.05,
    ..PUSH
};
/// Clients that are held together.
pub const HELD: Claim = Claim {
    what: "clients held",
    kind: Kind::Hold,
    figure: figures::HELD,
    verb: "held ",
    unit: "",
    more_is_better: true,
    setting: "of {} connections tried",
    ..PUSH
};
/// Echoes a second on many connections.
pub const ECHO_RATE: Claim = Claim {
    what: "echoes a second",
    kind: Kind::Echo,
    figure: figures::RATE,
    unit: " a second",
    more_is_better: true,
    setting: "with {} connections",
    ..PUSH
};
/// The time of a single echo.
pub const ECHO_TIME: Claim = Claim {
    what: "the time of an echo",
    kind: Kind::Echo,
    smallest: true,
    figure: figures::P50_US,
    unit: " µs",
    setting: "with {} connections",
    ..PUSH
};
/// What others notice of a handler that sleeps.
pub const BLOCKED: Claim = Claim {
    what: "what others notice of a handler that sleeps",
    kind: Kind::Blocked,
    figure: figures::SLEEP_GAP_MS,
    setting: "with {} other clients",
    ..PUSH
};
