//! `phalanx cluster ...`: what is done to a cluster as a whole, rather than with it.

use std::path::Path;

use crate::{
    Error, Result,
    args::{ClusterCommand, KeysArguments},
    keys::{self, Keys},
    members,
    output::{Screen, count},
};

/// Does what `phalanx cluster` was told.
pub(crate) fn cluster(command: &ClusterCommand, screen: &Screen) -> Result<()> {
    match command {
        ClusterCommand::Keys(arguments) => make_keys(arguments, screen),
        ClusterCommand::Retire(arguments) => members::retire(arguments, screen),
        ClusterCommand::Published(arguments) => members::published(arguments, screen),
    }
}

/// Makes a set of keys and says what each is for.
fn make_keys(arguments: &KeysArguments, screen: &Screen) -> Result<()> {
    let keys = Keys::new(&arguments.host, arguments.days)?;
    let folder = arguments.folder.as_path();
    let files = keys.write(folder)?;
    let n_days = count(arguments.days as usize, "day");
    screen.print(format_args!("{} in {}, good for {n_days}:", count(files.len(), "file"), folder.display()))?;
    screen.print(flags_of(folder, "scheduler"))?;
    screen.print(flags_of(folder, "worker"))?;
    screen.print(flags_of(folder, "client"))?;
    screen.print(format_args!(
        "Give each machine ca.pem, the token and its own pair, over a channel you trust; who has them can run tasks."
    ))
}

/// The flags that a role is started with.
fn flags_of(folder: &Path, role: &str) -> String {
    let file = |name: String| folder.join(name).display().to_string();
    format!(
        "  {role:<9}  --token-file {} --tls-ca {} --tls-cert {} --tls-key {}",
        file(keys::TOKEN.into()),
        file(keys::CA.into()),
        file(format!("{role}.pem")),
        file(format!("{role}-key.pem")),
    )
}

/// What makes a host name or address one that a certificate can carry.
///
/// # Errors
/// In the words of the command line.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let is_name = |text: &str| {
        !text.is_empty()
            && text.len() <= 253
            && text.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')
            })
    };
    if text.parse::<std::net::IpAddr>().is_ok() || is_name(text) {
        return Ok(text.to_owned());
    }
    Err("expected a host name or an IP address without a port, as in head.example.org or 10.0.0.5".to_owned())
}

impl From<keys::KeysError> for Error {
    fn from(error: keys::KeysError) -> Self {
        match error {
            keys::KeysError::Exists(path) => {
                let path = path.display();
                Self::failed(format!("{path} is there already and is not overwritten; name an empty folder"))
            }
            keys::KeysError::File { doing, path, error } => Self::file(doing, &path, &error),
            keys::KeysError::Making(reason) => Self::failed(format!("cannot make certificates: {reason}")),
        }
    }
}
