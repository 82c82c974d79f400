//! The comparison's command line.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use threadcast_compare::experiment::{Experiment, Kind, Times};
use threadcast_compare::failure::Failure;
use threadcast_compare::load::{self, Scenario, Target};
use threadcast_compare::manifest::Manifest;
use threadcast_compare::program::interval;
use threadcast_compare::report::{charts, page};
use threadcast_compare::results::Results;
use threadcast_compare::runner::{self, Trial};
use threadcast_compare::{agree, bench, calls, command_line, greeter, lab, scale, values};

/// The manifest beside this crate's sources.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/variants.toml");
/// Connections on which echoes go to and fro.
const ECHO_SIZES: [usize; 3] = [1, 50, 500];
/// Clients that get JSON, compressed where the server does that.
const JSON_CLIENTS: usize = 1000;
/// Clients that watch while another one's handler blocks.
const WATCHERS: usize = 50;
/// Clients that never read.
const STALLED: usize = 10;
/// Clients of a push, and rounds: in full, and in a hurry.
const SIZES: [usize; 2] = [1000, 10_000];
const ROUNDS: usize = 3;
const QUICK_SIZES: [usize; 1] = [1000];
const QUICK_ROUNDS: usize = 1;

/// Measures threadcast beside other WebSocket servers that do the same job
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure all variants; write results.json, charts and the page of the results
    Run(RunOptions),
    /// Print the target ratios of threadcast, a line each; missing one is not a failure
    Bench {
        #[command(flatten)]
        which: Which,
        /// Rounds in which the variants take turns
        #[arg(long, default_value_t = ROUNDS, value_parser = values::count)]
        rounds: usize,
        /// Goals to measure: those of variants whose name has this in it [default: all]
        #[arg(long, default_value = "", hide_default_value = true)]
        of: String,
    },
    /// Count the system calls of a client's life, with strace
    Calls(Which),
    /// Write charts and pages again, from an earlier results.json
    Report(Output),
    /// Compare the ratios of two runs
    Agree { first: PathBuf, second: PathBuf },
    /// Have the same conversation in three programs: straight-line, callbacks, async; and see where one hangs
    Greeter {
        #[command(flatten)]
        which: Which,
        /// Conversations, all of which stay
        #[arg(long, default_value_t = 1000, value_parser = values::count)]
        clients: usize,
        /// Directory for what a debugger shows where one hangs
        #[arg(long, default_value = "target/greeter")]
        out: PathBuf,
    },
    /// Measure what a client costs here, compute what a million would take, and check that against a fleet of three
    Scale {
        #[command(flatten)]
        which: Which,
        /// Clients of the check, the most that this machine takes
        #[arg(long, default_value_t = 15_000, value_parser = values::count)]
        clients: usize,
        /// Between two messages to everybody, in the table that is computed
        #[arg(long, default_value = "1s", value_parser = interval::parse_time)]
        interval: std::time::Duration,
        /// Bytes of a message, in the table that is computed
        #[arg(long, default_value_t = 26, value_parser = values::bytes)]
        message: usize,
    },
    /// Open the lab of threadcast, with other servers beside it, until Ctrl-C
    Lab(LabOptions),
    /// Load one server that runs already, and print the figures as JSON
    Load {
        #[command(flatten)]
        target: Target,
        #[command(subcommand)]
        scenario: Scenario,
    },
}

/// Which variants there are.
#[derive(Args)]
struct Which {
    /// The manifest
    #[arg(long, default_value = MANIFEST)]
    manifest: PathBuf,
    /// Directory of the built programs, instead of this program's own
    #[arg(long)]
    bin: Option<PathBuf>,
}

/// Where results go.
#[derive(Args)]
struct Output {
    /// Directory for results.json, the charts and their page
    #[arg(long, default_value = "target/compare")]
    out: PathBuf,
    /// README that has the few rows between its two markers
    #[arg(long)]
    readme: Option<PathBuf>,
    /// Page of the manual that has what a wait costs between its two markers
    #[arg(long)]
    lesson: Option<PathBuf>,
}

#[derive(Args)]
struct RunOptions {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    output: Output,
    /// A first impression, in less than three minutes; none that a README should tell
    #[arg(long, conflicts_with_all = ["readme", "lesson"])]
    quick: bool,
    /// Numbers of clients to push to
    #[arg(long, value_delimiter = ',', value_parser = values::count)]
    sizes: Vec<usize>,
    /// Rounds in which the variants take turns
    #[arg(long, value_parser = values::count)]
    rounds: Option<usize>,
    /// Variants to measure, instead of all
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Experiments to make, instead of all but idle
    #[arg(long, value_delimiter = ',', value_enum)]
    experiments: Vec<Kind>,
    /// Interval of the clocks where pushes are measured, whatever the number of clients
    #[arg(long, value_parser = interval::parse_time)]
    interval: Option<std::time::Duration>,
    /// Pushes to measure each time
    #[arg(long, value_parser = values::count)]
    pushes: Option<usize>,
}

#[derive(Args)]
struct LabOptions {
    #[command(flatten)]
    which: Which,
    /// Variants to show beside the lab
    #[arg(long, value_delimiter = ',', default_values = lab::COLUMNS)]
    only: Vec<String>,
    /// Interval of the variants' clocks
    #[arg(long, default_value = "250ms", value_parser = interval::parse_time)]
    interval: std::time::Duration,
    /// Options for the threadcast that serves the page
    #[arg(last = true)]
    arguments: Vec<String>,
}

