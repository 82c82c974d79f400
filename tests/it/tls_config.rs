//! The files that `TlsConfig` accepts, and its errors for others. `openssl` makes the certificates.

use crate::support;
use support::openssl;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use openssl::{P256, RSA, make, openssl};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::ResolvesServerCertUsingSni;
use support::Directory;
use threadcast::TlsConfig;

/// The result for two files: `ok`, or the error.
fn from_files(directory: &Directory, chain: &str, key: &str) -> String {
    let [chain, key] = [chain, key].map(|name| directory.0.join(name));
    let said =
        TlsConfig::from_pem_files(chain, key).map_or_else(|error| error.to_string(), |_| "ok".to_owned());
    said.replace(&format!("{}/", directory.path()), "")
}

#[test]
fn keys_of_every_usual_kind_and_form_are_taken() {
    let files = Directory::new("tls-keys");
    let p384 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
    for (name, algorithm) in [("p256", P256), ("p384", p384), ("ed25519", "-algorithm ED25519"), ("rsa", RSA)]
    {
        make(&files, name, algorithm);
    }
    openssl(&files, "ec -in p256.key -out sec1.key");
    openssl(&files, "rsa -in rsa.key -traditional -out pkcs1.key");
    let read = |name: &str| fs::read_to_string(files.0.join(name)).unwrap();
    assert!(read("sec1.key").contains("BEGIN EC PRIVATE") && read("pkcs1.key").contains("BEGIN RSA PRIVATE"));
    // As `openssl ecparam -genkey` writes it, with text around it, with line ends of another system, all in one file.
    files.write(
        "parameters.key",
        format!(
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{}",
            read("sec1.key")
        ),
    );
    files.write("crlf.pem", format!("subject=CN = localhost\r\n{}", read("p256.pem").replace('\n', "\r\n")));
    files.write("all.pem", format!("{}{}{}", read("p256.key"), read("p256.pem"), read("rsa.pem")));
    let (p256, rsa) = (read("p256.pem"), read("rsa.pem"));
    // As an editor of another system saves it; with an older label; with a manual's indentation; joined without a final
    // newline.
    files.write("mark.pem", format!("\u{feff}{p256}\u{feff}{rsa}"));
    files.write("old.pem", p256.replace("CERTIFICATE", "X509 CERTIFICATE"));
    files.write("indented.pem", format!("    {}", p256.replace('\n', "\n    ")));
    files.write("joined.pem", format!("{}{}", p256.trim_end(), rsa));
    files.write("joined.key", format!("{}{}", p256.trim_end(), read("p256.key").trim_end()));
    files.write("latin-1.pem", [b"subject=CN = B\xfccher\n", p256.as_bytes()].concat());
    for (chain, key) in [
        ("mark.pem", "p256.key"),
        ("old.pem", "p256.key"),
        ("indented.pem", "p256.key"),
        ("joined.pem", "p256.key"),
        ("joined.pem", "joined.key"),
        ("joined.key", "joined.key"),
        ("latin-1.pem", "p256.key"),
        ("p256.pem", "p256.key"),
        ("p384.pem", "p384.key"),
        ("ed25519.pem", "ed25519.key"),
        ("rsa.pem", "rsa.key"),
        ("p256.pem", "sec1.key"),
        ("rsa.pem", "pkcs1.key"),
        ("p256.pem", "parameters.key"),
        ("crlf.pem", "sec1.key"),
        ("all.pem", "all.pem"),
    ] {
        assert_eq!(from_files(&files, chain, key), "ok", "{chain} {key}");
    }
    assert!(TlsConfig::from_pem(read("rsa.pem"), read("pkcs1.key")).is_ok());
}

