//! Fuzzing, over real sockets: generated requests and frames, some of them broken, in pieces, against a server in this
//! process.
//!
//! Every input goes in twice: in one piece, then cut up. Both times the server has to answer with equal, well-formed
//! HTTP and frames, and to end the connection; a valid input has exactly one right answer. At the same time nothing
//! panics, `on_close` runs once for each `open`, and a steady client notices nothing; at the end no thread or socket is
//! left.
//!
//! `THREADCAST_FUZZ_SECONDS=600 cargo test --features program --release --test fuzz` fuzzes for ten minutes, with new
//! input each time. A failure names its seed, and `THREADCAST_FUZZ_SEED` begins with that one. It saves its input as a
//! file: minimize it, correct the answers, and add it to `tests/corpus/`.

#[path = "fuzz/answers.rs"]
mod answers;
#[path = "fuzz/cases.rs"]
mod cases;
mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, panic, process, thread};

use answers::{Answer, answers, without_dates};
use cases::{Case, Ending};
use support::{
    DEADLINE, Event, Probed, Raw, SERVER_THREADS, Wire, close_frame, eventually, frame, server_threads,
    sockets,
};
use threadcast::{Connection, CookieSecret, Error, Exchange, Message, RequestHandler, Result, StaticFiles};

/// The default length in seconds, as part of all tests.
const SECONDS: u64 = 5;
/// The first seed of that.
const SEED: u64 = 1;
/// The server's limit. Above 65535, so that all three forms of a frame's length are within it.
const MAX_MESSAGE: usize = 70_000;
/// The size from which messages are compressed.
const COMPRESSION: usize = 100;
/// The limit of bodies.
const MAX_BODY: usize = 5000;
/// Cases between two checks of the steady client and the sockets.
const CHECK_EVERY: u64 = 500;

// ---- the server ----

/// Reads everything that a request offers.
struct Page;

impl RequestHandler for Page {
    fn get(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let argument = exchange.get_argument_or("a", "none")?;
        let cookie = exchange.get_cookie("e").unwrap_or_default();
        let secure = exchange.get_secure_cookie("s")?.unwrap_or_default();
        exchange.write(format!("{argument:?} {cookie:?} {secure:?} {}", exchange.path()));
        Ok(())
    }
}

/// Reads everything that a body and a path offer.
struct Form;

impl RequestHandler for Form {
    fn post(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let arguments = exchange.get_body_arguments("a")?;
        let name = exchange.path_argument("name").to_owned();
        exchange.write(format!("{arguments:?} {name:?} {}", exchange.body().escape_ascii()));
        Ok(())
    }
    fn put(&mut self, exchange: &mut Exchange<'_>) -> Result<()> {
        let json: serde_json::Value = exchange.body_json()?;
        exchange.write(json.to_string());
        Ok(())
    }
    fn methods(&self) -> &'static [&'static str] {
        &["POST", "PUT"]
    }
}

/// An echo that can also close, fail and panic.
fn reply(connection: &Connection, message: Message) -> Result<()> {
    match message.as_text() {
        Some("close") => connection.close(Some(4000), Some("asked to")),
        Some("fail") => Err(Error::Invalid("asked to".into())),
        Some("panic") => panic!("asked to"),
        _ => connection.write_message(message),
    }
}

/// The server under test, and a steady client of it.
struct Fuzzed {
    probed: Probed,
    control: Raw,
    /// Connections made so far.
    connected: u64,
    sockets: usize,
    /// How often each ending, status and close code occurred.
    seen: BTreeMap<String, u64>,
}

impl Fuzzed {
    fn start() -> Fuzzed {
        watch();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = StaticFiles::directory(root.join("www")).expect("has the pages");
        let probed = Probed::start_with(
            |application| {
                application
                    .page("/page", || Page)
                    .page("/form/{name}", || Form)
                    .max_body(MAX_BODY)
                    .static_files("/files/", files)
                    .cookie_secret(CookieSecret::new("a secret of this test").expect("is long enough"))
                    .compression(Some(COMPRESSION))
                    .max_message(MAX_MESSAGE)
                    .max_backlog(512 << 10)
                    .write_deadline(Duration::from_millis(100))
                    .ping_interval(None)
            },
            reply,
        );
        let sockets = sockets(process::id());
        let control = probed.open().0;
        Fuzzed { probed, control, connected: 1, sockets, seen: BTreeMap::new() }
    }

