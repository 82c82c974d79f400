//! `variants.toml`: the compared servers. A new one is a new row.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::experiment::Kind;
use crate::failure::{Failure, While};

/// How a server waits for its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// Blocking threads.
    Threads,
    /// An event loop, or several.
    Loop,
    /// Green threads: those of a runtime, of which many share a thread of the kernel.
    Green,
}

/// A row of the manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Name in tables and charts.
    pub name: String,
    /// Threads or loop.
    pub kind: Model,
    /// Program and arguments. `{bin}` is the directory of this program's binary, `{here}` that of the manifest.
    pub command: Vec<String>,
    /// The argument that the port follows.
    pub port: String,
    /// Whether its clients do TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// A command that succeeds where the variant is installed, and prints its version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// How to install the variant if it is missing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub install: String,
    /// Whether it takes part only where it is named, by `--only` or by a goal of the bench.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked: bool,
    /// The experiments that it takes part in; all of them if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Kind>,
}

/// The rows, and the directories that their commands speak of.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The rows in order.
    pub variants: Vec<Variant>,
    bin: PathBuf,
    here: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    variant: Vec<Variant>,
}

impl Manifest {
    /// Reads the manifest at `path`; `bin` is the directory of the built programs.
    pub fn read(path: &Path, bin: &Path) -> Result<Self, Failure> {
        let what = format!("read {}", path.display());
        let text = fs::read_to_string(path).doing(&what)?;
        let file: File = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Failure::new(format!("{what}: line {line}: {}", error.message().replace('\n', " ")))
        })?;
        let path = path.canonicalize().doing(&what)?;
        let manifest = Self {
            variants: file.variant,
            bin: bin.to_owned(),
            here: path.parent().unwrap_or(&path).to_owned(),
        };
        for (index, variant) in manifest.variants.iter().enumerate() {
            let earlier = &manifest.variants[..index];
            if earlier.iter().any(|other| other.name == variant.name) {
                let line = format!("{what}: two variants are named `{}`", variant.name);
                return Err(Failure::new(line));
            }
            if variant.command.is_empty() {
                let line = format!("{what}: `{}` has no command", variant.name);
                return Err(Failure::new(line));
            }
        }
        Ok(manifest)
    }

    /// Keeps the variants of these names; without names, all but those that must be asked for.
    pub fn keep(&mut self, names: &[String]) -> Result<(), Failure> {
        for name in names {
            if !self.variants.iter().any(|variant| variant.name == *name) {
                let line = format!("the manifest has no variant `{name}`");
                return Err(Failure::new(line));
            }
        }
        let wanted = |variant: &Variant| match names {
            [] => !variant.asked,
            names => names.contains(&variant.name),
        };
        self.variants.retain(wanted);
        Ok(())
    }

    /// The directory of the manifest.
    pub fn here(&self) -> &Path {
        &self.here
    }

    /// A command of the manifest, ready to be started.
    pub fn command(&self, words: &[String]) -> Command {
        let words: Vec<_> = words.iter().map(|word| self.fill(word)).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command
    }

    /// The version of an installed variant; otherwise how to install it.
    pub fn installed(&self, variant: &Variant) -> Result<String, String> {
        let hint = || match variant.install.as_str() {
            "" => format!("cannot run `{}`", variant.command[0]),
            hint => hint.to_owned(),
        };
        let check = match variant.needs.as_slice() {
            [] => {
                return self.program_exists(variant).then(String::new).ok_or_else(hint);
            }
            check => check,
        };
        match self.command(check).output() {
            Ok(output) if output.status.success() => {
                let text = String::from_utf8_lossy(&output.stdout);
                Ok(text.lines().next().unwrap_or_default().trim().to_owned())
            }
            _ => Err(hint()),
        }
    }

    fn program_exists(&self, variant: &Variant) -> bool {
        let program = self.fill(&variant.command[0]);
        if program.contains('/') {
            return Path::new(&program).exists();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(&program).exists())
    }

    fn fill(&self, word: &str) -> String {
        word.replace("{bin}", &self.bin.to_string_lossy()).replace("{here}", &self.here.to_string_lossy())
    }
}

impl Variant {
    /// Whether it takes part in this kind of experiment.
    pub fn takes_part_in(&self, kind: Kind) -> bool {
        self.measures.is_empty() || self.measures.contains(&kind)
    }
}
