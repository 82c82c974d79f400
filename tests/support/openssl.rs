//! Makes certificates with `openssl`, and inspects those of a server.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::support::Directory;

pub const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
pub const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";

/// Runs `openssl` in a directory. Returns its output.
pub fn openssl(directory: &Directory, args: &str) -> String {
    let mut command = Command::new("openssl");
    let output = command.args(args.split(' ')).current_dir(directory.path()).stdin(Stdio::null()).output();
    let output = output.expect("these tests need openssl");
    assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes `NAME.key`, PKCS#8, and `NAME.pem`, its certificate.
pub fn make(directory: &Directory, name: &str, algorithm: &str) {
    openssl(directory, &format!("genpkey {algorithm} -out {name}.key"));
    let subject = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1";
    openssl(directory, &format!("req -x509 -key {name}.key {subject} -days 30 -out {name}.pem"));
}

/// The certificate that a new connection gets, as PEM.
pub fn certificate_of(addr: SocketAddr) -> String {
    let mut command = Command::new("openssl");
    let output = command.args(["s_client", "-connect", &addr.to_string()]).stdin(Stdio::null()).output();
    let output = output.expect("these tests need openssl");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = said.find("-----BEGIN").unwrap_or_else(|| panic!("no certificate: {said}"));
    let end = said.find("-----END CERTIFICATE-----\n").expect("a whole certificate");
    said[begin..end].to_owned() + "-----END CERTIFICATE-----\n"
}