fn main() -> ExitCode {
    let outcome = match command_line::options::<Options>().command {
        Command::Run(options) => run(&options),
        Command::Bench { which, rounds, of } => run_bench(&which, rounds, &of),
        Command::Calls(which) => {
            which.read().and_then(|manifest| calls::line(&manifest)).map(|line| println!("{line}"))
        }
        Command::Report(output) => {
            Results::read(&output.out.join("results.json")).and_then(|results| report(&results, &output))
        }
        Command::Agree { first, second } => run_agree(&first, &second),
        Command::Greeter { which, clients, out } => {
            which.read().and_then(|manifest| greeter::run(&manifest, clients, &out))
        }
        Command::Scale { which, clients, interval, message } => {
            which.read().and_then(|manifest| scale::run(&manifest, clients, interval, message))
        }
        Command::Lab(options) => run_lab(&options),
        Command::Load { target, scenario } => run_load(&target, &scenario),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &RunOptions) -> Result<(), Failure> {
    let mut manifest = options.which.read()?;
    manifest.keep(&options.only)?;
    let (mut times, sizes, rounds) = if options.quick {
        (Times::QUICK, QUICK_SIZES.as_slice(), QUICK_ROUNDS)
    } else {
        (Times::FULL, SIZES.as_slice(), ROUNDS)
    };
    for pushes in [&mut times.few, &mut times.some, &mut times.many] {
        pushes.interval = options.interval.unwrap_or(pushes.interval);
        pushes.count = options.pushes.unwrap_or(pushes.count).max(1);
    }
    let sizes = if options.sizes.is_empty() { sizes } else { &options.sizes };
    let rounds = options.rounds.unwrap_or(rounds).max(1);
    let trials = options.trials(sizes);
    runner::create_directory(&options.output.out)?;
    let path = options.output.out.join("results.json");
    runner::run(&manifest, &trials, rounds, &times, &mut |results| results.write(&path))?;
    // As written, with five digits: `report` then makes the same pages.
    report(&Results::read(&path)?, &options.output)
}

fn report(results: &Results, output: &Output) -> Result<(), Failure> {
    charts::write(results, &output.out)?;
    page::write(results, &output.out, output.readme.as_deref(), output.lesson.as_deref())?;
    println!("{}\n{} has all tables and charts", page::verdicts(results), output.out.display());
    Ok(())
}

fn run_bench(which: &Which, rounds: usize, of: &str) -> Result<(), Failure> {
    let manifest = which.read()?;
    let results = runner::run(&manifest, &bench::trials(of), rounds.max(1), &Times::FULL, &mut |_| Ok(()))?;
    for line in bench::lines(&results, of) {
        println!("{line}");
    }
    Ok(())
}

fn run_agree(first: &Path, second: &Path) -> Result<(), Failure> {
    let lines = agree::compare(&Results::read(first)?, &Results::read(second)?);
    if lines.is_empty() {
        return Err(Failure::new("the runs have no ratio in common"));
    }
    lines.iter().for_each(|line| println!("{line}"));
    Ok(())
}

fn run_lab(options: &LabOptions) -> Result<(), Failure> {
    let mut manifest = options.which.read()?;
    manifest.keep(&options.only)?;
    let program = options.which.programs()?.join("threadcast");
    lab::run(&manifest, &program, options.interval, &options.arguments)
}

fn run_load(target: &Target, scenario: &Scenario) -> Result<(), Failure> {
    let figures = load::run(target, scenario)?;
    println!("{}", serde_json::json!(figures));
    Ok(())
}

impl Which {
    fn read(&self) -> Result<Manifest, Failure> {
        Manifest::read(&self.manifest, &self.programs()?)
    }

    fn programs(&self) -> Result<PathBuf, Failure> {
        match &self.bin {
            Some(bin) => Ok(bin.clone()),
            None => runner::own_directory(),
        }
    }
}

impl RunOptions {
    /// The experiments of this run, the small ones first.
    fn trials(&self, sizes: &[usize]) -> Vec<Trial> {
        let wanted = |kind| match self.experiments.as_slice() {
            // How many are held takes too long for a first impression.
            [] => !(self.quick && kind == Kind::Hold),
            kinds => kinds.contains(&kind),
        };
        let mut experiments: Vec<_> = sizes.iter().map(|size| Experiment::new(Kind::Push, *size)).collect();
        experiments.push(Experiment::new(Kind::Json, JSON_CLIENTS));
        experiments.extend(ECHO_SIZES.map(|size| Experiment::new(Kind::Echo, size)));
        experiments.push(Experiment::new(Kind::Blocked, WATCHERS));
        experiments.push(Experiment::new(Kind::Stalled, STALLED));
        experiments.push(Experiment::new(Kind::Hold, bench::ATTEMPTS));
        for kind in [Kind::Idle, Kind::Churn] {
            if self.experiments.contains(&kind) {
                experiments.extend(sizes.iter().map(|size| Experiment::new(kind, *size)));
            }
        }
        let wanted = experiments.into_iter().filter(|experiment| wanted(experiment.kind));
        wanted.map(|experiment| Trial { experiment, only: Vec::new() }).collect()
    }
}
