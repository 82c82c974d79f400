//! A Python with Tornado, redis-py and a WebSocket client from PyPI, in a virtual environment under `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The packages to install, beside `websockets`, which has the version that `tests/compare` measures.
const PACKAGES: [&str; 2] = ["tornado>=6,<7", "redis>=5,<8"];
/// Where that version is.
const PINS: &str = include_str!("../compare/variants/requirements.txt");
/// Fails if they are missing.
const CHECK: &str = "import sys, redis, tornado, websockets.version as websockets\n\
     sys.exit(tornado.version_info[0] != 6 or f'websockets=={websockets.version}' != sys.argv[1])";

/// The Python of that environment; the first test that asks creates it.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match PYTHON.get_or_init(install) {
        Ok(python) => python,
        Err(what) => {
            panic!("this test needs python3 with venv, and Tornado, websockets and redis from PyPI: {what}")
        }
    }
}

fn install() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("is below target");
    let venv = target.join("test-venv");
    let python = venv.join("bin").join("python");
    let websockets =
        PINS.lines().find(|line| line.starts_with("websockets==")).ok_or("no pin of websockets")?;
    let check = || run(Command::new(&python).args(["-c", CHECK, websockets]));
    if python.exists() && check().is_ok() {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", websockets]).args(PACKAGES))?;
    check()?;
    Ok(python)
}

/// Runs a command to its end. The error is one line: the command, and the last line of its output.
pub fn run(command: &mut Command) -> Result<(), String> {
    let ended = command.stdin(Stdio::null()).output();
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    let shown = format!("`{} {}`", command.get_program().to_string_lossy(), args.join(" "));
    let output = ended.map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no reason given");
    Err(format!("{shown}: {last}"))
}
