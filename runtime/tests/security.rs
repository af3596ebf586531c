//! Who may join and who may not, and that strangers disturb nobody who works.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::{LONG, Numbers, Running, add, any_port, dot, leaf, numbers, scheduler, tree};
use phalanx_runtime::{
    Client, ClientOptions, Error, Scheduler, SchedulerOptions, Security, Tls, Token, WorkerOptions, run_worker,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};

const RIGHT: &str = "a token that nobody guesses, of many letters";
const WRONG: &str = "a token that is not of this cluster at all..";

/// What this side says first, with a nonce that is the same every time.
fn opening(channel: u8, knows_a_token: bool) -> Vec<u8> {
    let mut bytes = b"PHALANX\n".to_vec();
    bytes.extend_from_slice(&[1, channel, u8::from(knows_a_token), 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&[7; 32]);
    bytes
}

fn token(text: &str) -> Security {
    Security { token: Some(Token::new(text).unwrap()), tls: None }
}

fn keeps(security: &Security) -> SchedulerOptions {
    SchedulerOptions { security: security.clone(), ..any_port() }
}

fn as_client(security: &Security) -> ClientOptions {
    // Long enough for whatever is tried again, which a refusal is not.
    ClientOptions { security: security.clone(), connect_for: Duration::from_millis(300), ..ClientOptions::default() }
}

fn worker(url: &str, security: &Security) -> Running {
    let (url, security) = (url.to_owned(), security.clone());
    Running::start(move |stopped| async move {
        let options = WorkerOptions { n_threads: 1, security, ..WorkerOptions::default() };
        run_worker(&url, &options, async { drop(stopped.await) }).await
    })
}

async fn refused(url: &str, security: &Security) -> String {
    let error = Client::connect_with(url, &as_client(security)).await.unwrap_err();
    error.to_string().replace(url, "URL")
}

#[tokio::test]
async fn who_knows_the_token_works_and_nobody_else_joins() {
    let (_scheduler, url) = scheduler(keeps(&token(RIGHT)));
    let _workers = [worker(&url, &token(RIGHT)), worker(&url, &token(RIGHT))];
    let client = Client::connect_with(&url, &as_client(&token(RIGHT))).await.unwrap();
    client.wait_for_workers(2, LONG).await.unwrap();
    assert_eq!(client.compute(&tree(1_000)).await, Ok(499_500));
    // Through the workers' own ports.
    let large = Numbers((0..300_000).map(f64::from).collect());
    assert!(client.scatter(large.clone()).await.unwrap() == large);

    let wrong = "cannot join URL: refused: the token is not that of the cluster, or it is no phalanx scheduler";
    assert_eq!(refused(&url, &token(WRONG)).await, wrong);
    let none = "cannot join URL: it asks for the cluster's token; give --token-file FILE or set PHALANX_TOKEN";
    assert_eq!(refused(&url, &Security::default()).await, none);
    let options = WorkerOptions { security: token(WRONG), ..WorkerOptions::default() };
    let ended = run_worker(&url, &options, std::future::pending()).await;
    assert_eq!(ended.unwrap_err().to_string().replace(&url, "URL"), wrong);

    // Nor does a client say anything to a scheduler that does not know its token.
    let (_open, url) = scheduler(any_port());
    let unknown = "cannot join URL: it knows no token, and so is not of the cluster whose token was given";
    assert_eq!(refused(&url, &token(RIGHT)).await, unknown);
}

/// Says things to a port until it is told to stop; what it has heard of the port, at most, on one connection.
fn pester(address: &str, stop: &AtomicBool, say: impl Fn(usize) -> Vec<u8>) -> usize {
    let mut most = 0;
    let mut round = 0;
    while !stop.load(Ordering::SeqCst) {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        stream.set_read_timeout(Some(LONG)).unwrap();
        // It may hang up in the middle.
        let _ = stream.write_all(&say(round));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        most = most.max(heard.len());
        round += 1;
    }
    most
}

#[tokio::test]
async fn strangers_learn_nothing_and_disturb_nobody() {
    let (_scheduler, url) = scheduler(keeps(&token(RIGHT)));
    let _worker = worker(&url, &token(RIGHT));
    let client = Client::connect_with(&url, &as_client(&token(RIGHT))).await.unwrap();
    client.wait_for_workers(1, LONG).await.unwrap();
    let data = client.workers()[0].address.to_string();
    let place = |url: &str| url.strip_prefix("tcp://").unwrap().to_owned();

    // What a client of the cluster once said, as somebody could have written down who listened.
    let once = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let trap = format!("tcp://{}", listener.local_addr().unwrap());
        let listens = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut said = vec![0; 80];
            stream.read_exact(&mut said[..48]).unwrap();
            stream.write_all(&opening(1, true)).unwrap();
            stream.read_exact(&mut said[48..]).unwrap();
            said
        });
        assert!(refused(&trap, &token(RIGHT)).await.contains("refused: the token"), "it did not prove itself");
        listens.join().unwrap()
    };

    let stop = Arc::new(AtomicBool::new(false));
    let mut strangers = Vec::new();
    for (channel, address) in [(1, place(&url)), (2, place(&data))] {
        let once = once.clone();
        let say = move |round: usize| match round % 6 {
            // A proof that is none, a conversation that was heard, no token, none at all.
            0 => [opening(channel, true), vec![9; 32]].concat(),
            1 => once.clone(),
            2 => opening(channel, false),
            3 => b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            // A frame of 4 GiB before the proof, and instead of everything.
            4 => [opening(channel, true), vec![0xFF; 100_000]].concat(),
            _ => vec![0xFF; 1_000],
        };
        let stop = Arc::clone(&stop);
        strangers.push(std::thread::spawn(move || pester(&address, &stop, say)));
    }
    // Many who say nothing, or a byte now and then.
    let mut idle = Vec::new();
    let mut n_sent_away = 0;
    for round in 0..1_000 {
        let address = if round % 2 == 0 { place(&url) } else { place(&data) };
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        idle.push(stream);
        for (byte, stream) in opening(1, true).iter().zip(&mut idle) {
            let _ = stream.write(&[*byte]);
        }
        if round % 100 == 0 {
            assert_eq!(client.compute(&tree(50)).await, Ok(1_225));
            let n = 200_000;
            let product = dot::delayed(numbers::delayed(n, 0.), Numbers(vec![1.; 200_000]));
            assert_eq!(client.compute(&product).await, Ok((n * (n - 1) / 2) as f64));
            let another = Client::connect_with(&url, &as_client(&token(RIGHT))).await.unwrap();
            let large = another.scatter(Numbers(vec![2.; 50_000]));
            assert!(large.await.unwrap() == Numbers(vec![2.; 50_000]));
        }
    }
    // All but the last 256 at each port were sent away without a word.
    for stream in &mut idle[..400] {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        match stream.read(&mut [0; 100]) {
            Ok(0) => n_sent_away += 1,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => n_sent_away += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(n_sent_away, 400);
    stop.store(true, Ordering::SeqCst);
    for stranger in strangers {
        assert!(stranger.join().unwrap() <= 48, "a challenge is all that a stranger hears");
    }
    assert_eq!(client.compute(&add::delayed(leaf::delayed(1), 2_u64)).await, Ok(3));
}

/// This machine's address for others; none where it has only loopback.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing.
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test]
async fn anywhere_but_on_loopback_a_token_is_needed_and_enough() {
    let open = SchedulerOptions { listen: "tcp://0.0.0.0:0".into(), ..SchedulerOptions::default() };
    let error = Scheduler::bind(&open).await.err();
    assert_eq!(error, Some(Error::NotLoopback { url: "tcp://0.0.0.0:0".into() }));
    let options = WorkerOptions { listen: Some("tcp://0.0.0.0:0".into()), ..WorkerOptions::default() };
    let ended = run_worker("tcp://127.0.0.1:1", &options, std::future::pending()).await;
    assert_eq!(ended, Err(Error::NotLoopback { url: "tcp://0.0.0.0:0".into() }));

    let Some(address) = own_address() else { return };
    let listen = format!("tcp://{address}:0");
    let (_scheduler, url) = scheduler(SchedulerOptions { listen, ..keeps(&token(RIGHT)) });
    let _worker = worker(&url, &token(RIGHT));
    let client = Client::connect_with(&url, &as_client(&token(RIGHT))).await.unwrap();
    client.wait_for_workers(1, LONG).await.unwrap();
    // Others find the worker where it finds the scheduler.
    let data = client.workers()[0].address.to_string();
    assert!(data.starts_with(&format!("tcp://{address}:")), "{data}");
    let large = Numbers(vec![1.; 100_000]);
    assert!(client.scatter(large.clone()).await.unwrap() == large);
    assert!(refused(&url, &Security::default()).await.contains("asks for the cluster's token"));
}

