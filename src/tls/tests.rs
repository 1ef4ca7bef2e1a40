use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{Error, RootCertStore};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::authority::{Authority, LEAF_DAYS};
use super::fingerprint::whole;
use super::names::Names;
use super::server::Certificates;
use super::verifier::Verifier;
use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn lab() -> Names {
    Names::new("lab3.school.example", ["192.168.1.5", "203.0.113.7", "fe80::1"].map(|ip| ip.parse().unwrap()), &[])
}

/// A host of `--host`.
fn host(host: &str) -> TypedHost {
    TypedHost { flag: "--host", host: host.into(), may_be_proxy: false }
}

fn at(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap())
}

/// Checks a chain as a client does that has installed the CA.
fn check(ca: &CertificateDer<'static>, chain: &[CertificateDer<'static>], host: &str) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).unwrap();
    let roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    roots.verify_server_cert(&chain[0], &chain[1..], &name, &[], at(SystemTime::now())).map(|_| ())
}

/// Checks a chain as a client does that trusts only a fingerprint.
fn check_pinned(pin: Fingerprint, chain: &[CertificateDer<'static>]) -> Result<(), Error> {
    let verifier = Verifier { roots: None, pin: Some(pin), provider: provider() };
    let name = ServerName::try_from("any.name").unwrap();
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], at(SystemTime::now())).map(|_| ())
}

#[test]
fn a_fingerprint_is_the_one_that_other_programs_show() {
    let fingerprint = Fingerprint::of(b"certificate");
    let shown = fingerprint.to_string();
    assert_eq!(shown.len(), "sha256:".len() + 32);
    let whole = whole(b"certificate");
    assert_eq!(whole.len(), 32 * 3 - 1);
    for text in [&shown, &shown["sha256:".len()..], &shown.to_uppercase(), &whole, &format!("sha256:{whole}")] {
        assert_eq!(text.parse(), Ok(fingerprint), "{text}");
    }
    for bad in ["", "sha256:", "sha256:0011", &shown[..shown.len() - 1], "sha1:00112233445566778899aabbccddeeff"] {
        assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
    }
    assert!(format!("{whole}:00").parse::<Fingerprint>().is_err());
}

#[test]
fn an_identity_is_a_fingerprint_or_a_name() {
    let shown = Fingerprint::of(b"certificate").to_string();
    assert_eq!(shown.parse(), Ok(Identity::Certificate(Fingerprint::of(b"certificate"))));
    assert_eq!("School.example".parse(), Ok(Identity::Name("school.example".into())));
    for bad in ["", "sha256:00", "a b", "a/b", "192.168.1.5", "user@host"] {
        assert!(bad.parse::<Identity>().is_err(), "{bad}");
    }
}

#[test]
fn the_names_of_a_computer_are_those_that_only_it_can_have() {
    let names = |hostname: &str| Names::new(hostname, [], &[]).dns.into_iter().collect::<Vec<_>>();
    assert_eq!(names("lab3"), ["lab3", "lab3.local", "localhost"]);
    assert_eq!(names("PC-12"), ["localhost", "pc-12", "pc-12.local"]);
    assert_eq!(names("dev"), ["dev.local", "localhost"], "there is a top-level domain .dev");
    assert_eq!(names("xn--p1ai"), ["localhost", "xn--p1ai.local"]);
    assert_eq!(names("lab.school.example"), ["lab.local", "lab.school.example", "localhost"]);
    for bad in ["", "a b", "a..b", "_x", "a/b"] {
        assert_eq!(names(bad), ["localhost"], "{bad}");
    }
    let typed = Names::new("", [], &["Class.School.example", "dev", "a b", "198.51.100.1"].map(host));
    assert_eq!(typed.list(), "class.school.example, localhost, 127.0.0.1, 198.51.100.1, ::1", "hosts of --host");
    assert!(!lab().addresses.contains(&"fe80::1".parse::<IpAddr>().unwrap()), "it needs a zone");
}

