//! A TCP proxy before the store that counts what passes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const BUFFER: usize = 64 * 1_024;

/// What has passed.
#[derive(Clone, Default)]
pub struct Counts {
    /// Requests by method and path, without their queries.
    pub requests: BTreeMap<String, u64>,
    /// Bytes to the store, heads included.
    pub sent: u64,
    /// Bytes from the store, heads included.
    pub received: u64,
}

impl Counts {
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// Stands before the store.
pub struct Counter {
    address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
}

impl Counter {
    /// Stands before `to`, as `host:port`.
    pub async fn before(to: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port")?;
        let address = listener.local_addr().context("no address")?;
        let counts = Arc::new(Mutex::new(Counts::default()));
        let shared = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // An error is either side's going away.
                tokio::spawn(pass(near, to.clone(), Arc::clone(&shared)));
            }
        });
        Ok(Self { address, counts })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has passed since the last call.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One connection. Requests come one after the other, so the first bytes after an answer begin one.
async fn pass(mut near: TcpStream, to: String, counts: Arc<Mutex<Counts>>) -> std::io::Result<()> {
    let mut far = TcpStream::connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (mut out, mut back) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut is_answered = true;
    loop {
        tokio::select! {
            read = near.read(&mut out) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                {
                    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                    counts.sent += read as u64;
                    if std::mem::replace(&mut is_answered, false) {
                        *counts.requests.entry(what(&out[..read])).or_default() += 1;
                    }
                }
                far.write_all(&out[..read]).await?;
            }
            read = far.read(&mut back) => {
                let read = read?;
                if read == 0 {
                    return Ok(());
                }
                counts.lock().unwrap_or_else(PoisonError::into_inner).received += read as u64;
                is_answered = true;
                near.write_all(&back[..read]).await?;
            }
        }
    }
}

fn what(head: &[u8]) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let end = line.find(['?']).or_else(|| line.rfind(' ')).unwrap_or(line.len());
    line[..end].to_owned()
}