/// An authority of its own, and a certificate by it that is good for `hosts` and for `usages`.
fn certificates(
    folder: &Path,
    hosts: &[&str],
    usages: Vec<ExtendedKeyUsagePurpose>,
) -> (Tls, impl Fn(&[&str]) -> Tls + use<>) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let ca = folder.join("ca.pem");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(&ca, authority.pem()).unwrap();
    let folder = folder.to_owned();
    let sign = move |hosts: &[&str], usages: Vec<ExtendedKeyUsagePurpose>| {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let name = hosts.join("_");
        let mut params = CertificateParams::new(hosts).unwrap();
        params.extended_key_usages = usages;
        let pair = KeyPair::generate().unwrap();
        let write = |name: String, text: String| -> PathBuf {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let cert = write(format!("{name}.pem"), params.signed_by(&pair, &authority).unwrap().pem());
        let key = write(format!("{name}-key.pem"), pair.serialize_pem());
        Tls { cert, key, ca: ca.clone() }
    };
    let first = sign(hosts, usages);
    (first, move |hosts: &[&str]| {
        sign(hosts, vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth])
    })
}

fn tls(tls: &Tls) -> Security {
    Security { token: None, tls: Some(tls.clone()) }
}

fn both() -> Vec<ExtendedKeyUsagePurpose> {
    vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
}