    /// Sends a case, in one piece and cut up, and judges the answers.
    fn try_case(&mut self, case: &Case) {
        self.count(case.ending.name().to_owned());
        if case.ending == Ending::Greedy {
            return self.be_greedy(case);
        }
        let whole = [case.pieces.concat()];
        let (output, events) = self.converse(&whole, Ending::HalfClose);
        let answers = answers(&output).unwrap_or_else(|wrong| panic!("{wrong}: {}", output.escape_ascii()));
        if let Some(right) = &case.answers {
            assert_eq!(&answers, right, "in one piece");
        }
        for answer in &answers {
            self.count(match answer {
                Answer::Response(status, _) => format!("{status}"),
                Answer::Frame(Wire { first: 0x88, payload }) if payload.len() > 1 => {
                    format!("Close {}", u16::from_be_bytes([payload[0], payload[1]]).min(3000))
                }
                Answer::Frame(Wire { first, .. }) => format!("frame {first:#x}"),
            });
        }
        let opened = answers.contains(&Answer::Response(101, false));
        assert_eq!(events.is_some(), opened, "open ran if, and only if, there was a 101");
        // After the server's own Close, the peer gets time to answer it.
        let ends_itself = match answers.last() {
            Some(Answer::Response(_, last)) => *last,
            Some(Answer::Frame(frame)) => frame.first == 0x88 && frame != &close_frame(4000, "asked to"),
            None => false,
        };
        let ending = match case.ending {
            Ending::Patient if !ends_itself => Ending::HalfClose,
            ending => ending,
        };
        let (again, same_events) = self.converse(&case.pieces, ending);
        if matches!(ending, Ending::HalfClose | Ending::Patient) {
            let (output, again) = (output.escape_ascii().to_string(), again.escape_ascii().to_string());
            assert_eq!(again, output, "in pieces, {ending:?}");
            assert_eq!(same_events, events, "in pieces, {ending:?}");
        }
    }

    fn count(&mut self, what: String) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// One connection, from its beginning to its end: the answers without their dates, and the handler's events, if it
    /// was opened.
    fn converse(&mut self, pieces: &[Vec<u8>], ending: Ending) -> (Vec<u8>, Option<Vec<Event>>) {
        let raw = self.connect();
        let write = |mut stream: &TcpStream| {
            for (index, piece) in pieces.iter().enumerate() {
                stream.write_all(piece).expect("the server reads until the client ends");
                if index < 20 {
                    // Lets the server see the pieces one by one.
                    thread::yield_now();
                }
            }
            if ending == Ending::HalfClose {
                stream.shutdown(Shutdown::Write).expect("the server ends after the client");
            }
        };
        let mut output = Vec::new();
        match ending {
            Ending::Reset | Ending::Leave => write(&raw.stream),
            // Inflated messages may get more answers than the kernel buffers without a reader.
            _ => thread::scope(|scope| {
                scope.spawn(|| write(&raw.stream));
                (&raw.stream).read_to_end(&mut output).expect("the server ends in order");
            }),
        }
        // A server that has sent a Close reads for 5 seconds more, or until this point.
        if ending == Ending::Reset {
            raw.reset()
        } else {
            drop(raw)
        }
        let events = self.settle();
        (without_dates(&output), events)
    }

    fn be_greedy(&mut self, case: &Case) {
        const ENOUGH: usize = 64 << 20;
        let before = self.probed.server.stats().slow_consumers;
        let mut raw = self.connect();
        let mut sent = 0;
        let last = case.pieces.last().expect("has something to repeat");
        for piece in case.pieces.iter().chain(std::iter::repeat(last)) {
            if raw.stream.write_all(piece).is_err() {
                break;
            }
            sent += piece.len();
            assert!(sent < ENOUGH, "a client that never reads is served for ever");
        }
        assert!(self.settle().is_some(), "was open");
        assert_eq!(self.probed.server.stats().slow_consumers, before + 1, "is counted");
    }

    fn connect(&mut self) -> Raw {
        let raw = Raw::connect(self.probed.addr);
        raw.stream.set_write_timeout(Some(DEADLINE)).expect("a write timeout");
        self.connected += 1;
        raw
    }

    /// Waits until only the steady client is left. Returns the other one's events, between its one `open` and its one
    /// `on_close`.
    fn settle(&mut self) -> Option<Vec<Event>> {
        let settled = || {
            let stats = self.probed.server.stats();
            stats.accepted == self.connected && stats.clients == 1
        };
        // Usually it takes microseconds.
        for _ in 0..100 {
            if settled() {
                break;
            }
            thread::yield_now();
        }
        eventually("the client's thread ends", settled);
        let mut events: Vec<_> = self.probed.events.try_iter().collect();
        assert_eq!(panics().as_slice(), [""; 0]);
        if events.is_empty() {
            return None;
        }
        assert!(matches!(events.remove(0), Event::Open(_)), "open comes first, then {events:?}");
        let ends = events.iter().filter(|event| matches!(event, Event::Close(..))).count();
        assert_eq!(ends, 1, "one on_close in {events:?}");
        assert!(matches!(events.last(), Some(Event::Close(..))), "nothing after on_close in {events:?}");
        assert!(!events.iter().any(|event| matches!(event, Event::Open(_))), "one open in {events:?}");
        Some(events)
    }

