//! A set of keys for one cluster: a certificate authority of its own, a pair for each role, and a token.
//!
//! The authority's own key is forgotten once the three certificates are signed, so nobody can make a fourth; a cluster
//! that needs new ones gets a new set. A client's certificate is not good for a server, so who has it cannot pose as
//! the scheduler. Knows files and certificates, and nothing of how connections use them.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use ring::rand::{SecureRandom, SystemRandom};

/// The authority's certificate, which everybody checks the others' with.
pub(crate) const CA: &str = "ca.pem";
/// The token, 64 hexadecimal digits.
pub(crate) const TOKEN: &str = "token";

/// The name that schedulers and workers have whatever machine they run on.
const SERVER: &str = "phalanx";
/// What a server of this set can always be reached as.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// Why there are no keys.
#[derive(Debug)]
pub(crate) enum KeysError {
    /// Something of that name would have to be overwritten.
    Exists(PathBuf),
    /// The system refused.
    File { doing: &'static str, path: PathBuf, error: io::Error },
    /// A certificate cannot be made.
    Making(String),
}

impl From<rcgen::Error> for KeysError {
    fn from(error: rcgen::Error) -> Self {
        Self::Making(error.to_string())
    }
}

/// The files of a set, by name.
pub(crate) struct Keys(Vec<(String, String)>);

impl Keys {
    /// A new set whose servers are also reached as `hosts`, for so many days.
    pub(crate) fn new(hosts: &[String], n_days: u32) -> Result<Self, KeysError> {
        // A day in the past, since the machines' clocks may differ.
        let from = SystemTime::now() - Duration::from_secs(SECONDS_A_DAY);
        let until = SystemTime::now() + Duration::from_secs(u64::from(n_days) * SECONDS_A_DAY);
        let params = |name: &str, hosts: Vec<String>| -> Result<CertificateParams, KeysError> {
            let mut params = CertificateParams::new(hosts)?;
            params.distinguished_name.push(DnType::CommonName, name);
            params.not_before = from.into();
            params.not_after = until.into();
            Ok(params)
        };
        let mut authority = params("phalanx cluster", Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let mut files = vec![(CA.to_owned(), authority.pem())];
        let server = || {
            let fixed = HERE.iter().map(|host| (*host).to_owned()).chain([SERVER.to_owned()]);
            let mut names: Vec<String> = fixed.chain(hosts.iter().cloned()).collect();
            names.sort();
            names.dedup();
            names
        };
        for (role, hosts, usages) in [
            ("scheduler", server(), vec![ExtendedKeyUsagePurpose::ServerAuth]),
            // A worker is asked by its peers, and asks the scheduler and them.
            ("worker", server(), vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]),
            ("client", Vec::new(), vec![ExtendedKeyUsagePurpose::ClientAuth]),
        ] {
            let mut params = params(&format!("phalanx {role}"), hosts)?;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = usages;
            params.use_authority_key_identifier_extension = true;
            let pair = KeyPair::generate()?;
            files.push((format!("{role}.pem"), params.signed_by(&pair, &authority)?.pem()));
            files.push((format!("{role}-key.pem"), pair.serialize_pem()));
        }
        files.push((TOKEN.to_owned(), token()?));
        Ok(Self(files))
    }

    /// Writes the set into `folder`, which is made where it is missing, for its owner's eyes only; the paths. All of it
    /// is there afterwards, or nothing that was not there before.
    pub(crate) fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, KeysError> {
        let failed = |doing: &'static str, path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| match error.kind() {
                io::ErrorKind::AlreadyExists => KeysError::Exists(path),
                _ => KeysError::File { doing, path, error },
            }
        };
        if !folder.is_dir() {
            make_private_folder(folder).map_err(failed("make the folder", folder))?;
        }
        let mut written = Vec::new();
        for (name, text) in &self.0 {
            let path = folder.join(name);
            if let Err(error) = write_private(&path, text).map_err(failed("write", &path)) {
                // Only what this call has made; a failure to take it back leaves a file that is never read.
                written.iter().for_each(|path| drop(fs::remove_file(path)));
                return Err(error);
            }
            written.push(path);
        }
        Ok(written)
    }
}

fn token() -> Result<String, KeysError> {
    let mut bytes = [0_u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeysError::Making("the system has no random numbers".into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).chain(["\n".to_owned()]).collect())
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a file that must not be there yet, and that others never see, not even while it is written.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // What is there is half a file.
        let _ = fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_private_and_never_overwritten() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("new");
        let keys = Keys::new(&["head.example.org".to_owned(), "10.0.0.5".to_owned()], 30).expect("keys");
        let files = keys.write(&folder).expect("written");
        let names: Vec<_> =
            files.iter().map(|path| path.file_name().and_then(|name| name.to_str()).expect("a name")).collect();
        let expected = [
            "ca.pem",
            "scheduler.pem",
            "scheduler-key.pem",
            "worker.pem",
            "worker-key.pem",
            "client.pem",
            "client-key.pem",
            "token",
        ];
        assert_eq!(names, expected);
        #[cfg(unix)]
        for file in &files {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(file).expect("there").permissions());
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
        let before = fs::read_to_string(folder.join(TOKEN)).expect("a token");
        assert_eq!((before.trim().len(), before.chars().filter(char::is_ascii_hexdigit).count()), (64, 64));

        // One file that is in the way: what was there stays, and nothing is added.
        for file in files.iter().filter(|file| !file.ends_with(TOKEN)) {
            fs::remove_file(file).expect("removed");
        }
        let again = Keys::new(&[], 30).expect("keys").write(&folder);
        assert!(matches!(again, Err(KeysError::Exists(path)) if path.ends_with(TOKEN)));
        assert_eq!(fs::read_to_string(folder.join(TOKEN)).expect("a token"), before);
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1);
    }
}
