use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::*;

/// A certificate and its key, as PEM.
fn made() -> [String; 2] {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    [certificate.pem(), key.serialize_pem()]
}

/// Files in a temporary directory, which is removed on drop.
struct Files {
    chain: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(name: &str) -> Files {
        let directory = std::env::temp_dir().join(format!("threadcast-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        Files { chain: directory.join("chain.pem"), key: directory.join("key.pem") }
    }

    fn write(&self, [chain, key]: &[String; 2]) {
        fs::write(&self.chain, chain).unwrap();
        fs::write(&self.key, key).unwrap();
    }

    fn open(&self) -> CertificateFiles {
        CertificateFiles::open(&self.chain, &self.key, Arc::new(default_provider())).unwrap()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.chain.parent().unwrap());
    }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn changed_files_are_looked_at_once_a_second_and_taken_only_as_a_pair() {
    let (files, [old, new, newer]) = (Files::new("reload"), [(); 3].map(|()| made()));
    files.write(&old);
    let served = files.open();
    let begun = served.0.current().looked;
    let at = |seconds: f64| served.at(begun + Duration::from_secs_f64(seconds)).cert[0].clone();
    assert_eq!(at(0.0), der(&old[0]));
    files.write(&new);
    assert_eq!(at(0.999), der(&old[0]), "nobody has looked");
    assert_eq!(at(1.0), der(&new[0]), "a whole change");
    files.write(&[newer[0].clone(), new[1].clone()]);
    assert_eq!(at(2.0), der(&new[0]), "half a change");
    fs::remove_file(&files.key).unwrap();
    assert_eq!(at(3.0), der(&new[0]), "a file is away");
    files.write(&newer);
    assert_eq!(at(3.9), der(&new[0]), "nobody has looked");
    assert_eq!(at(4.0), der(&newer[0]), "the other half");
    files.write(&["-----BEGIN".to_owned(), newer[1].clone()]);
    assert_eq!(at(5.0), der(&newer[0]), "no certificate");
    let unknown = new[0].replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    files.write(&[old[0].clone() + &unknown, old[1].clone()]);
    assert_eq!(at(6.0), der(&newer[0]), "a block that is not understood");
    let joined =
        format!("\u{feff}{}{}", old[0].trim_end(), new[0].replace("CERTIFICATE", "X509 CERTIFICATE"));
    files.write(&[joined, old[1].clone()]);
    assert_eq!(at(7.0), der(&old[0]), "and back");
    let chain = served.at(begun + Duration::from_secs(7)).cert.clone();
    assert_eq!(chain, [der(&old[0]), der(&new[0])], "two marks on one line");
}

/// Where a test's read blocks, after the first one.
static HANGS: Mutex<()> = Mutex::new(());
static READS: AtomicUsize = AtomicUsize::new(0);

fn read_from_a_disk_that_may_hang(path: &Path) -> io::Result<Vec<u8>> {
    READS.fetch_add(1, Relaxed);
    drop(HANGS.lock());
    fs::read(path)
}

#[test]
fn while_a_read_hangs_connections_get_the_pair_that_is_here_and_no_other_read_begins() {
    let (files, [old, new]) = (Files::new("hangs"), [(); 2].map(|()| made()));
    files.write(&old);
    let provider = Arc::new(default_provider());
    let read = read_from_a_disk_that_may_hang;
    let served = CertificateFiles::open_with(&files.chain, &files.key, provider, read).unwrap();
    files.write(&new);
    let hangs = HANGS.lock().unwrap();
    let begun = Instant::now();
    let at = |seconds: u64| served.at(begun + Duration::from_secs(seconds)).cert[0].clone();
    (1..=50).for_each(|second| assert_eq!(at(second), der(&old[0])));
    assert!(READS.load(Relaxed) <= 3, "the first two, and one that hangs");
    drop(hangs);
    let deadline = begun + Duration::from_secs(60);
    let mut current = served.0.current();
    while current.is_reading && Instant::now() < deadline {
        current = served.0.looked.wait_timeout(current, Duration::from_secs(1)).unwrap().0;
    }
    drop(current);
    assert_eq!(at(50), der(&new[0]), "the read that has hung is over, and taken");
}

#[test]
fn behind_a_poisoned_lock_certificates_are_served() {
    let (files, pems) = (Files::new("poisoned"), made());
    files.write(&pems);
    let served = files.open();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _held = served.0.current.lock();
        panic!("as planned");
    }));
    assert!(panicked.is_err() && served.0.current.is_poisoned());
    assert_eq!(served.at(Instant::now()).cert[0], der(&pems[0]));
}

#[test]
fn debug_shows_the_paths_alone() {
    let files = Files::new("debug");
    files.write(&made());
    let shown = format!("{:?}", files.open());
    assert!(shown.contains("chain.pem") && !shown.contains("BEGIN") && !shown.contains("pair"), "{shown}");
}