    /// The steady client gets service, and no thread or socket has leaked.
    fn check(&mut self) {
        self.control.send_frame(0x81, "still here");
        assert_eq!(self.control.frame(), frame(0x81, "still here"));
        self.probed.expect_message("still here");
        eventually("sockets are back, the staying client's two aside", || {
            sockets(process::id()) == self.sockets + 2
        });
        eventually("threads are back, but for the staying client's", || server_threads().len() == 4);
    }

    /// Checks that everything has been released.
    fn finish(mut self) {
        self.check();
        drop(self.control);
        eventually("the last client is gone", || self.probed.server.stats().clients == 0);
        eventually("its thread is gone", || server_threads() == ["closer", "listener", "reaper"]);
        eventually("its sockets are gone", || sockets(process::id()) == self.sockets);
        self.probed.server.shutdown();
        eventually("no thread of the server is left", || server_threads().is_empty());
        assert_eq!(panics().as_slice(), [""; 0]);
    }
}

// ---- events that fail the test ----

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn panics() -> MutexGuard<'static, Vec<String>> {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records every panic of a server's thread that no handler was asked for, and every log line that could harm a
/// terminal.
fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref() == Some(&"asked to") {
                return;
            }
            let name = thread::current().name().unwrap_or_default().to_owned();
            if SERVER_THREADS.iter().any(|prefix| name.starts_with(prefix)) {
                panics().push(format!("{name}: {info}"));
            }
            default(info);
        }));
        log::set_logger(&LogWatch).expect("the only logger");
        log::set_max_level(log::LevelFilter::Debug);
    });
}

struct LogWatch;

impl log::Log for LogWatch {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        if record.target().starts_with("threadcast") && line.contains(char::is_control) {
            panics().push(format!("a log line with control characters: {line:?}"));
        }
    }

    fn flush(&self) {}
}

/// Names the input if the test ends with it.
struct Culprit<'a> {
    name: String,
    case: &'a Case,
}

impl Drop for Culprit<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.case", self.name));
            let kept = fs::write(&path, self.case.to_text());
            eprintln!("the input is {}, kept in {} ({kept:?})", self.name, path.display());
        }
    }
}

/// These tests count the threads and sockets of this process, so they run one after the other.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {value:?}")))
}

// ---- the tests ----

#[test]
fn inputs_that_once_broke_something_are_survived() {
    let _one = one_at_a_time();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<_> =
        fs::read_dir(directory).expect("lists the corpus").flatten().map(|file| file.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "case"));
    files.sort();
    let mut fuzzed = Fuzzed::start();
    for file in files {
        let case = Case::from_text(&fs::read_to_string(&file).expect("reads"));
        let _culprit =
            Culprit { name: file.file_stem().unwrap_or_default().to_string_lossy().into(), case: &case };
        fuzzed.try_case(&case);
        fuzzed.check();
    }
    fuzzed.finish();
}

#[test]
fn generated_input_is_answered_or_refused_and_nothing_else_happens() {
    let _one = one_at_a_time();
    let seconds = number("THREADCAST_FUZZ_SECONDS");
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(SEED, |since| since.as_secs() << 20);
    let seed = number("THREADCAST_FUZZ_SEED").unwrap_or_else(|| if seconds.is_some() { now() } else { SEED });
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    println!("fuzzing from THREADCAST_FUZZ_SEED={seed}");
    let mut fuzzed = Fuzzed::start();
    let mut cases = 0;
    while Instant::now() < end {
        let case = Case::generate(seed.wrapping_add(cases));
        let _culprit =
            Culprit { name: format!("THREADCAST_FUZZ_SEED={}", seed.wrapping_add(cases)), case: &case };
        fuzzed.try_case(&case);
        cases += 1;
        if cases % CHECK_EVERY == 0 {
            fuzzed.check();
        }
    }
    println!("fuzzed {cases} cases, {} connections, {:?}", fuzzed.connected, fuzzed.seen);
    fuzzed.finish();
}

#[test]
fn a_case_is_written_to_a_file_and_read_back() {
    for seed in 0..300 {
        let case = Case::generate(seed);
        assert_eq!(Case::generate(seed), case, "seed {seed} makes one case");
        let read = Case::from_text(&case.to_text());
        assert_eq!((&read.pieces, read.ending), (&case.pieces, case.ending), "seed {seed}");
        assert_eq!(read.answers.unwrap_or_default(), case.answers.unwrap_or_default(), "seed {seed}");
    }
}
