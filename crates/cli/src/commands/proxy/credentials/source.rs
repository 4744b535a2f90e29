//! Where a credential's value is.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Node;

use super::LENGTH_MAX;
use super::command::Command;

const EXPECTED: &str = "expected a text, {\"file\": PATH}, {\"env\": NAME}, {\"credential\": NAME} or \
                        {\"command\": [PROGRAM, ARGUMENT, …]}";
/// How long a command may take unless the file says.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A value, or where it is.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Source {
    Text(String),
    /// What the file holds, without the newline at its end.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
    /// What the service manager passes under this name, as `LoadCredential=` of systemd does.
    Credential(String),
    /// What the command prints.
    Command(Command),
}

impl Source {
    /// As the file has it. Errors never show a value: it may be the secret.
    pub(super) fn parse(node: &Node) -> Result<Self, String> {
        let object = match node {
            Node::String(text) => return Ok(Self::Text(text.clone())),
            Node::Object(object) => object,
            _ => return Err(EXPECTED.to_owned()),
        };
        if let Some(argv) = object.get("command") {
            let argv = argv.as_array().into_iter().flatten();
            let argv: Option<Vec<String>> =
                argv.map(|word| word.as_str().map(str::to_owned)).collect();
            let argv = argv.filter(|argv| argv.first().is_some_and(|program| !program.is_empty()));
            let argv =
                argv.ok_or("`command` has to be a list of texts: a program and its arguments")?;
            let mut command = Command { argv, lifetime: None, timeout: TIMEOUT };
            for (name, node) in object {
                match name.as_str() {
                    "command" => {}
                    "lifetime" => command.lifetime = Some(seconds(name, node)?),
                    "timeout" => command.timeout = seconds(name, node)?,
                    _ => {
                        return Err(format!(
                            "a command has `lifetime` and `timeout`, not `{name}`"
                        ));
                    }
                }
            }
            return Ok(Self::Command(command));
        }
        let mut items = object.iter();
        match (items.next(), items.next()) {
            (Some((kind, Node::String(place))), None) => match kind.as_str() {
                "file" => Ok(Self::File(place.into())),
                "env" => Ok(Self::Env(place.clone())),
                "credential" => Ok(Self::Credential(place.clone())),
                _ => Err(EXPECTED.to_owned()),
            },
            _ => Err(EXPECTED.to_owned()),
        }
    }

    /// The value, without what ends its last line.
    pub(super) async fn get(&self) -> Result<String, String> {
        let value = match self {
            Source::Command(command) => command.run().await?,
            _ => {
                let source = self.clone();
                // A file may be a pipe that nobody writes to.
                let read = tokio::task::spawn_blocking(move || source.read()).await;
                read.map_err(|error| error.to_string())??
            }
        };
        if value.is_empty() {
            return Err("it is empty; leave it out if there is none".to_owned());
        }
        Ok(value)
    }

    fn read(&self) -> Result<String, String> {
        let path = match self {
            Source::Text(text) => return Ok(text.clone()),
            Source::Env(name) => {
                return std::env::var(name).map_err(|error| format!("{name}: {error}"));
            }
            Source::File(path) => path.clone(),
            Source::Credential(name) => {
                if name.contains('/') {
                    return Err(format!("{name:?} is not a name"));
                }
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or(
                    "the service manager passes no credentials: LoadCredential= in the unit",
                )?;
                Path::new(&folder).join(name)
            }
            Source::Command(_) => return Err("it is what a command prints".to_owned()),
        };
        let failed = |why: String| format!("{}: {why}", path.display());
        let file = File::open(&path).map_err(|error| failed(error.to_string()))?;
        text(file).map(trimmed).map_err(failed)
    }
}

/// What a file holds.
pub(super) fn text(file: File) -> Result<String, String> {
    let mut text = String::new();
    let read = file.take(LENGTH_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    if text.len() as u64 > LENGTH_MAX {
        return Err(format!("it is longer than {LENGTH_MAX} bytes"));
    }
    Ok(text)
}

/// Without what ends its last line.
pub(super) fn trimmed(mut text: String) -> String {
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    text
}

fn seconds(name: &str, node: &Node) -> Result<Duration, String> {
    let seconds = node.as_f64().filter(|seconds| *seconds >= 1.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("`{name}` has to be a number of seconds, 1 or more"))
}
