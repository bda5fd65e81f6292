//! A program on a pseudo-terminal, with somebody who types.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use rustix::pty::{self, OpenptFlags};

/// How long a question may take to come; the keystore's tool takes some seconds a run.
const PATIENCE: Duration = Duration::from_secs(90);

/// The program, and what stands on its terminal.
pub struct Terminal {
    child: Child,
    keyboard: File,
    output: Receiver<Vec<u8>>,
    screen: String,
    /// How much of the screen has been waited for.
    read: usize,
}

impl Terminal {
    /// Starts a program whose controlling terminal is a new one.
    pub fn run(program: &Command) -> Self {
        let master = pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        pty::grantpt(&master).expect("a grant");
        pty::unlockpt(&master).expect("an unlocked terminal");
        let name = pty::ptsname(&master, Vec::new()).expect("a name").into_string().expect("UTF-8");
        let end = || File::options().read(true).write(true).open(&name).expect("the other end");
        // `setsid --ctty` makes its standard input the controlling terminal, where passwords are asked.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(program.get_program()).args(program.get_args());
        command.env_clear();
        for (name, value) in program.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.stdin(end()).stdout(Stdio::from(end())).stderr(Stdio::from(end()));
        let child = command.spawn().expect("setsid of util-linux");
        drop(command); // it holds the other end open
        let keyboard = File::from(master);
        let mut screen = keyboard.try_clone().expect("a second handle");
        let (seen, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // The terminal ends with an error, once no program has it open any more.
            while let Ok(length @ 1..) = screen.read(&mut piece) {
                if seen.send(piece[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keyboard, output, screen: String::new(), read: 0 }
    }

    /// Waits until `text` stands on the terminal, after what was waited for before.
    pub fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.screen[self.read..].find(text) {
                self.read += at + text.len();
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(piece) => self.screen.push_str(&String::from_utf8_lossy(&piece)),
                Err(fault) => panic!("no {text:?} ({fault}) on the terminal: {}", self.screen),
            }
        }
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).expect("a keyboard");
    }

    /// Waits for a question, and types the answer.
    pub fn answer(&mut self, question: &str, answer: &str) {
        self.wait_for(question);
        self.type_line(answer);
    }

    /// Waits for the end, and gives all that stood on the terminal.
    pub fn finish(mut self) -> (ExitStatus, String) {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(piece) => self.screen.push_str(&String::from_utf8_lossy(&piece)),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end: {}", self.screen),
            }
        }
        let status = self.child.wait().expect("an end");
        (status, std::mem::take(&mut self.screen).replace("\r\n", "\n"))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
