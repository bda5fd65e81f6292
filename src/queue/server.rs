//! Redis as one reader of one queue sees it: every command that is sent stands here.
//!
//! There are two ways to take. `LMOVE` (Redis 6.2, Valkey) moves one item after the other from the
//! head of the queue to the end of our work list. Older servers have only `RPOPLPUSH`, which takes
//! the newest first; there the whole list becomes our work list by one `RENAMENX`, which keeps the
//! order, is atomic, and needs no memory. That is also how it is taken from a server that has no
//! memory left, since moving needs some.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, IntoConnectionInfo as _, Pipeline,
    TlsCertificates, Value, aio::MultiplexedConnection, pipe,
};

use super::{
    fault::{Fault, Kind},
    keys::Keys,
    settings::{Queue, Settings, is_tls},
};

/// How long a connection may take, and an answer.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
/// How long an empty queue is waited for, in seconds, before it is looked for something else to do.
const WAIT: &str = "0.5";
/// How often a server is asked that cannot be waited for.
const POLL: Duration = Duration::from_millis(200);
/// Length of the list that is pushed on to, as ntopng 3.8 bounds those of its endpoints
/// (`MAX_NUM_PER_MODULE_QUEUED_ALERTS` in its `alert_utils.lua`).
const TEE_LENGTH: i64 = 1_024;
/// How long a replica counts as there after it was last heard of, in seconds.
const ALIVE: u64 = 120;
/// How many items are taken over at once.
const TAKE_OVER: usize = 500;

/// How items are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One after the other, by `LMOVE`.
    Singly,
    /// The whole list, by `RENAMENX`.
    Whole,
}

/// What was taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// The items, oldest first; they stand in the work list.
    pub items: Vec<Vec<u8>>,
    /// How many were left in the queue.
    pub left: u64,
}

/// A connection, and what it is for.
pub struct Server {
    connection: MultiplexedConnection,
    way: Way,
    queue: String,
    keys: Keys,
    replica: String,
    work: String,
}

