//! An HTTP proxy before the store that does, when told, what the store cannot be made to do: refuse
//! one item of many, lose an answer, cut it in the middle. What it lets through is the store's own, and
//! can be kept to be looked at.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::Store;

/// How long requests are waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// What it does with a request. Only `Part`, `Item` and `Items` look at what a request is: those two at
/// `_bulk`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    /// Passes it on, and the answer back.
    Honest,
    /// Answers with this status; nothing is passed on.
    Status(u16),
    /// Answers with this status where the path has `path` in it.
    Part { path: &'static str, status: u16 },
    /// Answers 413 to a body of more bytes than this.
    TooLarge(usize),
    /// Keeps back the `nth` item of a `_bulk`, counted from 0, and answers it with `status`.
    Item { nth: usize, status: u16 },
    /// Keeps back each item of a `_bulk` with this `chance`, and answers it with `status`.
    Items { chance: f64, status: u16 },
    /// Reads so many bytes of the body, then closes the connection.
    CutRequest(usize),
    /// Passes it on; gives so many bytes of the answer, head included, then closes the connection.
    CutAnswer(usize),
    /// Passes it on; answers with the first half of the store's JSON, as if it were all.
    HalfAnswer,
    /// Passes it on, and keeps the answer until the mood changes.
    Silent,
    /// Passes it on, and keeps the answer for so long.
    Slow(Duration),
}

/// A request that was passed on, and what the store said.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With its query string.
    pub path: String,
    pub content_type: String,
    pub body: Vec<u8>,
    pub status: u16,
    pub answer: String,
}

/// Stands before the store.
pub struct Reluctant {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    to: String,
    /// Where requests go instead whose path has this in it.
    elsewhere: Mutex<Option<(String, &'static str)>>,
    client: reqwest::Client,
    mood: watch::Sender<Mood>,
    random: Mutex<StdRng>,
    harmed: AtomicU64,
    /// What was passed on, where it is kept.
    asked: Mutex<Option<Vec<Asked>>>,
}

impl Reluctant {
    /// Starts honest; what it does at random it does again with the same `seed`.
    pub async fn start(store: &Store, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            to: store.url().to_owned(),
            elsewhere: Mutex::default(),
            client: reqwest::Client::builder().no_proxy().build().expect("a client"),
            mood: watch::Sender::new(Mood::Honest),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            harmed: AtomicU64::new(0),
            asked: Mutex::default(),
        });
        let all = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let shared = Arc::clone(&all);
                // An error is the other side's going away.
                tokio::spawn(async move { shared.serve(BufReader::new(near)).await.ok() });
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on requests with `path` in their path go to this server, not to the store.
    pub fn send_to(&self, url: &str, path: &'static str) {
        let mut elsewhere = self.shared.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        *elsewhere = Some((url.to_owned(), path));
    }

