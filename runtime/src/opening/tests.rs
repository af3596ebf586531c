//! Only who knows the token gets through, in either direction, and nothing that was said before helps.
#![allow(clippy::unwrap_used)]

use super::*;

fn key(token: &str) -> Option<hmac::Key> {
    Some(hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes()))
}

/// What one end comes to.
type Outcome = Result<(), Refusal>;

/// Lets two ends talk in pieces of `step` bytes; what each comes to, and what each has said. An end that has refused
/// hangs up once its last words are taken.
fn talk(mut ends: [(Opening, Say); 2], step: usize) -> ([Outcome; 2], [Vec<u8>; 2]) {
    let mut said = [ends[0].1.bytes().to_vec(), ends[1].1.bytes().to_vec()];
    let mut outcomes = [None, None];
    let mut heard = [0, 0];
    loop {
        let mut silent = true;
        for me in 0..2 {
            if outcomes[me].is_some() {
                continue;
            }
            let opening = &mut ends[me].0;
            if opening.wants() == 0 {
                outcomes[me] = Some(Ok(()));
                continue;
            }
            let there = &said[1 - me][heard[me]..];
            let n = there.len().min(step).min(opening.wants());
            if n == 0 {
                continue;
            }
            silent = false;
            heard[me] += n;
            let came = there[..n].to_vec();
            match opening.take(&came) {
                Ok(say) => said[me].extend_from_slice(say.bytes()),
                Err((refusal, say)) => {
                    said[me].extend_from_slice(say.bytes());
                    outcomes[me] = Some(Err(refusal));
                }
            }
        }
        if silent {
            break;
        }
    }
    let mut me = 0;
    let outcomes = outcomes.map(|outcome| {
        let judged = ends[me].0.is_judged();
        me += 1;
        outcome.unwrap_or(Err(if judged { Refusal::Proof } else { Refusal::HungUp }))
    });
    (outcomes, said)
}

fn connects(key: Option<hmac::Key>, nonce: u8) -> (Opening, Say) {
    Opening::with_nonce(End::Connects, Channel::Scheduler, key, [nonce; 32])
}

fn accepts(key: Option<hmac::Key>, nonce: u8) -> (Opening, Say) {
    Opening::with_nonce(End::Accepts, Channel::Scheduler, key, [nonce; 32])
}

#[test]
fn who_knows_the_token_gets_through_and_nobody_else_does() {
    for step in [1, 7, 48, 1_000] {
        let (outcomes, said) = talk([connects(key("right"), 1), accepts(key("right"), 2)], step);
        assert_eq!(outcomes, [Ok(()), Ok(())]);
        assert_eq!([said[0].len(), said[1].len()], [80, 80]);
        assert_eq!(talk([connects(None, 1), accepts(None, 2)], step).0, [Ok(()), Ok(())]);

        // Each is told what is missing; whoever has no token or a wrong one hears a challenge and no proof.
        let (outcomes, said) = talk([connects(key("wrong"), 1), accepts(key("right"), 2)], step);
        assert_eq!(outcomes, [Err(Refusal::Proof), Err(Refusal::Proof)]);
        assert_eq!(said[1].len(), 48);
        let (outcomes, said) = talk([connects(None, 1), accepts(key("right"), 2)], step);
        assert_eq!(outcomes, [Err(Refusal::TokenAsked), Err(Refusal::TokenUnknown)]);
        assert_eq!(said[1].len(), 48);
        let (outcomes, said) = talk([connects(key("right"), 1), accepts(None, 2)], step);
        assert_eq!(outcomes, [Err(Refusal::TokenUnknown), Err(Refusal::TokenAsked)]);
        assert_eq!(said[0].len(), 48, "no proof for somebody who knows no token");
    }
}

#[test]
fn a_stranger_hears_nothing_and_another_version_a_challenge() {
    for (first, refusal, n_heard) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Refusal::Magic, 0),
        (b"PHALAX", Refusal::Magic, 0),
        (b"\x16\x03\x01\x02\x00", Refusal::OnlyTls, 0),
        (b"PHALANX\n\x63\x01\x01\0\0\0\0\0................................", Refusal::Form, 48),
        (b"PHALANX\n\x01\x02\x01\0\0\0\0\0................................", Refusal::Channel, 48),
        (b"PHALANX\n\x01\x01\x07\0\0\0\0\0................................", Refusal::Form, 48),
        (b"PHALANX\n\x01\x01\x01\0\0\0\0\x01................................", Refusal::Form, 48),
    ] {
        let (mut opening, say) = accepts(key("right"), 1);
        assert!(say.bytes().is_empty());
        let (found, say) = opening.take(first).unwrap_err();
        assert_eq!((found, say.bytes().len()), (refusal, n_heard));
    }
}

#[test]
fn what_was_said_once_is_of_no_use() {
    let (_, said) = talk([connects(key("right"), 1), accepts(key("right"), 2)], 1_000);
    let replayed = |mut opening: Opening| {
        let mut bytes = &said[0][..];
        while opening.wants() > 0 && !bytes.is_empty() {
            let (now, rest) = bytes.split_at(opening.wants().min(bytes.len()));
            bytes = rest;
            if let Err((refusal, _)) = opening.take(now) {
                return Err(refusal);
            }
        }
        Ok(())
    };
    assert_eq!(replayed(accepts(key("right"), 2).0), Ok(()), "the same nonce, which never happens");
    assert_eq!(replayed(accepts(key("right"), 3).0), Err(Refusal::Proof));
    let data = Opening::with_nonce(End::Accepts, Channel::Data, key("right"), [2; 32]).0;
    assert_eq!(replayed(data), Err(Refusal::Channel));
}

#[test]
fn what_one_says_himself_does_not_convince_him() {
    // A mirror: it sends back to the connecting end whatever that says.
    let (mut opening, say) = connects(key("right"), 1);
    let proof = opening.take(say.bytes()).unwrap();
    assert_eq!(opening.take(proof.bytes()).unwrap_err().0, Refusal::Proof);
}

#[test]
fn a_code_of_another_kind_of_port_is_refused_there() {
    // Whoever sits between sends a proof for the data port on to the scheduler, with the channel changed.
    let (mut client, first) = Opening::with_nonce(End::Connects, Channel::Data, key("right"), [1; 32]);
    let mut changed = first.bytes().to_vec();
    changed[9] = Channel::Scheduler as u8;
    let (mut server, _) = accepts(key("right"), 2);
    let mut second = server.take(&changed).unwrap().bytes().to_vec();
    second[9] = Channel::Data as u8;
    let proof = client.take(&second).unwrap();
    assert_eq!(server.take(proof.bytes()).unwrap_err().0, Refusal::Proof);
}

#[test]
fn bytes_that_are_no_opening_never_get_through() {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    for round in 0..20_000 {
        let end = if round % 2 == 0 { End::Accepts } else { End::Connects };
        let (mut opening, _) = Opening::with_nonce(end, Channel::Scheduler, key("right"), [1; 32]);
        let mut bytes: Vec<u8> = (0..100).map(|_| next()).collect();
        bytes[..16].copy_from_slice(b"PHALANX\n\x01\x01\x01\0\0\0\0\0");
        bytes[usize::from(next()) % 100] ^= next();
        let mut rest = &bytes[..];
        let refused = loop {
            assert!(opening.wants() > 0, "let in after {bytes:?}");
            let n = (1 + usize::from(next()) % 50).min(opening.wants()).min(rest.len());
            if n == 0 {
                break false;
            }
            if opening.take(&rest[..n]).is_err() {
                break true;
            }
            rest = &rest[n..];
        };
        assert!(refused, "{bytes:?}");
    }
}
