//! Keystores of the test node's OpenSearch, with its real tool.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/opensearch/node.sh");

/// A keystore: of the node that runs, or an empty one in a folder of its own.
pub struct Keystore {
    port: String,
    folder: Option<TempDir>,
    command: String,
}

impl Keystore {
    /// The running node's, if the node of this run is one of `node.sh`.
    pub fn of_the_node() -> Option<Self> {
        let url = std::env::var("ALERTLOOP_TEST_OPENSEARCH").ok()?;
        let port = url.strip_prefix("http://127.0.0.1:")?.trim_end_matches('/').to_owned();
        ask_node(&port, &["status"], "")?;
        let command = ask_node(&port, &["keystore-command"], "")?;
        Some(Self { port, folder: None, command })
    }

    /// A new one, of the same OpenSearch.
    pub fn new() -> Option<Self> {
        let Self { port, .. } = Self::of_the_node()?;
        let folder = tempfile::tempdir().expect("a folder");
        // The tool runs as the node's user.
        open_to_all(folder.path());
        let command = ask_node(&port, &["keystore-command", utf8(folder.path())], "")?;
        Some(Self { port, folder: Some(folder), command })
    }

    /// How the tool is run on it.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The folder that it is in.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("a keystore of our own").path()
    }

    /// The folder of the OpenSearch that the tool belongs to.
    pub fn home(&self) -> PathBuf {
        let tool = Path::new(self.command.split(' ').next_back().expect("a word"));
        tool.parent().and_then(Path::parent).expect("a home").to_owned()
    }

    /// What it holds, as `NAME=VALUE`, read by OpenSearch's own library.
    pub fn values(&self, password: &str) -> Vec<String> {
        let answer = ask_node(&self.port, &["keystore-values", utf8(self.folder())], password);
        answer.expect("the values").lines().map(str::to_owned).collect()
    }

    /// Runs the tool itself, and gives whether it went well.
    pub fn tool(&self, arguments: &[&str], input: &str) -> bool {
        let mut words = self.command.split(' ');
        let mut command = Command::new(words.next().expect("a word"));
        command.args(words).args(arguments);
        output_of(command, input).is_some()
    }
}

/// Lets the node's user write into a folder.
pub fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("an open folder");
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn ask_node(port: &str, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new(NODE);
    command.args(arguments).env("ALERTLOOP_TEST_PORT", port);
    output_of(command, input)
}

/// What a command prints, if it goes well.
fn output_of(mut command: Command, input: &str) -> Option<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("a process");
    // It may end without having read anything.
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().expect("an end");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    output.status.success().then(|| text.trim_end().to_owned())
}