#[test]
fn the_ca_is_made_once_and_only_its_owner_can_read_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::load_or_make(dir.path(), &lab()).unwrap();
    let again = Authority::load_or_make(dir.path(), &Names::default()).unwrap();
    assert_eq!(ca.fingerprint(), again.fingerprint());
    let path = dir.path().join("ca.pem");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&path).unwrap().contains("PRIVATE KEY"));
    assert!(!ca.pem().contains("PRIVATE KEY"), "this is what everybody may download");
    assert_eq!(Fingerprint::of(&CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()), ca.fingerprint());
}

#[test]
fn two_processes_that_start_together_have_the_same_ca() {
    let dir = tempfile::tempdir().unwrap();
    let make = || Authority::load_or_make(dir.path(), &lab()).unwrap().fingerprint();
    let made: Vec<Fingerprint> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().all(|fingerprint| *fingerprint == made[0]), "{made:?}");
}

#[test]
fn a_broken_ca_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&one, &other] {
        Authority::load_or_make(dir.path(), &lab()).unwrap();
    }
    let read = |dir: &Path| fs::read_to_string(dir.join("ca.pem")).unwrap();
    let (one, other) = (read(one.path()), read(other.path()));
    let mixed = one.split("-----BEGIN CERTIFICATE").next().unwrap().to_owned()
        + &other[other.find("-----BEGIN CERTIFICATE").unwrap()..];
    for broken in ["", "no pem", &one[..one.len() / 2], &mixed] {
        fs::write(dir.path().join("ca.pem"), broken).unwrap();
        let error = Authority::load_or_make(dir.path(), &lab()).err().unwrap().to_string();
        assert!(error.contains("ca.pem") && error.contains("remove the file"), "{error}");
        assert_eq!(read(dir.path()), broken);
    }
}

#[test]
fn a_certificate_is_valid_for_every_name_and_address_of_the_computer() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::load_or_make(dir.path(), &lab()).unwrap();
    let issued = ca.issue(&lab(), SystemTime::now()).unwrap();
    assert!(issued.left_out.is_empty());
    let root = CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap();
    for host in
        ["lab3", "lab3.local", "lab3.school.example", "localhost", "192.168.1.5", "203.0.113.7", "127.0.0.1", "::1"]
    {
        check(&root, &issued.key.cert, host).unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    for host in ["other.local", "192.168.1.6", "school.example"] {
        assert!(check(&root, &issued.key.cert, host).is_err(), "{host}");
    }
    let (_, leaf) = X509Certificate::from_der(&issued.key.cert[0]).unwrap();
    let validity = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
    assert!(validity <= 398 * 24 * 3600, "browsers accept no more");
    let lasts = issued.expires.duration_since(SystemTime::now()).unwrap();
    assert!(lasts > DAY * (LEAF_DAYS - 1) && lasts <= DAY * LEAF_DAYS);
}

#[test]
fn a_name_that_the_ca_may_not_sign_for_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::load_or_make(dir.path(), &lab()).unwrap();
    let moved = Names::new("lab4.other.example", ["10.9.8.7", "198.51.100.1"].map(|ip| ip.parse().unwrap()), &[]);
    let issued = ca.issue(&moved, SystemTime::now()).unwrap();
    let root = CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap();
    for host in ["10.9.8.7", "lab4.local"] {
        check(&root, &issued.key.cert, host).unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    assert_eq!(issued.left_out.list(), "lab4, lab4.other.example, 198.51.100.1");
}

/// The certificate that a thief of the CA's key makes for a host.
fn forged(dir: &Path, host: &str) -> Vec<CertificateDer<'static>> {
    let pem = fs::read_to_string(dir.join("ca.pem")).unwrap();
    let certificate = pem[pem.find("-----BEGIN CERTIFICATE").unwrap()..].to_owned();
    let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(&pem).unwrap()).unwrap();
    let name = host.parse::<IpAddr>().map(SanType::IpAddress);
    let mut params = CertificateParams::default();
    params.subject_alt_names.push(name.unwrap_or_else(|_| SanType::DnsName(host.try_into().unwrap())));
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
    vec![leaf.into(), CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()]
}