impl Server {
    /// Connects.
    ///
    /// # Errors
    /// The connection or the login fails.
    pub async fn connect(settings: &Settings, queue: &Queue, replica: &str) -> Result<Self, Fault> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        let client = client(settings)?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let keys = Keys::of(&queue.name);
        let work = keys.work(replica);
        let (queue, replica) = (queue.name.clone(), replica.to_owned());
        Ok(Self { connection, way: Way::Singly, queue, keys, replica, work })
    }

    /// Moves up to `count` items into our work list; waits a little for the first.
    ///
    /// # Errors
    /// Nothing was taken, or the connection is gone; then some may stand in the work list.
    pub async fn take(&mut self, count: usize) -> Result<Taken, Fault> {
        if self.way == Way::Singly {
            match self.take_singly(count).await {
                Err(fault) if fault.kind == Kind::NoCommand => self.way = Way::Whole,
                // This time only: what is moved needs memory, what gets another name does not.
                Err(fault) if fault.kind == Kind::NoMemory => {}
                taken => return taken,
            }
        }
        self.take_whole(count).await
    }

    /// Whether the queue is taken as a whole.
    #[must_use]
    pub fn takes_whole(&self) -> bool {
        self.way == Way::Whole
    }

    async fn take_singly(&mut self, count: usize) -> Result<Taken, Fault> {
        let mut wait = pipe();
        self.moving(&mut wait, "BLMOVE", &self.queue).arg(WAIT);
        wait.cmd("LLEN").arg(&self.queue);
        let [first, length] = self.ask(&wait).await?;
        let Value::BulkString(first) = ok(first)? else {
            return Ok(Taken::default());
        };
        let length = number(&ok(length)?, "LLEN")?;
        let mut items = vec![first];
        let more = usize::try_from(length).unwrap_or(usize::MAX).min(count.saturating_sub(1));
        if more > 0 {
            items.extend(self.moved(&self.queue.clone(), more).await?);
        }
        let left = length.saturating_sub(u64::try_from(items.len() - 1).unwrap_or(u64::MAX));
        Ok(Taken { items, left })
    }

    /// Moves up to `count` items from a list into our work list. What was moved before a fault is
    /// given: the fault will be there the next time too.
    async fn moved(&mut self, from: &str, count: usize) -> Result<Vec<Vec<u8>>, Fault> {
        let mut commands = Pipeline::with_capacity(count);
        for _ in 0..count {
            self.moving(&mut commands, "LMOVE", from);
        }
        let mut items = Vec::with_capacity(count);
        for answer in self.ask_all(&commands).await? {
            match ok(answer) {
                Ok(Value::BulkString(item)) => items.push(item),
                Err(fault) if items.is_empty() => return Err(fault),
                Ok(_) | Err(_) => break,
            }
        }
        Ok(items)
    }

    fn moving<'a>(
        &self,
        commands: &'a mut Pipeline,
        command: &str,
        from: &str,
    ) -> &'a mut Pipeline {
        commands.cmd(command).arg(from).arg(&self.work).arg("LEFT").arg("RIGHT")
    }

    async fn take_whole(&mut self, count: usize) -> Result<Taken, Fault> {
        let mut items = self.held(count).await?;
        if items.is_empty() {
            let mut kind = pipe();
            kind.cmd("TYPE").arg(&self.queue);
            let [kind] = self.ask(&kind).await?;
            match ok(kind)? {
                Value::SimpleString(kind) if kind == "none" => {
                    tokio::time::sleep(POLL).await;
                    return Ok(Taken::default());
                }
                Value::SimpleString(kind) if kind == "list" => {}
                _ => return Err(Fault::of("WRONGTYPE", &format!("{} is no list", self.queue))),
            }
            if !self.renamed(&self.queue.clone()).await? {
                return Ok(Taken::default());
            }
            items = self.held(count).await?;
        }
        let mut length = pipe();
        length.cmd("LLEN").arg(&self.work).cmd("LLEN").arg(&self.queue);
        let [work, queue] = self.ask(&length).await?;
        let length = number(&ok(work)?, "LLEN")? + number(&ok(queue)?, "LLEN")?;
        let left = length.saturating_sub(u64::try_from(items.len()).unwrap_or(u64::MAX));
        Ok(Taken { items, left })
    }

    /// Makes a list our work list, which must not be there; tells whether it did.
    async fn renamed(&mut self, from: &str) -> Result<bool, Fault> {
        let mut rename = pipe();
        rename.cmd("RENAMENX").arg(from).arg(&self.work);
        let [renamed] = self.ask(&rename).await?;
        match ok(renamed) {
            Ok(renamed) => Ok(number(&renamed, "RENAMENX")? == 1),
            Err(fault) if fault.kind == Kind::NoKey => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// The first items of our work list, at most `count`.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn held(&mut self, count: usize) -> Result<Vec<Vec<u8>>, Fault> {
        let mut range = pipe();
        range.cmd("LRANGE").arg(&self.work).arg(0).arg(count.saturating_sub(1));
        let [items] = self.ask(&range).await?;
        let Value::Array(items) = ok(items)? else { return Err(Fault::unexpected("LRANGE")) };
        items
            .into_iter()
            .map(|item| match item {
                Value::BulkString(item) => Ok(item),
                _ => Err(Fault::unexpected("LRANGE")),
            })
            .collect()
    }

    /// Removes these items from our work list.
    ///
    /// By what they are, not by where they stand: whatever happens between, and however late a
    /// command comes, only what is durable is ever removed. They stand at the head, so each is found
    /// at once.
    ///
    /// # Errors
    /// Some may still be there.
    pub async fn remove(&mut self, items: &[Vec<u8>]) -> Result<(), Fault> {
        let mut commands = Pipeline::with_capacity(items.len());
        for item in items {
            commands.cmd("LREM").arg(&self.work).arg(1).arg(item.as_slice());
        }
        self.ask_all(&commands).await?.into_iter().try_for_each(|answer| ok(answer).map(drop))
    }

    /// Pushes these items on to another list, and bounds it; tells how many it had too many.
    ///
    /// # Errors
    /// They may be there or not.
    pub async fn push_on(&mut self, list: &str, items: &[Vec<u8>]) -> Result<u64, Fault> {
        let mut commands = pipe();
        commands.cmd("RPUSH").arg(list);
        for item in items {
            commands.arg(item.as_slice());
        }
        commands.cmd("LTRIM").arg(list).arg(-TEE_LENGTH).arg(-1);
        let [length, trimmed] = self.ask(&commands).await?;
        let length = number(&ok(length)?, "RPUSH")?;
        ok(trimmed)?;
        Ok(length.saturating_sub(TEE_LENGTH.unsigned_abs()))
    }

    /// Says that we are there; tells which replicas are not any more, and may have left something.
    ///
    /// # Errors
    /// It was not said.
    pub async fn beat(&mut self) -> Result<Vec<String>, Fault> {
        let mut beat = pipe();
        beat.cmd("SADD").arg(self.keys.takers()).arg(&self.replica);
        beat.cmd("SET").arg(self.keys.alive(&self.replica)).arg(1).arg("EX").arg(ALIVE);
        beat.cmd("SMEMBERS").arg(self.keys.takers());
        let [added, set, all] = self.ask(&beat).await?;
        ok(added)?;
        ok(set)?;
        let (Value::Array(all) | Value::Set(all)) = ok(all)? else {
            return Err(Fault::unexpected("SMEMBERS"));
        };
        let others = all.into_iter().filter_map(|name| match name {
            Value::BulkString(name) => String::from_utf8(name).ok(),
            _ => None,
        });
        let others: Vec<_> = others.filter(|name| *name != self.replica).collect();
        if others.is_empty() {
            return Ok(others);
        }
        let mut exist = Pipeline::with_capacity(others.len());
        for other in &others {
            exist.cmd("EXISTS").arg(self.keys.alive(other));
        }
        let answers = self.ask_all(&exist).await?;
        let mut gone = Vec::new();
        for (other, answer) in others.into_iter().zip(answers) {
            if number(&ok(answer)?, "EXISTS")? == 0 {
                gone.push(other);
            }
        }
        Ok(gone)
    }

    /// Moves what a replica that is gone left behind to the end of our work list; tells how much
    /// that was. Where it is moved as a whole, it waits until ours is empty.
    ///
    /// # Errors
    /// Some may be moved, and the rest is still there.
    pub async fn take_over(&mut self, other: &str) -> Result<u64, Fault> {
        let theirs = self.keys.work(other);
        let mut moved = 0;
        let mut whole = self.way == Way::Whole;
        while !whole {
            match self.moved(&theirs, TAKE_OVER).await {
                Ok(items) => {
                    moved += u64::try_from(items.len()).unwrap_or_default();
                    if items.len() < TAKE_OVER {
                        break;
                    }
                }
                Err(fault) if matches!(fault.kind, Kind::NoCommand | Kind::NoMemory) => {
                    whole = true;
                }
                Err(fault) => return Err(fault),
            }
        }
        if whole {
            let mut count = pipe();
            count.cmd("LLEN").arg(&theirs).cmd("LLEN").arg(&self.work);
            let [there, here] = self.ask(&count).await?;
            let (there, here) = (number(&ok(there)?, "LLEN")?, number(&ok(here)?, "LLEN")?);
            if there > 0 && (here > 0 || !self.renamed(&theirs).await?) {
                return Ok(moved);
            }
            moved += there;
        }
        // It may have come back meanwhile, and what could not be moved is still there.
        let mut look = pipe();
        look.cmd("LLEN").arg(&theirs).cmd("EXISTS").arg(self.keys.alive(other));
        let [there, alive] = self.ask(&look).await?;
        if number(&ok(there)?, "LLEN")? > 0 || number(&ok(alive)?, "EXISTS")? > 0 {
            return Ok(moved);
        }
        let mut forget = pipe();
        forget.cmd("SREM").arg(self.keys.takers()).arg(other);
        let [forgotten] = self.ask(&forget).await?;
        ok(forgotten)?;
        Ok(moved)
    }

    /// Says that we are gone, unless something of ours is still there.
    ///
    /// # Errors
    /// It was not said; then the others find out.
    pub async fn leave(&mut self) -> Result<(), Fault> {
        if self.held(1).await?.is_empty() {
            let mut leave = pipe();
            leave.cmd("SREM").arg(self.keys.takers()).arg(&self.replica);
            let [left] = self.ask(&leave).await?;
            ok(left)?;
        }
        Ok(())
    }

    async fn ask<const N: usize>(&mut self, commands: &Pipeline) -> Result<[Value; N], Fault> {
        let answers = self.ask_all(commands).await?;
        answers.try_into().map_err(|_| Fault::unexpected("a question"))
    }

    async fn ask_all(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        Ok(self.connection.send_packed_commands(commands, 0, commands.len()).await?)
    }
}