#[tokio::test]
async fn with_tls_everything_works_and_only_certificates_of_the_cluster_are_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let (server, sign) = certificates(&folder.path().join("ours"), &["phalanx"], both());
    let ours = tls(&server);
    let (_scheduler, url) = scheduler(keeps(&ours));
    let _workers = [worker(&url, &ours), worker(&url, &ours)];
    let client = Client::connect_with(&url, &as_client(&ours)).await.unwrap();
    client.wait_for_workers(2, LONG).await.unwrap();
    assert_eq!(client.compute(&tree(2_000)).await, Ok(1_999_000));
    let large = Numbers((0..2_000_000).map(f64::from).collect());
    let there = client.scatter(large.clone());
    assert!(there.clone().await.unwrap() == large, "16 MB there and back");
    let ones = Numbers(vec![1.; 2_000_000]);
    assert_eq!(client.compute(&dot::delayed(&there, ones)).await, Ok(1_999_999_000_000.));
    let many: Vec<_> = (0..200).map(|n| numbers::delayed(n * 10, 0.5)).collect();
    let expected: Vec<_> = (0..200).map(|n| numbers(n * 10, 0.5)).collect();
    assert_eq!(client.compute(&many).await, Ok(expected));

    // Somebody else's certificates: neither end believes the other.
    let (theirs, _) = certificates(&folder.path().join("theirs"), &["phalanx"], both());
    let not_ours = "cannot join URL: TLS: the other end's certificate is not by the authority in --tls-ca";
    assert_eq!(refused(&url, &tls(&theirs)).await, not_ours);
    let mixed = Tls { ca: server.ca.clone(), ..theirs };
    let not_believed = "cannot join URL: TLS: the other end refuses this program's certificate: it is not by the authority \
                        that it believes";
    assert_eq!(refused(&url, &tls(&mixed)).await, not_believed);

    // No TLS where there is TLS, and the other way round.
    let only_tls =
        "cannot join URL: the other end speaks TLS and this one does not; give --tls-cert, --tls-key and --tls-ca";
    assert_eq!(refused(&url, &Security::default()).await, only_tls);
    assert_eq!(refused(&url, &token(RIGHT)).await, only_tls);
    let (_plain, plain) = scheduler(any_port());
    let error = refused(&plain, &ours).await;
    assert!(error.starts_with("no scheduler answers at URL (") && error.contains("start one"), "{error}");

    // A name that is neither the host nor the cluster's own, and then one that is the host.
    let (_named, named) = scheduler(keeps(&tls(&sign(&["head.example.org"]))));
    let another_name = "cannot join URL: TLS: the other end's certificate is neither for the host in its address nor for the \
                        name `phalanx`";
    assert_eq!(refused(&named, &ours).await, another_name);
    let (_here, here) = scheduler(keeps(&tls(&sign(&["127.0.0.1"]))));
    Client::connect_with(&here, &as_client(&ours)).await.unwrap();
}

#[tokio::test]
async fn a_client_with_its_certificate_cannot_pose_as_the_scheduler() {
    let folder = tempfile::tempdir().unwrap();
    let (client, sign) = certificates(folder.path(), &["phalanx"], vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let (_false, url) = scheduler(keeps(&tls(&client)));
    let error = refused(&url, &tls(&sign(&["phalanx"]))).await;
    assert!(error.starts_with("cannot join URL: TLS: "), "{error}");
}

#[tokio::test]
async fn a_token_and_tls_together_are_both_needed() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = certificates(folder.path(), &["phalanx"], both());
    let security = Security { tls: Some(server.clone()), ..token(RIGHT) };
    let (_scheduler, url) = scheduler(keeps(&security));
    let _worker = worker(&url, &security);
    let client = Client::connect_with(&url, &as_client(&security)).await.unwrap();
    assert_eq!(client.compute(&tree(100)).await, Ok(4_950));
    assert!(refused(&url, &tls(&server)).await.contains("it asks for the cluster's token"));
    let wrong = Security { tls: Some(server), ..token(WRONG) };
    assert!(refused(&url, &wrong).await.contains("refused: the token"));
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, sign) = certificates(folder.path(), &["phalanx"], both());
    let said = |tls: Tls| async move {
        let options = SchedulerOptions { security: Security { token: None, tls: Some(tls) }, ..any_port() };
        Scheduler::bind(&options).await.unwrap_err().to_string()
    };
    let missing = said(Tls { cert: "no/such.pem".into(), ..ours.clone() }).await;
    assert_eq!(missing, "cannot use the certificate in no/such.pem: no such file or directory");
    let no_key = said(Tls { key: ours.ca.clone(), ..ours.clone() }).await;
    assert_eq!(no_key, format!("cannot use the key in {}: there is none in the file; expected PEM", ours.ca.display()));
    let another = sign(&["other"]);
    let not_its_key = said(Tls { key: another.key.clone(), ..ours.clone() }).await;
    assert!(not_its_key.ends_with(&format!("is {} its key?", another.key.display())), "{not_its_key}");
}
