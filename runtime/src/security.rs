//! What keeps strangers out: a token that all programs of a cluster know, and TLS with certificates on both ends.
//!
//! Read from files and the environment here, once for each life of a program's connections; what is done with it is
//! `opening`'s and `socket`'s.

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use ring::hmac;

use crate::{
    error::{Error, Result},
    socket::TlsEnds,
    transport::plain,
};

/// The environment variable that a cluster's token is in.
const VARIABLE: &str = "PHALANX_TOKEN";
/// Shorter ones can be guessed: who listens to a handshake can try tokens for as long as he likes.
const MIN_TOKEN: usize = 32;
const MAX_TOKEN: usize = 1_024;

/// How the programs of a cluster know each other. The same for scheduler, workers and clients, but for the certificates.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `token` | none | what everybody must know; it never travels | 32 to 1,024 bytes |
/// | `tls` | none | encrypts everything, and everybody must have a certificate of the cluster | three PEM files |
///
/// On loopback both may be missing. Anywhere else a scheduler and a worker listen only with one of them, or both: a
/// token keeps strangers out, but who can listen to the network can read what is said, and who can change it on its
/// way can take a connection over; TLS keeps both out.
///
/// ```
/// use phalanx_runtime::{ClientOptions, Security, Token};
/// let token = Token::new("0123456789abcdef0123456789abcdef")?; // better: `phalanx cluster keys`
/// let security = Security { token: Some(token), ..Security::default() };
/// let options = ClientOptions { security, ..ClientOptions::default() };
/// assert!(!format!("{options:?}").contains("0123"));
/// # Ok::<(), phalanx_runtime::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Security {
    /// What everybody must know.
    pub token: Option<Token>,
    /// Certificates.
    pub tls: Option<Tls>,
}

/// A cluster's token. It is not shown, not even by `Debug`.
#[derive(Clone)]
pub struct Token(Arc<str>);

/// The files of mutual TLS, all PEM.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `cert` | | this program's certificate, followed by those between it and the authority's | |
/// | `key` | | its private key | PKCS #8, PKCS #1 or SEC 1 |
/// | `ca` | | the authority whose certificates are believed | 1 or more certificates |
///
/// Whoever is connected to must show a certificate for the host in his address or for the name `phalanx`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// This program's certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority whose certificates are believed.
    pub ca: PathBuf,
}

impl Security {
    /// The token in the environment variable `PHALANX_TOKEN`, if there is one, and no TLS.
    ///
    /// # Errors
    /// When the variable is there and its token is too short or too long.
    pub fn from_env() -> Result<Self> {
        Ok(Self { token: Token::from_env()?, tls: None })
    }

    /// Reads the files.
    pub(crate) fn load(&self) -> Result<Arc<Guard>> {
        Ok(Arc::new(Guard {
            key: self.token.as_ref().map(Token::key),
            tls: self.tls.as_ref().map(TlsEnds::load).transpose()?,
        }))
    }
}

impl Token {
    /// A token that the program has got in some way of its own. White space around it does not count.
    ///
    /// # Errors
    /// When it is shorter than 32 bytes or longer than 1,024.
    pub fn new(text: &str) -> Result<Self> {
        Self::checked("the cluster token", text)
    }

    /// The token in a file.
    ///
    /// # Errors
    /// When the file cannot be read, or its token is too short or too long.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let what = format!("the token in {}", path.display());
        let failed = |reason: String| Error::Security { what: what.clone(), reason };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(|error| failed(plain(&error)))?;
        // A little more than a token may have, so that a longer one is seen.
        file.take(2 * MAX_TOKEN as u64).read_to_string(&mut text).map_err(|error| failed(plain(&error)))?;
        Self::checked(&what, &text)
    }

    /// The token in the environment variable `PHALANX_TOKEN`; none where it is not set.
    ///
    /// # Errors
    /// When it is set and its token is too short, too long or no text.
    pub fn from_env() -> Result<Option<Self>> {
        let what = format!("the token in {VARIABLE}");
        match std::env::var(VARIABLE) {
            Ok(text) => Self::checked(&what, &text).map(Some),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(Error::Security { what, reason: "it is no text".into() }),
        }
    }

    fn checked(what: &str, text: &str) -> Result<Self> {
        let text = text.trim();
        if (MIN_TOKEN..=MAX_TOKEN).contains(&text.len()) {
            return Ok(Self(text.into()));
        }
        let reason = format!(
            "it has {} bytes, expected {MIN_TOKEN} to {MAX_TOKEN}; `phalanx cluster keys DIR` makes one",
            if text.len() > MAX_TOKEN { format!("more than {MAX_TOKEN}") } else { text.len().to_string() }
        );
        Err(Error::Security { what: what.into(), reason })
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes())
    }

    /// For a process that this one starts.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Token {
    /// In a time that does not tell where they differ.
    fn eq(&self, other: &Self) -> bool {
        let message = b"the same token";
        hmac::verify(&self.key(), message, hmac::sign(&other.key(), message).as_ref()).is_ok()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What connections are made with: the token and the certificates, read and checked.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    pub(crate) key: Option<hmac::Key>,
    pub(crate) tls: Option<TlsEnds>,
}

impl Guard {
    /// Whether anybody who reaches a port may use it.
    pub(crate) const fn is_open(&self) -> bool {
        self.key.is_none() && self.tls.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_can_be_guessed_or_is_a_whole_file_is_refused() {
        let said = |text: &str| Token::new(text).expect_err("refused").to_string();
        let expected = "expected 32 to 1024; `phalanx cluster keys DIR` makes one";
        assert_eq!(said("secret\n"), format!("cannot use the cluster token: it has 6 bytes, {expected}"));
        assert_eq!(
            said(&"x".repeat(2_000)),
            format!("cannot use the cluster token: it has more than 1024 bytes, {expected}")
        );
        let token = Token::new(&format!("  {}\n", "x".repeat(32))).expect("long enough");
        assert!(
            token == Token::new(&"x".repeat(32)).expect("the same")
                && token != Token::new(&"y".repeat(32)).expect("another")
        );
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn a_token_file_that_is_not_there_is_said() {
        let error = Token::from_file("no/such/token").expect_err("there is none").to_string();
        assert_eq!(error, "cannot use the token in no/such/token: no such file or directory");
    }
}
