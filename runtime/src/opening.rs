//! How two programs begin a connection: who speaks Phalanx's protocol at all, and whether both know the token.
//!
//! The token never travels: each side sends a number that it has never sent before, and the other answers with a
//! code that only who knows the token can make of both. Who asks for the connection proves it first, so whoever only
//! connects learns nothing that he could try tokens against; and he says who he is only once he knows that the other
//! end knows the token too. Codes are made with HMAC-SHA256 of everything that was said before, and of who says it,
//! so none can be used again: not on another connection, not at another kind of port, not in the other direction.
//!
//! ```text
//! who connects              who accepts
//!    opening   ─────────────►            48 bytes; whoever says anything else hears nothing
//!              ◄─────────────  opening   48 bytes; without a token frames follow from here
//!    proof     ─────────────►            32 bytes; a wrong one hears nothing
//!              ◄─────────────  proof     32 bytes; frames follow
//!
//! opening := "PHALANX\n" | u8 form | u8 channel | u8 1 where a token is known, else 0 | 5 zeros | 32 bytes nonce
//! ```
//!
//! Pure, and everything in it has a fixed size: whoever it is, until he is known he makes nobody reserve memory.

use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};

/// What both ends say first, so that a stranger is recognised by his first bytes.
const MAGIC: [u8; 8] = *b"PHALANX\n";
/// The version of everything in this file.
const FORM: u8 = 1;
/// Bytes of an opening.
pub(crate) const OPENING: usize = 48;
/// Bytes of a proof.
const PROOF: usize = 32;
/// What the first byte of every TLS record is: of an alert, of a handshake.
const TLS_RECORDS: [u8; 2] = [21, 22];

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Clients and workers meet the scheduler.
    Scheduler = 1,
    /// Results are fetched from a worker.
    Data = 2,
}

/// Which end of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Connects,
    Accepts,
}

/// Why a connection is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Refusal {
    #[error("the other end does not speak Phalanx's protocol")]
    Magic,
    #[error("the other end speaks TLS and this one does not; give --tls-cert, --tls-key and --tls-ca")]
    OnlyTls,
    #[error("the other end speaks another version of Phalanx's protocol")]
    Form,
    #[error("this is the port of a scheduler or of a worker, and the other kind is expected")]
    Channel,
    #[error("it asks for the cluster's token; give --token-file FILE or set PHALANX_TOKEN")]
    TokenAsked,
    #[error("it knows no token, and so is not of the cluster whose token was given")]
    TokenUnknown,
    #[error("refused: the token is not that of the cluster, or it is no phalanx scheduler")]
    Proof,
    #[error("TLS: {reason}")]
    Tls { reason: String },
    #[error("this machine has no random numbers")]
    NoRandom,
    #[error("the other end is silent")]
    Silent,
    #[error("the other end hung up")]
    HungUp,
    #[error("{reason}")]
    Io { reason: String },
}

/// What to send: at most an opening.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Say {
    bytes: [u8; OPENING],
    n_bytes: usize,
}

impl Say {
    const NOTHING: Self = Self { bytes: [0; OPENING], n_bytes: 0 };

    fn of(said: &[u8]) -> Self {
        let mut say = Self::NOTHING;
        say.bytes[..said.len()].copy_from_slice(said);
        say.n_bytes = said.len();
        say
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.n_bytes]
    }
}

/// One end's side of an opening. Send what [`new`](Self::new) and [`take`](Self::take) say, read at most
/// [`wants`](Self::wants) bytes, and hand them to `take`, until it wants no more.
#[derive(Debug)]
pub(crate) struct Opening {
    end: End,
    channel: Channel,
    key: Option<hmac::Key>,
    mine: [u8; OPENING],
    theirs: [u8; OPENING],
    proof: [u8; PROOF],
    /// How many of the bytes above have come.
    n_theirs: usize,
    n_proof: usize,
    done: bool,
}