#[test]
fn a_stolen_ca_key_makes_no_certificate_for_the_internet() {
    let dir = tempfile::tempdir().unwrap();
    Authority::load_or_make(dir.path(), &lab()).unwrap();
    for host in ["bank.example", "localhost.example", "1.1.1.1", "2606:4700::1111"] {
        let chain = forged(dir.path(), host);
        assert!(check(&chain[1], &chain, host).is_err(), "{host}");
    }
    for host in ["printer.local", "192.168.1.1"] {
        let chain = forged(dir.path(), host);
        assert_eq!(check(&chain[1], &chain, host), Ok(()), "{host}: the documented limit of the protection");
    }
}

#[test]
fn a_fingerprint_is_that_of_the_server_or_of_its_ca_whatever_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::load_or_make(dir.path(), &lab()).unwrap();
    let chain = ca.issue(&lab(), SystemTime::now()).unwrap().key.cert;
    assert_eq!(check_pinned(ca.fingerprint(), &chain), Ok(()));
    assert_eq!(check_pinned(Fingerprint::of(&chain[0]), &chain[..1]), Ok(()));
    assert!(check_pinned(Fingerprint::of(b"another"), &chain).is_err());
    assert!(check_pinned(ca.fingerprint(), &chain[..1]).is_err(), "the CA is not in the chain");

    let other = tempfile::tempdir().unwrap();
    let stranger = Authority::load_or_make(other.path(), &lab()).unwrap();
    let leaf = stranger.issue(&lab(), SystemTime::now()).unwrap().key.cert.swap_remove(0);
    let borrowed = [leaf, chain[1].clone()];
    assert!(check_pinned(ca.fingerprint(), &borrowed).is_err(), "the known CA did not sign this certificate");
}

#[test]
fn a_certificate_is_renewed_for_new_addresses_and_before_it_expires() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::load_or_make(dir.path(), &lab()).unwrap();
    let start = SystemTime::now();
    let mut certificates = Certificates::own(ca, &lab(), Vec::new(), start).unwrap();
    let identity = certificates.identity();
    let first = certificates.current.get();
    certificates.check(&lab(), start + DAY);
    assert!(Arc::ptr_eq(&first, &certificates.current.get()), "nothing is due");

    let moved = Names::new("lab3.school.example", ["10.1.1.1".parse().unwrap()], &[]);
    certificates.check(&moved, start + DAY);
    let second = certificates.current.get();
    assert!(!Arc::ptr_eq(&first, &second));
    check(&second.cert[1], &second.cert, "10.1.1.1").unwrap();

    let expires = certificates.expires();
    certificates.check(&moved, expires - 31 * DAY);
    assert!(Arc::ptr_eq(&second, &certificates.current.get()));
    certificates.check(&moved, expires - 29 * DAY);
    assert!(certificates.expires() > expires);
    assert_eq!(certificates.identity(), identity, "clients recognize the CA");
    assert_eq!(certificates.take_warnings(), [""; 0]);
}