#[test]
fn an_error_in_a_file_is_one_line() {
    let files = Directory::new("tls-wrong");
    for (name, algorithm) in [
        ("good", P256),
        ("other", P256),
        ("rsa", RSA),
        ("p521", "-algorithm EC -pkeyopt ec_paramgen_curve:P-521"),
        ("short", "-algorithm RSA -pkeyopt rsa_keygen_bits:1024"),
    ] {
        make(&files, name, algorithm);
    }
    openssl(&files, "pkcs8 -topk8 -in good.key -passout pass:secret -out encrypted.key");
    openssl(&files, "rsa -in rsa.key -traditional -aes128 -passout pass:secret -out encrypted-pkcs1.key");
    openssl(&files, "x509 -in good.pem -outform DER -out good.der");
    let good = fs::read_to_string(files.0.join("good.pem")).unwrap();
    openssl(&files, "pkey -in good.key -outform DER -out key.der");
    let other = fs::read_to_string(files.0.join("other.pem")).unwrap();
    files.write("authority-first.pem", other.clone() + &good);
    files.write("trusted.pem", good.clone() + &other.replace("CERTIFICATE", "TRUSTED CERTIFICATE"));
    files.write("unknown.pem", good.clone() + &other.replace("CERTIFICATE", "X509 CRL"));
    files.write("unbegun.pem", good.clone() + "-----END CERTIFICATE-----\n");
    files.write("unnamed.pem", good.clone() + "-----BEGIN CERTIFICATE\n");
    files.write("unended.pem", good.replace("-----END CERTIFICATE-----", "") + &other);
    files.write("commented.pem", good.clone() + &other.replace("\n", "\n# "));
    files.write("crossed.pem", good.replace("END CERTIFICATE", "END X509 CERTIFICATE"));
    let utf_16: Vec<u8> = ("\u{feff}".to_owned() + &good).encode_utf16().flat_map(u16::to_le_bytes).collect();
    files.write("utf-16.pem", utf_16);
    openssl(&files, "req -new -key good.key -subj /CN=localhost -out v1.csr");
    openssl(&files, "x509 -req -in v1.csr -key good.key -out v1.pem");
    files.write("torn.pem", &good[..good.len() / 2]);
    files.write("no-base64.pem", good.replacen("MII", "M!I", 1));
    files.write("no-certificate.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    files.write("empty", "");
    files.write("large", vec![b'\n'; (1 << 20) + 1]);
    fs::create_dir(files.0.join("directory")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, files.0.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    for (chain, key, line) in [
        ("gone", "good.key", "cannot read the certificate gone: No such file or directory"),
        ("good.pem", "gone", "cannot read the private key gone: No such file or directory"),
        ("directory", "good.key", "cannot read the certificate directory: it is not a file"),
        ("good.pem", "directory", "cannot read the private key directory: it is not a file"),
        ("good.pem", "pipe", "cannot read the private key pipe: it is not a file"),
        ("good.pem/x", "good.key", "cannot read the certificate good.pem/x: Not a directory"),
        ("large", "good.key", "cannot read the certificate large: it has more than 1 MiB"),
        ("empty", "good.key", "empty has no certificate: its PEM begins with -----BEGIN CERTIFICATE-----"),
        ("good.der", "good.key", "good.der has no certificate: it is binary: convert it to PEM with openssl"),
        ("good.pem", "key.der", "key.der has no private key: it is binary: convert it to PEM with openssl"),
        (
            "authority-first.pem",
            "good.key",
            "good.key does not belong to the first certificate of authority-first.pem, which must be the server's own",
        ),
        ("good.key", "good.pem", "good.key has no certificate, but a private key: are the two exchanged?"),
        (
            "good.pem",
            "good.pem",
            "good.pem has no private key: its PEM begins with -----BEGIN PRIVATE KEY-----",
        ),
        (
            "trusted.pem",
            "good.key",
            "trusted.pem has an unsupported PEM block, number 2, \"TRUSTED CERTIFICATE\"; openssl x509 makes",
        ),
        (
            "unknown.pem",
            "good.key",
            "unknown.pem has an unsupported PEM block, number 2, \"X509 CRL\"; remove it",
        ),
        ("good.pem", "trusted.pem", "trusted.pem has an unsupported PEM block, number 2"),
        ("unbegun.pem", "good.key", "unbegun.pem is damaged: its PEM block 2 is incomplete"),
        ("unnamed.pem", "good.key", "unnamed.pem is damaged: its PEM block 2 is incomplete"),
        ("unended.pem", "good.key", "unended.pem is damaged: its PEM block 1 is incomplete"),
        ("commented.pem", "good.key", "commented.pem is damaged: its PEM block 2 is incomplete"),
        ("crossed.pem", "good.key", "crossed.pem is damaged: its PEM block 1 is incomplete"),
        ("utf-16.pem", "good.key", "utf-16.pem is in UTF-16: save it as UTF-8"),
        (
            "v1.pem",
            "good.key",
            "the first certificate of v1.pem cannot be read: it is an X.509 certificate of version 1, which TLS clients refuse: make one of version 3",
        ),
        ("torn.pem", "good.key", "torn.pem is damaged: its PEM block"),
        ("no-base64.pem", "good.key", "no-base64.pem is damaged: its PEM block"),
        ("no-certificate.pem", "good.key", "the first certificate of no-certificate.pem cannot be read"),
        ("good.pem", "other.key", "other.key does not belong to the first certificate of good.pem"),
        ("good.pem", "rsa.key", "rsa.key does not belong to the first certificate of good.pem"),
        ("good.pem", "encrypted.key", "the private key of encrypted.key is encrypted"),
        ("rsa.pem", "encrypted-pkcs1.key", "the private key of encrypted-pkcs1.key is encrypted"),
        ("p521.pem", "p521.key", "the private key of p521.key is of an unsupported kind: use RSA of 2048"),
        ("short.pem", "short.key", "the private key of short.key is of an unsupported kind: use RSA of 2048"),
    ] {
        let said = from_files(&files, chain, key);
        assert!(said.starts_with(line) && !said.contains('\n'), "{chain} {key}: {said}");
    }
    fs::set_permissions(files.0.join("good.key"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(files.0.join("good.key")).is_err() {
        // Root may read it.
        let line = "cannot read the private key good.key: Permission denied";
        assert_eq!(from_files(&files, "good.pem", "good.key"), line);
    }
    let said = TlsConfig::from_pem("", "").unwrap_err().to_string();
    assert!(said.starts_with("the certificate's PEM has no certificate"), "{said}");
}

#[test]
fn a_rustls_configuration_is_accepted_unless_it_offers_an_unsupported_protocol() {
    let make = |change: fn(&mut ServerConfig)| {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        change(&mut config);
        TlsConfig::from_rustls(Arc::new(config)).map_or_else(|error| error.to_string(), |_| "ok".to_owned())
    };
    assert_eq!(make(|_| {}), "ok");
    assert_eq!(make(|config| config.alpn_protocols = vec![b"http/1.1".to_vec()]), "ok");
    let said = make(|config| config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert!(said.contains("offers the protocol h2 (ALPN)"), "{said}");
    let said = make(|config| config.max_early_data_size = 1);
    assert!(said.contains("early data"), "{said}");
}

#[test]
fn debug_does_not_show_the_key() {
    let files = Directory::new("tls-debug");
    make(&files, "good", P256);
    let config = TlsConfig::from_pem_files(files.0.join("good.pem"), files.0.join("good.key")).unwrap();
    assert_eq!(format!("{config:?}"), "TlsConfig { .. }");
}