impl Opening {
    /// Begins, with a nonce from the system; what to send at once.
    pub(crate) fn new(end: End, channel: Channel, key: Option<hmac::Key>) -> Result<(Self, Say), Refusal> {
        let mut nonce = [0; 32];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Refusal::NoRandom)?;
        Ok(Self::with_nonce(end, channel, key, nonce))
    }

    pub(crate) fn with_nonce(end: End, channel: Channel, key: Option<hmac::Key>, nonce: [u8; 32]) -> (Self, Say) {
        let mut mine = [0; OPENING];
        mine[..8].copy_from_slice(&MAGIC);
        mine[8..11].copy_from_slice(&[FORM, channel as u8, u8::from(key.is_some())]);
        mine[16..].copy_from_slice(&nonce);
        let say = if end == End::Connects { Say::of(&mine) } else { Say::NOTHING };
        let opening = Self {
            end,
            channel,
            key,
            mine,
            theirs: [0; OPENING],
            proof: [0; PROOF],
            n_theirs: 0,
            n_proof: 0,
            done: false,
        };
        (opening, say)
    }

    /// How many bytes are still to come; 0 once the connection is made. What follows is not the opening's.
    pub(crate) const fn wants(&self) -> usize {
        if self.done {
            0
        } else if self.n_theirs < OPENING {
            OPENING - self.n_theirs
        } else {
            PROOF - self.n_proof
        }
    }

    /// Whether the other end has been shown a proof: if it hangs up then, it did not believe it.
    pub(crate) fn is_judged(&self) -> bool {
        self.end == End::Connects && self.key.is_some() && self.n_theirs == OPENING
    }

    /// Takes what came, at most [`wants`](Self::wants) bytes; what to send now.
    ///
    /// # Errors
    /// Why there will be no connection. What is to be said nevertheless comes with it.
    pub(crate) fn take(&mut self, came: &[u8]) -> Result<Say, (Refusal, Say)> {
        let came = &came[..came.len().min(self.wants())];
        if self.n_theirs < OPENING {
            self.theirs[self.n_theirs..][..came.len()].copy_from_slice(came);
            self.n_theirs += came.len();
            self.read_opening()
        } else {
            self.proof[self.n_proof..][..came.len()].copy_from_slice(came);
            self.n_proof += came.len();
            if self.n_proof == PROOF && !self.done { self.read_proof() } else { Ok(Say::NOTHING) }
        }
    }

    fn read_opening(&mut self) -> Result<Say, (Refusal, Say)> {
        let n = self.n_theirs.min(MAGIC.len());
        if self.theirs[..n] != MAGIC[..n] {
            let refusal = if TLS_RECORDS.contains(&self.theirs[0]) { Refusal::OnlyTls } else { Refusal::Magic };
            return Err((refusal, Say::NOTHING));
        }
        if self.n_theirs < OPENING {
            return Ok(Say::NOTHING);
        }
        // Whoever gets so far may hear a challenge, so that both ends can say why they do not understand each other.
        let answer = match self.end {
            End::Connects => Say::NOTHING,
            End::Accepts => Say::of(&self.mine),
        };
        if self.theirs[8] != FORM || self.theirs[11..16] != [0; 5] {
            return Err((Refusal::Form, answer));
        }
        if self.theirs[9] != self.channel as u8 {
            return Err((Refusal::Channel, answer));
        }
        match (&self.key, self.theirs[10]) {
            (None, 0) => {
                self.done = true;
                Ok(answer)
            }
            (Some(key), 1) => Ok(match self.end {
                End::Connects => Say::of(self.code(key, End::Connects).as_ref()),
                End::Accepts => answer,
            }),
            (None, 1) => Err((Refusal::TokenAsked, answer)),
            (Some(_), 0) => Err((Refusal::TokenUnknown, answer)),
            _ => Err((Refusal::Form, answer)),
        }
    }

    fn read_proof(&mut self) -> Result<Say, (Refusal, Say)> {
        let refused = Err((Refusal::Proof, Say::NOTHING));
        let Some(key) = &self.key else { return refused };
        let other = if self.end == End::Connects { End::Accepts } else { End::Connects };
        // Takes the same time for every wrong proof.
        if hmac::verify(key, &self.said(other), &self.proof).is_err() {
            // Nobody who looks only at what is wanted may take this for the end of an opening.
            self.n_proof = 0;
            return refused;
        }
        let say = match self.end {
            End::Connects => Say::NOTHING,
            End::Accepts => Say::of(self.code(key, End::Accepts).as_ref()),
        };
        self.done = true;
        Ok(say)
    }

    /// The code with which `by` shows that he knows the token.
    fn code(&self, key: &hmac::Key, by: End) -> hmac::Tag {
        hmac::sign(key, &self.said(by))
    }

    /// Everything that was said, and by whom the code is.
    fn said(&self, by: End) -> [u8; 2 * OPENING + 1] {
        let (first, second) = match self.end {
            End::Connects => (&self.mine, &self.theirs),
            End::Accepts => (&self.theirs, &self.mine),
        };
        let mut said = [0; 2 * OPENING + 1];
        said[..OPENING].copy_from_slice(first);
        said[OPENING..2 * OPENING].copy_from_slice(second);
        said[2 * OPENING] = by as u8;
        said
    }
}

#[cfg(test)]
mod tests;