#[test]
fn a_name_that_a_flag_gives_later_needs_a_new_ca_and_the_warning_says_which_file_to_remove() {
    let dir = tempfile::tempdir().unwrap();
    Authority::load_or_make(dir.path(), &lab()).unwrap();
    let proxy = TypedHost { flag: "--public-url", host: "proxy.example".into(), may_be_proxy: true };
    let typed = vec![host("class.school.example"), host("198.51.100.1"), host("10.0.0.9"), host("teacher"), proxy];
    let names = Names::new("lab3.school.example", [], &typed);
    let certificates = || {
        let ca = Authority::load_or_make(dir.path(), &names).unwrap();
        Certificates::own(ca, &names, typed.clone(), SystemTime::now()).unwrap()
    };
    let mut old = certificates();
    let chain = old.current.get().cert.clone();
    for host in ["lab3.school.example", "10.0.0.9"] {
        check(&chain[1], &chain, host).unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    assert!(check(&chain[1], &chain, "class.school.example").is_err());
    let warnings = old.take_warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("the certificate is not for teacher (--host), so browsers warn there: "));
    assert!(warnings[0].contains("take one with a dot"), "{warnings:?}");
    let missing = "class.school.example (--host), proxy.example (--public-url), 198.51.100.1 (--host)";
    assert!(warnings[1].starts_with(&format!("the certificate is not for {missing}, so")), "{warnings:?}");
    let file = dir.path().join("ca.pem");
    assert!(warnings[1].contains(&format!("Remove {} and start again", file.display())), "{warnings:?}");
    assert!(warnings[1].contains("--tls-cert") && warnings[1].ends_with("certificate of its own needs neither"));

    // The step that the warning names.
    fs::remove_file(file).unwrap();
    let mut new = certificates();
    assert_ne!(new.identity(), old.identity(), "every computer must install the new CA");
    let chain = new.current.get().cert.clone();
    for host in ["lab3.school.example", "10.0.0.9", "class.school.example", "198.51.100.1", "proxy.example"] {
        check(&chain[1], &chain, host).unwrap_or_else(|error| panic!("{host}: {error}"));
    }
    assert_eq!(new.take_warnings().len(), 1, "only the name that may be a top-level domain");
}

/// A certificate and its key in files, signed by nobody.
fn write_pair(dir: &Path, name: &str, not_after: SystemTime) -> Fingerprint {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_after = not_after.into();
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(dir.join("c.pem"), certificate.pem()).unwrap();
    fs::write(dir.join("k.pem"), key.serialize_pem()).unwrap();
    Fingerprint::of(certificate.der())
}

#[test]
fn files_are_read_again_once_they_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let first = write_pair(dir.path(), "school.example", now + 90 * DAY);
    let (certificate, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
    let mut certificates = Certificates::files(certificate.clone(), key.clone(), Vec::new(), now).unwrap();
    assert_eq!(certificates.identity(), Identity::Name("school.example".into()));
    let served = |certificates: &Certificates| Fingerprint::of(&certificates.current.get().cert[0]);
    let look = |certificates: &mut Certificates| certificates.check(&lab(), now);
    look(&mut certificates);
    assert_eq!(served(&certificates), first);

    let second = write_pair(dir.path(), "school.example", now + 90 * DAY);
    look(&mut certificates);
    assert_eq!(served(&certificates), first, "the files may still be written");
    look(&mut certificates);
    assert_eq!(served(&certificates), second);

    fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    (0..5).for_each(|_| look(&mut certificates));
    assert_eq!(served(&certificates), second, "the broken file is not used");
    let warnings = certificates.take_warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("c.pem") && warnings[0].ends_with("the certificate before stays in use"));

    let third = write_pair(dir.path(), "school.example", now + 90 * DAY);
    fs::remove_file(&key).unwrap();
    (0..3).for_each(|_| look(&mut certificates));
    assert!(certificates.take_warnings()[0].contains("k.pem"));
    assert_eq!(served(&certificates), second);
    assert_ne!(third, write_pair(dir.path(), "new.example", now + 90 * DAY));
    (0..2).for_each(|_| look(&mut certificates));
    assert_eq!(certificates.identity(), Identity::Name("new.example".into()));
}