    /// From now on keeps what it passes on.
    pub fn keep(&self) {
        *self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// What was passed on since, in the order of the answers.
    pub fn kept(&self) -> Vec<Asked> {
        let asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone().unwrap_or_default()
    }

    /// From now on does this; requests whose answers are kept get them.
    pub fn set(&self, mood: Mood) {
        self.shared.mood.send_replace(mood);
    }

    /// How many requests, or items of a `_bulk`, were not treated honestly so far.
    pub fn harmed(&self) -> u64 {
        self.shared.harmed.load(Ordering::Relaxed)
    }

    /// Waits until so many more were not treated honestly.
    pub async fn harms(&self, more: u64) {
        let (enough, begun) = (self.harmed() + more, Instant::now());
        while self.harmed() < enough {
            assert!(begun.elapsed() < PATIENCE, "no requests come that could be harmed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Shared {
    async fn serve(&self, mut near: BufReader<TcpStream>) -> io::Result<()> {
        while let Some(request) = Request::head(&mut near).await? {
            let mood = *self.mood.borrow();
            if let Mood::CutRequest(most) = mood {
                let mut part = vec![0; request.length.min(most)];
                near.read_exact(&mut part).await?;
                self.harm(1);
                return Ok(());
            }
            let mut body = vec![0; request.length];
            near.read_exact(&mut body).await?;
            let answer = self.answer(mood, &request, body).await;
            if let Mood::CutAnswer(most) = mood {
                self.harm(1);
                return near.write_all(&answer[..answer.len().min(most)]).await;
            }
            near.write_all(&answer).await?;
        }
        Ok(())
    }

    /// The bytes of the answer, when it is time for them.
    async fn answer(&self, mood: Mood, request: &Request, body: Vec<u8>) -> Vec<u8> {
        let refusal = |status: u16| {
            self.harm(1);
            bytes(status, json!({"error": {"reason": "reluctant"}, "status": status}).to_string())
        };
        let is_bulk = request.path.split('?').next().is_some_and(|path| path.ends_with("/_bulk"));
        match mood {
            Mood::Status(status) => refusal(status),
            Mood::Part { path, status } if request.path.contains(path) => refusal(status),
            Mood::TooLarge(most) if body.len() > most => refusal(413),
            Mood::Item { nth, status } if is_bulk => {
                self.without(request, &body, status, |n| n == nth).await
            }
            Mood::Items { chance, status } if is_bulk => {
                let mut random = {
                    let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
                    StdRng::from_rng(&mut *random)
                };
                self.without(request, &body, status, |_| random.random_bool(chance)).await
            }
            _ => {
                let (status, mut text) = self.pass_on(request, body).await;
                match mood {
                    Mood::HalfAnswer => {
                        self.harm(1);
                        text.truncate(text.len() / 2);
                    }
                    Mood::Silent => {
                        self.harm(1);
                        let mut mood = self.mood.subscribe();
                        mood.wait_for(|mood| *mood != Mood::Silent).await.ok();
                    }
                    Mood::Slow(long) => {
                        self.harm(1);
                        tokio::time::sleep(long).await;
                    }
                    _ => {}
                }
                bytes(status, text)
            }
        }
    }

    /// Passes a `_bulk` on without some of its operations, which get `status` at their places.
    async fn without(
        &self,
        request: &Request,
        body: &[u8],
        status: u16,
        mut is_kept_back: impl FnMut(usize) -> bool,
    ) -> Vec<u8> {
        let operations = operations(body);
        let kept_back: Vec<bool> = (0..operations.len()).map(&mut is_kept_back).collect();
        self.harm(kept_back.iter().filter(|kept| **kept).count() as u64);
        let passed = operations.iter().zip(&kept_back).filter(|(_, kept)| !**kept);
        let passed: Vec<u8> = passed.flat_map(|(one, _)| one.text.iter().copied()).collect();
        let (code, text) = if passed.is_empty() {
            (200, r#"{"took":0,"errors":false,"items":[]}"#.to_owned())
        } else {
            self.pass_on(request, passed).await
        };
        let Ok(mut answer) = serde_json::from_str::<Value>(&text) else { return bytes(code, text) };
        let Some(items) = answer["items"].as_array_mut().map(std::mem::take) else {
            return bytes(code, text);
        };
        let mut items = items.into_iter();
        let whole: Vec<Value> = operations
            .iter()
            .zip(&kept_back)
            .filter_map(|(one, kept)| if *kept { Some(one.refused(status)) } else { items.next() })
            .collect();
        answer["errors"] = json!(answer["errors"] == true || kept_back.contains(&true));
        answer["items"] = Value::Array(whole);
        bytes(code, answer.to_string())
    }

    async fn pass_on(&self, request: &Request, body: Vec<u8>) -> (u16, String) {
        let method = request.method.parse().expect("a method");
        let url = format!("{}{}", self.place_of(&request.path), request.path);
        let far = self.client.request(method, url).header("content-type", &request.content_type);
        let Ok(answer) = far.body(body.clone()).send().await else { return (502, String::new()) };
        let status = answer.status().as_u16();
        let Ok(answer) = answer.text().await else { return (502, String::new()) };
        if let Some(asked) = &mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner) {
            let Request { method, path, content_type, .. } = request.clone();
            asked.push(Asked { method, path, content_type, body, status, answer: answer.clone() });
        }
        (status, answer)
    }

    fn place_of(&self, path: &str) -> String {
        let elsewhere = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
        match &*elsewhere {
            Some((url, part)) if path.contains(part) => {
                self.harm(1);
                url.clone()
            }
            _ => self.to.clone(),
        }
    }

    fn harm(&self, count: u64) {
        self.harmed.fetch_add(count, Ordering::Relaxed);
    }
}

/// What must be known of a request's head.
#[derive(Clone, Default)]
struct Request {
    method: String,
    path: String,
    content_type: String,
    length: usize,
}

impl Request {
    /// The next head; `None` when the other side has closed.
    async fn head(near: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if near.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = Self { method, path, ..Self::default() };
        loop {
            line.clear();
            near.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-type" => value.trim().clone_into(&mut request.content_type),
                "content-length" => request.length = value.trim().parse().expect("a length"),
                "transfer-encoding" => panic!("the proxy reads bodies of known length alone"),
                _ => {}
            }
        }
        Ok(Some(request))
    }
}

/// One operation of a `_bulk`.
struct Operation<'a> {
    verb: String,
    target: Value,
    /// Its action line, and its source line unless it deletes.
    text: &'a [u8],
}

impl Operation<'_> {
    fn refused(&self, status: u16) -> Value {
        let kind = match status {
            429 => "rejected_execution_exception",
            _ => "unavailable_shards_exception",
        };
        let Self { verb, target, .. } = self;
        json!({verb: {
            "_index": target["_index"], "_id": target["_id"], "status": status,
            "error": {"type": kind, "reason": "reluctant"},
        }})
    }
}

fn operations(body: &[u8]) -> Vec<Operation<'_>> {
    let line =
        |from: &[u8]| from.iter().position(|byte| *byte == b'\n').map_or(from.len(), |n| n + 1);
    let (mut all, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let action = line(rest);
        let json: Value = serde_json::from_slice(&rest[..action]).expect("an action line");
        let (verb, target) = json.as_object().and_then(|json| json.iter().next()).expect("a verb");
        let source = if verb == "delete" { 0 } else { line(&rest[action..]) };
        let (text, after) = rest.split_at(action + source);
        all.push(Operation { verb: verb.clone(), target: target.clone(), text });
        rest = after;
    }
    all
}

fn bytes(status: u16, text: String) -> Vec<u8> {
    let length = text.len();
    let head = format!(
        "HTTP/1.1 {status} Reluctant\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.into_bytes(), text.into_bytes()].concat()
}