fn client(settings: &Settings) -> Result<Client, Fault> {
    let info = settings.url.expose().into_connection_info()?;
    // It is a command more that a user may not be allowed.
    let login = info.redis_settings().clone().set_skip_set_lib_name();
    let info = info.set_redis_settings(login);
    if !is_tls(&settings.url) || (settings.ca.is_none() && settings.identity.is_none()) {
        return Ok(Client::open(info)?);
    }
    let client_tls = settings.identity.as_ref().map(|identity| ClientTlsConfig {
        client_cert: identity.certificate.clone(),
        client_key: identity.key.clone(),
    });
    let certificates = TlsCertificates { client_tls, root_cert: settings.ca.clone() };
    Ok(Client::build_with_tls(info, certificates)?)
}

/// An answer that is no fault.
fn ok(answer: Value) -> Result<Value, Fault> {
    match answer {
        Value::ServerError(error) => Err(Fault::from(&error)),
        answer => Ok(answer),
    }
}

fn number(answer: &Value, command: &str) -> Result<u64, Fault> {
    match answer {
        Value::Int(number) => u64::try_from(*number).map_err(|_| Fault::unexpected(command)),
        _ => Err(Fault::unexpected(command)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use tokio::{
        io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
        net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    };

    use super::*;

    async fn command(lines: &mut Lines<BufReader<OwnedReadHalf>>) -> Option<String> {
        let head = lines.next_line().await.ok()??;
        let words: usize = head.strip_prefix('*')?.parse().ok()?;
        let mut all = Vec::new();
        for _ in 0..words {
            lines.next_line().await.ok()??;
            all.push(lines.next_line().await.ok()??);
        }
        all.into_iter().next()
    }

    /// Takes over from a server whose list of the other replica has so many left after the first was
    /// moved, and that has heard of it again or not; tells how many were moved, and whether the other
    /// one was forgotten. No real server can be made to run out of memory at that very command.
    async fn take_over(left: u8, is_back: bool) -> (u64, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let forgotten = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&forgotten);
        let serving = async move {
            let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            let mut moved = 0;
            while let Some(word) = command(&mut lines).await {
                let answer = match word.as_str() {
                    "LMOVE" => {
                        moved += 1;
                        match (moved, left) {
                            (1, _) => "$1\r\na\r\n".to_owned(),
                            (_, 0) => "$-1\r\n".to_owned(),
                            _ => "-OOM command not allowed\r\n".to_owned(),
                        }
                    }
                    "LLEN" => format!(":{left}\r\n"),
                    "EXISTS" => format!(":{}\r\n", u8::from(is_back)),
                    "SREM" => {
                        noted.store(true, Ordering::Relaxed);
                        ":1\r\n".to_owned()
                    }
                    _ => "+OK\r\n".to_owned(),
                };
                write.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let asking = async {
            let client = Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
            let config = AsyncConnectionConfig::new();
            let connection = client.get_multiplexed_async_connection_with_config(&config);
            let (connection, keys) = (connection.await.unwrap(), Keys::of("q"));
            let work = keys.work("us");
            let (queue, replica) = ("q".to_owned(), "us".to_owned());
            let mut server = Server { connection, way: Way::Singly, queue, keys, replica, work };
            server.take_over("other").await.unwrap()
        };
        // The server ends when its only client is gone.
        let (moved, ()) = tokio::join!(asking, serving);
        (moved, forgotten.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_replica_is_forgotten_only_when_nothing_of_it_is_left_and_it_is_still_gone() {
        assert_eq!(take_over(0, false).await, (1, true));
        assert_eq!(take_over(2, false).await, (1, false), "the rest could not be moved");
        assert_eq!(take_over(0, true).await, (1, false), "it came back meanwhile");
    }
}