#[test]
fn a_wildcard_is_for_the_names_of_flags() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let leaf = write_pair(dir.path(), "*.school.example", now + 90 * DAY);
    let read = |typed: &[TypedHost]| {
        let (certificate, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
        Certificates::files(certificate, key, typed.to_vec(), now).unwrap()
    };
    let mut named = read(&[host("a.other.example"), host("class.school.example"), host("a.b.school.example")]);
    assert_eq!(named.names(), ["class.school.example"]);
    assert_eq!(named.identity(), Identity::Name("class.school.example".into()), "a renewal changes nothing");
    let warnings = named.take_warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let other = "is for *.school.example and not for a.other.example (--host), so browsers warn there";
    assert!(warnings[0].ends_with(other) && warnings[1].contains("a.b.school.example"), "{warnings:?}");

    let mut nameless = read(&[]);
    assert_eq!(nameless.names(), [""; 0]);
    assert_eq!(nameless.identity(), Identity::Certificate(leaf));
    let warnings = nameless.take_warnings();
    assert!(warnings.len() == 1 && warnings[0].ends_with("add --host NAME.school.example"), "{warnings:?}");

    let public = |name: &str| TypedHost { flag: "--public-url", host: name.into(), may_be_proxy: true };
    for (name, names) in [("class.school.example", vec!["class.school.example"]), ("proxy.example", vec![])] {
        let mut behind_proxy = read(&[public(name)]);
        assert_eq!(
            (behind_proxy.names(), behind_proxy.take_warnings()),
            (names.iter().map(ToString::to_string).collect(), vec![])
        );
    }

    // A new certificate is judged like the first.
    let mut renewed = read(&[host("class.school.example")]);
    write_pair(dir.path(), "new.example", now + 90 * DAY);
    (0..2).for_each(|_| renewed.check(&lab(), now));
    assert_eq!(renewed.names(), ["new.example"]);
    assert!(renewed.take_warnings()[0].contains("not for class.school.example (--host)"));
}

#[test]
fn unusable_files_are_refused_with_the_flag() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let now = SystemTime::now();
    write_pair(one.path(), "a.example", now + DAY);
    write_pair(other.path(), "a.example", now + DAY);
    let (certificate, key) = (one.path().join("c.pem"), one.path().join("k.pem"));
    let refused = |certificate: &Path, key: &Path| {
        Certificates::files(certificate.into(), key.into(), Vec::new(), now).err().unwrap().to_string()
    };
    let none = one.path().join("none");
    assert!(refused(&none, &key).contains("check --tls-cert"));
    assert!(refused(&key, &key).contains("give --tls-cert the file"));
    assert!(refused(&certificate, &certificate).contains("give --tls-key the file"));
    assert!(refused(&certificate, &other.path().join("k.pem")).contains("one pair"));
}

#[test]
fn the_end_of_a_certificate_is_announced_once() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    write_pair(dir.path(), "a.example", now + 30 * DAY);
    let (certificate, key) = (dir.path().join("c.pem"), dir.path().join("k.pem"));
    let mut certificates = Certificates::files(certificate, key, Vec::new(), now).unwrap();
    assert_eq!(certificates.take_warnings(), [""; 0]);
    for day in 0..40 {
        certificates.check(&lab(), now + day * DAY);
    }
    let warnings = certificates.take_warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("expires in 1"), "{warnings:?}");
}

#[test]
fn known_servers_are_kept_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let known = KnownServers::at(dir.path().join("known-servers"));
    let (one, other) = (Identity::Certificate(Fingerprint::of(b"1")), Identity::Name("school.example".into()));
    assert_eq!(known.get("room:1"), None);
    known.remember("room:1", &one).unwrap();
    known.remember("host:1", &other).unwrap();
    assert_eq!((known.get("room:1"), known.get("host:1")), (Some(one.clone()), Some(other.clone())));
    known.remember("room:1", &other).unwrap();
    assert_eq!((known.get("room:1"), known.get("room:11")), (Some(other.clone()), None));
    for number in 0..1_010 {
        known.remember(&format!("room:x{number}"), &one).unwrap();
    }
    assert_eq!((known.get("room:1"), known.get("room:x1009")), (None, Some(one)), "the oldest goes first");
    fs::write(dir.path().join("known-servers"), "no line\nroom:2 \nroom:1 school.example\n").unwrap();
    assert_eq!((known.get("room:2"), known.get("room:1")), (None, Some(other)));
}
